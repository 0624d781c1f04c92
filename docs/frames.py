"""Video frames of a finished run as one picture: the same start before and after training.

python docs/frames.py logs/<run> docs/assets/quickstart-frames.png
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]
import numpy as np
import yaml
from PIL import Image

COLUMNS = 6
WIDTH = 1320  # pixels of the whole picture
COLOURS = 256  # a palette makes the file eight times smaller


def main() -> None:
    """Reads the first and the last evaluation of a run and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("picture", type=Path, help="PNG to write")
    arguments = parser.parse_args()
    before, *_, after = evaluations(arguments.run)
    shown = len(before["tiles"])
    env = first_that_improved(before["episodes"][:shown], after["episodes"][:shown])
    rows = [row(entry["tiles"][env], entry["episodes"][env]["length"]) for entry in (before, after)]
    picture = Image.fromarray(np.concatenate(rows))
    small = picture.resize((WIDTH, WIDTH * picture.height // picture.width))
    small.quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(arguments.picture, optimize=True)


def evaluations(run: Path) -> list[dict[str, Any]]:
    """The evaluations of a run in order, each with its `tiles`: [env][step] pictures."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    shown = config["env"]["eval"]["video_cfg"]["num_envs_shown"]
    found = [json.loads(path.read_text()) for path in (run / "eval").glob("step_*.json")]
    for entry in found:
        video = run / "video" / "eval" / f"step_{entry['step']:05d}-worker_0.mp4"
        entry["tiles"] = tiles(video, shown)
    return sorted(found, key=lambda entry: entry["step"])


def tiles(video: Path, envs: int) -> list[list[np.ndarray]]:
    """Cuts a tiled video apart: the pictures ([h, w, 3] uint8) of each env in order of time."""
    frames = imageio_ffmpeg.read_frames(str(video))
    width, height = next(frames)["size"]
    pictures = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in frames]
    across = math.ceil(math.sqrt(envs))
    h, w = height // math.ceil(envs / across), width // across
    corners = [(env // across * h, env % across * w) for env in range(envs)]
    return [[picture[y : y + h, x : x + w] for picture in pictures] for y, x in corners]


def first_that_improved(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> int:
    """Index of the first start that failed before and succeeds after.

    Episodes are ordered by trial, and the first trials run in the envs that a video shows.
    """
    pairs = zip(before, after, strict=True)
    improved = (not b["success_once"] and a["success_once"] for b, a in pairs)
    return list(improved).index(True)


def row(pictures: list[np.ndarray], length: int) -> np.ndarray:
    """`COLUMNS` pictures side by side, from the start of an episode to its last step."""
    steps = np.linspace(0, length, COLUMNS).round().astype(int)
    return np.concatenate([pictures[step] for step in steps], axis=1)


if __name__ == "__main__":
    main()
