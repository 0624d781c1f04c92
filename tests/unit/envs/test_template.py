"""Sub-processes that begin as copies of a process which has imported what they need."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from rlinf.envs.processes import HostProcess
from rlinf.envs.template import Template, obtain, release
from rlinf.errors import WorkerDied
from tests.unit.envs.templates.teller import Teller

FOLDER = "tests.unit.envs.templates"
Begin = Callable[[Template], HostProcess]


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `templates/slow.py` leaves its lines."""
    monkeypatch.setenv("IMPORTS", str(tmp_path / "imports"))
    return tmp_path / "imports"


@pytest.fixture
def template(tmp_path: Path) -> Iterator[Callable[[str], Template]]:
    """Begins templates of one module, and ends them."""
    made = []

    def make(module: str) -> Template:
        made.append(obtain([f"{FOLDER}.{module}"], tmp_path / "log"))
        return made[-1]

    yield make
    for one in made:
        release(one)


@pytest.fixture
def begin(tmp_path: Path, template: object) -> Iterator[Begin]:
    """Begins sub-processes, and ends them before their templates."""
    made = []

    def make(of: Template) -> HostProcess:
        made.append(HostProcess("teller", tmp_path / "log", of))
        return made[-1]

    yield make
    for host in made:
        host.hang_up()
        host.end(time.monotonic())


def ask(host: HostProcess, member: str, *arguments: Any) -> Any:
    host.request(member, arguments, 30.0)
    return host.reply()


def test_all_sub_processes_of_a_template_share_one_import(template, begin, imports):
    first, second = template("slow"), template("slow")
    assert first is second
    hosts = [begin(first), begin(second)]
    for host in hosts:
        ask(host, "build", partial(Teller, f"{FOLDER}.slow"))
    (pids, parents) = zip(*(ask(host, "process") for host in hosts), strict=True)
    assert len(set(pids)) == 2
    (parent,) = set(parents)
    assert imports.read_text() == f"{parent} disable\n"


def test_a_sub_process_has_the_variables_of_when_its_template_was_asked_for(
    template, begin, imports, monkeypatch
):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    first = template("slow")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    second = template("slow")
    found = []
    for host in (begin(first), begin(second)):
        ask(host, "build", Teller)
        found.append([ask(host, "variable", v) for v in ("MUJOCO_GL", "CUDA_VISIBLE_DEVICES")])
    assert found == [["egl", "3"], ["osmesa", None]]
    assert [line.split()[1] for line in imports.read_text().splitlines()] == ["disable"] * 2


def test_a_template_has_one_thread_or_imports_nothing(template, begin, tmp_path):
    host = begin(template("threaded"))
    ask(host, "build", Teller)
    assert not ask(host, "has", f"{FOLDER}.threaded")
    _, parent = ask(host, "process")
    assert psutil.Process(parent).num_threads() == 1
    assert "threaded: started threads" in (tmp_path / "log").read_text()


def test_a_thread_that_every_interpreter_starts_is_no_hindrance(
    template, begin, tmp_path, monkeypatch
):
    """Debuggers, tracers and profilers start one before any of our modules is imported."""
    watch = "import threading, time\nthreading.Thread(target=time.sleep, args=[60], daemon=True)"
    (tmp_path / "sitecustomize.py").write_text(f"{watch}.start()\n")
    monkeypatch.syspath_prepend(tmp_path)
    host = begin(template("teller"))
    ask(host, "build", Teller)
    assert psutil.Process(ask(host, "process")[1]).num_threads() == 2


def test_what_a_template_cannot_import_fails_in_the_sub_process_that_needs_it(template, begin):
    broken = template("broken")
    host = begin(broken)
    with pytest.raises(WorkerDied, match="ImportError: this library is not installed"):
        ask(host, "build", partial(Teller, f"{FOLDER}.broken"))
    other = begin(broken)
    ask(other, "build", Teller)  # which does not need it


def test_a_template_that_was_killed_is_replaced(template, begin):
    one = template("teller")
    before = begin(one)
    ask(before, "build", Teller)
    _, parent = ask(before, "process")
    os.kill(parent, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(parent)], timeout=60)
    after = begin(one)
    ask(after, "build", Teller)
    assert ask(before, "has", "sys")  # it lives on
    before.hang_up()
    assert before.end(time.monotonic() + 60) is None  # nobody can say how it ended
    assert ask(after, "process")[1] != parent


def test_a_template_ends_with_its_last_user(tmp_path):
    first, second = (obtain([], tmp_path / "log") for _ in range(2))
    release(first)
    named = [child.name() for child in psutil.Process().children()]
    assert [name for name in named if "template" in name or "python" in name]
    release(second)
    assert not psutil.Process().children()
