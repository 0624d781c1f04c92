"""What deserves a warning while a run goes on, and what ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from rlinf import control_groups
from rlinf.data.types import EpisodeResult
from rlinf.envs.recorder import MEMORY_PERCENT
from rlinf.errors import EnvironmentFailure
from rlinf.logging.console import Console
from rlinf.wording import plural

CLIP_FRACTION = 0.3  # beyond it an update mostly pushes against the clip; it often precedes decay
IDLE_ITERATIONS = 3  # in a row in which nothing could be learnt
BAD_SHARE, BAD_AT_LEAST = 0.01, 3  # episodes lost to rewards that are not finite, of all so far


class HealthCheck:
    """Looks at the metrics of each iteration. A warning is repeated only when it was over."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._clipping = False
        self._short = False  # of memory
        self._idle = 0  # iterations in a row
        self._episodes, self._bad = 0, 0

    def look(self, metrics: Mapping[str, float], episodes: Sequence[EpisodeResult]) -> None:
        """Takes in an iteration.

        Args:
            episodes: that ended in it.

        Raises:
            EnvironmentFailure: too many episodes had rewards that are not finite.
        """
        self._look_at_clipping(metrics.get("train/actor/clip_fraction", 0.0))
        self._look_at_learning(metrics)
        self._look_at_rewards(episodes)
        self._look_at_memory(control_groups.memory())

    def _look_at_clipping(self, fraction: float) -> None:
        clipping = fraction > CLIP_FRACTION
        if clipping and not self._clipping:
            self._console.warn(
                f"train/actor/clip_fraction is {fraction:.2f}, above {CLIP_FRACTION}: updates move "
                "the policy too far from the data. Lower actor.optim.lr or "
                "algorithm.update_epoch, or set algorithm.target_kl"
            )
        self._clipping = clipping

    def _look_at_learning(self, metrics: Mapping[str, float]) -> None:
        self._idle = 0 if "train/actor/lr" in metrics else self._idle + 1
        if self._idle == IDLE_ITERATIONS:
            shares = ", ".join(
                f"{metrics[name]:.0%} {words}"
                for name, words in (
                    ("rollout/filtered_groups", "of the groups were filtered"),
                    ("rollout/equal_groups", "had equal returns throughout"),
                )
                if name in metrics
            )
            self._console.warn(
                f"{self._idle} iterations in a row had nothing to learn from "
                f"({shares or 'no data'}): start from a policy that sometimes succeeds, raise "
                "env.train.group_size or algorithm.sampling_params.temperature_train, or move the "
                "reward bounds"
            )

    def _look_at_memory(self, memory: control_groups.Memory) -> None:
        """Ray ends workers at 95 %, the kernel anybody at 100 %: the user shall know before."""
        short = memory.percent > MEMORY_PERCENT
        if short and not self._short:
            self._console.warn(
                f"{memory.percent:.0f} % of the {memory.total / 1e9:.1f} GB of memory here (of the "
                "machine or its container) is in use: recordings for videos are dropped. Videos "
                "(env.*.video_cfg.save_video), simulator processes (env.*.num_processes) and "
                "env.train.total_num_envs need less when there are fewer"
            )
        self._short = short

    def _look_at_rewards(self, episodes: Sequence[EpisodeResult]) -> None:
        dropped = sum(episode.dropped for episode in episodes)
        if dropped:
            self._console.warn(
                f"dropped {plural(dropped, 'running episode')}, which nothing is trained on: the "
                "simulator began anew and cannot replay them"
            )
        episodes = [episode for episode in episodes if not episode.dropped]
        bad = [episode for episode in episodes if not isfinite(episode.episode_return)]
        self._episodes += len(episodes)
        self._bad += len(bad)
        if not bad:
            return
        last = bad[-1]
        where = f"env {last.env} at step {last.length} from {last.start}"
        seen = plural(self._episodes, "episode")
        text = f"{self._bad} of {seen} so far had a reward that is not finite"
        if self._bad >= BAD_AT_LEAST and self._bad > BAD_SHARE * self._episodes:
            raise EnvironmentFailure(
                f"{text}, more than {BAD_SHARE:.0%}; the last one was in {where}"
            )
        self._console.warn(f"{text}; they are not trained on. The last one was in {where}")
