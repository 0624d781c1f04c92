"""Sub-processes forked from a process that has imported what they need."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rlinf.envs.hosting.fork_server import ForkServer, obtain, release
from rlinf.envs.hosting.process import HostProcess
from rlinf.errors import WorkerFailed
from rlinf.registry import Hosting

FOLDER = "tests.unit.envs.hosting.modules"
TELLER = f"{FOLDER}.teller:Teller"
VARIABLES = {"MUJOCO_GL": "disable"}  # while the modules are imported
Begin = Callable[[ForkServer], HostProcess]


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `modules/slow.py` leaves its lines."""
    monkeypatch.setenv("IMPORTS", str(tmp_path / "imports"))
    return tmp_path / "imports"


@pytest.fixture
def fork_server(tmp_path: Path) -> Iterator[Callable[[str], ForkServer]]:
    """Begins fork servers of one module, and ends them."""
    made = []

    def make(module: str) -> ForkServer:
        hosting = Hosting((f"{FOLDER}.{module}",), import_environment=VARIABLES)
        made.append(obtain(hosting, tmp_path / "log"))
        return made[-1]

    yield make
    for one in made:
        release(one)


@pytest.fixture
def begin(tmp_path: Path, fork_server: object) -> Iterator[Begin]:
    """Begins sub-processes, and ends them before their fork servers."""
    made = []

    def make(of: ForkServer) -> HostProcess:
        made.append(HostProcess("teller", tmp_path / "log", of))
        return made[-1]

    yield make
    for host in made:
        host.hang_up()
        host.end(time.monotonic())


def ask(host: HostProcess, member: str, *arguments: Any) -> Any:
    host.request(member, arguments, 30.0)
    return host.reply()


def test_all_sub_processes_of_a_fork_server_share_one_import(fork_server, begin, imports):
    first, second = fork_server("slow"), fork_server("slow")
    assert first is second
    hosts = [begin(first), begin(second)]
    for host in hosts:
        ask(host, "build", TELLER, f"{FOLDER}.slow")
    (pids, parents) = zip(*(ask(host, "process") for host in hosts), strict=True)
    assert len(set(pids)) == 2
    (parent,) = set(parents)
    assert imports.read_text() == f"{parent} disable\n"


def test_a_sub_process_has_the_variables_of_when_its_fork_server_was_asked_for(
    fork_server, begin, imports, monkeypatch
):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    first = fork_server("slow")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    second = fork_server("slow")
    found = []
    for host in (begin(first), begin(second)):
        ask(host, "build", TELLER)
        found.append([ask(host, "variable", v) for v in ("MUJOCO_GL", "CUDA_VISIBLE_DEVICES")])
    assert found == [["egl", "3"], ["osmesa", None]]
    assert [line.split()[1] for line in imports.read_text().splitlines()] == ["disable"] * 2


def test_a_fork_server_has_one_thread_or_imports_nothing(fork_server, begin, tmp_path):
    host = begin(fork_server("threaded"))
    ask(host, "build", TELLER)
    assert not ask(host, "has", f"{FOLDER}.threaded")
    _, parent = ask(host, "process")
    assert psutil.Process(parent).num_threads() == 1
    assert "threaded: started threads" in (tmp_path / "log").read_text()


def test_a_thread_that_every_interpreter_starts_is_no_hindrance(
    fork_server, begin, tmp_path, monkeypatch
):
    """Debuggers, tracers and profilers start one before any of our modules is imported."""
    watch = "import threading, time\nthreading.Thread(target=time.sleep, args=[60], daemon=True)"
    (tmp_path / "sitecustomize.py").write_text(f"{watch}.start()\n")
    monkeypatch.syspath_prepend(tmp_path)
    host = begin(fork_server("teller"))
    ask(host, "build", TELLER)
    assert psutil.Process(ask(host, "process")[1]).num_threads() == 2


def test_what_a_fork_server_cannot_import_fails_in_the_sub_process_that_needs_it(
    fork_server, begin
):
    broken = fork_server("broken")
    host = begin(broken)
    with pytest.raises(WorkerFailed, match="ImportError: this library is not installed"):
        ask(host, "build", TELLER, f"{FOLDER}.broken")
    other = begin(broken)
    ask(other, "build", TELLER)  # which does not need it


def test_a_fork_server_that_was_killed_is_replaced(fork_server, begin):
    one = fork_server("teller")
    before = begin(one)
    ask(before, "build", TELLER)
    _, parent = ask(before, "process")
    os.kill(parent, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(parent)], timeout=60)
    after = begin(one)
    ask(after, "build", TELLER)
    assert ask(before, "has", "sys")  # it lives on
    before.hang_up()
    assert before.end(time.monotonic() + 60) is None  # the fork server alone knew how it ended
    assert ask(after, "process")[1] != parent


def test_a_fork_server_ends_with_its_last_user(tmp_path):
    before = set(psutil.Process().children())
    first, second = (obtain(Hosting(), tmp_path / "log") for _ in range(2))
    release(first)
    named = [child.name() for child in set(psutil.Process().children()) - before]
    assert [name for name in named if "rlinf-forks" in name or "python" in name]
    release(second)
    assert not set(psutil.Process().children()) - before
