"""What flow policies share, on the smallest one: chains, log-probs, noise and imitation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from rlinf.data.random import Noise, derive
from rlinf.data.statistics import ActionStatistics
from rlinf.data.types import Observation
from rlinf.models.base import Sampling
from rlinf.models.flow.policy import FIRST, LEVEL, STATES
from rlinf.models.loading import build_policy
from rlinf.models.tiny_flow.config import TinyFlowConfig
from rlinf.models.tiny_flow.policy import TinyFlowPolicy

B, C, A, N = 6, 2, 3, 4
RNG = np.random.default_rng(0)
OBSERVATION = Observation(
    RNG.integers(0, 256, (B, 1, 32, 32, 3), dtype=np.uint8),
    np.zeros((B, 0), np.float32),
    ("push the cube", "lift the peg") * 3,
)
NOISE = Noise(derive(1, np.arange(B)))
SETTINGS = {"image_size": 32, "width": 16, "depth": 2, "num_heads": 2, "noise_level": 0.5}


def config_of(**settings: Any) -> TinyFlowConfig:
    given = SETTINGS | settings
    return TinyFlowConfig(model_type="tiny_flow", action_dim=A, num_action_chunks=C, **given)


def build(**settings: Any) -> TinyFlowPolicy:
    policy = build_policy(config_of(**settings), seed=1)
    assert isinstance(policy, TinyFlowPolicy)
    return policy


@pytest.mark.parametrize("method", ["flow_sde", "flow_cps", "reinflow"])
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_rollout_and_update_agree_on_log_probs_and_values(
    method: str, joint: bool, temperature: float
):
    policy, sampling = build(noise_method=method, joint_logprob=joint), Sampling(temperature)
    chunk = policy.act(OBSERVATION, sampling, NOISE)
    found = policy.evaluate(OBSERVATION, chunk.sampled, sampling)
    assert np.abs(found.logprobs.detach().numpy() - chunk.logprobs).max() < 1e-4
    assert np.abs(found.values.detach().numpy() - chunk.values).max() < 1e-5
    assert chunk.sampled[STATES].shape == (B, N + 1 if joint else 2, C, A)
    assert np.isfinite(chunk.logprobs).all()


def test_the_stochastic_step_belongs_to_the_row_and_not_to_the_batch():
    policy = build()
    together = policy.act(OBSERVATION, Sampling(), NOISE)
    assert len(set(together.sampled[FIRST].tolist())) > 1  # not one for all
    for row in range(B):
        one = np.array([row])
        alone = policy.act(OBSERVATION.take(one), Sampling(), Noise(NOISE.keys[one]))
        assert alone.sampled[FIRST][0] == together.sampled[FIRST][row]
        assert np.abs(alone.actions[0] - together.actions[row]).max() < 1e-5


def test_the_last_step_of_cps_is_never_drawn_unless_it_is_asked_for():
    many = OBSERVATION.take(np.zeros(200, np.int64))
    noise = Noise(derive(2, np.arange(200)))
    usual = build(noise_method="flow_cps").act(many, Sampling(), noise)
    assert set(usual.sampled[FIRST].tolist()) == {0, 1, 2}
    asked = build(noise_method="flow_cps", ignore_last=False).act(many, Sampling(), noise)
    drawn = asked.sampled[FIRST] == 3
    assert drawn.any() and (asked.logprobs[drawn] == 0).all()
    assert np.isfinite(asked.logprobs).all()


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({"noise_method": "flow_sde"}, lambda first: first < 0),
        ({"noise_method": "flow_cps", "ignore_last": False}, lambda first: first == N - 1),
        ({"noise_method": "flow_cps", "joint_logprob": True}, lambda first: 0 * first + 1 / N),
        # as small as this, and below what float32 can resolve: all of it counts as none
        ({"noise_method": "flow_sde", "noise_level": 1e-5}, lambda first: first >= 0),
        ({"noise_method": "reinflow", "noise_range": (1e-9, 1e-8)}, lambda first: first >= 0),
    ],
)
def test_steps_without_noise_are_counted_and_have_a_gradient_of_zero(
    settings: dict[str, Any], share: Callable[[np.ndarray], np.ndarray]
):
    policy = build(**settings)
    many, noise = OBSERVATION.take(np.arange(24) % B), Noise(derive(3, np.arange(24)))
    chunk = policy.act(many, Sampling(), noise)
    found = policy.evaluate(many, chunk.sampled, Sampling())
    assert found.without_noise is not None
    wanted = share(chunk.sampled[FIRST])
    assert found.without_noise.tolist() == pytest.approx(wanted.astype(float).tolist())
    fixed = torch.from_numpy(wanted == 1)
    found.logprobs[fixed].sum().backward()
    assert (found.logprobs[fixed] == 0).all()
    gradients = [p.grad for p in policy.action_head.parameters() if p.grad is not None]
    assert all((gradient == 0).all() for gradient in gradients)


def test_the_level_of_the_noise_is_that_of_the_rollout():
    policy = build(noise_level=0.7, noise_level_end=0.3, noise_anneal_updates=4)
    policy.version = 2
    chunk = policy.act(OBSERVATION, Sampling(), NOISE)
    assert chunk.sampled[LEVEL].tolist() == pytest.approx([0.5] * B)
    before = policy.evaluate(OBSERVATION, chunk.sampled, Sampling()).logprobs
    policy.version = 4  # the learner goes on; old samples keep their noise
    assert torch.equal(policy.evaluate(OBSERVATION, chunk.sampled, Sampling()).logprobs, before)


def test_greedy_is_the_deterministic_chain():
    policy = build()
    chunk = policy.act(OBSERVATION, Sampling(greedy=True), NOISE)
    _, normal = policy._noise(NOISE, 2)
    with torch.no_grad():
        reached = policy._deterministic(policy.prepare(OBSERVATION, None), normal[:, 0])
    assert np.array_equal(chunk.actions, policy.unscale(reached).numpy())
    assert (chunk.logprobs == 0).all()


def test_learned_noise_gets_a_gradient_from_log_probs_and_entropy():
    policy = build(noise_method="reinflow")
    chunk = policy.act(OBSERVATION, Sampling(), NOISE)
    found = policy.evaluate(OBSERVATION, chunk.sampled, Sampling())
    assert found.entropy is not None and policy.noise_head is not None
    found.entropy.sum().backward()
    assert all(p.grad is not None for p in policy.noise_head.parameters())


def test_actions_are_scaled_by_the_statistics_and_a_constant_one_stays_what_it_is():
    policy = build()
    actions = RNG.uniform(-1, 3, (50, A)).astype(np.float32)
    actions[:, 2] = 0.25
    policy.set_action_statistics(ActionStatistics.of(actions, 1))
    assert policy.live.tolist() == [True, True, False]
    assert policy.act(OBSERVATION, Sampling(), NOISE).actions[..., 2] == pytest.approx(0.25)
    inside = torch.from_numpy(actions[:2]).view(1, 2, A)
    assert torch.allclose(policy.unscale(policy.scale(inside)), inside, atol=1e-5)


def test_imitation_learns_the_demonstrated_actions():
    policy = build()
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    actions = RNG.uniform(-0.8, 0.8, (B, C, A)).astype(np.float32)
    values = np.linspace(0, 1, B, dtype=np.float32)
    with torch.no_grad():
        before = policy.eval().imitate(OBSERVATION, actions, values, NOISE)
    policy.train()
    for step in range(150):
        optimizer.zero_grad()
        seen = policy.imitate(OBSERVATION, actions, values, Noise(derive(step, np.arange(B))))
        torch.stack([loss.mean() for loss in seen.losses.values()]).sum().backward()
        optimizer.step()
        assert not seen.metrics  # the chain is run only where it is looked at
    policy.eval()
    with torch.no_grad():
        found = policy.imitate(OBSERVATION, actions, values, NOISE)
    assert found.losses["flow_loss"].shape == (B, C * A)
    assert found.metrics["action_error"].mean() < 0.6 * before.metrics["action_error"].mean()
    assert found.losses["flow_loss"].mean() < 0.6 * before.losses["flow_loss"].mean()
    assert found.losses["value_loss"].mean() < 0.05


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"noise_level_end": 0.1}, "come together"),
        ({"noise_range": (0.2, 0.1)}, "the smaller one"),
        ({"noise_method": "flow_cps", "noise_level": 1.5}, "at most 1"),
        ({"noise_method": "flow_cps", "denoising_steps": 1}, "no step to draw"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        config_of(**settings)


def test_parameters_are_counted_without_weights():
    for settings in ({}, {"noise_method": "reinflow", "num_views": 2}, {"add_value_head": False}):
        policy = build(**settings)
        assert policy.settings.num_parameters() == sum(p.numel() for p in policy.parameters())
