"""Runs a check in a process of its own, so that one that crashes or hangs ends alone.

The processes are forked from one that has imported torch and has touched no GPU. Each leads a
group, which is ended with it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import traceback
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlinf import devices
from rlinf.registry import imported
from rlinf.selftest.check import Absent, Check, CheckResult, Failed, Found, Scope

_CONTEXT = multiprocessing.get_context("forkserver")
_CHECKS = ("collective", "devices", "parity", "simulator", "speed", "training", "weights")
_PRELOADED = [f"rlinf.selftest.checks.{name}" for name in _CHECKS]
_ENDING_S = 10.0  # for a process to end that was killed


def prepare() -> None:
    """Imports what most checks need, once, in the process that the others are forked from."""
    _CONTEXT.set_forkserver_preload(_PRELOADED)


def run(check: Check, gpus: int, full: bool, folder: Path) -> CheckResult:
    """Runs a check and waits for it.

    Args:
        gpus: that this machine shows.
        folder: of the check's own; made here. Its output goes to `output.log` there.
    """
    if check.gpus > gpus or (check.gpu is not None and check.gpu >= gpus):
        wanted = max(check.gpus, 0 if check.gpu is None else check.gpu + 1)
        return CheckResult(check.name, "no such device", f"needs {wanted} GPU{'s' * (wanted > 1)}")
    missing = [package for package in check.packages if find_spec(package) is None]
    if missing:
        return CheckResult(check.name, "not installed", f"needs {', '.join(missing)}")
    folder.mkdir(parents=True)
    answer = folder / "outcome.json"
    seen = 0 if check.on_cpu else gpus if check.gpu is None else 1
    process = _CONTEXT.Process(
        target=_child,
        args=(check, Scope(seen, full, str(folder)), dict(os.environ), str(answer)),
        daemon=False,
    )
    began = time.monotonic()
    process.start()
    process.join(check.limit_s)
    hung = process.is_alive()
    _end_group(process.pid)
    process.join(_ENDING_S)
    seconds = time.monotonic() - began
    if hung:
        return CheckResult(
            check.name, "fail", f"hung: no result within {check.limit_s:g} s", seconds
        )
    if answer.exists():
        return CheckResult(**json.loads(answer.read_text()), seconds=seconds)
    code = process.exitcode or 0
    how = f"crashed with {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    return CheckResult(
        check.name, "fail", f"{how}; its output is in {folder / 'output.log'}", seconds
    )


def _end_group(leader: int | None) -> None:
    """Ends what is left of a check's processes."""
    assert leader is not None
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def _child(check: Check, scope: Scope, environment: dict[str, str], answer: str) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    if check.on_cpu or check.gpu is not None:
        indices = [] if check.gpu is None else [check.gpu]
        listed = os.environ.get(devices.VARIABLE)
        os.environ[devices.VARIABLE] = devices.chosen(indices, listed)
    output = os.open(Path(scope.folder) / "output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    outcome = asdict(_outcome(check, scope))
    del outcome["seconds"]
    partial = Path(f"{answer}.partial")
    partial.write_text(json.dumps(outcome, default=float))
    partial.rename(answer)


def _outcome(check: Check, scope: Scope) -> CheckResult:
    function: Any = imported(check.run)
    try:
        found: Found = function(scope, **check.options)
    except Absent as error:
        return CheckResult(check.name, "not installed", str(error))
    except Failed as error:
        return CheckResult(check.name, "fail", str(error), numbers=error.numbers)
    except Exception as error:  # noqa: BLE001 - told in the table, with its traceback in the log
        traceback.print_exc()
        words = str(error).strip().splitlines() or ["no message"]
        return CheckResult(check.name, "fail", f"{type(error).__name__}: {words[0]}")
    return CheckResult(check.name, "pass", found.text, numbers=found.numbers)
