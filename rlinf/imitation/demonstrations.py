"""Demonstrations as training data: what was seen, and the chunk of actions that followed.

F steps of all episodes lie one after the other; N of them begin a sample. Pictures are usually a
file mapped into memory, so that only what a batch needs is ever read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rlinf.config.data_sets import differences
from rlinf.data.random import derive
from rlinf.data.statistics import ActionStatistics
from rlinf.data.types import Observation
from rlinf.errors import UserError
from rlinf.imitation.episode import Episode
from rlinf.imitation.lerobot import layout
from rlinf.imitation.lerobot.pictures import decoded
from rlinf.imitation.lerobot.read import DataSet

_HOLD_OUT = 5  # keeps the choice of episodes apart from the order of samples


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """N samples from F steps of E episodes."""

    images: np.ndarray  # [F, V, H, W, 3] uint8, read-only
    state: np.ndarray  # [F, S] float32
    actions: np.ndarray  # [F, A] float32, env units
    task: np.ndarray  # [F] int64, index into `instructions`
    episode: np.ndarray  # [F] int64, index of the episode
    ends: np.ndarray  # [F] int64, the step after the last one of the same episode
    success: np.ndarray  # [E] bool
    starts: np.ndarray  # [N] int64, step that each sample begins at
    instructions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def observation(self, rows: np.ndarray) -> Observation:
        """What the samples `rows` ([n] int64) saw."""
        steps = self.starts[rows]
        texts = tuple(self.instructions[task] for task in self.task[steps].tolist())
        return Observation(np.asarray(self.images[steps]), self.state[steps], texts)

    def chunks(self, rows: np.ndarray, chunk: int) -> np.ndarray:
        """The C actions of the samples `rows`: [n, C, A]; past the end the last one again."""
        steps = self.starts[rows]
        wanted = np.minimum(steps[:, None] + np.arange(chunk), self.ends[steps][:, None] - 1)
        return self.actions[wanted]

    def values(self, rows: np.ndarray, chunk: int, gamma: float) -> np.ndarray:
        """Discounted returns of the samples, gamma per chunk: [n] float32.

        A solved episode gives 1 at its end, another one nothing.
        """
        steps = self.starts[rows]
        discounts = gamma ** ((self.ends[steps] - steps) / chunk)
        return (self.success[self.episode[steps]] * discounts).astype(np.float32)

    def action_statistics(self, chunk: int) -> ActionStatistics:
        """Of the actions of all samples."""
        actions = self.chunks(np.arange(len(self)), chunk)
        episodes = len(np.unique(self.episode[self.starts]))
        return ActionStatistics.of(actions.reshape(-1, actions.shape[-1]), episodes)

    def state_statistics(self) -> ActionStatistics:
        """Of the robot's state where the samples begin."""
        episodes = len(np.unique(self.episode[self.starts]))
        return ActionStatistics.of(self.state[self.starts], episodes)

    def split(self, share: float, seed: int) -> tuple[Demonstrations, Demonstrations]:
        """Samples to learn from, and those of a share of the episodes, held out for judging.

        Whole episodes are held out, drawn from the seed: steps of one episode look alike. One at
        least where the share is above 0 and there are two.
        """
        count = len(self.success)
        wanted = min(max(round(share * count), 1), count - 1) if share else 0
        order = np.argsort(derive(seed, _HOLD_OUT, np.arange(count)), kind="stable")
        out = np.isin(self.episode[self.starts], order[:wanted])
        return replace(self, starts=self.starts[~out]), replace(self, starts=self.starts[out])

    @staticmethod
    def of_episodes(episodes: Sequence[Episode]) -> Demonstrations:
        """Episodes in memory."""
        texts = {episode.instruction: None for episode in episodes}
        codes = {text: code for code, text in enumerate(texts)}
        return _assemble(
            images=np.concatenate([episode.images for episode in episodes]),
            state=np.concatenate([episode.state for episode in episodes]),
            actions=np.concatenate([episode.actions for episode in episodes]),
            task=np.concatenate([np.full(len(e), codes[e.instruction]) for e in episodes]),
            lengths=[len(episode) for episode in episodes],
            success=np.array([episode.success for episode in episodes]),
            sample_start=np.concatenate([episode.sample_start for episode in episodes]),
            instructions=tuple(texts),
        )

    @staticmethod
    def load(
        folders: Sequence[str],
        image_keys: Sequence[str],
        cache_dir: Path,
        on_episode: Callable[[int, int], None],
    ) -> Demonstrations:
        """Data sets in the LeRobot layout, one after the other.

        Args:
            image_keys: the features that are the views, in their order; empty takes all.
            cache_dir: where decoded pictures are kept.
            on_episode: gets the number of episodes decoded and the number there are.

        Raises:
            UserError: a data set is missing, incomplete, or does not fit the others.
        """
        sets = [DataSet(folder) for folder in folders]
        keys = [data.choose_pictures(image_keys) for data in sets]
        parts = [data.read_rows() for data in sets]
        texts = dict.fromkeys(text for data in sets for text in data.tasks.values())
        codes = {text: code for code, text in enumerate(texts)}
        tasks = [
            np.array([codes[data.tasks[task]] for task in rows.task.tolist()])
            for data, rows in zip(sets, parts, strict=True)
        ]
        for name, values in (
            (layout.ACTION, [rows.actions for rows in parts]),
            (layout.STATE, [rows.state for rows in parts]),
        ):
            sizes = {str(data.root): v.shape[1] for data, v in zip(sets, values, strict=True)}
            for problem in differences(sizes, name):
                raise UserError(*problem)
        return _assemble(
            images=decoded(sets, keys, cache_dir, on_episode),
            state=np.concatenate([rows.state for rows in parts]),
            actions=np.concatenate([rows.actions for rows in parts]),
            task=np.concatenate(tasks),
            lengths=[episode.length for data in sets for episode in data.episodes],
            success=np.concatenate([rows.success for rows in parts]),
            sample_start=np.concatenate([rows.sample_start for rows in parts]),
            instructions=tuple(texts),
        )


def _assemble(
    images: np.ndarray,
    state: np.ndarray,
    actions: np.ndarray,
    task: np.ndarray,
    lengths: Sequence[int],
    success: np.ndarray,
    sample_start: np.ndarray,
    instructions: tuple[str, ...],
) -> Demonstrations:
    return Demonstrations(
        images=images,
        state=state,
        actions=actions,
        task=task,
        episode=np.repeat(np.arange(len(lengths)), lengths),
        ends=np.repeat(np.cumsum(lengths), lengths),
        success=success,
        starts=np.flatnonzero(sample_start),
        instructions=instructions,
    )
