"""Sub-processes under a Python other than ours, with the packages of its own environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from rlinf.errors import UserError
from rlinf.registry import Hosting
from rlinf.signals import kept_from_children

_BOOT = Path(__file__).with_name("boot.py")
_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")  # variables that lead to our own packages


class Interpreter:
    """Starts each sub-process from nothing; a simulator that comes with a Python of its own."""

    def __init__(self, hosting: Hosting, build: str) -> None:
        """
        Args:
            hosting: names the interpreter, and the variables that it runs with.
            build: `module:function` that the sub-processes build; its package is made importable.

        Raises:
            UserError: there is no such interpreter.
        """
        assert hosting.interpreter is not None
        self._python = Path(hosting.interpreter)
        if not os.access(self._python, os.X_OK):
            raise UserError(
                f"the simulator's Python {self._python} does not exist, or is not executable",
                hosting.interpreter_fix,
            )
        variables = {name: value for name, value in os.environ.items() if name not in _OURS}
        self._environment = {**variables, **hosting.environment}
        names = {"rlinf", build.partition(":")[0].partition(".")[0]}
        self._packages = {name: _folder(name) for name in sorted(names)}

    def start(self, log_file: Path, files: Sequence[int]) -> Command:
        """Begins a sub-process, `child.main(log_file, *files)`, as leader of its own session."""
        what = (json.dumps(self._packages), str(log_file), *map(str, files))
        with kept_from_children():
            process = subprocess.Popen(
                [self._python, _BOOT, *what],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                pass_fds=files,
                start_new_session=True,
            )
        return Command(process)


class Command:
    """A sub-process of an interpreter, with the processes that its simulator started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def wait(self, timeout_s: float | None) -> int:
        """Its exit code, once it has ended; negative is a signal.

        Raises:
            TimeoutError: after `timeout_s` seconds it has not ended.
        """
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        self.kill()  # what the simulator started and left
        return code

    def kill(self) -> None:
        """Kills it and its group, if they still exist."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _folder(package: str) -> str:
    """Where a package of ours lies."""
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None, package
    return str(Path(next(iter(spec.submodule_search_locations))).resolve())
