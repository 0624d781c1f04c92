"""Training with fixed episodes: each rollout epoch has one episode of every env."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlinf.data.random import derive
from rlinf.data.recording import Recording
from rlinf.data.types import Trajectory
from rlinf.workers.stage import NONE_ENDED, TRAIN, Roles, TrainStage

_WAVE = 4  # a stage begins new episodes when one in so many of its envs is free


class FixedEpisodesStage(TrainStage):
    """Collects one episode of every env in each rollout epoch, those of a group from one start.

    Start and noise belong to the epoch and the env, whichever env plays the episode: an env whose
    episode has ended takes the next one that has not begun, of any epoch and env, and waits for no
    other. Only a few begin at a time (`_WAVE`), since all envs of a stage wait for a reset.
    """

    def collect(self, step: int, version: int, epochs: Sequence[int] = (0,)) -> list[Trajectory]:
        size, numbers = self.batch.num_envs, np.array(epochs)
        recordings = [Recording(self.chunks, size, version) for _ in epochs]
        roles, ended = Roles(np.zeros_like(self.envs), self._all_rows()), NONE_ENDED
        chunk = np.zeros(size, np.int64)  # of each env's present episode
        begun, total = 0, size * len(epochs)
        self.active[:] = False
        while begun < total or self.active.any():
            free = np.flatnonzero(~self.active)[: total - begun]
            if len(free) and _WAVE * len(free) >= min(size, len(free) + self.active.sum()):
                roles.epoch[free], roles.env[free] = np.divmod(begun + np.arange(len(free)), size)
                begun, chunk[free] = begun + len(free), 0
                self.begin(free, self._starts(step, numbers[roles.epoch[free]], roles.env[free]))
            keys = derive(self.seed, TRAIN, step, numbers[roles.epoch], chunk, self.envs[roles.env])
            ended, _ = self._record_chunk(recordings, roles, keys, ended, version)
            chunk += 1
            for index in set(range(begun // size)) - set(roles.epoch[self.active].tolist()):
                recordings[index].publish(self.policy.publish)  # no env plays in it any more
        self._value_the_end(recordings, roles, ended)
        return [recording.finish() for recording in recordings]
