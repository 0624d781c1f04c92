"""Commands whose standard streams are closed, or lose their reader."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RLINF = [sys.executable, "-c", "import sys; from rlinf.cli import main; sys.exit(main())"]


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """Runs `"$@"`, which is `rlinf`, in a shell's script."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script, "-", *RLINF], capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ('"$@" check --schema | head -1', 0, "{"),
        ('"$@" check toy_ppo_mlp | true', 0, ""),
        ('"$@" check no_such_name 2>&1 | true', 2, ""),
        ('"$@" check toy_ppo_mlp <&- 2>&-', 0, "is valid"),
        ('"$@" check toy_ppo_mlp >&-', 0, ""),
        ('"$@" check no_such_name >&- 2>&-', 2, ""),
        ('"$@" check no_such_name 2> /dev/full', 2, ""),
    ],
)
def test_a_stream_that_is_closed_changes_nothing_but_what_is_shown(
    script: str, code: int, says: str
):
    done = shell(script)
    assert (done.returncode, done.stderr) == (code, "")
    assert says in done.stdout


def test_a_terminal_that_went_away_is_no_error():
    """Writing to it is an error of its own, EIO."""
    ours, theirs = os.openpty()
    code = f"from rlinf.streams import make_patient as p; p(); input(); print(1); {FINISH}"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.close(ours)
    child.communicate(b"\n")
    assert child.returncode == 7


FINISH = "import sys; sys.stdout.flush(); sys.exit(7)"


def test_a_full_disk_is_an_error():
    code = f"from rlinf.streams import make_patient as p; p(); print(1); {FINISH}"
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"No space left" in done.stderr


def test_a_folder_that_is_gone_is_refused(tmp_path: Path):
    (tmp_path / "gone").mkdir()
    done = shell(f'cd {tmp_path}/gone && rmdir ../gone && "$@" check toy_ppo_mlp')
    assert done.returncode == 2
    assert done.stderr.startswith("error: the folder that rlinf was started in is gone")


@pytest.mark.parametrize("command", ["check toy_ppo_mlp", "check --schema", "train toy_ppo_mlp"])
def test_output_onto_a_full_disk_is_an_error_of_the_user(command: str, tmp_path: Path):
    done = shell(f'cd {tmp_path}; "$@" {command} > /dev/full')
    assert done.returncode == 2
    assert done.stderr == (
        "error: standard output cannot be written: No space left on device\n"
        "  fix: send it to a terminal or to a disk with space\n"
    )
    assert list(tmp_path.iterdir()) == []
