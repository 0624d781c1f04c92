"""Several processes that begin together compile robosuite's controllers once."""

from __future__ import annotations

import errno
import fcntl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlinf.envs.libero.compiled import compile_controllers


def test_of_those_that_begin_together_one_compiles_and_the_others_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lock, all_have_come = fcntl.flock, threading.Barrier(5)

    def come(*arguments: int) -> None:
        threading.Thread(target=all_have_come.wait).start()
        lock(*arguments)

    monkeypatch.setattr("fcntl.flock", come)
    index = "control_utils.opspace_matrices-43.py{}{}.nbi".format(*sys.version_info[:2])
    compiled = []

    def compile_all() -> None:
        all_have_come.wait(60)
        compiled.append(index)
        (tmp_path / "utils_1").mkdir(exist_ok=True)
        (tmp_path / "utils_1" / index).touch()

    def begin(_: int) -> bool:
        compile_controllers(tmp_path, compile_all)
        return bool(compiled)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(begin, range(4)))
    compile_controllers(tmp_path, compile_all)
    assert compiled == [index]


def test_one_that_fails_to_compile_leaves_it_to_the_next(tmp_path: Path):
    def fail() -> None:
        raise MemoryError

    compiled = []
    for compile_all in (fail, lambda: compiled.append(1)):
        try:
            compile_controllers(tmp_path, compile_all)
        except MemoryError:
            continue
    assert compiled == [1]


def test_without_locks_each_compiles_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Some network file systems have none."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    compiled = []
    compile_controllers(tmp_path, lambda: compiled.append(1))
    assert compiled == [1]
