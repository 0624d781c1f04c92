"""The site says the same in both languages, and what it names exists."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from rlinf.config.schema import Config
from rlinf.config.validate import schema_keys
from rlinf.metrics.names import METRICS
from rlinf.metrics.results import wilson
from tests.unit.docs.pages import (
    EVERY_PAGE,
    PAGES,
    ROOT,
    TREES,
    blocks,
    prose,
    structure,
    without_remarks,
)

of_each_page = pytest.mark.parametrize("page", PAGES)
of_every_page = pytest.mark.parametrize(
    "path", EVERY_PAGE, ids=lambda path: str(path.relative_to(ROOT / "docs"))
)
WHO_RAN_IT = "run by us|published by others|computed|我们运行|他人发表|计算"
DOWNLOADED = {"rlinf/envs/maniskill/assets"}
KINDS = {"bash", "yaml", "text", "python", "toml"}


def test_both_languages_have_the_same_pages():
    chinese = sorted(str(path.relative_to(TREES["zh"])) for path in TREES["zh"].rglob("*.md"))
    assert chinese == PAGES


@of_each_page
def test_a_page_does_not_hold_both_sides_of_a_merge(page: str):
    for tree in TREES.values():
        assert not re.search(r"^(<{7}|>{7}) ", (tree / page).read_text(), re.M)


@of_each_page
def test_both_languages_have_the_same_headings_tables_lists_and_pictures(page: str):
    english, chinese = (structure((tree / page).read_text()) for tree in TREES.values())
    assert english == chinese


@of_each_page
def test_both_languages_have_the_same_code_blocks_apart_from_remarks(page: str):
    english, chinese = (
        [(block.kind, without_remarks(block)) for block in blocks((tree / page).read_text())]
        for tree in TREES.values()
    )
    assert english == chinese


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_every_benchmark_has_the_same_headings_in_the_same_order(tree: Path):
    """A page may go on after its results with what it alone has."""
    headings = {
        path.stem: re.findall(r"^## (.*)$", prose(path.read_text()), re.M)
        for path in (tree / "benchmarks").glob("*.md")
    }
    assert set(headings) == {"maniskill", "libero", "isaaclab", "behavior"}
    expected = headings["maniskill"]
    assert len(expected) == 11
    assert {name: found[:11] for name, found in headings.items()} == dict.fromkeys(
        headings, expected
    )


@of_every_page
def test_every_code_block_says_what_it_holds(path: Path):
    kinds = {block.kind for block in blocks(path.read_text())}
    assert {kind for kind in kinds if not kind.startswith("{")} <= KINDS


@of_every_page
def test_every_file_that_a_page_names_exists(path: Path):
    folders = "rlinf|tests|examples|requirements|benchmarks|docs|docker"
    for named in re.findall(rf"`((?:{folders})/[\w/.-]+)`", prose(path.read_text())):
        assert named in DOWNLOADED or (ROOT / named).exists(), named


@of_every_page
def test_every_table_of_percentages_says_where_they_are_from_and_whether_we_ran_it(path: Path):
    """A result file, a link or a command: behind the table, after pictures at most."""
    text = prose(path.read_text())
    for table in re.finditer(r"(?:^\|.*\|\n)+", text, re.M):
        if re.search(r"\d %", table[0]):
            source = re.search(r"^(?:Source:|来源：)(?:.*\n)+", text[table.end() :], re.M)
            assert source and re.search(WHO_RAN_IT, source[0]), table[0]
            for file in re.findall(r"`(benchmarks/results/[^`]+)`", source[0]):
                assert (ROOT / file).is_file(), file


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_the_table_of_intervals_is_what_the_code_computes(tree: Path):
    text = (tree / "evaluation" / "intervals.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\d+) \D+ (\d+) \| (\d+) \D+ (\d+) \|$", text, re.M)
    assert [int(row[0]) for row in rows] == [50, 256, 500]
    for row in rows:
        episodes, *ends = map(int, row)
        half, most = wilson(episodes // 2, episodes), wilson(round(0.9 * episodes), episodes)
        assert ends == [round(100 * end) for end in (*half, *most)]


# The page on migrating names keys of others; `test_worked_examples.py` looks at ours.
@pytest.mark.parametrize("path", [path for path in EVERY_PAGE if path.stem != "migrating"])
def test_every_configuration_key_and_metric_that_a_page_names_exists(path: Path):
    keys = {key.replace("env.train.", "env.*.").replace("env.eval.", "env.*.") for key in KEYS}
    for named in re.findall(
        r"`([a-z]+\.[a-z_.*0-9]+)(?:=[^`]*|: [^`]*)?`", prose(path.read_text())
    ):
        if named.split(".")[0] in Config.model_fields and not named.endswith((".md", ".py")):
            assert named in KEYS | keys, named
    for named in re.findall(r"`([a-z]+/[a-z_*/]+)`", prose(path.read_text())):
        if named.split("/")[0] in AREAS:
            assert any(fnmatchcase(named, metric) for metric in NAMES), named


KEYS = set(schema_keys())
NAMES = {name for metric in METRICS for name in (metric.name, *metric.aliases)} | {
    f"{metric.name.split('/')[0]}/*" for metric in METRICS
}
AREAS = {metric.name.split("/")[0] for metric in METRICS} - {"time"}


def test_sphinx_builds_both_languages_without_a_warning(tmp_path: Path):
    pytest.importorskip("sphinx")
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "build.py"), str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for page in PAGES:
        there = (tmp_path / "en" / page).with_suffix(".html").read_text()
        assert "../zh/" in there


def test_the_chinese_words_of_keys_and_metrics_are_those_that_the_code_has(
    monkeypatch: pytest.MonkeyPatch,
):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import generated

    assert generated.texts() == set(yaml.safe_load(generated.CHINESE.read_text()))


def test_every_key_of_the_schema_stands_in_the_reference(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import generated

    rows = {row.key for row in generated.all_rows()}
    keys = {re.sub(r"^env\.(train|eval)\.init_params", "init_params", key) for key in KEYS}
    values = {key for key in keys if not any(k.startswith(f"{key}.") for k in keys)}
    assert values - rows == set()
    page = (TREES["en"] / "reference" / "configuration.md").read_text()
    named = set(re.findall(r"^```\{config-keys\} (\S+)$", page, re.M))
    # The videos of evaluation have the keys of those of training.
    assert named == set(generated.sections()) - {"env.eval.video_cfg"}


def test_every_area_of_metrics_and_every_command_stands_in_the_reference(
    monkeypatch: pytest.MonkeyPatch,
):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import generated

    reference = TREES["en"] / "reference"
    areas = set(re.findall(r"\{metrics\} (\w+)", (reference / "metrics.md").read_text()))
    assert areas == {metric.name.split("/")[0] for metric in METRICS}
    told = re.findall(
        r"\{command-help\} ([\w ]+)$", (reference / "command-line.md").read_text(), re.M
    )
    there = generated.subcommands(generated.make_parser())
    assert {words.split()[0] for words in told} == set(there)
