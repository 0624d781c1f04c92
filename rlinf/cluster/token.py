"""The token that Ray asks for, without which anybody on the machine could run code in a cluster."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

from rlinf.errors import UserError

MODE, VALUE, PLACE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


def file() -> Path | None:
    """Where Ray looks for the token of this user; None for a user without a home."""
    if os.environ.get(PLACE):
        return Path(os.environ[PLACE])
    try:
        return Path.home() / ".ray" / "auth_token"
    except RuntimeError:
        return None


def is_there() -> bool:
    """Whether this process knows a token."""
    loader = AuthenticationTokenLoader.instance()
    loader.reset_cache()
    found: bool = loader.has_token(ignore_auth_mode=True)
    return found


def make_private(path: Path) -> None:
    """Takes a token that others can read away from them; Ray writes it readable for all."""
    try:
        status = path.stat()
    except OSError:
        return  # there is none, or it is not ours to look at
    if status.st_uid == os.geteuid() and status.st_mode & 0o077:
        path.chmod(0o600)


def prepare(alone: bool) -> None:
    """Before Ray starts on this machine.

    Args:
        alone: no other machine will join. Then the run makes a token of its own, which ends with
            it; otherwise the others need the one in the file.
    """
    path = file()
    if path is not None:
        make_private(path)
    if os.environ.get(MODE, "token").lower() != "token" or os.environ.get(VALUE):
        return
    if alone:
        os.environ[VALUE] = secrets.token_hex(32)  # what this process starts inherits it
    elif path is None or not path.exists():
        _write(path)
    AuthenticationTokenLoader.instance().reset_cache()


def forget() -> None:
    """After a run on one machine: its token is of no use any more."""
    os.environ.pop(VALUE, None)
    AuthenticationTokenLoader.instance().reset_cache()


def _write(path: Path | None) -> None:
    try:
        if path is None:
            raise FileNotFoundError(0, "there is no home folder")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_hex(32))
    except OSError as error:
        raise UserError(
            f"Ray's token cannot be written to {path or '~/.ray/auth_token'}: {error.strerror}",
            f"export {PLACE}=FILE with a file that you may write, here and on the other machines",
        ) from error
