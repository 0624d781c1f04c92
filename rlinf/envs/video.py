"""Videos of recorded envs: a grid of tiles, one for each env, as H.264 mp4.

    frames -> one column for each env -> one grid for each tick -> ffmpeg

The clock of a video counts the pictures of an env: at tick i every env shows its picture number i,
and an env that has no more keeps its last one. A video is a convenience, so that whatever goes
wrong while one is written costs the video and a warning, never the training.
"""

from __future__ import annotations

import json
import logging
import math
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Timer

import imageio_ffmpeg  # type: ignore[import-untyped]
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rlinf.config.schema import VideoConfig
from rlinf.envs.episode import Frame

_LOG = logging.getLogger(__name__)

BESIDE = ".json"
"""Suffix of the file beside a video that says which episodes it shows."""
_MIN_TILE = 220  # pixels; narrower pictures are magnified until their text is readable
_PADDING = 4  # pixels between tiles and around them
_MAX_LINES = 3  # of a task's text
_ENCODER_TIMEOUT_S = 600.0  # for a whole video; one takes seconds

_BACKGROUND = (24, 24, 24)
_TEXT = (240, 240, 240)
_FAINT = (170, 170, 170)
_GREEN = (30, 160, 70)
_RED = (200, 45, 45)
_TICK = ((0.24, 0.54), (0.43, 0.72), (0.76, 0.32))  # polyline in a square of side 1, y down
_CROSS = ((0.30, 0.30), (0.70, 0.70)), ((0.70, 0.30), (0.30, 0.70))

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class EncoderFailed(RuntimeError):
    """ffmpeg is missing, broke off or did not finish; the message is its own."""


def write_video(frames: Sequence[Frame], config: VideoConfig, path: Path, fps: int) -> Path | None:
    """Writes a recording as a video, and removes the oldest ones beyond `config.max_videos`.

    The file appears under its name only when it is complete, and after it one of its name that
    ends in `.json`, with the episodes that it shows. Where one cannot be written, one warning says
    why.

    Args:
        frames: pictures of equal size; those of an env in order of time.
        path: the mp4 to write; its folder is created.
        fps: pictures per second, the control frequency for a video in real time.

    Returns:
        `path`, or None if there is no video: nothing was recorded, or it could not be written.
    """
    if not frames:
        return None
    # A name of its own for unfinished files; ffmpeg gets the format, the suffix says nothing.
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        encode(draw_grids(frames, config.info_on_video), fps, partial)
        partial.replace(path)
        content = {"episodes": episodes_shown(frames)}
        path.with_suffix(BESIDE).write_text(json.dumps(content) + "\n")
    except (OSError, EncoderFailed) as error:
        _LOG.warning("no video %s: %s; training is not affected", path, error)
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        return None
    _remove_old(path, config.max_videos)
    return path


def first_episodes(frames: Iterable[Frame]) -> list[Frame]:
    """The frames of the first episode of each env that was recorded from its start to its end.

    A simulator that failed leaves episodes without their start, or without their end. An env that
    has no whole one shows what there is of its last.
    """
    shown: dict[int, list[Frame]] = {}
    whole = set[int]()
    for frame in frames:
        if frame.env in whole:
            continue
        if frame.step == 0:
            shown[frame.env] = []
        shown.setdefault(frame.env, []).append(frame)
        if frame.ended and shown[frame.env][0].step == 0:
            whole.add(frame.env)
    return [frame for episode in shown.values() for frame in episode]


def episodes_shown(frames: Iterable[Frame]) -> list[dict[str, object]]:
    """What a video shows, one entry for each episode: env, task, whether it was solved, length.

    `ended` is False for an episode whose end was not recorded.
    """
    episodes: list[dict[str, object]] = []
    latest: dict[int, dict[str, object]] = {}
    for frame in frames:
        if frame.step == 0 or frame.env not in latest:
            begun = {"env": frame.env, "instruction": frame.instruction, "success": False}
            latest[frame.env] = {**begun, "steps": 0, "ended": False}
            episodes.append(latest[frame.env])
        episode = latest[frame.env]
        episode["success"] = episode["success"] or bool(frame.success)
        episode["steps"], episode["ended"] = int(frame.step), bool(frame.ended)
    return episodes


