"""Pictures of LeRobot data sets, decoded once into one file that training reads at random.

Decoding a video picture by picture for every batch costs more than the training of a small policy;
the decoded file is mapped into memory, shared by all processes, and found again by the next run.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import groupby
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]
import numpy as np
from PIL import Image

from rlinf.data.cache import one_maker
from rlinf.data.disk import refusals_told, reserve, written_beside
from rlinf.errors import UserError
from rlinf.imitation.lerobot.read import DataSet

_STILLS = ("PNG", "JPEG")  # Pillow would start a PostScript interpreter for others
_VIDEO = ["-protocol_whitelist", "file", "-format_whitelist", "mov,matroska,webm"]
"""Containers of pictures, and no playlists, which name other files or hosts."""
ELSEWHERE = "name a folder on a larger disk in imitation.cache_dir, or fewer data sets"
FORMAT = 1  # raise it when the same data set would be decoded differently


def decoded(
    sets: Sequence[DataSet],
    keys: Sequence[Sequence[str]],
    cache_dir: Path,
    on_episode: Callable[[int, int], None],
) -> np.ndarray:
    """[F, V, H, W, 3] uint8: the pictures of all steps of all data sets, read-only.

    Args:
        keys: the features of each data set, V each: its views, in their order.
        cache_dir: where the decoded file is kept.
        on_episode: gets the number of episodes decoded and the number there are.

    Raises:
        UserError: pictures differ in size, are missing, damaged, or too many for the disk.
    """
    shape = _shape(sets, keys)
    path = cache_dir / f"pictures-{_digest(sets, keys)}.npy"
    if shape[1] == 0:
        return np.zeros(shape, np.uint8)
    found = _mapped(path, shape)
    if found is not None:
        return found
    with (
        refusals_told("decoded pictures", cache_dir, ELSEWHERE),
        one_maker(path, lambda: on_episode(0, sum(len(data.episodes) for data in sets))),
    ):
        found = _mapped(path, shape)
        if found is None:
            _check_space(cache_dir, int(np.prod(shape)))
            with written_beside(path) as building:
                pictures = np.lib.format.open_memmap(building, "w+", np.uint8, shape)
                reserve(building)
                _decode_all(sets, keys, pictures, on_episode)
                pictures.flush()
            found = _mapped(path, shape)
    assert found is not None, "it was just written"
    return found


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Decoded pictures, or None where they are missing or the file is damaged."""
    try:
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError, SyntaxError):  # too short, or no such header
        return None
    return found if found.shape == shape and found.dtype == np.dtype(np.uint8) else None


