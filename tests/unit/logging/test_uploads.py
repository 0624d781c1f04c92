"""wandb and swanlab through their own libraries, offline: they write the run to local files."""

from __future__ import annotations

import importlib.util
import os
import signal
import struct
import subprocess
import sys
import threading
import time

import psutil
import pytest

from rlinf.cli import main
from rlinf.errors import UserError
from rlinf.logging import uploads
from rlinf.logging.upload_process import _in_netrc, follow
from rlinf.logging.uploads import Uploader
from rlinf.logging.writers import MetricWriters

HANGS_S = 120.0  # what works takes less, however busy the machine is
KL, KL_ALIAS = "train/actor/approx_kl", "actor/approx_kl"


@pytest.fixture(autouse=True)
def offline_and_without_credentials(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("WANDB_", "SWANLAB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("SWANLAB_MODE", "offline")


def need(service):
    if importlib.util.find_spec(service) is None:
        pytest.skip(f"{service} is not installed")


def run_file(folder, service):
    """The bytes that the service has stored of the run; strings in them are not compressed."""
    patterns = {"wandb": "wandb/offline-run-*/*.wandb", "swanlab": "swanlab/run-*/*.swanlab"}
    files = list(folder.glob(patterns[service]))
    return b"".join(file.read_bytes() for file in files)


def wait_until(condition):
    deadline = time.monotonic() + HANGS_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


@pytest.mark.parametrize("service", ["wandb", "swanlab"])
def test_the_service_gets_every_metric_under_all_its_names(service, tmp_path, caplog):
    need(service)
    writers = MetricWriters(tmp_path / "run", [service], "project", "name-of-run", {"seed": 77})
    writers.write(1, {KL: 0.125, "train/loss": float("nan")})
    writers.write(2, {KL: 0.25, "train/loss": 0.5})
    writers.close()
    stored = run_file(tmp_path / "run", service)
    for name in (KL, KL_ALIAS, "train/loss"):
        assert name.encode() in stored, name
    for value in (0.125, 0.25, 0.5):  # wandb keeps text, swanlab binary numbers
        assert str(value).encode() in stored or struct.pack("<d", value) in stored, value
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [
        "step 1: train/loss is nan; metrics.jsonl says null"
    ]


@pytest.mark.parametrize("service", ["wandb", "swanlab"])
def test_a_run_does_not_begin_without_credentials(service, tmp_path, monkeypatch, capsys):
    need(service)
    monkeypatch.delenv(f"{service.upper()}_MODE")
    backends = f"runner.logger.logger_backends=[tensorboard,{service}]"
    folder = f"runner.logger.log_path={tmp_path / 'run'}"
    assert main(["train", "toy_ppo_mlp", folder, backends]) == 2
    assert f"{service} has no API key" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("service", ["wandb", "swanlab"])
def test_missing_credentials_are_a_user_error_that_says_how_to_go_on(
    service, tmp_path, monkeypatch
):
    need(service)
    mode = f"{service.upper()}_MODE"
    monkeypatch.delenv(mode)
    with pytest.raises(UserError, match=rf"{service} has no API key(?s:.*){mode}=offline"):
        MetricWriters(tmp_path, [service], "project", "run", {})


@pytest.mark.parametrize("host", ["wandb.example.org", "api.wandb.ai"])
def test_a_key_in_the_netrc_file_counts_as_credentials(host, tmp_path, monkeypatch):
    file = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(file))
    assert not _in_netrc("https://wandb.example.org")
    file.write_text("machine github.com login me password x\n")
    assert not _in_netrc("https://wandb.example.org")
    file.write_text(f"machine {host} login user password x\n")
    assert _in_netrc("https://wandb.example.org")


def test_a_missing_library_is_a_user_error_with_the_install_command(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"wandb: the library is not installed\n.*--extra wandb"):
        MetricWriters(tmp_path, ["wandb"], "project", "run", {})


def test_a_killed_upload_starts_again_and_sends_the_run_from_its_beginning(
    tmp_path, monkeypatch, caplog
):
    need("wandb")
    monkeypatch.setattr(uploads, "RETRY_INTERVAL_S", 0.0)
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"step": 1, "env/first": 0.125}\n')
    uploader = Uploader("wandb", metrics, "project", "run", {})
    os.killpg(uploader._process.pid, signal.SIGKILL)
    uploader._process.wait()
    with metrics.open("a") as file:
        file.write('{"step": 2, "env/second": 0.25}\n')
    uploader.write(2, {})
    uploader.write(2, {})
    uploader.close()
    assert b"env/first" in run_file(tmp_path, "wandb")
    assert b"env/second" in run_file(tmp_path, "wandb")
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert warnings[0].startswith("wandb stopped")


def test_a_dead_network_neither_delays_nor_ends_a_run(tmp_path, monkeypatch, caplog):
    need("wandb")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # refuses connections
    monkeypatch.setattr(uploads, "FINISH_TIMEOUT_S", 1.0)
    writers = MetricWriters(tmp_path, ["wandb"], "project", "run", {})
    uploads_itself = psutil.Process().children()
    for process in uploads_itself:
        process.suspend()  # so that nothing it does can be what a write waits for

    def write() -> None:
        for step in range(1, 101):
            writers.write(step, {"env/return": 1.0})

    thread = threading.Thread(target=write)
    thread.start()
    thread.join(HANGS_S)
    assert uploads_itself and not thread.is_alive()
    for process in uploads_itself:
        process.resume()
    writers.close()
    assert "wandb did not get all metrics" in caplog.text
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 100


def test_the_upload_ends_by_itself_when_the_run_is_killed(tmp_path):
    need("wandb")
    program = f"""
import os, signal
from pathlib import Path
from rlinf.logging.uploads import Uploader
Path({str(tmp_path)!r}, "metrics.jsonl").write_text('{{"step": 1, "env/first": 0.125}}\\n')
uploader = Uploader("wandb", Path({str(tmp_path)!r}, "metrics.jsonl"), "project", "run", {{}})
print(uploader._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False)
    group = int(run.stdout)

    def gone():
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    wait_until(gone)
    assert b"env/first" in run_file(tmp_path, "wandb")


def test_a_run_keeps_its_name_towards_the_service_over_a_resume(tmp_path):
    first = uploads._stored_run_id(tmp_path / "run_id")
    assert uploads._stored_run_id(tmp_path / "run_id") == first
    assert uploads._stored_run_id(tmp_path / "other") != first


def test_following_a_file_yields_whole_lines_and_waits_for_torn_ones(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("one\ntw")
    additions = iter(["o\nthree\n", ""])

    def nothing_more():
        with path.open("a") as file:
            addition = next(additions)
            file.write(addition)
        return not addition

    lines = follow(path, nothing_more)
    assert next(lines) == "one\n"  # the first addition is made before the first look
    assert list(lines) == ["two\n", "three\n"]
