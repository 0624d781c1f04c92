"""Limits of containers and batch systems, from files as the kernel shows them there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from rlinf import control_groups
from rlinf.control_groups import Memory

GB = 10**9
CONTAINER = "/docker/0123"

# A container on a host with version 1, whose own group is mounted as if it were the first one.
V1_CONTAINER = {
    "proc/self/cgroup": f"5:memory:{CONTAINER}\n4:cpu,cpuacct:{CONTAINER}\n1:name=systemd:/x\n",
    "proc/self/mountinfo": (
        f"1 0 0:1 {CONTAINER} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        f"2 0 0:2 {CONTAINER} /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup c rw,cpu,cpuacct\n"
    ),
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GB}",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "900000000",
    "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 200000000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
}

# A job of a batch system with version 1: the limit is on a group around that of the process.
V1_JOB = {
    "proc/self/cgroup": "5:memory:/slurm/job_7/step_0\n4:cpu:/slurm/job_7/step_0\n",
    "proc/self/mountinfo": (
        "1 0 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "2 0 0:2 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    ),
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    "sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes": f"{2 * GB}",
    "sys/fs/cgroup/memory/slurm/job_7/memory.usage_in_bytes": f"{GB}",
    "sys/fs/cgroup/memory/slurm/job_7/step_0/memory.limit_in_bytes": "9223372036854771712",
    "sys/fs/cgroup/cpu/slurm/job_7/cpu.cfs_quota_us": "-1",
    "sys/fs/cgroup/cpu/slurm/job_7/cpu.cfs_period_us": "100000",
}

# A container with version 2 and a name space of its own.
V2_CONTAINER = {
    "proc/self/cgroup": "0::/\n",
    "proc/self/mountinfo": "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate\n",
    "sys/fs/cgroup/memory.max": f"{GB}",
    "sys/fs/cgroup/memory.current": "500000000",
    "sys/fs/cgroup/memory.stat": "inactive_file 100000000\n",
    "sys/fs/cgroup/cpu.max": "50000 100000",
}

# A user's session with version 2: cores are limited for the user, memory for the unit.
V2_SESSION = {
    "proc/self/cgroup": "0::/user.slice/user-7.slice/run.scope\n",
    "proc/self/mountinfo": "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
    "sys/fs/cgroup/user.slice/user-7.slice/cpu.max": "250000 100000",
    "sys/fs/cgroup/user.slice/user-7.slice/memory.max": "max",
    "sys/fs/cgroup/user.slice/user-7.slice/run.scope/memory.max": f"{3 * GB}",
    "sys/fs/cgroup/user.slice/user-7.slice/run.scope/memory.current": f"{2 * GB}",
    "sys/fs/cgroup/user.slice/user-7.slice/run.scope/cpu.max": "max 100000",
}

UNLIMITED = {**V2_CONTAINER, "sys/fs/cgroup/memory.max": "max", "sys/fs/cgroup/cpu.max": "max 1"}
# Of a host that is not all below what this process sees.
BEYOND = {**V2_CONTAINER, "proc/self/cgroup": "0::/../../other\n"}


MEMINFO = f"MemTotal: {64 * GB // 1024} kB\nMemAvailable:{32 * GB // 1024} kB\nHugePages_Free: 0\n"


def written(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "limit", "available", "cores"),
    [
        (V1_CONTAINER, GB, 300_000_000, 1.5),  # 1.0 - 0.9 + 0.2 that caches give back
        (V1_JOB, 2 * GB, GB, None),
        (V2_CONTAINER, GB, 600_000_000, 0.5),
        (V2_SESSION, 3 * GB, GB, 2.5),
        (UNLIMITED, 64 * GB, 32 * GB, None),
        (BEYOND, GB, 600_000_000, 0.5),
        ({}, 64 * GB, 32 * GB, None),
    ],
    ids=[
        "v1 container",
        "v1 job",
        "v2 container",
        "v2 session",
        "unlimited",
        "beyond",
        "no groups",
    ],
)
def test_the_tightest_limit_around_a_process_counts(
    tmp_path: Path, files: Mapping[str, str], limit: int, available: int, cores: float | None
):
    root = written(tmp_path, files)
    assert control_groups.memory_limit(root) == limit
    assert control_groups.memory(root) == Memory(limit, available)
    assert control_groups.cores(root) == cores


def test_a_share_is_that_of_the_group():
    assert Memory(1000, 250).percent == 75.0


def test_the_files_of_this_machine_are_understood():
    assert control_groups.memory_limit() > 0
    assert 0 <= control_groups.memory().percent <= 100
