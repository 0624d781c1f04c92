"""Names and paths of the LeRobot layout, v3.0.

    meta/info.json                          features, counts, path templates
    meta/stats.json                         statistics of every feature
    meta/tasks.parquet                      task text -> task_index
    meta/episodes/chunk-000/file-000.parquet   one row per episode: length, tasks, where its data is
    data/chunk-000/file-000.parquet         one row per step, many episodes per file
    videos/KEY/chunk-000/file-000.mp4       pictures of one camera, where they are not in the rows

Source: the documentation of LeRobotDataset v3.0, and of v2.1 for what `read.py` accepts.
"""

from __future__ import annotations

from typing import Any

from rlinf.config import data_sets

VERSION = "v3.0"
INFO = data_sets.INFO
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
FILES_PER_CHUNK = 1000  # files in one folder
DATA_FILE_MB = 100  # a larger data file is followed by another
VIDEO_FILE_MB = 200

ACTION, STATE = data_sets.ACTION, data_sets.STATE
IMAGES = "observation.images."
SUCCESS = "next.success"  # bool: the task is solved after this step
DONE = "next.done"  # bool: the last step of its episode
SAMPLE_START = "sample_start"  # bool, ours: a chunk to be imitated may begin at this step

SCALARS: dict[str, str] = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
"""Columns that every data set has, one number per step."""


def image_key(view: int) -> str:
    """The feature of a camera; a simulator numbers its views."""
    return f"{IMAGES}view_{view}"


def features(shape: tuple[int, ...], state: int, actions: int, video: bool) -> dict[str, Any]:
    """The `features` of `info.json`.

    Args:
        shape: (V, H, W, 3) of the pictures of a step.
        state: S, size of the state vector.
        actions: A, size of an action.
        video: whether pictures are in videos.
    """
    views, *picture = shape
    found: dict[str, Any] = {}
    for view in range(views):
        found[image_key(view)] = {
            "dtype": "video" if video else "image",
            "shape": picture,
            "names": ["height", "width", "channels"],
        }
    if state:
        found[STATE] = {"dtype": "float32", "shape": [state], "names": None}
    found[ACTION] = {"dtype": "float32", "shape": [actions], "names": None}
    for name in (SUCCESS, DONE, SAMPLE_START):
        found[name] = {"dtype": "bool", "shape": [1], "names": None}
    for name, dtype in SCALARS.items():
        found[name] = {"dtype": dtype, "shape": [1], "names": None}
    return found


def video_info(shape: tuple[int, ...], fps: int) -> dict[str, Any]:
    """What `info.json` says of a video feature."""
    height, width, channels = shape
    return {
        "video.height": height,
        "video.width": width,
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": channels,
        "has_audio": False,
    }
