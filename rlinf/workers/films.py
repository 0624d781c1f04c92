"""Videos of single trials of an evaluation, written while the next ones run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from rlinf.config.schema import EvalVideoConfig
from rlinf.data.types import EpisodeResult
from rlinf.envs.episode import Frame
from rlinf.envs.video import write_video
from rlinf.metrics.evaluation import film_folder, film_name


class Films:
    """Keeps the trials of the chosen outcome, the first `max_videos` of a worker."""

    def __init__(self, config: EvalVideoConfig, step: int, fps: int) -> None:
        self._config, self._fps = config, fps
        self._folder = film_folder(Path(config.video_base_dir), step)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="films")
        self._written: list[Future[Path | None]] = []
        self._lock = Lock()  # stages add from threads of their own

    @property
    def wanted(self) -> bool:
        """Whether there is room for another one."""
        return len(self._written) < self._config.max_videos

    def add(self, episode: EpisodeResult, frames: Sequence[Frame]) -> None:
        """Writes the video of a finished trial, if its outcome is one to be shown."""
        chosen = {"all": True, "successes": episode.success_once}
        if not chosen.get(self._config.only or "", not episode.success_once):
            return
        path = self._folder / film_name(episode)
        with self._lock:
            if self.wanted:
                self._written.append(
                    self._pool.submit(write_video, frames, self._config, path, self._fps)
                )

    def close(self) -> None:
        """Returns when all are written."""
        self._pool.shutdown()
        for one in self._written:
            one.result()


class Reels:
    """The frames of running episodes, cut into whole ones where they end."""

    def __init__(self) -> None:
        self._running: dict[int, list[Frame]] = {}

    def ended(self, frames: Iterable[Frame]) -> dict[int, list[Frame]]:
        """Takes the latest frames; those of each env whose episode ended, from its start.

        Where a simulator was replaced frames are missing: such an episode has none at all.
        """
        whole = {}
        for frame in frames:
            if frame.step == 0:
                self._running[frame.env] = []
            reel = self._running.setdefault(frame.env, [])
            reel.append(frame)
            if frame.ended:
                if [one.step for one in reel] == list(range(len(reel))):
                    whole[frame.env] = reel
                del self._running[frame.env]
        return whole
