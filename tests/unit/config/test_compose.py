"""What is given on the command line arrives as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlinf.config import compose as composing
from rlinf.config.compose import compose, locate
from rlinf.config.tree import Tree
from rlinf.errors import UserError

NAMES = (
    *("(b)", "[1]", "=b", "'b", "#b", "&b", "~b", ";b", "!b", "{b}", "%20", "$b", "$(b)", " b"),
    *("ü", "日本語", "'", "\\'", '"', ":b", "?", "-"),
)


def composed(file: Path, *overrides: str) -> Tree:
    return compose(file, overrides, lambda config: None)


@pytest.mark.parametrize("name", NAMES)
def test_a_path_needs_no_quotes_whatever_letters_are_in_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value, a value in a list, the file itself, and the folder of the shipped groups."""
    folder = tmp_path / f"a{name}"
    (folder / "shipped" / "group").mkdir(parents=True)
    (folder / "shipped" / "group" / "of.yaml").write_text("number: 3\n")
    (folder / f"my{name}.yaml").write_text("defaults:\n  - group/of@section\n")
    monkeypatch.setattr(composing, "CONFIG_DIR", folder / "shipped")
    found = composed(folder / f"my{name}.yaml", f"path={folder}", f"paths=[{folder},a b, 1]")
    assert found == {
        "section": {"number": 3},
        "path": str(folder),
        "paths": [str(folder), "a b", 1],
    }


@pytest.mark.parametrize("value", ["[a,(b]x", "{a: (b)}", "'a", "['a,(b)]", "[[(b),c]]"])
def test_a_broken_list_or_quotation_is_not_taken_for_a_text(value: str, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("path: x\n")
    with pytest.raises(UserError, match=r"cannot read the override 'path=.*\n.*quote a text"):
        composed(tmp_path / "my.yaml", f"path={value}")


def test_a_text_with_a_comma_or_quotes_around_it_is_one_text(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("base: x\n")
    found = composed(tmp_path / "my.yaml", "a=it's,(b)", "b='[c'", "c=${base}/ü(d)", "d=choice(1)")
    assert found == {"base": "x", "a": "it's,(b)", "b": "[c", "c": "x/ü(d)", "d": "choice(1)"}


def test_an_address_in_brackets_is_one_text(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("base: x\n")
    found = composed(tmp_path / "my.yaml", "a=[::1]:6379", "b=[fe80::1]:80", "c=[x]/y", "d=[x]")
    assert found == {"base": "x", "a": "[::1]:6379", "b": "[fe80::1]:80", "c": "[x]/y", "d": ["x"]}


def test_a_group_that_the_file_does_not_name_is_chosen_like_one_that_it_names(tmp_path: Path):
    (tmp_path / "my.yaml").write_text("a: 1\n")
    (tmp_path / "heir.yaml").write_text("defaults: [group: first, _self_]\na: 1\n")
    (tmp_path / "group").mkdir()
    for number, name in enumerate(("first", "second")):
        (tmp_path / "group" / f"{name}.yaml").write_text(f"number: {number}\n")
    for file in ("my.yaml", "heir.yaml"):
        chosen = composed(tmp_path / file, "group=second", "group.more=2")
        assert chosen == {"a": 1, "group": {"number": 1, "more": 2}}
        assert composed(tmp_path / file, "group=null") == {"a": 1}
        with pytest.raises(UserError, match=r"no third\.yaml"):
            composed(tmp_path / file, "group=third")


def test_a_file_that_hydra_does_not_find_by_its_name_is_refused_with_the_command(tmp_path: Path):
    (tmp_path / "my own.yml").write_text("defaults: [toy_ppo_mlp]\n")
    with pytest.raises(UserError, match=r"names end in \.yaml") as error:
        locate(str(tmp_path / "my own.yml"))
    assert error.value.fix == f"rename it: mv '{tmp_path}/my own.yml' '{tmp_path}/my own.yaml'"
