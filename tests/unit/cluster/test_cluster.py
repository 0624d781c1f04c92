"""A Ray that is started here, starts again, does not start, or is not where it was said to be."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from rlinf.cluster import health, joining, limits, local
from rlinf.cluster.cluster import start
from rlinf.cluster.local import START_ATTEMPTS
from rlinf.cluster.remover import PrivateFolder
from rlinf.config.load import load
from rlinf.errors import RayFailed, UserError, WorkerFailed


def test_an_address_where_no_cluster_is_ends_at_once_with_what_to_do(tmp_path: Path):
    with socket.socket() as taken:  # bound, without a listener
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        loaded = load("toy_ppo_mlp", [f"cluster.ray_address={address}"])
        with (
            pytest.raises(UserError, match=f"ray_address = {address}.*\n.*ray start --head"),
            start(loaded.config, loaded.plan.nodes),
        ):
            pass


def test_an_address_where_something_else_listens_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(joining, "PROBE_S", 1.0)  # it is silent, however long one waits
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        loaded = load("toy_ppo_mlp", [f"cluster.ray_address={address}"])
        told = pytest.raises(UserError, match=f"ray_address = {address}: .* no Ray")
        with told, start(loaded.config, loaded.plan.nodes):
            pass


def start_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> list[str | None]:
    """Ray's start fails with `error`; the list fills with the addresses that were tried."""
    tried: list[str | None] = []

    def fail(address: str | None = None, **_: object) -> None:
        tried.append(address)
        raise error

    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return tried


SLOW = Exception("The current node timed out during startup.")


def test_a_machine_too_busy_for_ray_is_given_up_after_a_few_attempts(monkeypatch):
    tried = start_with(monkeypatch, SLOW)
    monkeypatch.setattr(limits, "daemons_alive", lambda: True)
    loaded = load("toy_ppo_mlp", [])
    told = pytest.raises(WorkerFailed, match="this machine is overloaded")
    with told, start(loaded.config, loaded.plan.nodes):
        pass
    assert tried == ["local"] * START_ATTEMPTS


def test_what_an_attempt_started_does_not_slow_the_next_down(tmp_path: Path):
    code = "import time; time.sleep(900)"
    daemon, other = (
        subprocess.Popen([sys.executable, "-c", code, f"--log_dir={folder}/logs"])
        for folder in (tmp_path, f"{tmp_path}-of-another")
    )
    local._kill_daemons(tmp_path)
    assert daemon.wait() == -signal.SIGKILL and other.poll() is None
    other.kill()
    other.wait()


def test_a_ray_whose_processes_ended_is_not_called_slow(monkeypatch):
    tried = start_with(monkeypatch, SLOW)
    loaded = load("toy_ppo_mlp", [])
    told = pytest.raises(UserError, match="its processes ended while they started")
    with told, start(loaded.config, loaded.plan.nodes):
        pass
    assert tried == ["local"]


def test_a_raylet_that_gave_up_waiting_for_its_helpers_was_slow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    logs = tmp_path / "session_latest" / "logs"
    logs.mkdir(parents=True)
    (logs / "raylet.out").write_text("Check failed: Timed out waiting for file metrics_agent_port")
    monkeypatch.setattr(local.folders, "OPEN_TO_ALL", str(tmp_path))
    tried = start_with(monkeypatch, SLOW)
    loaded = load("toy_ppo_mlp", [])
    told = pytest.raises(WorkerFailed, match="this machine is overloaded")
    with told, start(loaded.config, loaded.plan.nodes):
        pass
    assert tried == ["local"] * START_ATTEMPTS


def test_a_folder_in_which_ray_left_nothing_is_removed_where_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    start_with(monkeypatch, SLOW)
    folder = PrivateFolder(str(tmp_path))
    monkeypatch.setattr(local, "PrivateFolder", lambda parent: folder)
    loaded = load("toy_ppo_mlp", [])
    with pytest.raises(UserError) as told, start(loaded.config, loaded.plan.nodes):
        pass
    folder._remover.wait()
    assert list(tmp_path.iterdir()) == [] and "log files" not in str(told.value)


def test_a_sigterm_while_ray_starts_ends_with_the_code_of_a_signal(monkeypatch):
    start_with(monkeypatch, SystemExit(signal.SIGTERM))
    loaded = load("toy_ppo_mlp", [])
    with pytest.raises(SystemExit) as ended, start(loaded.config, loaded.plan.nodes):
        pass
    assert ended.value.code == 143


def test_a_machine_whose_processes_cannot_reach_each_other_is_refused():
    alone = ["unshare", "-Urn"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no namespaces")
    code = "from rlinf.cluster.local import _check_loopback as look; look()"
    looked = subprocess.run([*alone, sys.executable, "-c", code], capture_output=True, text=True)
    assert "UserError: the processes of this machine cannot reach each other" in looked.stderr
    assert "ip link set lo up" in looked.stderr


def test_ray_on_one_machine_is_reached_by_no_other_and_starts_again_when_it_ended(
    monkeypatch: pytest.MonkeyPatch,
):
    """With a folder of temporary files that it cannot use, and Python told to leave texts out."""
    monkeypatch.setenv("TMPDIR", "/no/such/folder")
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    ours = signal.getsignal(signal.SIGTERM)
    loaded = load("toy_ppo_mlp", [])
    try:
        with start(loaded.config, loaded.plan.nodes) as cluster:
            assert cluster.addresses == ["127.0.0.1"]
            own = Path(ray._private.worker._global_node.get_temp_dir_path()).parent
            assert own.name.startswith("rlinf-") and own.stat().st_mode & 0o777 == 0o700
            answer = ray.remote(num_cpus=0)(lambda: sys.path[0])
            assert ray.get(answer.remote()) != str(Path.cwd())
            assert {address for _, address in listening()} <= {"127.0.0.1", "::ffff:127.0.0.1"}
            health.check()
            refs = [ray.put(0) for _ in range(3000)]

            (raylet,) = [child for child in children() if child.name() == "raylet"]
            raylet.kill()
            while health.is_good():  # it takes a moment until all its threads are gone
                time.sleep(0.05)
            with pytest.raises(RayFailed, match=r"raylet.*exited with code -9"):
                health.check()
            (lost,) = cluster.node_ids
            with garbage_of(refs):
                cluster.restart()
            health.check()
            assert cluster.node_ids != [lost]
            assert ray.get(answer.remote()) != str(Path.cwd())
            assert signal.getsignal(signal.SIGTERM) is ours
            assert handles(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            assert signal.alarm(0) == 0  # Ray's own handler sets one that aborts the process
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not health.is_good() and "RAY_AUTH_TOKEN" not in os.environ


@contextmanager
def garbage_of(refs: list[ray.ObjectRef]) -> Iterator[None]:
    """Another thread makes some all the time, which Python then collects in that thread."""
    enough = threading.Event()

    def make() -> None:
        while refs and not enough.wait(1e-3):
            cycle: list[Any] = [refs.pop()]
            for _ in range(1000):
                cycle = [cycle]
                cycle.append(cycle)

    thread = threading.Thread(target=make)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def listening() -> list[tuple[str, str]]:
    """Program and address of every port that this process and its children listen on."""
    found = []
    for process in [psutil.Process(), *children()]:
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                found.append((process.name(), connection.laddr.ip))
    assert {"gcs_server", "raylet"} <= {name for name, _ in found}
    return found


def handles(number: int) -> bool:
    """Whether the kernel knows of a handler of a signal."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (caught,) = [line.split()[1] for line in lines if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> (number - 1) & 1)
