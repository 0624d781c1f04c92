from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rlinf.config.schema import Config
from rlinf.data.layout import ObservationTable
from rlinf.data.shared import SharedMemory
from rlinf.data.types import TrainBatch, take_sampled
from rlinf.errors import NumericsError
from rlinf.metrics.types import Metrics
from rlinf.models.mlp.config import MlpConfig
from rlinf.runners.samples import make_samples
from rlinf.workers import actor as actor_module
from rlinf.workers.actor import ActorWorker
from rlinf.workers.stage import TrainStage
from tests.unit.workers.conftest import GROUPS, batch_for, weights_of

Toy = Callable[..., Config]
StageOf = Callable[[Config], TrainStage]
ActorOf = Callable[..., ActorWorker]


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


def test_no_reference_to_observations_is_left_after_an_update(
    toy: Toy, stage_of: StageOf, actor_of: ActorOf
):
    """So they leave shared memory before those of the next iteration fill it."""
    config = toy("actor.global_batch_size=120", "algorithm.update_epoch=1")
    stage, actor = stage_of(config), actor_of(config)
    batch, _ = make_samples(stage.collect(0, 0), config)
    kept = [weakref.ref(observation.state) for observation in batch.observations]
    gc.disable()  # a cycle would live until some later time
    try:
        actor.update(batch, step=0)
        del batch
        assert [reference() for reference in kept] == [None]
    finally:
        gc.enable()


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
    with pytest.raises(NumericsError, match=r"3 updates in a row is not finite.*samples are in"):
        actor.update(batch, 1)
    (kept,) = actor.log_dir.glob("not-finite-update-*.npz")
    with np.load(kept) as file:
        assert np.isnan(file["advantages"]).all()
        assert file["state"].shape == (60, 42) and file["sampled_draw"].shape == (60, 2, 8)


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


def test_an_actor_that_replaces_another_goes_on_bit_for_bit_from_its_host_copy(
    toy: Toy, stage_of: StageOf, actor_of: ActorOf
):
    config = toy()
    stage = stage_of(config)
    first, _ = make_samples(stage.collect(0, 0), config)
    second, _ = make_samples(stage.collect(1, 0), config)
    dies, new = actor_of(config), actor_of(config)
    memory = SharedMemory.create(dies.host_copy_bytes())  # the launcher's
    dies.use_host_copy(memory.handle)
    dies.update(first, 0)
    dies.write_host_copy()
    dies.update(second, 1)
    new.use_host_copy(memory.handle)
    new.read_host_copy()
    new.update(second, 1)
    assert np.array_equal(weights_of(new), weights_of(dies))
    assert new.version() == dies.version()


def test_the_first_update_compares_log_probs_with_the_rollout(
    toy: Toy, stage_of: StageOf, actor_of: ActorOf
):
    config = toy("algorithm.update_epoch=1")
    batch, _ = make_samples(stage_of(config).collect(0, 0), config)
    actor = actor_of(config)
    metrics = actor.update(batch, 0).reduce()
    assert metrics["train/actor/logprob_mismatch"] < 1e-5
    assert metrics["train/actor/logprob_mismatch_max"] < 1e-4
    assert "train/actor/logprob_mismatch" not in actor.update(batch, 1).reduce()


@pytest.mark.parametrize(("interval", "compared"), [(0, [0]), (2, [0, 2])])
def test_log_probs_are_compared_every_so_many_iterations_on_request(
    toy: Toy, stage_of: StageOf, actor_of: ActorOf, interval: int, compared: list[int]
):
    config = toy(f"algorithm.parity_check_interval={interval}", "actor.optim.lr=1e-9")
    batch, _ = make_samples(stage_of(config).collect(0, 0), config)
    actor, found = actor_of(config), []
    for step in range(3):
        now = replace(batch, version=actor.version())
        if "train/actor/logprob_mismatch" in actor.update(now, step):
            found.append(step)
    assert found == compared


