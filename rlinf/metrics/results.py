"""What finished episodes say: metrics of training, and the result of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from rlinf.data.types import EpisodeResult
from rlinf.metrics.outcome import Outcome
from rlinf.metrics.types import Mean, Metric, Metrics, Total


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Ends of the Wilson score interval of a success probability (Brown et al. 2001, eq. 4).

    It stays inside [0, 1] and says something useful at 0 or n successes. Without trials nothing is
    known: [0, 1].
    """
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    spread = math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    half = z * spread / (1 + z**2 / trials)
    # Exactly 0 and 1, which rounding misses: the share itself is inside.
    low = centre - half if successes else 0.0
    high = centre + half if successes < trials else 1.0
    return low, high


@dataclass(frozen=True, slots=True)
class EvalResult:
    """The outcome of an evaluation; success means success at any step."""

    overall: Outcome
    tasks: dict[int, Outcome]  # by task index, of the tasks that were evaluated
    groups: dict[str, Outcome]  # by group of tasks, such as a suite; empty with fewer than two
    metrics: Metrics  # eval/*


def evaluation(
    label: str,
    episodes: Sequence[EpisodeResult],
    tasks: Sequence[str],
    groups: Sequence[str] = (),
) -> EvalResult:
    """Success overall, per task and per group. Every episode counts once.

    Args:
        label: what a reader calls the policy: "before", "after".
        tasks: instruction of each task, by index.
        groups: group of each task, by index; empty where they have none.
    """
    overall = outcome(label, episodes)
    by_task = {
        index: outcome(tasks[index], [e for e in episodes if e.start.task == index])
        for index in sorted({episode.start.task for episode in episodes})
    }
    members = {
        group: [e for e in episodes if groups[e.start.task] == group]
        for group in dict.fromkeys(groups)
    }
    by_group = {group: outcome(group, own) for group, own in members.items() if own}
    by_group = by_group if len(by_group) > 1 else {}
    metrics: dict[str, Metric] = {
        **episode_metrics(episodes, "eval"),
        "eval/success_once_low": Mean(overall.low, 1.0),
        "eval/success_once_high": Mean(overall.high, 1.0),
    }
    if len(by_task) > 1:
        for index, result in by_task.items():
            name = f"eval/task_{index}/success_once"
            metrics[name] = Mean(result.success * result.episodes, result.episodes)
    for group, result in by_group.items():
        name = f"eval/{group}/success_once"
        metrics[name] = Mean(result.success * result.episodes, result.episodes)
    return EvalResult(overall, by_task, by_group, Metrics(metrics))


def task_metrics(episodes: Sequence[EpisodeResult], shares: Iterable[float]) -> Metrics:
    """Success and number of the finished training episodes of each task, and how likely it was.

    A task without an episode has no success; episodes that a simulator gave up do not count.

    Args:
        shares: of each task; one with 0 is left out.
    """
    metrics: dict[str, Metric] = {}
    for index, share in enumerate(shares):
        if not share:
            continue
        own = [e.success_once for e in episodes if e.start.task == index and not e.dropped]
        metrics[f"env/task_{index}/success_once"] = Mean(sum(own), len(own))
        metrics[f"env/task_{index}/num_episodes"] = Total(len(own))
        metrics[f"env/task_{index}/share"] = Mean(float(share), 1.0)
    return Metrics(metrics)


def outcome(label: str, episodes: Sequence[EpisodeResult]) -> Outcome:
    """Share of episodes with success at some step; NaN without episodes."""
    count, successes = len(episodes), sum(e.success_once for e in episodes)
    low, high = wilson(successes, count)
    return Outcome(label, successes / count if count else math.nan, low, high, count)


def episode_metrics(episodes: Sequence[EpisodeResult], area: Literal["env", "eval"]) -> Metrics:
    """Means over finished episodes; every episode weighs alike.

    An episode that a reward which is not finite broke off has no return.
    """
    count = len(episodes)
    whole = [e for e in episodes if math.isfinite(e.episode_return)]
    sums = {
        "success_once": sum(e.success_once for e in episodes),
        "success_at_end": sum(e.success_at_end for e in episodes),
        "fail_once": sum(e.terminated and not e.success_once for e in episodes),
        "episode_len": sum(e.length for e in episodes),
    }
    returns = {
        "return": math.fsum(e.episode_return for e in whole),
        "reward": math.fsum(e.episode_return / e.length for e in whole),
    }
    metrics: dict[str, Metric] = {f"{area}/{name}": Mean(x, count) for name, x in sums.items()}
    metrics |= {f"{area}/{name}": Mean(x, len(whole)) for name, x in returns.items()}
    return Metrics({**metrics, f"{area}/num_episodes": Total(count)})
