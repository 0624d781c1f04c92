"""Writes episodes as a LeRobot data set, v3.0.

Pictures are PNG inside the data files, exact to the bit, or H.264 videos, which are a tenth of the
size and lose colour detail. The folder appears under its name only when it is complete.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from rlinf.data.disk import free
from rlinf.envs.video import EncoderFailed, encode
from rlinf.errors import UserError
from rlinf.imitation.episode import Episode
from rlinf.imitation.lerobot import layout, statistics
from rlinf.imitation.lerobot.statistics import Statistics

Pictures = Literal["png", "video"]

_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TYPES = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}
# Every second picture stands for itself, so that one can be found without decoding all before it.
_H264 = "-c:v libx264 -preset veryfast -crf 18 -g 2 -bf 0 -pix_fmt yuv420p -threads 2"


class Writer:
    """A data set being written; `close` completes it, without it nothing is left but a hidden one.

    All episodes have pictures, states and actions of one size.
    """

    def __init__(self, folder: Path, fps: int, pictures: Pictures) -> None:
        """For a data set of `fps` steps per second in `folder`, which must not exist."""
        if folder.exists():
            raise UserError(f"{folder} exists already", "remove it, or choose another folder")
        self.folder, self.fps, self.pictures = folder, fps, pictures
        self._building = folder.with_name(f".{os.getpid()}-{folder.name}")
        shutil.rmtree(self._building, ignore_errors=True)
        (self._building / "meta").mkdir(parents=True)
        self._features: dict[str, Any] = {}
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._statistics: list[dict[str, Statistics]] = []
        self._steps = 0
        self._data: pq.ParquetWriter | None = None
        self._data_file = -1

    def __len__(self) -> int:
        """Episodes written."""
        return len(self._episodes)

    def add(self, episode: Episode) -> None:
        """Appends an episode."""
        if not self._features:
            self._features = self._describe(episode)
        index, first = len(self._episodes), self._steps
        task = self._tasks.setdefault(episode.instruction, len(self._tasks))
        columns = _columns(episode, index, first, task, self.fps)
        found = {
            name: statistics.of_rows(values)
            for name, values in columns.items()
            if values.dtype != bool
        }
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": [episode.instruction],
            "length": len(episode),
            "dataset_from_index": first,
            "dataset_to_index": first + len(episode),
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        stored: dict[str, Any] = dict(columns)
        for view in range(episode.images.shape[1]):
            key, shown = layout.image_key(view), episode.images[:, view]
            found[key] = statistics.of_pictures(shown)
            if self.pictures == "video":
                row |= self._write_video(key, shown, index)
            else:
                stored[key] = _png(shown)
        row |= self._write_data(stored)
        row |= {
            f"stats/{feature}/{name}": value.tolist()
            for feature, values in found.items()
            for name, value in values.items()
        }
        self._episodes.append(row)
        self._statistics.append(found)
        self._steps += len(episode)

    def close(self) -> Path:
        """Writes what describes the whole and moves the folder to its place."""
        if self._data is None:
            self.discard()
            raise UserError(
                f"{self.folder}: there is no episode to write",
                "collect more episodes, or keep those without success too",
            )
        self._data.close()
        _write_table(
            pa.Table.from_pylist(self._episodes), self._path(layout.EPISODES, chunk_index=0)
        )
        _write_table(_task_table(self._tasks), self._building / layout.TASKS)
        whole = {
            feature: statistics.pooled([part[feature] for part in self._statistics])
            for feature in self._statistics[0]
        }
        _write_json(
            {key: {n: v.tolist() for n, v in stats.items()} for key, stats in whole.items()},
            self._building / layout.STATS,
        )
        _write_json(self._info(), self._building / layout.INFO)
        self._building.rename(self.folder)
        return self.folder

    def discard(self) -> None:
        """Removes what was written so far."""
        if self._data is not None:
            with suppress(OSError):  # the end of the file does not fit on a full disk
                self._data.close()
        shutil.rmtree(self._building, ignore_errors=True)

    def _describe(self, episode: Episode) -> dict[str, Any]:
        shape = episode.images.shape[1:]
        video = self.pictures == "video"
        if video and (shape[1] % 2 or shape[2] % 2):
            raise UserError(
                f"collect.images = video: pictures of {shape[1]} x {shape[2]} pixels cannot be "
                "encoded, both sides must be even",
                "set collect.images=png",
            )
        found = layout.features(shape, episode.state.shape[1], episode.actions.shape[1], video)
        for feature in found.values():
            if feature["dtype"] == "video":
                feature["info"] = layout.video_info(shape[1:], self.fps)
        return found

    def _info(self) -> dict[str, Any]:
        return {
            "codebase_version": layout.VERSION,
            "robot_type": None,
            "total_episodes": len(self._episodes),
            "total_frames": self._steps,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.FILES_PER_CHUNK,
            "data_files_size_in_mb": layout.DATA_FILE_MB,
            "video_files_size_in_mb": layout.VIDEO_FILE_MB,
            "fps": self.fps,
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": layout.DATA,
            "video_path": layout.VIDEO if self.pictures == "video" else None,
            "features": self._features,
        }

    def _write_data(self, columns: dict[str, Any]) -> dict[str, int]:
        """Appends rows to the present data file, or to the next when that is full."""
        schema = pa.schema([(name, _type(self._features[name])) for name in columns])
        arrays = [_array(columns[field.name], field.type) for field in schema]
        if self._data is None or self._file_size() > layout.DATA_FILE_MB * 1_000_000:
            if self._data is not None:
                self._data.close()
            self._data_file += 1
            self._data = pq.ParquetWriter(self._path(layout.DATA, **self._place()), schema)
        self._data.write_table(pa.Table.from_arrays(arrays, schema=schema))
        return {f"data/{name}": value for name, value in self._place().items()}

    def _file_size(self) -> int:
        return self._path(layout.DATA, **self._place()).stat().st_size

    def _place(self) -> dict[str, int]:
        chunk, file = divmod(self._data_file, layout.FILES_PER_CHUNK)
        return {"chunk_index": chunk, "file_index": file}

    def _write_video(self, key: str, shown: np.ndarray, episode: int) -> dict[str, Any]:
        """A file of its own for each camera and episode."""
        chunk, file = divmod(episode, layout.FILES_PER_CHUNK)
        path = self._path(layout.VIDEO, video_key=key, chunk_index=chunk, file_index=file)
        try:
            encode(iter(np.ascontiguousarray(shown)), self.fps, path, _H264)
        except EncoderFailed as error:
            raise UserError(
                f"the video {path} cannot be written: {error}; {free(path)}",
                "make room there, or set collect.images=png",
            ) from error
        place = {
            "chunk_index": chunk,
            "file_index": file,
            "from_timestamp": 0.0,
            "to_timestamp": len(shown) / self.fps,
        }
        return {f"videos/{key}/{name}": value for name, value in place.items()}

    def _path(self, template: str, **values: Any) -> Path:
        path = self._building / template.format(**{"file_index": 0, **values})
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _columns(
    episode: Episode, index: int, first: int, task: int, fps: int
) -> dict[str, np.ndarray]:
    """Everything but the pictures: [L] or [L, n] each."""
    length = len(episode)
    steps = np.arange(length)
    last = steps == length - 1
    state = {layout.STATE: episode.state} if episode.state.shape[1] else {}
    return {
        **state,
        layout.ACTION: episode.actions,
        layout.SUCCESS: last & episode.success,
        layout.DONE: last,
        layout.SAMPLE_START: episode.sample_start,
        "timestamp": (steps / fps).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full(length, index),
        "index": first + steps,
        "task_index": np.full(length, task),
    }


def _type(feature: dict[str, Any]) -> pa.DataType:
    if feature["dtype"] == "image":
        return _PICTURE
    (size,) = feature["shape"]
    kind = _TYPES[feature["dtype"]]
    return kind if size == 1 else pa.list_(kind, size)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), kind.list_size)
    return pa.array(values.reshape(-1) if isinstance(values, np.ndarray) else values, kind)


def _png(pictures: np.ndarray) -> list[dict[str, Any]]:
    """[L, H, W, 3] uint8 as PNG files in memory."""

    def one(picture: np.ndarray) -> dict[str, Any]:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG", compress_level=1)
        return {"bytes": file.getvalue(), "path": None}

    with ThreadPoolExecutor() as threads:
        return list(threads.map(one, pictures))


def _task_table(tasks: dict[str, int]) -> pa.Table:
    """One row per task; the text is the index that pandas finds again."""
    table = pa.table({"task_index": list(tasks.values()), "task": list(tasks)})
    described = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": of}
            | {"metadata": None}
            for name, kind, of in (
                ("task_index", "int64", "int64"),
                ("task", "unicode", "object"),
            )
        ],
        "pandas_version": "2.0.0",
    }
    return table.replace_schema_metadata({"pandas": json.dumps(described)})


def _write_table(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path)


def _write_json(content: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
