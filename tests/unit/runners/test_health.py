from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rlinf import control_groups
from rlinf.control_groups import Memory
from rlinf.data.types import EpisodeResult, Start
from rlinf.errors import EnvironmentFailure
from rlinf.runners.health import HealthCheck

LEARNT = {"train/actor/lr": 1e-4}
NAN = float("nan")


class Said:
    """The warnings of a console."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, text: str) -> None:
        self.lines.append(text)


def checked() -> tuple[Any, list[str]]:
    console: Any = Said()
    return HealthCheck(console), console.lines


def episodes(count: int, episode_return: float = 1.0) -> list[EpisodeResult]:
    one = EpisodeResult(3, Start(0, -1, 77), 9, episode_return, False, False, False)
    return [one] * count


def test_a_clip_fraction_above_three_tenths_is_told_once_until_it_was_lower() -> None:
    health, said = checked()
    for fraction, lines in ((0.3, 0), (0.31, 1), (0.5, 1), (0.1, 1), (0.4, 2)):
        health.look({**LEARNT, "train/actor/clip_fraction": fraction}, [])
        assert len(said) == lines
    assert "clip_fraction is 0.31" in said[0] and "target_kl" in said[0]


def test_three_iterations_without_an_update_are_told_with_the_shares() -> None:
    health, said = checked()
    idle = {"rollout/filtered_groups": 1.0, "rollout/equal_groups": 0.75}
    for metrics in (idle, idle, LEARNT, idle, idle, idle, idle):
        health.look(metrics, [])
    assert len(said) == 1
    assert "3 iterations in a row" in said[0]
    assert "100% of the groups were filtered, 75% had equal returns" in said[0]


def test_a_few_broken_rewards_are_told_and_many_end_the_run() -> None:
    health, said = checked()
    health.look(LEARNT, [*episodes(300), *episodes(3, NAN)])  # 3 of 303: just below 1 %
    assert "3 of 303 episodes so far" in said[0] and "env 3 at step 9" in said[0]
    with pytest.raises(EnvironmentFailure, match=r"4 of 304 .* more than 1%.*seed=77"):
        health.look(LEARNT, episodes(1, NAN))


def test_one_or_two_broken_episodes_do_not_end_a_run_that_has_just_begun() -> None:
    health, _ = checked()
    health.look(LEARNT, [*episodes(2), *episodes(2, NAN)])
    with pytest.raises(EnvironmentFailure):
        health.look(LEARNT, episodes(1, NAN))


def test_dropped_episodes_are_told_and_do_not_count_as_broken() -> None:
    health, said = checked()
    health.look(LEARNT, [replace(episode, dropped=True) for episode in episodes(9, NAN)])
    (line,) = said
    assert "dropped 9 running episodes" in line


def test_memory_that_runs_short_is_told_once_until_there_was_more(monkeypatch) -> None:
    health, said = checked()
    for percent, lines in ((89.0, 0), (91.0, 1), (95.0, 1), (50.0, 1), (92.0, 2)):
        memory = Memory(total=10_000, available=round(10_000 - 100 * percent))
        monkeypatch.setattr(control_groups, "memory", lambda memory=memory: memory)
        health.look(LEARNT, [])
        assert len(said) == lines
    assert "91 % of the 0.0 GB of memory here" in said[0]
