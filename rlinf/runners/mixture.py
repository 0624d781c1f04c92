"""Which tasks the training episodes of an iteration have, where `env.train.mixture` says so."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rlinf.algorithms.mixture import Curriculum, TaskCounts, move_shares
from rlinf.config.env_checks import mixture_shares
from rlinf.config.schema import Config
from rlinf.data.types import EpisodeResult

MIXTURE_FILE = "mixture.npz"
"""In a checkpoint: what the curriculum knows of each task."""


class TaskMixture:
    """Shares of the tasks; with a curriculum they follow the success of earlier iterations.

    What is known before each iteration is kept apart, so that an iteration that is done again after
    a failure has the same shares and counts once.
    """

    def __init__(self, config: Config) -> None:
        mixture = config.env.train.mixture
        self._base = None if mixture is None else mixture_shares(config)
        self._curriculum: Curriculum | None = None
        self._before: dict[int, TaskCounts] = {}  # iteration -> what was known before it
        if self._base is not None and mixture is not None and mixture.curriculum is not None:
            given = mixture.curriculum
            self._curriculum = Curriculum(given.low, given.high, given.focus, given.half_life)
            self._before[0] = TaskCounts.none(len(self._base))

    def shares(self, step: int) -> np.ndarray | None:
        """How likely each task is in iteration `step`: [tasks] float64; None: all alike."""
        if self._base is None or self._curriculum is None:
            return self._base
        return move_shares(self._base, self._before[step], self._curriculum)

    def add(self, step: int, episodes: Iterable[EpisodeResult]) -> None:
        """Learns how the episodes of iteration `step` ended; the simulator's failures are left out.

        Afterwards the shares of `step + 1` are known.
        """
        if self._curriculum is None:
            return
        ended = [(e.start.task, e.success_once) for e in episodes if not e.dropped]
        self._before[step + 1] = self._before[step].after(ended, self._curriculum.half_life)
        for old in [known for known in self._before if 0 < known < step]:
            del self._before[old]

    def save(self, step: int, folder: Path) -> None:
        """Writes what is known before iteration `step`."""
        if self._curriculum is not None:
            np.savez(folder / MIXTURE_FILE, **self._before[step]._asdict())

    def load(self, step: int, folder: Path) -> None:
        """Takes what a checkpoint of `step` knows; nothing, where it was written without one."""
        if self._curriculum is None or self._base is None:
            return
        known = TaskCounts.none(len(self._base))
        if (folder / MIXTURE_FILE).is_file():
            with np.load(folder / MIXTURE_FILE, allow_pickle=False) as file:
                known = TaskCounts(file["episodes"], file["successes"])
        self._before = {0: TaskCounts.none(len(self._base)), step: known}
