"""Disks that refuse what is written to them."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Lets no file of this process grow beyond `size` bytes: "File too large"."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def run_on_small_disk(code: str, disk: Path, size: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code where a disk of `size` is mounted at `disk`; skips where that cannot be."""
    mount = f'mount -t tmpfs -o size={size} none "$0" && exec "$@"'
    inside = ["unshare", "-Urm", "sh", "-c", mount, str(disk)]
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"]).returncode:
        pytest.skip("no namespaces here to mount a small disk in")
    return subprocess.run([*inside, sys.executable, "-c", code], capture_output=True, text=True)
