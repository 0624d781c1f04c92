"""Learning from demonstrations, in one process and in several that share the weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch._dynamo

import rlinf.workers.fsdp  # noqa: F401
from rlinf.config.derive import shard_size
from rlinf.config.load import load
from rlinf.config.placement import ProcessPlacement
from rlinf.config.schema import Config
from rlinf.data.random import Noise
from rlinf.errors import UserError
from rlinf.imitation.episode import Episode
from rlinf.imitation.lerobot.write import Writer
from rlinf.metrics.types import Metrics
from rlinf.models.base import Sampling
from rlinf.models.loading import save_policy, start_policy
from rlinf.workers.imitation import ImitationWorker, batch_rows
from tests.unit.workers.ranks import Tell, in_ranks

Load = Callable[..., Config]


def brightness_task(count: int) -> list[Episode]:
    """The brighter the picture, the larger the first action; the others are constant."""
    episodes = []
    for level in np.linspace(0, 250, count).astype(np.uint8):
        actions = np.full((2, 7), 0.5, np.float32)
        actions[:, 0] = level / 125.0 - 1.0
        images = np.full((2, 1, 32, 32, 3), level, np.uint8)
        start = np.ones(2, bool)
        episodes.append(Episode(images, np.zeros((2, 0), np.float32), actions, start, "look", True))
    return episodes


@pytest.fixture
def data(tmp_path: Path) -> str:
    """64 samples as a data set."""
    writer = Writer(tmp_path / "set", 20, "png")
    for episode in brightness_task(32):
        writer.add(episode)
    return str(writer.close())


@pytest.fixture
def configure(tmp_path: Path) -> Load:
    """The quickstart's configuration for these pictures."""

    def build(*overrides: str) -> Config:
        small = [
            f"runner.logger.log_path={tmp_path}/run",
            f"imitation.cache_dir={tmp_path}/cache",
            "env.train.init_params.camera.width=32",
            "env.train.init_params.camera.height=32",
            "env.eval.init_params.camera.width=32",
            "env.eval.init_params.camera.height=32",
            "actor.model.width=32",
            "actor.model.num_heads=2",
            "actor.model.num_action_chunks=1",
            "imitation.batch_size=32",
            "imitation.lr=3e-3",
            "imitation.holdout=0.1",
        ]
        return load("quickstart", [*small, *overrides]).config

    return build


def worker(
    config: Config, data: str, rank: int = 0, world: int = 1, shard_size: int = 1
) -> ImitationWorker:
    return ImitationWorker(
        config, [data], rank, world, threads=1, device="cpu", shard_size=shard_size
    )


def test_the_policy_learns_what_was_demonstrated(configure: Load, data: str):
    learner = worker(configure("imitation.steps=150"), data)
    assert learner.sizes() == (58, 6)
    before = learner.held_out_metrics().reduce()
    first = learner.train(0, 10).reduce()
    last = [learner.train(step, step + 10).reduce() for step in range(10, 150, 10)][-1]
    after = learner.held_out_metrics().reduce()
    assert last["sft/token_loss"] < 0.7 * first["sft/token_loss"]
    # One dimension of seven moves: the others are no tokens and have no error.
    assert after["sft/heldout_action_error"] < 0.25 < before["sft/heldout_action_error"]
    assert 0.0 <= after["sft/heldout_token_accuracy"] <= 1.0
    assert learner.policy.live.tolist() == [True] + [False] * 6
    rows = np.arange(len(learner.learned))
    noise = Noise(rows.astype(np.uint64))
    acted = learner.policy.act(learner.learned.observation(rows), Sampling(greedy=True), noise)
    wanted = learner.learned.chunks(rows, 1)
    assert np.abs(acted.actions[..., 0] - wanted[..., 0]).mean() < 0.25
    assert acted.actions[..., 1:] == pytest.approx(0.5)


class Learnt(NamedTuple):
    """What some steps did, on one rank."""

    metrics: Metrics
    judged: Metrics
    weights: np.ndarray | None  # on rank 0
    held: int  # numbers of the policy's parameters that the rank keeps


def learn_in_ranks(config: Config, data: str, saved: Path, world: int) -> list[Learnt]:
    """Three steps in each of `world` processes, with a checkpoint after two."""

    def work(rank: int, tell: Tell) -> Learnt:
        size = shard_size(config, {"actor": [ProcessPlacement(0, 0, (), "cpu", "")] * world})
        learner = worker(config, data, rank, world, size)
        if world > 1:
            learner.connect(tell(learner.open_rendezvous("127.0.0.1") if rank == 0 else None))
        metrics = learner.train(0, 2)
        judged = learner.held_out_metrics()
        learner.save(str(saved))
        metrics = Metrics.merge([metrics, learner.train(2, 3)])
        while not learner.saved()[0]:
            time.sleep(0.01)
        buffer = torch.zeros(learner.layout.size, dtype=torch.uint8)
        learner.parallel.write_weights(buffer if rank == 0 else None)
        held = sum(learner.parallel.share(p).numel() for p in learner.policy.parameters())
        learner.ranks.leave()
        return Learnt(metrics, judged, buffer.numpy() if rank == 0 else None, held)

    return in_ranks(world, work)


