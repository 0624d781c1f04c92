"""Ray's token: of this run alone, or in a file that others cannot read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlinf.cluster import token
from rlinf.cluster.joining import problem_of
from rlinf.errors import UserError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of a user without a token."""
    for name in (token.MODE, token.VALUE, token.PLACE):
        monkeypatch.setenv(name, "")  # so that what is set meanwhile goes again
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield tmp_path
    monkeypatch.undo()
    token.is_there()  # forgets the token of this home


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_run_on_one_machine_has_a_token_of_its_own_and_writes_none(home: Path):
    assert not token.is_there()
    token.prepare(alone=True)
    assert token.is_there() and list(home.iterdir()) == []


def test_a_head_that_others_join_writes_a_token_that_they_alone_can_read(home: Path):
    token.prepare(alone=False)
    assert token.is_there() and mode(home / ".ray" / "auth_token") == 0o600
    written = (home / ".ray" / "auth_token").read_text()
    token.prepare(alone=False)
    assert (home / ".ray" / "auth_token").read_text() == written


@pytest.mark.parametrize("alone", [True, False])
def test_a_token_that_others_could_read_is_made_private(home: Path, alone: bool):
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("0" * 64)
    (home / ".ray" / "auth_token").chmod(0o644)
    token.prepare(alone)
    assert mode(home / ".ray" / "auth_token") == 0o600


def test_a_token_that_cannot_be_written_is_reported_with_the_variable_to_set(home: Path):
    (home / ".ray").touch()
    with pytest.raises(UserError, match="RAY_AUTH_TOKEN_PATH"):
        token.prepare(alone=False)


@pytest.mark.parametrize(
    ("answers", "asked", "has_token", "words"),
    [
        (("silent", None), "", True, "is no Ray"),
        (("welcome", None), "", True, "started without a token, and this machine has one"),
        (("welcome", None), "token", False, "started without a token"),
        (("refused", None), "", False, "asks for a token, and this machine has none"),
        (("refused", None), "disabled", True, "unset RAY_AUTH_MODE"),
        (("refused", "refused"), "", True, "another token"),
        (("welcome", None), "", False, None),
        (("welcome", None), "disabled", True, None),
        (("refused", "welcome"), "token", True, None),
    ],
)
def test_a_cluster_that_would_not_understand_the_token_is_refused_with_what_to_do(
    answers, asked: str, has_token: bool, words: str | None
):
    problem = problem_of(*answers, asked, has_token)
    assert (problem is None) == (words is None)
    assert words is None or words in " ".join(problem)
