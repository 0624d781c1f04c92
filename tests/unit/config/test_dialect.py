"""A configuration of the published RLinf is recognised at once, and one thing is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rlinf.cli import main
from rlinf.config import dialect
from rlinf.config.compose import CONFIG_DIR
from tests.unit.convert.theirs import DATES, RECIPES, Date, write


@pytest.mark.parametrize("date", DATES)
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_recognised_with_its_date(name: str, date: Date, tmp_path: Path):
    plain = dialect.read_yaml(write(tmp_path, name, date))
    assert dialect.is_foreign(plain)
    # Nothing in a main file of v0.2 alone is new since v0.1, unless it chooses the code of OFT.
    assert dialect.guess(plain) == ("v0.3" if date == "v0.3" else "v0.1")


def test_a_key_of_the_groups_tells_the_date_too():
    assert dialect.guess({"env": {"train": {"env_type": "libero"}}}) == "v0.2"


@pytest.mark.parametrize("file", sorted(CONFIG_DIR.glob("*.yaml")), ids=lambda file: file.stem)
def test_ours_are_none_of_them(file: Path):
    assert not dialect.is_foreign(dialect.read_yaml(file))


@pytest.mark.parametrize("groups", [True, False], ids=["groups", "alone"])
@pytest.mark.parametrize("command", ["check", "train", "eval"])
def test_one_thing_is_said(
    command: str,
    groups: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "theirs", "isaaclab_ppo_gr00t_demo", "v0.1", groups)
    assert main([command, str(file), "actor.seed=1"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: isaaclab_ppo_gr00t_demo.yaml is a configuration of the published RLinf (v0.1): "
        "several of its keys have another meaning here, or none",
        f"  fix: rlinf convert {file} -o OURS.yaml writes what it means here",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [", "correct the file"), ("- 1", "holds no keys"), ("a: \xff", "correct the file")],
)
def test_a_file_that_is_no_configuration_is_said_to_be_none(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "x.yaml").write_bytes(text.encode("latin-1"))
    for command in ("check", "convert"):
        assert main([command, str(tmp_path / "x.yaml")]) == 2
        error = capsys.readouterr().err
        assert words in error and "Traceback" not in error


def test_convert_writes_a_new_file_or_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    theirs, ours = write(tmp_path, "maniskill_ppo_openvla", "v0.1"), tmp_path / "ours.yaml"
    assert main(["convert", str(theirs)]) == 0
    shown = capsys.readouterr()
    assert "note: read as v0.1" in shown.err
    assert main(["convert", str(theirs), "-o", str(ours)]) == 0
    assert f"next: rlinf check {ours}" in capsys.readouterr().out
    assert ours.read_text() == shown.out
    assert "actor" in yaml.safe_load(shown.out)
    assert main(["convert", str(theirs), "-o", str(ours)]) == 2
    assert "name a file that does not exist yet" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "none.yaml")]) == 2
    assert "give the path of a .yaml file" in capsys.readouterr().err
    assert main(["convert", "maniskill_ppo_openvla"]) == 2  # the shipped one
    assert "it needs no conversion" in capsys.readouterr().err
