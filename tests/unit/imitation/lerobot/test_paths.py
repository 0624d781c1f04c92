"""A data set from strangers reads nothing outside its folder, and starts no other program on it."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import EpsImagePlugin, Image

from rlinf.errors import UserError
from rlinf.imitation.demonstrations import Demonstrations
from rlinf.imitation.lerobot.paths import DataSetFolder
from rlinf.imitation.lerobot.write import Writer
from tests.unit.imitation.recorded import episode

DATA = "data/chunk-000/file-000.parquet"
VIDEO = "videos/observation.images.view_0/chunk-000/file-000.mp4"


def write(folder: Path, pictures: str) -> Path:
    writer = Writer(folder, 20, pictures)
    writer.add(episode(0, 3))
    return writer.close()


def load(root: Path, cache: Path) -> Demonstrations:
    return Demonstrations.load([str(root)], (), cache, lambda *_: None)


def say(root: Path, **changes: object) -> None:
    """Changes what `info.json` says."""
    path = root / "meta/info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def hold(root: Path, picture: dict[str, object]) -> None:
    """Puts another picture into every row."""
    table = pq.read_table(root / DATA)
    key = "observation.images.view_0"
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([picture] * len(table), kind)
    place = table.column_names.index(key)
    pq.write_table(table.set_column(place, key, column), root / DATA)


def moved(root: Path, file: str) -> Path:
    """Takes a file out of the data set; returns where it is now."""
    place = root.parent / "private"
    (root / file).rename(place)
    return place


def upwards(root: Path) -> None:
    moved(root, DATA)
    say(root, data_path="data/../../private")


def absolute(root: Path) -> None:
    say(root, data_path=str(moved(root, DATA)))


def videos_upwards(root: Path) -> None:
    moved(root, VIDEO)
    say(root, video_path="../private")


def through_the_name_of_a_camera(root: Path) -> None:
    moved(root, VIDEO)
    path = root / "meta/info.json"
    path.write_text(path.read_text().replace("observation.images.view_0", "../private"))
    listed = root / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(listed)
    names = [n.replace("observation.images.view_0", "../private") for n in table.column_names]
    pq.write_table(table.rename_columns(names), listed)


def attributes_of_a_value(root: Path) -> None:
    say(root, data_path="data/{chunk_index.__class__}/{file_index}.parquet")


def a_number_of_a_billion_digits(root: Path) -> None:
    say(root, data_path="data/{chunk_index:01000000000d}.parquet")


def by_a_link(root: Path) -> None:
    (root / DATA).symlink_to(moved(root, DATA))


def by_a_link_to_a_folder(root: Path) -> None:
    (root / "data").rename(root.parent / "private")
    (root / "data").symlink_to(root.parent / "private")


def by_a_link_of_the_metadata(root: Path) -> None:
    (root / "meta/info.json").symlink_to(moved(root, "meta/info.json"))


def a_pipe(root: Path) -> None:
    moved(root, DATA)
    os.mkfifo(root / DATA)  # opening it would wait for a writer


def a_picture_upwards(root: Path) -> None:
    (root.parent / "private").write_bytes(b"")
    hold(root, {"bytes": None, "path": "../private"})


OUTSIDE: list[tuple[str, Callable[[Path], None]]] = [
    ("png", upwards),
    ("png", absolute),
    ("png", attributes_of_a_value),
    ("png", a_number_of_a_billion_digits),
    ("png", by_a_link),
    ("png", by_a_link_to_a_folder),
    ("png", by_a_link_of_the_metadata),
    ("png", a_pipe),
    ("png", a_picture_upwards),
    ("video", videos_upwards),
    ("video", through_the_name_of_a_camera),
]


@pytest.mark.parametrize(
    ("pictures", "lead"), OUTSIDE, ids=lambda case: getattr(case, "__name__", "")
)
def test_no_name_and_no_link_leads_out_of_the_folder(
    tmp_path: Path, pictures: str, lead: Callable[[Path], None]
):
    root = write(tmp_path / "set", pictures)
    lead(root)
    with pytest.raises(UserError, match=r"outside its folder|is no path|no plain file"):
        load(root, tmp_path / "cache")


def test_a_folder_may_be_a_link_and_a_snapshot_in_the_cache_of_the_hub_consists_of_them(
    tmp_path: Path,
):
    root = write(tmp_path / "elsewhere", "png")
    snapshot = tmp_path / "datasets--a--b/snapshots/0123"
    blobs = tmp_path / "datasets--a--b/blobs"
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(p for p in root.rglob("*") if p.is_file())):
        path.rename(blobs / str(number))
        target = snapshot / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(os.path.relpath(blobs / str(number), target.parent))
    (tmp_path / "link").symlink_to(snapshot)
    assert len(load(tmp_path / "link", tmp_path / "cache").images) == 3
    (snapshot / "other").symlink_to(tmp_path)
    with pytest.raises(UserError, match=r"outside its folder"):
        DataSetFolder(snapshot).file("other")


def test_postscript_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pillow draws it with Ghostscript, a program with a history; this one leaves a mark."""
    interpreter, mark = tmp_path / "gs", tmp_path / "ran"
    interpreter.write_text(f"#!/bin/sh\ntouch {mark}\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", str(interpreter))
    root = write(tmp_path / "set", "png")
    program = io.BytesIO()
    Image.new("RGB", (64, 64)).save(program, "EPS")
    hold(root, {"bytes": program.getvalue(), "path": None})
    with pytest.raises(UserError, match=r"picture 0 .* is damaged"):
        load(root, tmp_path / "cache")
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_is_not_decoded_where_its_size_is_another(tmp_path: Path):
    root = write(tmp_path / "set", "png")
    bomb = io.BytesIO()
    Image.new("1", (30_000, 5_000)).save(bomb, "PNG")  # 19 kB, and 450 MB of RGB
    hold(root, {"bytes": bomb.getvalue(), "path": None})
    with pytest.raises(UserError, match="5000 x 30000 pixels"):
        load(root, tmp_path / "cache")


def test_a_video_that_names_another_one_is_not_played(tmp_path: Path):
    root = write(tmp_path / "set", "video")
    (root / VIDEO).rename((root / VIDEO).with_name("other.mp4"))
    (root / VIDEO).write_text("ffconcat version 1.0\nfile 'other.mp4'\n")
    with pytest.raises(UserError, match="cannot be decoded"):
        load(root, tmp_path / "cache")


@pytest.mark.parametrize(
    "change",
    [
        {"fps": 0},
        {"features": {"action": 3}},
        {"data_path": 7},
        {"chunks_size": 0, "codebase_version": "v2.1"},
        {"data_path": "data/{"},
        {
            "features": {
                "action": {"dtype": "float32", "shape": [7]},
                "observation.images.view_0": {"dtype": "image", "shape": [-4]},
            }
        },
    ],
    ids=str,
)
def test_metadata_of_another_form_are_refused_in_a_sentence(tmp_path: Path, change: dict):
    root = write(tmp_path / "set", "png")
    say(root, **change)
    with pytest.raises(UserError, match=r"imitation.data = .*info.json|is no path"):
        load(root, tmp_path / "cache")
