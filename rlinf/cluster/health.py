"""Whether the processes of the Ray that this process started still run."""

from __future__ import annotations

from ray._private import worker

from rlinf.errors import RayFailed

_DAEMONS = {"gcs_server": "its control service", "raylet": "its node manager"}


def check() -> None:
    """Raises `RayFailed` where one of them has ended; a cluster that was there before is not ours.

    Ray itself goes on for minutes without them: it expects them on another machine, where they may
    come back.
    """
    node = worker._global_node
    if node is None:
        raise RayFailed("Ray ended on this machine, and did not start again")
    if not node.head:
        return
    for name, role in _DAEMONS.items():
        for info in node.all_processes.get(name, ()):
            code = info.process.poll()
            if code is not None:
                raise RayFailed(
                    f"Ray on this machine ended: {role} ({name}) exited with code {code}"
                )


def is_good() -> bool:
    """Whether `check` finds nothing."""
    try:
        check()
    except RayFailed:
        return False
    return True
