"""What is written follows the documented layout, file by file, and what is read is what was
written. The layout v2.1, which is only read, is put together by hand here."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rlinf.envs.video import encode
from rlinf.errors import UserError
from rlinf.imitation.demonstrations import Demonstrations
from rlinf.imitation.lerobot.read import DataSet
from rlinf.imitation.lerobot.write import Writer
from tests.unit.imitation.recorded import A, S, episode, number_of, numbered_picture

LENGTHS = (5, 8, 6)
TOTAL = sum(LENGTHS)


def write(folder: Path, pictures: str = "png", views: int = 1, size: int = 64) -> Path:
    writer = Writer(folder, 20, pictures)
    for index, length in enumerate(LENGTHS):
        writer.add(episode(index, length, success=index != 1, views=views, size=size))
    return writer.close()


def load(*folders: Path, keys: tuple[str, ...] = (), cache: Path) -> Demonstrations:
    return Demonstrations.load([str(f) for f in folders], keys, cache, lambda *_: None)


@pytest.mark.parametrize("pictures", ["png", "video"])
def test_every_file_of_the_documented_layout_is_there(tmp_path, pictures):
    root = write(tmp_path / "set", pictures, views=2)
    info = json.loads((root / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, TOTAL, 2)
    assert (info["fps"], info["chunks_size"], info["splits"]) == (20, 1000, {"train": "0:3"})
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    features = info["features"]
    dtype = "video" if pictures == "video" else "image"
    for view in (0, 1):
        feature = features[f"observation.images.view_{view}"]
        assert feature["dtype"] == dtype and feature["shape"] == [64, 64, 3]
        assert feature["names"] == ["height", "width", "channels"]
    assert features["action"] == {"dtype": "float32", "shape": [A], "names": None}
    assert features["observation.state"]["shape"] == [S]
    for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        assert features[name]["shape"] == [1]
    videos = sorted(str(p.relative_to(root)) for p in root.glob("videos/**/*.mp4"))
    expected = [
        f"videos/observation.images.view_{view}/chunk-000/file-00{episode}.mp4"
        for view in (0, 1)
        for episode in range(3)
    ]
    assert videos == (expected if pictures == "video" else [])


def test_a_row_has_the_columns_that_every_data_set_has(tmp_path):
    root = write(tmp_path / "set")
    table = pq.read_table(root / "data/chunk-000/file-000.parquet")
    assert table["index"].to_pylist() == list(range(TOTAL))
    assert table["episode_index"].to_pylist() == [0] * 5 + [1] * 8 + [2] * 6
    assert table["frame_index"].to_pylist()[5:13] == list(range(8))
    assert table["timestamp"].to_pylist()[:3] == pytest.approx([0, 0.05, 0.1])
    assert table["task_index"].to_pylist() == [0] * 5 + [1] * 8 + [0] * 6
    assert table.schema.field("action").type == pa.list_(pa.float32(), A)
    assert table.schema.field("timestamp").type == pa.float32()
    done = np.flatnonzero(table["next.done"].to_numpy(zero_copy_only=False))
    assert done.tolist() == [4, 12, 18]
    solved = np.flatnonzero(table["next.success"].to_numpy(zero_copy_only=False))
    assert solved.tolist() == [4, 18]  # episode 1 failed
    encoded = table["observation.images.view_0"][7].as_py()["bytes"]
    assert number_of(np.asarray(Image.open(io.BytesIO(encoded)))) == 102


def test_the_metadata_say_where_each_episode_is_and_how_its_numbers_are_distributed(tmp_path):
    root = write(tmp_path / "set", "video")
    rows = pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [r["length"] for r in rows] == list(LENGTHS)
    assert [(r["dataset_from_index"], r["dataset_to_index"]) for r in rows] == [
        (0, 5),
        (5, 13),
        (13, 19),
    ]
    assert [r["tasks"] for r in rows] == [["do task 0"], ["do task 1"], ["do task 0"]]
    key = "videos/observation.images.view_0"
    assert [r[f"{key}/file_index"] for r in rows] == [0, 1, 2]
    assert rows[1][f"{key}/from_timestamp"] == 0.0
    assert rows[1][f"{key}/to_timestamp"] == pytest.approx(8 / 20)
    stats = json.loads((root / "meta/stats.json").read_text())
    actions = np.concatenate([episode(i, n).actions for i, n in enumerate(LENGTHS)])
    assert stats["action"]["mean"] == pytest.approx(actions.mean(axis=0), abs=1e-6)
    assert stats["action"]["std"] == pytest.approx(actions.std(axis=0), abs=1e-6)
    assert stats["action"]["count"] == [TOTAL]
    shades = stats["observation.images.view_0"]  # black and white: between 0 and 1
    assert np.shape(shades["mean"]) == (3, 1, 1)
    assert 0.1 < np.mean(shades["mean"]) < 0.5 and np.max(shades["max"]) == 1.0
    tasks = pq.read_table(root / "meta/tasks.parquet")
    assert tasks["task"].to_pylist() == ["do task 0", "do task 1"]
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]


def test_png_pictures_and_all_numbers_come_back_bit_for_bit(tmp_path):
    found = load(write(tmp_path / "set", views=2), cache=tmp_path / "cache")
    episodes = [episode(i, n, success=i != 1, views=2) for i, n in enumerate(LENGTHS)]
    assert np.array_equal(found.images, np.concatenate([e.images for e in episodes]))
    assert np.array_equal(found.actions, np.concatenate([e.actions for e in episodes]))
    assert np.array_equal(found.state, np.concatenate([e.state for e in episodes]))
    assert found.success.tolist() == [True, False, True]
    starts = np.flatnonzero(np.concatenate([e.sample_start for e in episodes]))
    assert np.array_equal(found.starts, starts)
    seen = found.observation(np.array([4]))  # steps 0 1 3 4 are the samples of episode 0
    assert number_of(seen.images[0, 0]) == 100 and number_of(seen.images[0, 1]) == 1100
    assert seen.instructions == ("do task 1",)


def test_a_video_gives_every_step_its_own_picture(tmp_path):
    found = load(write(tmp_path / "set", "video", views=2), cache=tmp_path / "cache")
    numbers = [100 * i + t for i, n in enumerate(LENGTHS) for t in range(n)]
    assert [number_of(shown[0]) for shown in found.images] == numbers
    assert [number_of(shown[1]) for shown in found.images] == [1000 + n for n in numbers]


def test_decoded_pictures_are_kept_and_found_again_until_the_data_change(tmp_path):
    root, cache = write(tmp_path / "set"), tmp_path / "cache"
    load(root, cache=cache)
    (kept,) = cache.iterdir()
    before = kept.stat().st_mtime_ns
    load(root, cache=cache)
    assert [p.name for p in cache.iterdir()] == [kept.name]
    assert kept.stat().st_mtime_ns == before
    info = root / "meta/info.json"
    info.write_text(info.read_text() + "\n")
    load(root, cache=cache)
    assert len(list(cache.iterdir())) == 2


def test_several_data_sets_are_learned_from_together(tmp_path):
    first, second = write(tmp_path / "a"), write(tmp_path / "b", "video")
    found = load(first, second, cache=tmp_path / "cache")
    assert len(found.actions) == 2 * TOTAL and len(found.success) == 6
    assert number_of(found.images[TOTAL + 5, 0]) == 100
    assert found.instructions == ("do task 0", "do task 1")


# --- layouts that others write -------------------------------------------------------------------


def write_v21(root: Path) -> Path:
    """Two episodes of 4 and 3 steps: one parquet file and one video each, lists as JSON lines."""
    lengths = (4, 3)
    for folder in ("meta", "data/chunk-000", "videos/chunk-000/observation.images.top"):
        (root / folder).mkdir(parents=True)
    info = {
        "codebase_version": "v2.1",
        "robot_type": "arm",
        "total_episodes": 2,
        "total_frames": 7,
        "chunks_size": 1000,
        "fps": 10,
        "splits": {"train": "0:2"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": (
            "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
        ),
        "features": {
            "observation.images.top": {
                "dtype": "video",
                "shape": [3, 64, 96],
                "names": ["channels", "height", "width"],
            },
            "action": {"dtype": "float32", "shape": [2]},
            "task_index": {"dtype": "int64", "shape": [1]},
        },
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "stack the cups"}\n')
    rows = [
        {"episode_index": i, "tasks": ["stack the cups"], "length": n}
        for i, n in enumerate(lengths)
    ]
    (root / "meta/episodes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    for index, length in enumerate(lengths):
        table = {
            "action": [[index + 0.5, t / 4] for t in range(length)],
            "timestamp": [t / 10 for t in range(length)],
            "frame_index": list(range(length)),
            "episode_index": [index] * length,
            "index": list(range(length)),
            "task_index": [0] * length,
        }
        pq.write_table(pa.table(table), root / f"data/chunk-000/episode_{index:06d}.parquet")
        shown = (
            np.pad(numbered_picture(10 * index + t, 64), ((0, 0), (0, 32), (0, 0)))
            for t in range(length)
        )
        path = root / f"videos/chunk-000/observation.images.top/episode_{index:06d}.mp4"
        encode(shown, 10, path)
    return root


def test_a_data_set_of_layout_v21_is_read(tmp_path):
    found = load(write_v21(tmp_path / "old"), cache=tmp_path / "cache")
    assert found.images.shape == (7, 1, 64, 96, 3)
    assert [number_of(shown[0, :, :64]) for shown in found.images] == [0, 1, 2, 3, 10, 11, 12]
    assert found.actions.tolist() == [[0.5, t / 4] for t in range(4)] + [
        [1.5, t / 4] for t in range(3)
    ]
    assert found.instructions == ("stack the cups",)
    assert found.starts.tolist() == list(range(7))  # it does not say, so every step
    assert found.success.tolist() == [True, True]


def test_many_episodes_in_one_video_are_told_apart_by_their_timestamps(tmp_path):
    root = write(tmp_path / "set", "video")
    key = "videos/observation.images.view_0"
    folder = root / key / "chunk-000"
    numbers = [100 * i + t for i, n in enumerate(LENGTHS) for t in range(n)]
    for path in folder.iterdir():
        path.unlink()
    encode((numbered_picture(n, 64) for n in numbers), 20, folder / "file-000.mp4")
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(path).to_pylist()
    for row, first in zip(rows, (0, 5, 13), strict=True):
        row[f"{key}/file_index"] = 0
        row[f"{key}/from_timestamp"] = first / 20
    pq.write_table(pa.Table.from_pylist(rows), path)
    found = load(root, cache=tmp_path / "cache")
    assert [number_of(shown[0]) for shown in found.images] == numbers


# --- what is wrong -------------------------------------------------------------------------------


def damage_info(root: Path, **changes: object) -> None:
    path = root / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_without_a_data_set_is_named(tmp_path):
    with pytest.raises(UserError, match=r"imitation\.data = .*meta/info\.json is missing"):
        DataSet(str(tmp_path))


def test_another_version_of_the_layout_is_refused(tmp_path):
    root = write(tmp_path / "set")
    damage_info(root, codebase_version="v1.6")
    with pytest.raises(UserError, match=r"layout v1\.6; v2\.0, v2\.1, v3\.0 can be read"):
        DataSet(str(root))


def test_a_misspelt_image_key_is_answered_with_the_nearest(tmp_path):
    root = write(tmp_path / "set")
    with pytest.raises(UserError, match=r"fix: write observation\.images\.view_0"):
        load(root, keys=("observation.image.view0",), cache=tmp_path)


def test_a_missing_feature_of_actions_is_named(tmp_path):
    root = write(tmp_path / "set")
    features = json.loads((root / "meta/info.json").read_text())["features"]
    damage_info(root, features={k: v for k, v in features.items() if k != "action"})
    with pytest.raises(UserError, match="no feature 'action'"):
        load(root, cache=tmp_path)


def test_a_truncated_table_is_refused(tmp_path):
    root = write(tmp_path / "set")
    path = root / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path).slice(0, TOTAL - 2), path)
    with pytest.raises(UserError, match="has 4 of the 6 steps of episode 2"):
        load(root, cache=tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot be read"):
        load(root, cache=tmp_path)


def test_a_short_or_missing_video_is_refused(tmp_path):
    root, cache = write(tmp_path / "set", "video"), tmp_path / "cache"
    path = root / "videos/observation.images.view_0/chunk-000/file-001.mp4"
    encode((numbered_picture(t, 64) for t in range(7)), 20, path)
    with pytest.raises(UserError, match="has 7 pictures, its episodes need 8"):
        load(root, cache=cache)
    assert not list(cache.iterdir())  # nothing half-decoded is left
    path.unlink()
    with pytest.raises(UserError, match="is missing"):
        load(root, cache=cache)


def test_pictures_of_different_sizes_are_refused(tmp_path):
    roots = write(tmp_path / "a"), write(tmp_path / "b", size=32)
    with pytest.raises(UserError, match=r"64 x 64 .*32 x 32"):
        load(*roots, cache=tmp_path)


@pytest.mark.parametrize("feature", ["actions", "state"])
def test_rows_of_different_sizes_are_refused(tmp_path, feature):
    roots = []
    for name, more in (("a", 0), ("b", 1)):
        one = episode(0, 5)
        numbers = getattr(one, feature)
        numbers = np.pad(numbers, ((0, 0), (0, more)))
        writer = Writer(tmp_path / name, 20, "png")
        writer.add(replace(one, **{feature: numbers}))
        roots.append(writer.close())
    size = {"actions": A, "state": S}[feature]
    with pytest.raises(UserError, match=rf"/b has {size + 1} numbers, that of .*/a has {size}"):
        load(*roots, cache=tmp_path)


def test_a_data_set_is_never_overwritten_and_never_empty(tmp_path):
    root = write(tmp_path / "set")
    with pytest.raises(UserError, match="exists already"):
        Writer(root, 20, "png")
    with pytest.raises(UserError, match="no episode to write"):
        Writer(tmp_path / "other", 20, "png").close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


def test_videos_need_even_sides(tmp_path):
    writer = Writer(tmp_path / "set", 20, "video")
    odd = episode(0, 2, size=64)
    odd = type(odd)(odd.images[:, :, :63], *[getattr(odd, n) for n in odd.__slots__[1:]])
    with pytest.raises(UserError, match="63 x 64 pixels cannot be encoded"):
        writer.add(odd)