def columns(frames: Iterable[Frame]) -> list[list[Frame]]:
    """What each env shows at each tick, by ascending env; all columns are of equal length.

    The episodes of an env follow each other without a gap. An env with fewer pictures than
    another holds its last one.
    """
    by_env: dict[int, list[Frame]] = {}
    for frame in frames:
        by_env.setdefault(frame.env, []).append(frame)
    ticks = max(map(len, by_env.values()), default=0)
    return [by_env[e] + by_env[e][-1:] * (ticks - len(by_env[e])) for e in sorted(by_env)]


def draw_grids(frames: Sequence[Frame], info: bool) -> Iterator[np.ndarray]:
    """The pictures of the video: [H, W, 3] uint8, all of one size, H and W even.

    Args:
        info: write below each picture what it shows, and mark success and failure on it.
    """
    width = frames[0].picture.shape[1]
    factor = max(1, math.ceil(_MIN_TILE / width))
    caption = Caption(factor * width, {frame.instruction for frame in frames}) if info else None
    for shown in zip(*columns(frames), strict=True):
        tiles = [magnify(frame.picture, factor) for frame in shown]
        if caption is not None:
            tiles = [caption.add(tile, frame) for tile, frame in zip(tiles, shown, strict=True)]
        yield tile_grid(tiles)


def magnify(picture: np.ndarray, factor: int) -> np.ndarray:
    """[H, W, 3] -> [factor * H, factor * W, 3]; every pixel becomes a square."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def tile_grid(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Puts tiles ([h, w, 3] uint8 each) row by row into a near-square grid: [H, W, 3] uint8.

    H and W are even, as the encoder's colour format halves them.
    """
    height, width, _ = tiles[0].shape
    across = math.ceil(math.sqrt(len(tiles)))
    down = math.ceil(len(tiles) / across)
    step_y, step_x = height + _PADDING, width + _PADDING
    shape = (_even(down * step_y + _PADDING), _even(across * step_x + _PADDING), 3)
    grid = np.full(shape, _BACKGROUND, np.uint8)
    for index, tile in enumerate(tiles):
        top = _PADDING + index // across * step_y
        left = _PADDING + index % across * step_x
        grid[top : top + height, left : left + width] = tile
    return grid


def _even(size: int) -> int:
    return size + size % 2


