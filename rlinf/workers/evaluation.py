"""Evaluation: given starts, each run exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Event

import numpy as np

from rlinf.config.schema import Config
from rlinf.data.conventions import AS_IT_IS, Conversion
from rlinf.data.random import derive
from rlinf.data.types import EpisodeResult, Start
from rlinf.envs.episode import EnvBatch
from rlinf.errors import EnvironmentFailure
from rlinf.metrics.timeline import Spans
from rlinf.workers.films import Films, Reels
from rlinf.workers.stage import EVAL, PolicyService, Stage


class EvalStage(Stage):
    """Runs given starts, each exactly once: an env whose episode ended takes the next one."""

    def __init__(
        self,
        config: Config,
        batch: EnvBatch,
        policy: PolicyService,
        first_env: int,
        interrupted: Event | None = None,
        spans: Spans | None = None,
        conversion: Conversion = AS_IT_IS,
    ) -> None:
        super().__init__(batch, policy, first_env, interrupted, spans, conversion)
        self.seed = config.actor.seed
        self.max_failures = config.runner.max_failures
        self.shown = config.env.eval.video_cfg.num_envs_shown * config.env.eval.video_cfg.save_video
        self.all_envs = config.env.eval.total_num_envs

    def run(
        self,
        starts: Sequence[Start],
        repeat: int,
        version: int,
        keep: Callable[[Sequence[EpisodeResult]], None],
        films: Films | None = None,
    ) -> list[EpisodeResult]:
        """The episodes of `starts`, dealt out to the envs in turn.

        `keep` gets each when it ends, and `films` what it looked like.

        An episode that was dropped, since its simulator failed and cannot replay it, is run again.
        The noise belongs to (start, repeat, chunk of the episode): how many envs there are and
        which of them gets a start changes nothing.
        """
        size = self.batch.num_envs
        self.dropped: Counter[Start] = Counter()  # episodes of each start
        queues = [list(starts[env::size]) for env in range(size)]
        current = [queue.pop(0) for queue in queues if queue]
        self.batch.take_frames()  # of an evaluation that was given up
        if films is None:
            self.batch.set_record(self.shown, once=True)
        else:
            self.batch.set_record(self.all_envs if films.wanted else 0)
        reels = Reels()
        self.active[:] = False
        self.begin(np.arange(len(current)), current)
        chunks = np.zeros(size, np.int64)  # of the current episode of each env
        episodes: list[EpisodeResult] = []
        while self.active.any():
            keys = np.zeros(size, np.uint64)
            for env in np.flatnonzero(self.active):
                keys[env] = derive(self.seed, EVAL, *current[env], repeat, chunks[env])
            upcoming = [queue[0] if queue else None for queue in queues]
            *_, result = self.advance(keys, None, "eval", version, upcoming)
            finished = [
                replace(episode, repeat=repeat)
                for episode in result.episodes
                if not episode.dropped
            ]
            episodes.extend(finished)
            keep(finished)
            if films is not None and finished:
                self._show(films, reels, finished)
            chunks += 1
            for env in np.flatnonzero((result.terminated | result.truncated).any(axis=1)):
                if queues[env]:
                    current[env], chunks[env] = queues[env].pop(0), 0
            for episode in result.episodes:
                if episode.dropped:
                    self._queue_again(episode, queues[episode.env - self.envs[0]])
            waiting = [env for env in np.flatnonzero(~self.active) if queues[env]]
            if waiting:
                chunks[waiting] = 0
                for env in waiting:
                    current[env] = queues[env].pop(0)
                self.begin(np.array(waiting), [current[env] for env in waiting])
        return episodes

    def _show(self, films: Films, reels: Reels, finished: Sequence[EpisodeResult]) -> None:
        """Hands over what the finished episodes looked like; without room nothing is recorded."""
        frames = reels.ended(self.batch.take_frames())
        for episode in finished:
            if episode.env in frames:
                films.add(episode, frames[episode.env])
        if not films.wanted:
            self.batch.set_record(0)

    def _queue_again(self, episode: EpisodeResult, queue: list[Start]) -> None:
        """Raises EnvironmentFailure where the episode was dropped too often."""
        self.dropped[episode.start] += 1
        if self.dropped[episode.start] > self.max_failures:
            raise EnvironmentFailure(
                f"env {episode.env}: its simulator failed {self.dropped[episode.start]} times in "
                f"episodes from {episode.start}, and cannot replay them"
            )
        queue.append(episode.start)
