"""A policy does not start on packages that compute another Llama."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from rlinf.errors import UserError
from rlinf.models.prismatic import llama
from rlinf.models.prismatic.model_folder import Architecture, read_folder
from rlinf.models.prismatic.reference import LAST_STATE, POSITIONS, check_llama, numbers
from tests.unit.models.openvla.conftest import Build

WIDTH, HEADS, MLP, LAYERS, SIZE = 8, 2, 12, 2, 4
"""SIZE is that of a head; both query heads share one key head."""


def by_the_paper() -> np.ndarray:
    """RMSNorm, rotary embedding, grouped attention and SwiGLU written out in float64."""
    shapes = [(WIDTH, WIDTH), (SIZE, WIDTH), (SIZE, WIDTH), (WIDTH, WIDTH)]
    shapes += [(MLP, WIDTH), (MLP, WIDTH), (WIDTH, MLP), (WIDTH,), (WIDTH,)]
    hidden = numbers(POSITIONS, WIDTH, start=50)
    for layer in range(LAYERS):
        first = layer * len(shapes)
        query, key, value, out, gate, up, down, norm, norm_after = (
            numbers(*shape, start=100 * (first + place)) for place, shape in enumerate(shapes)
        )
        seen = normed(hidden) * norm
        keys, values = turned(seen @ key.T), seen @ value.T
        mixed = []
        for head in range(HEADS):
            asked = turned(seen @ query[head * SIZE : (head + 1) * SIZE].T)
            scores = np.tril(np.exp(asked @ keys.T / np.sqrt(SIZE)))
            mixed.append(scores / scores.sum(1, keepdims=True) @ values)
        hidden = hidden + np.concatenate(mixed, axis=1) @ out.T
        seen = normed(hidden) * norm_after
        gated = seen @ gate.T
        hidden = hidden + (gated / (1 + np.exp(-gated)) * (seen @ up.T)) @ down.T
    last: np.ndarray = (normed(hidden) * numbers(WIDTH, start=0))[-1]
    return last


def normed(hidden: np.ndarray) -> np.ndarray:
    return hidden / np.sqrt((hidden**2).mean(1, keepdims=True) + 1e-6)


def turned(vectors: np.ndarray) -> np.ndarray:
    """Turns (v_i, v_{i + SIZE/2}) at position p by the angle p * 10000^(-2i / SIZE)."""
    half = SIZE // 2
    angle = np.outer(np.arange(POSITIONS), 10_000.0 ** (-2 * np.arange(half) / SIZE))
    one, two = vectors[:, :half], vectors[:, half:]
    return np.concatenate(
        (one * np.cos(angle) - two * np.sin(angle), two * np.cos(angle) + one * np.sin(angle)), 1
    )


@pytest.fixture
def architecture(folder: Path) -> Architecture:
    return read_folder(folder).architecture


def test_the_stored_numbers_are_those_of_the_papers_equations():
    np.testing.assert_allclose(LAST_STATE, by_the_paper(), atol=1e-6)


@pytest.mark.parametrize("attention", ["sdpa", "eager", "flash_attention_2"])
def test_the_installed_packages_compute_them(architecture: Architecture, attention: str):
    check_llama(architecture, attention)  # raises where they do not


def test_a_policy_on_a_fork_that_computes_something_else_is_refused(
    build: Build, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        llama, "rotate_half", lambda x: torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
    )
    with pytest.raises(UserError, match="does not compute a Llama as it is defined") as refused:
        build("openvla")
    assert f"transformers {version('transformers')}" in str(refused.value)
    assert "requirements/install.sh" in refused.value.fix


def test_the_check_draws_no_random_number(architecture: Architecture):
    before = torch.get_rng_state()
    check_llama(architecture, "sdpa")
    assert torch.equal(torch.get_rng_state(), before)
