"""One step of a flow: the numbers are worked out by hand, for x = 2, v = 1, N = 4, level 0.5."""

from __future__ import annotations

import pytest
import torch

from rlinf.models.flow import steps

X, VELOCITY = torch.full((1, 1, 1), 2.0), torch.ones(1, 1, 1)
LEVEL = torch.tensor([0.5])


def test_the_deterministic_step_follows_the_velocity():
    assert steps.euler(X, VELOCITY, 4).item() == 2.25


@pytest.mark.parametrize(
    ("step", "mean", "std"),
    [
        # t = 1/2: n = 1.5, a = 2.5, s = 0.5; 0.1875 n + 0.75 a; s sqrt(1/4)
        (2, 2.15625, 0.25),
        # t = 0: n = 2, a = 3, s = 0.5 sqrt(1 / d) = 1; (3/4 - 1/8) n + a / 4
        (0, 2.0, 0.5),
        # t = 3/4: n = 1.25, a = 2.25, s^2 = 0.25/3; (0 - s^2/2) n + a
        (3, 2.25 - 1.25 * 0.25 / 6, (0.25 / 3) ** 0.5 / 2),
    ],
)
def test_the_sde_step_pulls_back_to_the_data_as_it_adds_noise(step: int, mean: float, std: float):
    found = steps.flow_sde(X, VELOCITY, torch.tensor([step]), 4, LEVEL)
    assert found.mean.item() == pytest.approx(mean, abs=1e-6)
    assert found.std.item() == pytest.approx(std, abs=1e-6)


@pytest.mark.parametrize(
    ("step", "mean", "std"),
    [
        # t = 1/2: a quarter of noise is left, of which cos(45 degrees) stays
        (2, 0.25 * 0.5**0.5 * 1.5 + 0.75 * 2.5, 0.25 * 0.5**0.5),
        (3, 2.25, 0.0),  # a; no noise is left
    ],
)
def test_the_cps_step_keeps_the_amount_of_noise(step: int, mean: float, std: float):
    found = steps.flow_cps(X, VELOCITY, torch.tensor([step]), 4, LEVEL)
    assert found.mean.item() == pytest.approx(mean, abs=1e-6)
    assert found.std.item() == pytest.approx(std, abs=1e-6)


def test_rows_may_be_at_different_steps():
    rows = torch.tensor([0, 2, 3])
    many = steps.flow_sde(X.expand(3, 1, 1), VELOCITY.expand(3, 1, 1), rows, 4, LEVEL.expand(3))
    for index, step in enumerate(rows):
        alone = steps.flow_sde(X, VELOCITY, step[None], 4, LEVEL)
        assert many.mean[index] == alone.mean[0] and many.std[index] == alone.std[0]


def test_learned_noise_stays_between_its_bounds():
    found = steps.learned_std(torch.tensor([-50.0, 0.0, 50.0]), 0.08, 0.16)
    # half-way on a logarithmic scale is the geometric mean
    assert found.tolist() == pytest.approx([0.08, (0.08 * 0.16) ** 0.5, 0.16])
    step = steps.learned(X, VELOCITY, 4, found)
    assert step.mean.item() == 2.25 and step.std is found
