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

# A launcher with two processes that it does not end: one is known by its command, the other, whose
# command is another one, by a file that it writes.
LAUNCHER = """
import subprocess, sys
from rlinf.cluster.remover import PrivateFolder
folder = PrivateFolder(sys.argv[1], grace_s=0.2)
(folder.path / "session/logs").mkdir(parents=True)
wait = "import time; time.sleep(1000)"
with (folder.path / "session/logs/worker.out").open("w") as log:
    for command, output in (([wait, str(folder.path)], None), ([wait], log)):
        subprocess.Popen([sys.executable, "-c", *command], stdout=output, start_new_session=True)
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
    folder = Path(launcher.stdout.readline().strip())
    assert folder.stat().st_mode & 0o777 == 0o700
    started = psutil.Process(launcher.pid).children(recursive=True)
    assert len(started) == 3  # with the remover
    if end is None:
        os.killpg(launcher.pid, signal.SIGKILL)  # the whole group, as a batch system does
    else:
        launcher.stdin.write("\n")
        launcher.stdin.flush()
    launcher.wait()
    _, alive = psutil.wait_procs(started, timeout=HANGS_S)
    assert not alive and not folder.exists()


def test_what_explains_an_error_stays(tmp_path: Path):
    folder = PrivateFolder(str(tmp_path), grace_s=0.0)
    folder.close(keep=True)
    folder._remover.wait()
    assert folder.path.is_dir()
    (folder := PrivateFolder(str(tmp_path), grace_s=0.0)).close()
    folder._remover.wait()
    assert not folder.path.exists()
