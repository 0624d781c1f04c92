"""What limits a run, worked out by hand from the seconds of its phases."""

from __future__ import annotations

from typing import Any

import pytest

from rlinf.logging.bottleneck import bottleneck

CONFIG = {"rollout.pipeline_stage_num": 1, "runner.mode": "sync", "env.train.total_num_envs": 16}


def record(sync: float, rollout: float, update: float, env: float, policy: float) -> dict[str, Any]:
    """An iteration of 100 s; simulators and policy work `env` and `policy` of it."""
    return {
        "time/sync": sync,
        "time/rollout": rollout,
        "time/advantages": 100 - sync - rollout - update,
        "time/update": update,
        "time/step": 100.0,
        "time/idle_env": 1 - env,
        "time/idle_rollout": 1 - policy,
        "time/idle_actor": 1 - update / 100,
    }


@pytest.mark.parametrize(
    ("seconds", "part", "sentence", "first"),
    [
        # Busy shares are those of the rollout: 0.72 of 80 s / 100 s is 90 % of it.
        (
            record(1, 80, 18, env=0.72, policy=0.16),
            "simulator",
            "(80% of an iteration) simulators are busy 90% and the policy 20%.",
            "rollout.pipeline_stage_num: 2",
        ),
        (
            record(1, 80, 18, env=0.24, policy=0.76),
            "policy",
            "simulators are busy 30% and the policy 95%.",
            "cluster.component_placement: more devices or machines for rollout",
        ),
        (
            record(1, 80, 18, env=0.40, policy=0.40),
            "turns",
            "wait for each other",
            "rollout.pipeline_stage_num: 2",
        ),
        (
            record(1, 30, 68, env=0.3, policy=0.1),
            "update",
            "it takes 68% of an iteration",
            "actor.micro_batch_size: the largest that fits",
        ),
        (
            record(60, 30, 9, env=0.3, policy=0.1),
            "transfer",
            "new weights to the policy takes 60% of an iteration",
            "cluster.component_placement: rollout on the devices of actor",
        ),
    ],
)
def test_the_part_that_an_iteration_waits_for_is_named(
    seconds: dict[str, Any], part: str, sentence: str, first: str
) -> None:
    found = bottleneck([seconds], CONFIG)
    assert found is not None
    assert found.part == part
    assert sentence in found.sentence
    assert found.settings[0] == first


def test_what_is_set_already_is_not_advised() -> None:
    found = bottleneck(
        [record(1, 80, 18, env=0.72, policy=0.16)], {**CONFIG, "rollout.pipeline_stage_num": 2}
    )
    assert found is not None
    assert found.settings[0] == "env.train.total_num_envs: more (now 16)"


def test_iterations_with_an_evaluation_do_not_count_where_there_are_others() -> None:
    plain = record(1, 80, 18, env=0.72, policy=0.16)
    evaluated = {**record(1, 20, 78, env=0.9, policy=0.9), "time/eval": 300.0}
    found = bottleneck([plain, evaluated], CONFIG)
    assert found is not None and found.part == "simulator"
    alone = bottleneck([evaluated], CONFIG)
    assert alone is not None and alone.part == "update" and alone.seconds["eval"] == 300.0


def test_nothing_is_said_before_the_first_iteration() -> None:
    assert bottleneck([], CONFIG) is None
    assert bottleneck([{"eval/success_once": 0.5, "time/rollout": None}], CONFIG) is None
