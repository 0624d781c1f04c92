"""The env worker with simulators that can leave an accelerator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rlinf import registry
from rlinf.config.load import load
from rlinf.data.types import Observation, Start
from rlinf.envs.base import StepResult
from rlinf.envs.starts import evaluation_starts
from rlinf.envs.toy.reach import ToyReach
from rlinf.runners.samples import collect_trajectories, make_samples
from rlinf.workers.env import EnvWorker
from rlinf.workers.rollout import RolloutWorker
from tests.unit.workers.conftest import TOY, LocalPolicy


@pytest.mark.parametrize("auto_reset", [True, False])
def test_samples_are_the_same_in_the_same_order_for_any_number_of_stages(
    auto_reset: bool, tmp_path: Path
):
    batches = []
    for stages in (1, 2, 4):
        settings = (
            *TOY,
            "algorithm.rollout_epoch=2",
            "env.train.max_steps_per_rollout_epoch=20",
            "actor.micro_batch_size=10",
            "actor.global_batch_size=80",
            f"env.train.auto_reset={str(auto_reset).lower()}",
            f"rollout.pipeline_stage_num={stages}",
            f"runner.logger.log_path={tmp_path}",
        )
        loaded = load("toy_ppo_mlp", settings)
        policy = LocalPolicy(RolloutWorker(loaded.config, 0, threads=1, log_dir=str(tmp_path)))
        worker = EnvWorker(loaded.config, 0, 1, loaded.plan, policy, str(tmp_path))
        worker.start()
        collector = SimpleNamespace(
            collect=lambda step, epochs, shares, of=worker: of.rollout(0, 0, epochs, shares)
        )
        batches.append(
            make_samples(collect_trajectories(collector, 0, loaded.config)[0], loaded.config)[0]
        )
        worker.close()
    for batch in batches[1:]:
        found, expected = batch.sampled["draw"], batches[0].sampled["draw"]
        np.testing.assert_allclose(found, expected, atol=1e-4)
        for name in ("advantages", "mask", "weights"):
            expected = getattr(batches[0], name)
            np.testing.assert_allclose(getattr(batch, name), expected, atol=1e-4, err_msg=name)


class Guest(ToyReach):
    """A toy that must be on its device whenever it is used."""

    def __init__(self, num_envs: int, **settings: int) -> None:
        super().__init__(num_envs, **settings)
        self.here, self.moves = True, 0

    def offload(self) -> None:
        assert self.here
        self.here, self.moves = False, self.moves + 1

    def onload(self) -> None:
        assert not self.here
        self.here, self.moves = True, self.moves + 1

    def reset(self, ids: np.ndarray, starts: list[Start]) -> None:
        assert self.here
        super().reset(ids, starts)

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        assert self.here
        return super().step(actions, active)

    def observe(self, ids: np.ndarray) -> Observation:
        assert self.here or not len(ids)
        return super().observe(ids)


@pytest.mark.parametrize("offload", [True, False])
def test_simulators_are_on_their_device_only_while_they_are_used(
    offload: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = replace(registry.simulator("toy_reach"), build=f"{__name__}:Guest")
    monkeypatch.setitem(registry.simulators(), "toy_reach", spec)
    settings = (*TOY, f"env.enable_offload={str(offload).lower()}", "env.eval.num_trials=4")
    loaded = load("toy_ppo_mlp", [*settings, f"runner.logger.log_path={tmp_path}"])
    policy = LocalPolicy(RolloutWorker(loaded.config, 0, threads=1, log_dir=str(tmp_path)))
    worker = EnvWorker(loaded.config, 0, 1, loaded.plan, policy, str(tmp_path))
    tasks = worker.start()
    worker.start_evaluation()
    train, judged = (
        [stage.batch._simulator for stage in stages]
        for stages in (worker.training, worker.evaluating)
    )

    def are_here() -> tuple[list[bool], list[bool]]:
        return [one.here for one in train], [one.here for one in judged]

    for step in range(2):
        worker.rollout(step, 0, (0,))
        worker.evaluate(evaluation_starts(0, len(tasks), 4), 0, 0, step, None)
        assert are_here() == ([not offload] * len(train), [not offload] * len(judged))
    kept = worker.state()
    worker.forget()
    worker.restore(kept)
    assert are_here()[0] == [not offload] * len(train)
    # Away after two rollouts and the restore; back before the second of them and the restore.
    assert {one.moves for one in train} == ({5} if offload else {0})
    worker.close()
