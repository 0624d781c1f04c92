"""Episodes of a policy, recorded step by step: demonstrations of what it can do already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rlinf.data.conventions import AS_IT_IS, Conversion
from rlinf.data.random import Noise, derive
from rlinf.data.types import Observation, Start
from rlinf.envs.episode import EnvBatch
from rlinf.imitation.episode import Episode
from rlinf.models.base import Policy, Sampling

_ROLLOUTS = 6  # keeps the noise apart from that of training and evaluation


def roll_out(
    batch: EnvBatch,
    policy: Policy,
    sampling: Sampling,
    starts: Sequence[Start],
    seed: int,
    conversion: Conversion = AS_IT_IS,
) -> Iterator[Episode]:
    """Runs every start once, as many at a time as there are envs; yields episodes as they end.

    The envs execute one action at a time, so that every step shows itself; the policy chooses C at
    a time, as in training. Noise belongs to (seed, start, step): the number of envs changes none
    of the episodes, only the order in which they end.

    Args:
        conversion: from the policy's actions to the simulator's, which are what is recorded.
    """
    size = batch.num_envs
    queues = [list(starts[env::size]) for env in range(size)]
    current = [queue.pop(0) for queue in queues if queue]
    recordings = [_Recording() for _ in range(size)]
    active = np.arange(size) < len(current)
    shown = batch.start(np.flatnonzero(active), current)
    plans = np.zeros((size, policy.chunk, policy.action_dim), np.float32)
    while active.any():
        rows = np.flatnonzero(active)
        due = np.array([len(recordings[row]) % policy.chunk == 0 for row in rows])
        if due.any():
            keys = [derive(seed, _ROLLOUTS, *current[r], len(recordings[r])) for r in rows[due]]
            seen = shown.take(np.flatnonzero(due))
            chosen = policy.act(seen, sampling, Noise(np.array(keys))).actions
            plans[rows[due]] = conversion(chosen)
        actions = np.zeros((size, 1, policy.action_dim), np.float32)
        for place, row in enumerate(rows):
            actions[row, 0] = plans[row, len(recordings[row]) % policy.chunk]
            recordings[row].add(shown.take(np.array([place])), actions[row, 0])
        upcoming = [queue[0] if queue else None for queue in queues]
        result = batch.run_chunk(actions, active, upcoming)
        for episode in result.episodes:
            if not episode.dropped:
                yield recordings[episode.env].finish(episode.success_once)
            recordings[episode.env] = _Recording()
            if queues[episode.env]:
                current[episode.env] = queues[episode.env].pop(0)
        shown, active = result.observation, result.active


class _Recording:
    """The steps of one episode so far."""

    def __init__(self) -> None:
        self._seen: list[Observation] = []
        self._actions: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._actions)

    def add(self, seen: Observation, action: np.ndarray) -> None:
        self._seen.append(seen)
        self._actions.append(action.copy())

    def finish(self, success: bool) -> Episode:
        seen = Observation.concatenate(self._seen)
        return Episode(
            images=seen.images,
            state=seen.state,
            actions=np.stack(self._actions),
            sample_start=np.ones(len(self._actions), bool),
            instruction=seen.instructions[0],
            success=success,
        )