def test_ranks_that_share_the_weights_learn_what_one_process_does(
    configure: Load, data: str, tmp_path: Path
):
    # Of 5 samples the ranks take 3 and 2 one by one: in its last pass rank 1 has none that counts.
    config = configure("imitation.batch_size=5", "imitation.micro_batch_size=1")
    (alone,) = learn_in_ranks(config, data, tmp_path / "one", 1)
    both = learn_in_ranks(config, data, tmp_path / "two", 2)
    for part in ("metrics", "judged"):
        expected = getattr(alone, part).reduce()
        found = Metrics.merge([getattr(rank, part) for rank in both]).reduce()
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    weights = both[0].weights.view(np.float32)
    np.testing.assert_allclose(weights, alone.weights.view(np.float32), rtol=1e-3, atol=1e-5)
    assert sum(rank.held for rank in both) == alone.held
    # What two ranks wrote, one continues.
    learner = worker(config, data)
    learner.load(str(tmp_path / "two"))
    learner.train(2, 3)
    buffer = torch.zeros(learner.layout.size, dtype=torch.uint8)
    learner.parallel.write_weights(buffer)
    np.testing.assert_allclose(buffer.numpy().view(np.float32), weights, rtol=1e-3, atol=1e-5)


def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(
    configure: Load, data: str, tmp_path: Path
):
    config = configure("imitation.steps=12")
    whole = worker(config, data)
    whole.train(0, 12)
    first = worker(config, data)
    first.train(0, 5)
    first.save(str(tmp_path / "saved"))
    while not first.saved()[0]:
        time.sleep(0.01)
    second = worker(config, data)
    second.load(str(tmp_path / "saved"))
    second.train(5, 12)
    for (name, ours), theirs in zip(
        whole.policy.state_dict().items(), second.policy.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name


def test_frozen_weights_stay_as_they_are(
    configure: Load, data: str, monkeypatch: pytest.MonkeyPatch
):
    def frozen(config: Config):
        policy = start_policy(config)
        policy.network.vision.requires_grad_(False)
        return policy

    monkeypatch.setattr("rlinf.workers.imitation.start_policy", frozen)
    learner = worker(configure(), data)
    before = {k: v.clone() for k, v in learner.policy.named_parameters()}
    learner.train(0, 3)
    for name, value in learner.policy.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("network.vision"), name


def test_the_statistics_of_a_trained_policy_can_be_kept(configure: Load, data: str, tmp_path: Path):
    learner = worker(configure(), data)
    learner.policy.low.fill_(-2.0)
    save_policy(learner.policy, learner.config.actor.model, tmp_path / "policy")
    path = f"actor.model.model_path={tmp_path}/policy"
    kept = worker(configure(path, "imitation.statistics=model"), data)
    assert kept.policy.low.tolist() == [-2.0] * 7
    replaced = worker(configure(path), data)
    assert replaced.policy.low[0] >= -1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda one: replace(one, actions=one.actions[:, :6]),
            r"have 6 dimensions, actor\.model\.action_dim is 7",
        ),
        (
            lambda one: replace(one, images=one.images.repeat(2, axis=1)),
            r"shows 2 views, actor\.model\.num_views is 1",
        ),
        (
            lambda one: replace(one, images=one.images.repeat(2, axis=2).repeat(2, axis=3)),
            "have 64 x 64 pixels, tiny_vla needs 32 x 32",
        ),
    ],
)
def test_demonstrations_that_do_not_fit_the_policy_are_refused(
    configure: Load, tmp_path: Path, change: Callable[[Episode], Episode], words: str
):
    writer = Writer(tmp_path / "other", 20, "png")
    for episode in brightness_task(32):
        writer.add(change(episode))
    with pytest.raises(UserError, match=words):
        worker(configure(), str(writer.close()))


def test_every_pass_sees_every_sample_once_in_an_order_of_its_own():
    rows = np.concatenate([batch_rows(step, 4, 10, seed=1) for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()
    assert np.array_equal(batch_rows(3, 4, 10, seed=1), rows[12:16])


def test_the_learning_rate_warms_up_and_falls_to_zero(configure: Load, data: str):
    given = ("imitation.steps=110", "imitation.lr=1.0", "imitation.lr_warmup_steps=10")
    learner = worker(configure(*given), data)

    def rate(step: int) -> float:
        learner.policy.version = step
        policy, critic = learner.optimizer.rates()
        assert policy == critic
        return policy

    # Linear to 1 at step 10, then half a cosine over 100 steps: a half at step 60, 0 at 110.
    assert [rate(step) for step in (0, 10, 60, 110)] == pytest.approx([1 / 11, 1.0, 0.5, 0.0])
    learner = worker(configure(*given, "imitation.lr_schedule=constant"), data)
    assert rate(60) == 1.0