def test_a_learner_with_another_temperature_is_found_out(
    toy: Toy, stage_of: StageOf, actor_of: ActorOf
):
    config = toy()
    batch, _ = make_samples(stage_of(config).collect(0, 0), config)
    other = toy("algorithm.sampling_params.temperature_train=1.6")
    with pytest.raises(NumericsError, match=r"disagree on the probability.*iteration 0"):
        actor_of(other).update(batch, 0)
    moved = replace(batch, version=batch.version - 1)  # of other weights: nothing to compare
    actor_of(other).update(moved, 0)


def grouped(toy: Toy, *overrides: str) -> Config:
    """GRPO with one update of all samples."""
    size = ("actor.global_batch_size=80", "actor.micro_batch_size=8", "algorithm.update_epoch=1")
    return toy(*GROUPS, *size, *overrides)


def after_update(actor: ActorWorker, batch: TrainBatch) -> tuple[list[torch.Tensor], Metrics]:
    """Gradient and metrics of an update. The weights stay: their change follows the gradient."""
    metrics = actor.update(batch, 0)
    return [p.grad.clone() for p in actor.policy.parameters()], metrics


def counted_rows(actor: ActorWorker) -> list[int]:
    """Fills up with the number of samples of each forward pass."""
    rows, evaluate = [], actor.policy.evaluate

    def counting(seen, sampled, sampling):
        rows.append(len(seen))
        return evaluate(seen, sampled, sampling)

    actor.policy.evaluate = counting
    return rows


@pytest.mark.parametrize("logprob_type", ["token", "action"])
def test_what_cannot_count_costs_no_pass_and_changes_no_gradient(
    toy: Toy, stage_of: StageOf, actor_of: ActorOf, logprob_type: str
):
    """Groups of equal returns, and masked samples, against the update that computes them all."""
    config = grouped(toy, f"algorithm.logprob_type={logprob_type}", "actor.optim.clip_grad=1e9")
    (trajectory,) = stage_of(config).collect(0, 0)
    trajectory.rewards[:] = 0
    trajectory.rewards[0, 4, 0] = 1.0  # the second group has something to teach
    batch, _ = make_samples([trajectory], config)
    teaching = int(trajectory.valid[:, 4:].any(axis=2).sum())
    assert len(batch) > batch.trained.sum() == teaching
    batch = replace(batch, version=-1)  # another policy acted, so ratios are not 1
    batch.logprobs[:] += np.random.default_rng(1).normal(0, 0.3, batch.logprobs.shape)

    everything = replace(batch, trained=np.ones(len(batch), bool))
    masked = with_masked_samples(everything)
    found = []
    for given, passes in ((batch, teaching), (everything, len(batch)), (masked, len(masked))):
        actor = actor_of(config)
        rows = counted_rows(actor)
        found.append(after_update(actor, given))
        assert sum(rows) == passes
    (ours, metrics), *others = found
    for gradient, its_metrics in others:
        for mine, theirs in zip(ours, gradient, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)
        for name in ("train/loss", "train/actor/policy_loss", "train/actor/grad_norm"):
            assert metrics.reduce()[name] == pytest.approx(its_metrics.reduce()[name], rel=1e-5)


def with_masked_samples(batch: TrainBatch) -> TrainBatch:
    """The batch and a copy of its first ten samples that does not count."""
    twice = np.concatenate([np.arange(len(batch)), np.arange(10)])
    arrays = {
        f.name: getattr(batch, f.name)[twice]
        for f in fields(batch)
        if isinstance(getattr(batch, f.name), np.ndarray)
    }
    more = replace(batch, **arrays, sampled=take_sampled(batch.sampled, twice))
    more.mask[-10:] = False
    more.weights[-10:] = 0
    more.chunk_weights[-10:] = 0
    return more


