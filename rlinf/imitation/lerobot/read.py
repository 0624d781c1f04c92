"""Reads what a LeRobot data set says, v2.1 (a file per episode) or v3.0 (many episodes per file).

Numbers are read here; pictures stay where they are until `pictures.py` decodes them. Whatever the
files hold, they are data: see `paths.py` for where they may lie.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, PositiveFloat, PositiveInt, ValidationError

from rlinf.errors import UserError
from rlinf.imitation.lerobot import layout
from rlinf.imitation.lerobot.paths import DataSetFolder, refusal

V2 = ("v2.0", "v2.1")
V3 = ("v3.0",)


class _Feature(BaseModel):
    dtype: str
    shape: list[int]
    names: Any = None


class _Info(BaseModel):
    """The part of `info.json` that is read."""

    codebase_version: str
    features: dict[str, _Feature]
    fps: PositiveFloat
    chunks_size: PositiveInt = layout.FILES_PER_CHUNK
    data_path: str = layout.DATA
    video_path: str | None = None


@dataclass(frozen=True, slots=True)
class VideoPart:
    """The pictures of an episode: L in a row, in one video."""

    path: Path
    first: int  # picture of the video that is the episode's first


@dataclass(frozen=True, slots=True)
class StoredEpisode:
    """Where an episode is."""

    index: int
    length: int  # L
    data: Path  # parquet file with its rows, and with those of other episodes in v3.0
    videos: dict[str, VideoPart]  # by feature


@dataclass(frozen=True, slots=True)
class Rows:
    """All steps of a data set, episode by episode."""

    actions: np.ndarray  # [F, A] float32
    state: np.ndarray  # [F, S] float32; [F, 0] where there is none
    task: np.ndarray  # [F] int64, index of the task
    sample_start: np.ndarray  # [F] bool; all True where the data set does not say
    success: np.ndarray  # [E] bool; all True where the data set does not say


class DataSet:
    """A data set in a local folder."""

    def __init__(self, root: str) -> None:
        """Reads `meta`; raises UserError where it is missing, damaged or of another version."""
        self.root = Path(root).expanduser()
        self._folder = DataSetFolder(self.root)
        path = self._file(layout.INFO)
        if not path.is_file():
            raise self._refuse(
                f"{layout.INFO} is missing, so it is no LeRobot data set",
                "name the folder that holds meta, data and videos; it has to be on this machine",
            )
        try:
            self._info = _Info.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise self._refuse(
                f"{layout.INFO} is damaged ({where}: {first['msg']})", "fetch it again"
            ) from error
        self.version, self.fps = self._info.codebase_version, self._info.fps
        self.features = {key: f.model_dump() for key, f in self._info.features.items()}
        if self.version not in (*V2, *V3):
            raise self._refuse(
                f"it has layout {self.version}; {', '.join((*V2, *V3))} can be read",
                "convert it with the tools of lerobot",
            )
        self.tasks = self._read_tasks()
        self.episodes = self._read_episodes()

    @property
    def picture_keys(self) -> list[str]:
        """Features with pictures, in the order of `info.json`."""
        return [k for k, f in self.features.items() if f["dtype"] in ("image", "video")]

    def choose_pictures(self, wanted: Sequence[str]) -> list[str]:
        """The features `wanted`, or all with pictures; raises UserError for one there is not."""
        for key in wanted:
            if key not in self.picture_keys:
                near = get_close_matches(key, self.picture_keys, n=1, cutoff=0.3)
                raise UserError(
                    f"imitation.image_keys: {self.root} has no pictures called {key}; there are "
                    f"{', '.join(self.picture_keys) or 'none'}",
                    f"write {near[0]}" if near else "leave imitation.image_keys out",
                )
        return list(wanted) or self.picture_keys

    def picture_shape(self, key: str) -> tuple[int, int]:
        """Height and width of a feature's pictures, whichever order `info.json` has them in."""
        feature = self.features[key]
        sizes: list[int] = feature["shape"]
        names = feature["names"] if isinstance(feature["names"], list) else []
        if len(sizes) != 3 or min(sizes) < 1:
            raise self._refuse(
                f"{layout.INFO} gives {key} the shape {sizes}; pictures have three sizes",
                "correct it, or fetch the data set again",
            )
        channels_first = (names and str(names[0]).startswith("channel")) or sizes[0] == 3
        height, width = sizes[1:] if channels_first or names[:1] == ["c"] else sizes[:2]
        return height, width

    def read_rows(self) -> Rows:
        """All steps; raises UserError where columns, files or steps are missing."""
        if layout.ACTION not in self.features:
            raise self._refuse(
                f"it has no feature '{layout.ACTION}'; there are {', '.join(self.features)}",
                "rename the feature that holds the actions",
            )
        wanted = [
            name
            for name in (layout.ACTION, layout.STATE, layout.SAMPLE_START, layout.SUCCESS)
            if name in self.features
        ]
        names = [*wanted, "task_index"]
        parts = [
            {name: self._numbers(episode, name, table[name]) for name in names}
            for episode, table in self.tables(names)
        ]

        def join(name: str) -> np.ndarray:
            return np.concatenate([part[name] for part in parts])

        task = join("task_index").astype(np.int64)
        unknown = set(task.tolist()) - self.tasks.keys()
        if unknown:
            raise self._refuse(
                f"its rows name task {min(unknown)}, its list of tasks does not", "fetch it again"
            )
        actions = join(layout.ACTION).astype(np.float32)
        steps = len(actions)
        success = [
            bool(part[layout.SUCCESS].any()) if layout.SUCCESS in wanted else True for part in parts
        ]
        return Rows(
            actions=actions.reshape(steps, -1),
            state=join(layout.STATE).astype(np.float32).reshape(steps, -1)
            if layout.STATE in wanted
            else np.zeros((steps, 0), np.float32),
            task=task,
            sample_start=join(layout.SAMPLE_START).astype(bool)
            if layout.SAMPLE_START in wanted
            else np.ones(steps, bool),
            success=np.array(success),
        )

    def tables(self, names: list[str]) -> Iterator[tuple[StoredEpisode, pa.Table]]:
        """Columns of each episode, in order of episodes and time; every file is read once."""
        for path, group in groupby(self.episodes, key=lambda episode: episode.data):
            try:
                table = pq.read_table(path, columns=[*names, "episode_index", "frame_index"])
            except (OSError, pa.ArrowException, KeyError) as error:
                raise self._refuse(f"{path} cannot be read: {error}", "fetch it again") from error
            missing = [name for name in names if name not in table.column_names]
            if missing:
                raise self._refuse(f"{path} has no column {missing[0]}", "fetch it again")
            table = table.sort_by([("episode_index", "ascending"), ("frame_index", "ascending")])
            belongs = table["episode_index"].to_numpy()
            for episode in group:
                first, end = np.searchsorted(belongs, [episode.index, episode.index + 1]).tolist()
                if end - first != episode.length:
                    raise self._refuse(
                        f"{path} has {end - first} of the {episode.length} steps of episode "
                        f"{episode.index}",
                        "fetch the data set again: it is not complete",
                    )
                yield episode, table.slice(first, episode.length)

    def pictures_in_rows(self, key: str) -> Iterator[tuple[StoredEpisode, list[bytes]]]:
        """The encoded pictures of each episode that lie in its rows."""
        for episode, table in self.tables([key]):
            found = []
            for item in table[key].to_pylist():
                found.append(self._picture(item, f"{key} of {episode.data}"))
            yield episode, found

    def _picture(self, item: Any, where: str) -> bytes:
        """The file of a picture that a row holds, or names."""
        held, name = (item.get("bytes"), item.get("path")) if isinstance(item, dict) else (item, "")
        if isinstance(held, bytes) and held:
            return held
        if not isinstance(name, str) or not name:
            raise self._refuse(f"{where}: a step has no picture", "fetch it again")
        try:
            return self._file(name).read_bytes()
        except OSError as error:
            raise self._refuse(f"{name} cannot be read: {error}", "fetch it again") from error

    def fingerprint(self) -> list[tuple[str, int, int]]:
        """Every file that rows and pictures come from: path, size, time of the last change."""
        files = {e.data for e in self.episodes}
        files |= {video.path for e in self.episodes for video in e.videos.values()}
        found = [path.resolve() for path in (self._file(layout.INFO), *sorted(files))]
        return [
            (str(path), path.stat().st_size, path.stat().st_mtime_ns)
            for path in found
            if path.is_file()  # what is missing is reported when it is read
        ]

    def _read_tasks(self) -> dict[int, str]:
        with self._reading("its list of tasks"):
            if self.version in V2:
                rows = self._json_lines("meta/tasks.jsonl")
                return {int(row["task_index"]): str(row["task"]) for row in rows}
            table = self._parquet(self._file(layout.TASKS))
            # The text is the table's index, which has a name in newer data sets only.
            text = "task" if "task" in table.column_names else "__index_level_0__"
            indices, texts = table["task_index"].to_pylist(), table[text].to_pylist()
            return {int(index): str(of) for index, of in zip(indices, texts, strict=True)}

    def _read_episodes(self) -> list[StoredEpisode]:
        with self._reading("its list of episodes"):
            found = list(self._episodes_v2() if self.version in V2 else self._episodes_v3())
        if not found:
            raise self._refuse("it has no episodes", "collect or fetch some")
        return sorted(found, key=lambda episode: episode.index)

    def _episodes_v2(self) -> Iterator[StoredEpisode]:
        videos = [k for k, f in self.features.items() if f["dtype"] == "video"]
        for row in self._json_lines("meta/episodes.jsonl"):
            index = int(row["episode_index"])
            place = {
                "episode_chunk": index // self._info.chunks_size,
                "episode_index": index,
            }
            yield StoredEpisode(
                index,
                int(row["length"]),
                self._folder.fill_in(self._info.data_path, place),
                {key: VideoPart(self._video({**place, "video_key": key}), 0) for key in videos},
            )

    def _episodes_v3(self) -> Iterator[StoredEpisode]:
        videos = [k for k, f in self.features.items() if f["dtype"] == "video"]
        for path in sorted((self.root / "meta/episodes").glob("*/*.parquet")):
            file = self._file(path.relative_to(self.root).as_posix())
            for row in self._parquet(file, without="stats/").to_pylist():
                yield StoredEpisode(
                    index=int(row["episode_index"]),
                    length=int(row["length"]),
                    data=self._folder.fill_in(self._info.data_path, _place(row, "data")),
                    videos={
                        key: VideoPart(
                            self._video({**_place(row, f"videos/{key}"), "video_key": key}),
                            self._first(row[f"videos/{key}/from_timestamp"], key),
                        )
                        for key in videos
                    },
                )

    def _video(self, place: Mapping[str, int | str]) -> Path:
        if self._info.video_path is None:
            raise self._refuse(f"{layout.INFO} has no video_path", "fetch it again")
        return self._folder.fill_in(self._info.video_path, place)

    def _first(self, seconds: float, key: str) -> int:
        """The picture of a video at a time; times are whole multiples of a picture's."""
        picture = round(seconds * self.fps)
        if abs(seconds * self.fps - picture) > 0.1:
            raise self._refuse(
                f"an episode begins at {seconds} s of a video of {key}, between two pictures of "
                f"{self.fps:g} per second",
                "convert it again with the tools of lerobot",
            )
        return picture

    def _json_lines(self, name: str) -> list[dict[str, Any]]:
        try:
            lines = self._file(name).read_text().splitlines()
            return [json.loads(line) for line in lines if line.strip()]
        except (OSError, ValueError) as error:
            raise self._refuse(f"{name} cannot be read: {error}", "fetch it again") from error

    def _parquet(self, path: Path, without: str = " ") -> pa.Table:
        try:
            names = [n for n in pq.read_schema(path).names if not n.startswith(without)]
            return pq.read_table(path, columns=names)
        except (OSError, pa.ArrowException) as error:
            raise self._refuse(f"{path} cannot be read: {error}", "fetch it again") from error

    def _numbers(self, episode: StoredEpisode, name: str, column: pa.ChunkedArray) -> np.ndarray:
        """A column of numbers, or of lists of equal length: [L] or [L, n]."""
        with self._reading(f"{name} in {episode.data}"):
            nested = pa.types.is_nested(column.type)
            found = np.array(column.to_pylist()) if nested else np.asarray(column.to_numpy())
            if found.dtype.kind not in "biuf":
                raise TypeError("not numbers")
            return found

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Refuses a data set of which something is not what the layout says."""
        try:
            yield
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._refuse(f"{what} is damaged ({error!r})", "fetch it again") from error

    def _file(self, name: str) -> Path:
        return self._folder.file(name)

    def _refuse(self, what: str, fix: str) -> UserError:
        return refusal(self.root, what, fix)


def _place(row: Mapping[str, Any], prefix: str) -> dict[str, int | str]:
    """Where the file of an episode is, by a row of the list of episodes."""
    return {name: int(row[f"{prefix}/{name}"]) for name in ("chunk_index", "file_index")}