def _decode_all(
    sets: Sequence[DataSet],
    keys: Sequence[Sequence[str]],
    pictures: np.ndarray,
    on_episode: Callable[[int, int], None],
) -> None:
    offset, done, total = 0, 0, sum(len(data.episodes) for data in sets)  # done: of each view
    for data, views in zip(sets, keys, strict=True):
        starts = offset + np.cumsum([0, *(episode.length for episode in data.episodes)])
        for view, key in enumerate(views):
            for count in _decode_view(data, key, starts, pictures[:, view]):
                done += count
                on_episode(done // len(views), total)
        offset = int(starts[-1])


def _decode_view(data: DataSet, key: str, starts: np.ndarray, target: np.ndarray) -> Iterator[int]:
    """Fills in one view: episode i begins at row `starts[i]`. Yields episodes as they are done."""
    if data.features[key]["dtype"] == "image":
        first = dict(zip((e.index for e in data.episodes), starts.tolist(), strict=False))
        for episode, encoded in data.pictures_in_rows(key):
            start = first[episode.index]
            _decode_stills(
                encoded, target[start : start + episode.length], f"{key} in {episode.data}"
            )
            yield 1
        return
    # Every video is decoded once, from its beginning, whatever number of episodes it holds.
    places = [(e.videos[key], e.length, s) for e, s in zip(data.episodes, starts, strict=False)]
    places.sort(key=lambda place: (place[0].path, place[0].first))
    for path, group in groupby(places, key=lambda place: place[0].path):
        parts = [(video.first, length, int(start)) for video, length, start in group]
        _decode_video(path, parts, target)
        yield len(parts)


def _decode_stills(encoded: Sequence[bytes], target: np.ndarray, where: str) -> None:
    """PNG or JPEG files into [L, H, W, 3]."""

    def one(index: int) -> None:
        try:
            with Image.open(io.BytesIO(encoded[index]), formats=_STILLS) as picture:
                _check_size(picture.size[::-1], target.shape[1:3], where)  # before it is decoded
                target[index] = np.asarray(picture.convert("RGB"))
        except UserError:
            raise
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(
                f"picture {index} of {where} is damaged ({error})", "fetch the data set again"
            ) from error

    with ThreadPoolExecutor() as threads:
        list(threads.map(one, range(len(encoded))))


def _decode_video(path: Path, parts: Sequence[tuple[int, int, int]], target: np.ndarray) -> None:
    """Copies (first picture, count, first row of `target`) each out of one video.

    Pictures are counted as the decoder gives them, each exactly once: none is dropped or doubled
    to keep a clock.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing", "fetch the data set again: it is not complete")
    height, width = target.shape[1:3]
    rows = {first + i: start + i for first, count, start in parts for i in range(count)}
    last = max(rows)
    stream = imageio_ffmpeg.read_frames(
        str(path.absolute()),  # which no protocol is taken from
        pix_fmt="rgb24",
        input_params=_VIDEO,
        output_params=["-fps_mode", "passthrough"],
    )
    number = -1
    with closing(stream):
        try:
            size = next(stream)["source_size"]
            _check_size((size[1], size[0]), (height, width), path)
            for number, frame in enumerate(stream):
                if number in rows:
                    target[rows[number]] = np.frombuffer(frame, np.uint8).reshape(height, width, 3)
                if number == last:
                    return
        except (OSError, RuntimeError) as error:
            raise UserError(f"{path} cannot be decoded: {error}", "fetch it again") from error
    raise UserError(
        f"{path} has {number + 1} pictures, its episodes need {last + 1}",
        "fetch the data set again: it is not complete",
    )


def _shape(sets: Sequence[DataSet], keys: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """(F, V, H, W, 3), which all data sets and views have to agree on."""
    steps = sum(episode.length for data in sets for episode in data.episodes)
    views = {len(chosen) for chosen in keys}
    sizes = {
        data.picture_shape(k): f"{k} of {data.root}"
        for data, chosen in zip(sets, keys, strict=True)
        for k in chosen
    }
    if len(views) > 1 or len(sizes) > 1:
        found = ", ".join(f"{h} x {w} ({where})" for (h, w), where in sizes.items())
        raise UserError(
            f"imitation.data: pictures differ in number of views {sorted(views)} or in size: "
            f"{found}",
            "name features that fit together in imitation.image_keys, or fewer data sets",
        )
    height, width = next(iter(sizes), (0, 0))
    return steps, views.pop(), height, width, 3


def _check_size(found: Sequence[int], wanted: Sequence[int], where: object) -> None:
    if tuple(found) != tuple(wanted):
        raise UserError(
            f"{where} has {found[0]} x {found[1]} pixels, meta/info.json says "
            f"{wanted[0]} x {wanted[1]}",
            "correct meta/info.json, or fetch the data set again",
        )


def _check_space(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if need > 0.95 * free:
        raise UserError(
            f"imitation.cache_dir = {folder}: decoded pictures take {need / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free",
            ELSEWHERE,
        )


def _digest(sets: Sequence[DataSet], keys: Sequence[Sequence[str]]) -> str:
    """Of everything that decides what is decoded."""
    described = [FORMAT, [list(k) for k in keys], [data.fingerprint() for data in sets]]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]