def test_groups_of_equal_returns_alone_leave_the_weights_as_they_are(
    toy: Toy, stage_of: StageOf, actor_of: ActorOf
):
    config = grouped(toy, "algorithm.update_epoch=2")
    (trajectory,) = stage_of(config).collect(0, 0)
    actor = actor_of(config)
    trajectory.rewards[:] = 0
    trajectory.rewards[0, 0, 0] = 1.0
    actor.update(make_samples([trajectory], config)[0], 0)  # Adam has moments now
    weights, version = weights_of(actor), actor.version()
    trajectory.rewards[:] = 0
    batch, metrics = make_samples([trajectory], config)
    updated = actor.update(batch, 1).reduce()
    assert metrics["rollout/equal_groups"] == 1
    assert updated == {"train/actor/idle_updates": 2}
    assert actor.version() == version
    assert np.array_equal(weights_of(actor), weights)


KL = ("algorithm.kl_beta=0.1", "actor.global_batch_size=120", "algorithm.update_epoch=1")


def test_the_divergence_is_measured_from_the_reference_policy_also_after_a_resume(
    toy: Toy, stage_of: StageOf, actor_of: ActorOf, tmp_path: Path
):
    config = toy(*KL)
    stage = stage_of(config)
    first, _ = make_samples(stage.collect(0, 0), config)
    second, _ = make_samples(stage.collect(1, 0), config)
    actor = actor_of(config)
    assert actor.update(first, 0).reduce()["train/actor/kl"] == pytest.approx(0.0, abs=1e-9)
    actor.save(str(tmp_path / "saved"), with_reference=True)
    wait_until_saved(actor)
    divergence = actor.update(second, 1).reduce()["train/actor/kl"]
    # Independently: the reference policy is the one that acted; the rollout recorded its log-probs.
    assert divergence > 0
    resumed = actor_of(toy("actor.seed=77", *KL))  # it would start from other weights
    resumed.load(str(tmp_path / "saved"))
    resumed.config = actor.config  # the order of the samples
    new = logprobs_of(resumed, second)
    log_ratio = (torch.from_numpy(second.logprobs) - new)[torch.from_numpy(second.mask)]
    level = log_ratio.sum(dim=-1)  # the toy's ratio is that of an action
    assert divergence == pytest.approx(float((level.exp() - 1 - level).mean()), rel=1e-4)
    assert resumed.update(second, 1).reduce()["train/actor/kl"] == divergence
    assert np.array_equal(weights_of(resumed), weights_of(actor))


def logprobs_of(actor: ActorWorker, batch: TrainBatch) -> torch.Tensor:
    """[N, C, A], of one forward pass of all samples."""
    seen = ObservationTable(batch.observations).take(batch.objects, batch.rows)
    with torch.no_grad():
        return actor.policy.evaluate(seen, batch.sampled, actor.sampling).logprobs


def test_a_strong_pull_keeps_the_policy_near_its_start(
    toy: Toy, stage_of: StageOf, actor_of: ActorOf
):
    far = []
    for beta in (0.0, 50.0):
        config = toy(f"algorithm.kl_beta={beta}", "actor.optim.lr=1e-3")
        batch, _ = make_samples(stage_of(config).collect(0, 0), config)
        actor = actor_of(config)
        for step in range(4):
            actor.update(batch, step)
        far.append(
            float((logprobs_of(actor, batch) - torch.from_numpy(batch.logprobs)).abs().mean())
        )
    assert far[1] < 0.5 * far[0]


@pytest.mark.parametrize("shares", [True, False])
def test_memory_that_an_update_leaves_unused_goes_to_those_who_share_the_gpu(
    config_of: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: bool
):
    model = MlpConfig(
        model_type="mlp", obs_dim=6, action_dim=2, num_action_chunks=2, hidden_dim=9, num_layers=1
    )
    config = config_of(model)
    given_back: list[torch.device] = []
    monkeypatch.setattr(actor_module, "give_back", given_back.append)
    actor = ActorWorker(config, 0, 1, 1, 8, list, str(tmp_path), shares_gpu=shares)
    actor.update(batch_for(config), 0)
    assert given_back == [actor.device] * shares
