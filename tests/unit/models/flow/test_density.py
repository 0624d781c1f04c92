"""Log-probs of chains: worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from rlinf.models.flow import density
from rlinf.models.flow.steps import Transition


def test_log_prob_is_that_of_a_gaussian():
    step = Transition(torch.tensor([1.0]), torch.tensor([0.25]))
    # one deviation away: -1/2 - ln 0.25 - ln sqrt(2 pi)
    expected = -0.5 + 1.3862944 - 0.9189385
    assert density.log_prob(torch.tensor([1.25]), step).item() == pytest.approx(expected, abs=1e-6)


def test_a_deterministic_step_has_log_prob_zero_and_no_gradient():
    mean, std = torch.tensor([1.0, 1.0], requires_grad=True), torch.tensor([0.0, 0.5])
    found = density.log_prob(torch.tensor([3.0, 1.5]), Transition(mean, std))
    found.sum().backward()
    assert found[0] == 0 and mean.grad is not None
    assert mean.grad.tolist() == [0.0, 2.0]  # (x - mean) / std^2
    assert density.entropy(std)[0] == 0


def test_the_start_of_a_chain_is_a_standard_normal():
    found = density.log_prob_of_start(torch.tensor([0.0, 2.0]))
    assert found.tolist() == pytest.approx([-0.9189385, -2.9189385])


def test_a_joint_log_prob_is_the_mean_over_its_terms():
    assert density.joint([torch.tensor(1.0), torch.tensor(2.0), torch.tensor(6.0)]) == 3


def test_entropy_is_that_of_a_gaussian():
    found = density.entropy(torch.tensor([0.5])).item()
    assert found == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 0.25))


@pytest.mark.parametrize(("version", "level"), [(0, 0.7), (100, 0.6), (400, 0.3), (1000, 0.3)])
def test_the_noise_anneals_in_a_line(version: int, level: float):
    assert density.noise_level((0.7, 0.3), 400, version) == pytest.approx(level)
    assert density.noise_level((0.7, 0.3), 0, version) == 0.7


def test_every_step_is_drawn_equally_often():
    uniform = torch.tensor([0.0001, 0.26, 0.51, 0.76, 0.9999999])
    assert density.draw_step(uniform, 4).tolist() == [0, 1, 2, 3, 3]


def test_times_of_training_follow_their_distribution():
    # b = u^(2/3): 0.125 -> 0.25, 1 -> 1
    found = density.training_time(torch.tensor([0.125, 1.0]), 1.5, 1.0, 0.999)
    assert found.tolist() == pytest.approx([0.749 / 0.999, -0.001 / 0.999], abs=1e-6)


def test_states_of_training_lie_between_noise_and_action():
    action, noise = torch.full((1, 1, 1), 4.0), torch.zeros(1, 1, 1)
    assert density.interpolate(action, noise, torch.tensor([0.75])).item() == 3
