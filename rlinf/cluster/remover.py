"""A folder for Ray that no other user reads, and that is gone after the run, however it ends.

launcher                            remover (this file as a script)
PrivateFolder(..)  ->  path     ->  waits until its input ends, as it does when the launcher dies
Ray starts in it, Ray ends          ends what still runs in the folder, and removes it
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GRACE_S = 5.0  # for what runs in the folder to end by itself, as Ray does without its launcher
_POLL_S = 0.1
_KEEP = "keep"


class PrivateFolder:
    """A new folder below `parent`, of this user alone, that is removed after this process."""

    def __init__(self, parent: str, grace_s: float = GRACE_S) -> None:
        self.path = _new_folder(parent)
        self._remover = subprocess.Popen(
            # Without packages it is there in milliseconds. A session of its own, as it has to
            # outlive what ends the launcher.
            [sys.executable, "-I", "-S", __file__, *map(str, (self.path, os.getpid(), grace_s))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def close(self, keep: bool = False) -> None:
        """Has it removed as soon as nothing runs in it.

        Args:
            keep: leave it, as what is in it explains an error.
        """
        assert self._remover.stdin is not None
        with suppress(BrokenPipeError):
            self._remover.stdin.write(_KEEP * keep)
            self._remover.stdin.close()


def _new_folder(parent: str) -> Path:
    """As `tempfile.mkdtemp`, with a name so short that Ray's sockets have room below it."""
    while True:
        path = Path(parent, f"rlinf-{secrets.token_hex(2)}")
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            return path


def main(folder: str, launcher: int, grace_s: float) -> None:
    """Waits for the end of the launcher, then for that of its processes, and cleans up."""
    if sys.stdin.read() == _KEEP:
        return
    if not _all_end(folder, launcher, grace_s):
        for process in _processes_in(folder, launcher):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        _all_end(folder, launcher, grace_s)
    shutil.rmtree(folder, ignore_errors=True)


def _all_end(folder: str, launcher: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while _processes_in(folder, launcher):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _processes_in(folder: str, launcher: int) -> list[int]:
    """Processes that write a file in the folder, as all of Ray's do; the launcher is not meant."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) not in (os.getpid(), launcher):
            with suppress(OSError):  # it has ended, or is another user's
                if any(name.startswith(f"{folder}/") for name in _written_files(process)):
                    found.append(int(process.name))
    return found


def _written_files(process: Path) -> Iterator[str]:
    for descriptor in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            name = os.readlink(descriptor)  # noqa: PTH115 - may be no path
            _, _, flags = (process / "fdinfo" / descriptor.name).read_text().partition("flags:")
            if int(flags.split()[0], 8) & os.O_ACCMODE != os.O_RDONLY:
                yield name


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
