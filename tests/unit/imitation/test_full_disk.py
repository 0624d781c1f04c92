"""Data sets and their pictures on disks without space."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from rlinf.errors import UserError
from rlinf.imitation.demonstrations import Demonstrations
from rlinf.imitation.lerobot.write import Writer
from tests.full_disk import largest_file, run_on_small_disk
from tests.unit.imitation.recorded import episode

DECODE = """
import sys
from pathlib import Path
from rlinf.imitation.lerobot.pictures import decoded
from rlinf.imitation.lerobot.read import DataSet

disk = Path({disk!r})

def fill(done, total):
    try:
        with (disk / "other").open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        pass

pictures = decoded([DataSet(Path({data!r}))], [["observation.images.view_0"]], disk, fill)
assert all(pictures.any(axis=(1, 2, 3, 4)))
"""


def data_set(folder: Path) -> Path:
    """12 pictures, 1.7 MB when they are decoded."""
    writer = Writer(folder, 20, "png")
    for index in (1, 2):
        writer.add(episode(index, 6, size=220))
    return writer.close()


def test_pictures_have_their_space_before_they_are_decoded(tmp_path: Path) -> None:
    """A process that writes to a mapping without space is killed: a bus error."""
    disk = tmp_path / "disk"
    disk.mkdir()
    data = data_set(tmp_path / "data")
    done = run_on_small_disk(DECODE.format(disk=str(disk), data=str(data)), disk, "2m")
    assert done.returncode == 0, (done.returncode, done.stderr)


def test_pictures_that_do_not_fit_are_told_with_the_key(tmp_path: Path) -> None:
    data = data_set(tmp_path / "data")
    with largest_file(1_000_000), pytest.raises(UserError) as caught:
        Demonstrations.load([str(data)], (), tmp_path / "cache", lambda *_: None)
    assert f"cannot be written to {tmp_path}/cache: File too large" in str(caught.value)
    assert "imitation.cache_dir" in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("pictures", ["png", "video"])
def test_a_data_set_that_does_not_fit_leaves_nothing(
    pictures: Literal["png", "video"], tmp_path: Path
) -> None:
    writer = Writer(tmp_path / "data", 20, pictures)
    noise = episode(0, 4)
    noise.images[:] = np.random.default_rng(0).integers(0, 256, noise.images.shape)
    with largest_file(2000):
        with pytest.raises((OSError, UserError), match=r"too large|cannot be written.* free there"):
            for _ in range(100):
                writer.add(noise)
        writer.discard()
    assert list(tmp_path.iterdir()) == []
