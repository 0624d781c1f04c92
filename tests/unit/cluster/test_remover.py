"""Nothing of a run stays on the machine, however its launcher ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from rlinf.cluster.remover import PrivateFolder

HANGS_S = 120.0  # what works takes a second, however busy the machine is

# A launcher with a process that it does not end, and that writes a file in the folder, as it does
# itself; another one only reads it.
LAUNCHER = """
import subprocess, sys
from rlinf.cluster.remover import PrivateFolder
folder = PrivateFolder(sys.argv[1], grace_s=0.2)
(folder.path / "session/logs").mkdir(parents=True)
path = folder.path / "session/logs/worker.out"
for log in (path.open("w"), path.open()):
    wait = [sys.executable, "-c", "import time; time.sleep(1000)"]
    process = subprocess.Popen(wait, stdin=log, start_new_session=True)
print(process.pid)
own = path.open("a")
print(folder.path, flush=True)
input()
{end}
"""


@pytest.mark.parametrize("end", [None, "sys.exit(3)", "folder.close()", "1 / 0"])
def test_a_launcher_that_ends_leaves_no_process_and_no_folder(tmp_path: Path, end: str | None):
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER.format(end=end), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert launcher.stdin is not None and launcher.stdout is not None
    reader = psutil.Process(int(launcher.stdout.readline()))
    folder = Path(launcher.stdout.readline().strip())
    assert folder.stat().st_mode & 0o777 == 0o700
    started = {*psutil.Process(launcher.pid).children(recursive=True)} - {reader}
    assert len(started) == 2  # with the remover
    if end is None:
        os.killpg(launcher.pid, signal.SIGKILL)  # the whole group, as a batch system does
    else:
        launcher.stdin.write("\n")
        launcher.stdin.flush()
    launcher.wait()
    _, alive = psutil.wait_procs(started, timeout=HANGS_S)
    assert not alive and not folder.exists()
    assert reader.is_running()
    reader.kill()


def test_a_launcher_that_goes_on_is_not_ended(tmp_path: Path):
    folder = PrivateFolder(str(tmp_path), grace_s=0.0)
    with (folder.path / "log").open("w"):
        folder.close()
        folder._remover.wait()
    assert not folder.path.exists()


def test_what_explains_an_error_stays(tmp_path: Path):
    folder = PrivateFolder(str(tmp_path), grace_s=0.0)
    folder.close(keep=True)
    folder._remover.wait()
    assert folder.path.is_dir()
    (folder := PrivateFolder(str(tmp_path), grace_s=0.0)).close()
    folder._remover.wait()
    assert not folder.path.exists()
