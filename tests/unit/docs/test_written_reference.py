"""Tables of the reference that people write: files, configurations, exit codes; both languages."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from rlinf import errors
from rlinf.cli import main
from rlinf.metrics.evaluation import EvaluationFile, Trial
from tests.unit.docs.pages import ROOT, TREES, blocks, what_is_named

CONFIGS = ROOT / "examples" / "embodiment" / "config"
BOTH = pytest.mark.parametrize("tree", TREES.values(), ids=TREES)


def paths_of_the_tree(tree: Path) -> list[str]:
    """The paths of the block that shows the repository, folders with a slash at the end."""
    (block,) = blocks((tree / "project" / "code.md").read_text())
    paths, parents = [], [""]
    for line in map(what_is_named, block.lines):
        depth = (len(line) - len(line.lstrip())) // 2
        path = parents[depth] + line.strip()
        paths.append(path)
        parents[depth + 1 :] = [path]
    return paths


@BOTH
def test_every_path_in_the_tree_exists(tree: Path) -> None:
    for path in paths_of_the_tree(tree):
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path


@BOTH
def test_every_folder_of_the_package_and_of_the_tests_is_in_the_tree(tree: Path) -> None:
    folders = {file.parent for file in (ROOT / "rlinf").rglob("*.py")}
    folders |= {folder for folder in (ROOT / "tests").iterdir() if any(folder.glob("**/test_*.py"))}
    named = {ROOT / path for path in paths_of_the_tree(tree)}
    assert {str(folder.relative_to(ROOT)) for folder in folders - named} == set()


@BOTH
def test_every_shipped_configuration_is_in_the_table(tree: Path) -> None:
    text = (tree / "reference" / "configurations.md").read_text()
    named = re.findall(r"^\| `(\w+)` \|", text, re.M)
    assert sorted(named) == sorted(file.stem for file in CONFIGS.glob("*.yaml"))


@BOTH
def test_the_example_of_an_error_is_what_the_command_prints(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = blocks((tree / "reference" / "exit-codes.md").read_text())
    command, *printed = block.lines
    assert main(shlex.split(command)[2:]) == errors.UserError.exit_code
    assert capsys.readouterr().err.splitlines() == printed


def test_a_text_has_one_translation() -> None:
    """YAML takes the last of two entries without a word."""
    lines = (ROOT / "docs/source-zh/texts.yaml").read_text(encoding="utf-8").splitlines()
    texts = [match[1] for line in lines if (match := re.match(r'("(?:[^"\\]|\\.)*"|\w+):', line))]
    assert len(texts) > 300
    assert sorted({text for text in texts if texts.count(text) > 1}) == []


@BOTH
def test_every_key_of_the_result_file_is_in_a_table(tree: Path) -> None:
    text = (tree / "evaluation" / "results.md").read_text()
    cells = re.findall(r"^\| (`.+?) \|", text, re.M)
    named = [key for cell in cells for key in re.findall(r"`(\w+)`", cell)]
    assert named == [*EvaluationFile.model_fields, *Trial.model_fields]


@BOTH
def test_every_exit_code_is_in_the_table(tree: Path) -> None:
    text = (tree / "reference" / "exit-codes.md").read_text()
    listed = re.findall(r"^\| ([\d, ]+) \|", text, re.M)
    codes = {kind.exit_code for kind in vars(errors).values() if hasattr(kind, "exit_code")}
    assert {int(code) for row in listed for code in row.split(",")} == codes | {0, 129, 130, 143}
