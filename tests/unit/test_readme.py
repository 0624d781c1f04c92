"""The two READMEs tell the truth: the tree, the commands, the names in the code; and agree."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from rlinf import errors, registry
from rlinf.cli import main
from rlinf.config import aliases
from rlinf.config.compose import compose, locate
from rlinf.config.refused import take_refused
from rlinf.config.run_folder import set_log_path
from rlinf.config.schema import Config
from rlinf.config.validate import validate

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "examples" / "embodiment" / "config"
BOTH = pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])


def text(name: str) -> str:
    return (ROOT / name).read_text()


def blocks(name: str) -> list[list[str]]:
    """The lines of each code block."""
    return [
        block.splitlines() for block in re.findall(r"^```\n(.*?)^```$", text(name), re.M | re.S)
    ]


def what_is_named(line: str) -> str:
    """A line of a code block without the remark that two spaces set apart."""
    return re.match(r"\s*\S*(?: \S+)*", line)[0]


def commands(name: str) -> list[list[str]]:
    """The words of every command that stands alone in a line of a code block."""
    lines = (what_is_named(line) for block in blocks(name) for line in block)
    return [shlex.split(line) for line in lines if line.startswith(("rlinf ", "bash "))]


def tree(name: str) -> list[str]:
    """The paths of the block that shows the repository, folders with a slash behind."""
    block = next(b for b in blocks(name) if any(line.startswith("rlinf/") for line in b))
    paths, parents = [], [""]
    for line in map(what_is_named, block):
        depth = (len(line) - len(line.lstrip())) // 2
        path = parents[depth] + line.strip()
        paths.append(path)
        parents[depth + 1 :] = [path]
    return paths


@BOTH
def test_every_path_in_the_tree_exists(name: str) -> None:
    for path in tree(name):
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path


@BOTH
def test_every_folder_of_the_package_and_of_the_tests_is_in_the_tree(name: str) -> None:
    folders = {file.parent for file in (ROOT / "rlinf").rglob("*.py")}
    folders |= {folder for folder in (ROOT / "tests").iterdir() if any(folder.glob("**/test_*.py"))}
    named = {ROOT / path for path in tree(name)}
    assert {str(folder.relative_to(ROOT)) for folder in folders - named} == set()


@BOTH
def test_every_command_starts_a_script_that_exists_with_a_valid_configuration(name: str) -> None:
    assert len(commands(name)) > 8
    for program, *words in commands(name):
        if program == "bash":
            script, *words = words
            assert (ROOT / script).is_file(), script
            if not script.startswith("examples"):
                continue
        elif (command := words.pop(0)) in ("export", "doctor", "convert"):
            continue
        else:
            assert command in ("train", "eval", "check", "sft", "collect", "assets", "download")
            if command == "download":
                assert words[0].count("/") == 1
                continue
            if command == "assets":
                assert words[0] == "download" and words[1] in registry.assets()
                continue
        if words and words[0].startswith("--"):
            continue
        config, *others = words or ["quickstart"]
        # What is no override is the path of a policy.
        assert_valid(config, [word for word in others if "=" in word])


def assert_valid(config: str, overrides: list[str]) -> None:
    """Keys and values are known; whether paths exist is a matter of the reader's machine."""
    plain = compose(locate(config), overrides, lambda c: set_log_path(c, config))
    assert aliases.apply(plain) == ([], []), overrides
    assert take_refused(plain) == []
    assert isinstance(validate(plain), Config), (config, overrides)


@BOTH
def test_every_shipped_configuration_is_in_the_table(name: str) -> None:
    _, behind = text(name).split("`examples/embodiment/config`", 1)
    section, _ = behind.split("\n## ", 1)
    named = re.findall(r"^\| `(\w+)` \|", section, re.M)
    assert sorted(named) == sorted(file.stem for file in CONFIGS.glob("*.yaml"))


@BOTH
def test_the_example_of_an_error_is_what_the_command_prints(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command, *printed = next(block for block in blocks(name) if block[0].startswith("$ rlinf "))
    assert main(shlex.split(command)[2:]) == errors.UserError.exit_code
    assert capsys.readouterr().err.splitlines() == printed


@BOTH
def test_every_exit_code_is_in_the_table(name: str) -> None:
    listed = re.findall(r"^\| ([\d, ]+) \|", text(name), re.M)
    codes = {kind.exit_code for kind in vars(errors).values() if hasattr(kind, "exit_code")}
    assert {int(code) for row in listed for code in row.split(",")} == codes | {0, 129, 130, 143}


@BOTH
def test_the_nine_steps_name_files_and_functions_that_exist(name: str) -> None:
    steps = re.findall(r"^\d\. (`rlinf/\w+/.*?\.py`.*?)(?=^\d\. |^#)", text(name), re.M | re.S)
    assert len(steps) == 9
    for step in steps:
        files = [ROOT / path for path in re.findall(r"`(rlinf/[\w/]+\.py)`", step)]
        assert all(file.is_file() for file in files), step
        code = "\n".join(file.read_text() for file in files)
        for function in re.findall(r"`([\w.]+)`", step):
            for part in function.split("."):
                assert re.search(rf"(def|class) {part}\b", code), (function, step)


@BOTH
def test_every_link_and_picture_leads_somewhere(name: str) -> None:
    targets = re.findall(r"\]\(([^)]+)\)", text(name))
    assert all((ROOT / t).is_file() for t in targets if not t.startswith("https://")), targets


def test_both_languages_have_the_same_headings_tables_and_pictures() -> None:
    def structure(name: str) -> list[str]:
        without_code = re.sub(r"^```\n.*?^```$", "```", text(name), flags=re.M | re.S)
        marks = r"^(#+ |\| |```|!\[.*?\]\(.*\)|\d\. |- )"
        found = re.findall(marks, without_code, re.M)
        return [re.sub(r"\[.*\]", "", mark) for mark in found]

    assert structure("README.md") == structure("README.zh-CN.md")


def test_both_languages_have_the_same_code_blocks_apart_from_remarks() -> None:
    english, chinese = (
        [[what_is_named(line) for line in block] for block in blocks(name)]
        for name in ("README.md", "README.zh-CN.md")
    )
    assert english == chinese