class Caption:
    """Draws task, step and reward in a strip below a picture, and the outcome on the picture.

    The last picture of an episode has a frame in the colour of the outcome.

    All sizes follow from the width of the tile. The strip has room for the longest of the texts,
    so that tiles are of equal size.
    """

    def __init__(self, width: int, instructions: Iterable[str]) -> None:
        """For tiles `width` pixels wide that show these tasks."""
        size = max(14, width // 20)
        self._font = ImageFont.load_default(size)
        self._line = math.ceil(1.3 * size)
        self._margin = size // 2
        self._badge = max(32, width // 8)
        room = width - 2 * self._margin
        self._lines = {text: wrap(text, self._font, room, _MAX_LINES) for text in instructions}
        self._most = max(map(len, self._lines.values()))

    def add(self, picture: np.ndarray, frame: Frame) -> np.ndarray:
        """[H, W, 3] -> [H + strip, W, 3] uint8."""
        height, width, _ = picture.shape
        strip = (self._most + 1) * self._line + self._margin
        image = Image.new("RGB", (width, height + strip), _BACKGROUND)
        image.paste(Image.fromarray(picture))
        draw = ImageDraw.Draw(image)
        top = height + self._margin // 2
        step = f"step {frame.step}" + (", end" if frame.ended else "")
        draw.text((self._margin, top), step, _TEXT, self._font)
        draw.text((width // 2, top), f"reward {frame.reward:.3g}", _TEXT, self._font)
        for index, line in enumerate(self._lines[frame.instruction], start=1):
            draw.text((self._margin, top + index * self._line), line, _FAINT, self._font)
        if frame.ended:
            outline = _GREEN if frame.success else _RED
            rim = max(3, width // 50)
            draw.rectangle((0, 0, width - 1, height - 1), outline=outline, width=rim)
        if frame.success or frame.ended:
            self._mark(draw, width, frame.success)
        return np.asarray(image)

    def _mark(self, draw: ImageDraw.ImageDraw, width: int, success: bool) -> None:
        """A tick or a cross on a disc with a white rim, in the upper right corner."""
        side = self._badge
        left, top = width - side - self._margin, self._margin
        stroke = max(2, side // 10)
        disc = (left, top, left + side, top + side)
        draw.ellipse(disc, fill=_GREEN if success else _RED, outline="white", width=stroke // 2)
        for line in (_TICK,) if success else _CROSS:
            points = [(left + x * side, top + y * side) for x, y in line]
            draw.line(points, fill="white", width=stroke, joint="curve")


def wrap(text: str, font: Font, width: float, max_lines: int) -> list[str]:
    """Breaks a text into lines of at most `width` pixels; what does not fit ends in "...".

    Lines break between words; a word that is longer than a line is broken inside.
    """
    # Half of a surrogate pair, from text that was never valid UTF-8, cannot be drawn.
    words = text.encode("utf-8", "replace").decode("utf-8").split()
    lines: list[str] = []
    while words and len(lines) <= max_lines:
        line = _longest_fitting(words, font, width)
        if not line:  # the first word alone is too long
            letters = _longest_fitting(list(words[0]), font, width, "") or words[0][:1]
            words[0] = words[0][len(letters) :]
            lines.append(letters)
            words = words if words[0] else words[1:]
        else:
            lines.append(line)
            words = words[line.count(" ") + 1 :]
    if len(lines) <= max_lines:
        return lines
    kept = lines[:max_lines]
    while kept[-1] and font.getlength(kept[-1] + "...") > width:
        kept[-1] = kept[-1][:-1]
    return [*kept[:-1], kept[-1].rstrip() + "..."]


def _longest_fitting(parts: Sequence[str], font: Font, width: float, between: str = " ") -> str:
    """The longest start of the parts, joined, that is at most `width` pixels long; may be ""."""
    best = ""
    for count in range(1, len(parts) + 1):
        text = between.join(parts[:count])
        if font.getlength(text) > width:
            break
        best = text
    return best


# Two threads leave the other cores to the simulators.
_FOR_PEOPLE = "-c:v libx264 -preset veryfast -crf 20 -pix_fmt yuv420p -threads 2"


def encode(grids: Iterator[np.ndarray], fps: int, target: Path, options: str = _FOR_PEOPLE) -> None:
    """Encodes pictures ([H, W, 3] uint8, H and W even) as an mp4.

    ffmpeg is run here and not by imageio, which neither reports its exit code nor limits its time.

    Args:
        options: encoder and quality, as ffmpeg reads them.

    Raises:
        EncoderFailed: ffmpeg is missing, ended with an error or was killed.
        OSError: it could not be started.
    """
    first = next(grids)
    height, width, _ = first.shape
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            _command(width, height, fps, target, options),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=messages,
            start_new_session=True,  # an interrupt of the run lets the video be finished
        )
        limit = Timer(_ENCODER_TIMEOUT_S, process.kill)
        limit.start()
        try:
            # A broken pipe means that ffmpeg is gone; its exit code and messages say why.
            with suppress(BrokenPipeError), process:
                assert process.stdin is not None
                process.stdin.write(first.tobytes())
                for grid in grids:
                    process.stdin.write(grid.tobytes())
        finally:
            limit.cancel()
        if process.returncode != 0:
            messages.seek(0)
            said = messages.read().decode(errors="replace").strip().splitlines()
            raise EncoderFailed("; ".join([f"ffmpeg exit code {process.returncode}", *said[-3:]]))


def _command(width: int, height: int, fps: int, target: Path, options: str) -> list[str]:
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise EncoderFailed(str(error)) from error
    raw = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {fps} -i -"
    # yuv420p and the index in front (faststart) let browsers play it.
    mp4 = f"{options} -movflags +faststart"
    quiet = ["-y", "-nostats", "-hide_banner", "-loglevel", "error"]
    # "file:" keeps a colon in the path from being read as a protocol.
    return [program, *quiet, *raw.split(), *mp4.split(), "-f", "mp4", f"file:{target}"]


def _remove_old(newest: Path, keep: int) -> None:
    """Removes the oldest videos of `newest`'s series, so that `keep` are left.

    A series are the files of the folder whose names differ only in their numbers: the folder is
    the user's choice, and may hold videos of others.
    """
    numbered = re.sub(r"\d+", r"\\d+", re.escape(newest.stem))
    series = re.compile(numbered + re.escape(newest.suffix))
    try:
        others = [
            (file.stat().st_mtime_ns, file)
            for file in newest.parent.iterdir()
            if file != newest and series.fullmatch(file.name)
        ]
        # The new one stays whatever the clock says.
        for _, file in sorted(others, reverse=True)[keep - 1 :]:
            file.unlink(missing_ok=True)
            file.with_suffix(BESIDE).unlink(missing_ok=True)
    except OSError as error:
        _LOG.warning("old videos in %s stay: %s", newest.parent, error)
