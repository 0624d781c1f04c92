from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rlinf.config.schema import Config
from rlinf.data.shared import SharedMemory
from rlinf.errors import NumericsError
from rlinf.runners.samples import make_samples
from rlinf.workers.actor import ActorWorker
from rlinf.workers.stage import TrainStage

Toy = Callable[..., Config]
StageOf = Callable[[Config], TrainStage]


@pytest.fixture
def actor_of(tmp_path: Path) -> Callable[..., ActorWorker]:
    def build(config: Config, rank: int = 0, world: int = 1) -> ActorWorker:
        return ActorWorker(config, rank, world, 1, 100, lambda refs: refs, str(tmp_path))

    return build


ActorOf = Callable[..., ActorWorker]


def weights_of(actor: ActorWorker) -> np.ndarray:
    """A copy of the trained weights."""
    near, _ = actor.weights(None)
    return SharedMemory.open(near.data).array.copy()


def wait_until_saved(actor: ActorWorker) -> None:
    while not actor.saved()[0]:
        time.sleep(0.01)
    assert actor.saved() == (True, None)


def test_a_first_update_sees_the_policy_that_acted(toy: Toy, stage_of: StageOf, actor_of: ActorOf):
    config = toy("actor.global_batch_size=120", "algorithm.update_epoch=1")
    batch, _ = make_samples(stage_of(config).collect(0, 0), config)
    metrics = actor_of(config).update(batch, step=0).reduce()
    assert metrics["train/actor/ratio"] == pytest.approx(1.0, abs=1e-5)
    assert metrics["train/actor/approx_kl"] == pytest.approx(0.0, abs=1e-5)
    assert metrics["train/actor/clip_fraction"] == 0


def test_the_update_does_not_depend_on_micro_batches(
    toy: Toy, stage_of: StageOf, actor_of: ActorOf
):
    config = toy()
    batch, _ = make_samples(stage_of(config).collect(0, 0), config)
    whole = actor_of(toy("actor.micro_batch_size=60"))
    split = actor_of(toy("actor.micro_batch_size=4"))
    ours, theirs = whole.update(batch, 0).reduce(), split.update(batch, 0).reduce()
    for name, value in ours.items():
        assert theirs[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    for name, parameter in whole.policy.named_parameters():
        other = split.policy.get_parameter(name)
        assert torch.allclose(parameter, other, atol=1e-5), name


def test_a_warming_up_critic_moves_alone_and_keeps_its_moments(
    toy: Toy, stage_of: StageOf, actor_of: ActorOf
):
    config = toy("actor.optim.critic_warmup_steps=2", "algorithm.update_epoch=1")
    batch, _ = make_samples(stage_of(config).collect(0, 0), config)
    actor = actor_of(config)
    before = {name: p.detach().clone() for name, p in actor.policy.named_parameters()}
    actor.update(batch, 0)  # 120 samples, 2 updates of 60: all warm-up
    for name, parameter in actor.policy.named_parameters():
        assert torch.equal(parameter, before[name]) == (not name.startswith("value")), name
    actor.update(batch, 1)
    assert not torch.equal(actor.policy.log_std, before["log_std"])
    value_weight = actor.policy.value_parameters()[0]
    assert actor.optimizer.adam.state[value_weight]["step"] == 4


def test_target_kl_ends_the_update_epochs(toy: Toy, stage_of: StageOf, actor_of: ActorOf):
    config = toy("algorithm.target_kl=1e-5", "actor.optim.lr=0.01", "algorithm.update_epoch=10")
    batch, _ = make_samples(stage_of(config).collect(0, 0), config)
    actor = actor_of(config)
    metrics = actor.update(batch, 0).reduce()
    assert metrics["train/actor/kl_stops"] == 1
    assert actor.version() < 20


def test_an_update_with_a_gradient_that_is_not_finite_is_skipped_and_then_an_error(
    toy: Toy, stage_of: StageOf, actor_of: ActorOf
):
    config = toy("algorithm.update_epoch=1")
    batch, _ = make_samples(stage_of(config).collect(0, 0), config)
    actor = actor_of(config)
    before = weights_of(actor)
    batch.advantages[:] = np.nan
    metrics = actor.update(batch, 0).reduce()
    assert metrics["faults/skipped_updates"] == 2
    assert np.array_equal(weights_of(actor), before)
    with pytest.raises(NumericsError, match="3 updates in a row is not finite"):
        actor.update(batch, 1)


def test_nothing_to_train_on_changes_nothing(toy: Toy, stage_of: StageOf, actor_of: ActorOf):
    config = toy()
    rollout = stage_of(config).collect(0, 0)
    rollout[0].valid[:] = False
    batch, metrics = make_samples(rollout, config)
    actor = actor_of(config)
    assert len(batch) == 0
    assert actor.update(batch, 0).reduce() == {} and actor.version() == 0
    assert all(np.isfinite(value) for value in metrics.values())


def test_a_loaded_actor_goes_on_bit_for_bit(
    toy: Toy, stage_of: StageOf, actor_of: ActorOf, tmp_path: Path
):
    config = toy()
    stage = stage_of(config)
    first, _ = make_samples(stage.collect(0, 0), config)
    second, _ = make_samples(stage.collect(1, 0), config)
    actor = actor_of(config)
    actor.update(first, 0)
    actor.save(str(tmp_path / "saved"))  # what follows does not change what is written
    actor.update(second, 1)
    wait_until_saved(actor)
    resumed = actor_of(config)
    resumed.load(str(tmp_path / "saved"))
    resumed.update(second, 1)
    assert np.array_equal(weights_of(actor), weights_of(resumed))
    assert actor.version() == resumed.version()
