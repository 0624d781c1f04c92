"""A device whose memory is too small for a pass, injected where the policy computes it."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch

from rlinf.config.schema import Config
from rlinf.errors import OutOfMemory
from rlinf.models.base import Policy
from rlinf.runners.samples import make_samples
from tests.unit.workers.conftest import weights_of

Toy = Callable[..., Config]


def small_memory(policy: Policy, most: int, fails: str = "forward") -> list[int]:
    """From now on passes of more than `most` rows fail; the list fills with the rows of each."""
    evaluate, rows = policy.evaluate, []

    def limited(seen, sampled, sampling):
        rows.append(len(seen))
        found = evaluate(seen, sampled, sampling)
        if len(seen) > most and fails == "forward":
            raise torch.OutOfMemoryError("CUDA out of memory")
        if len(seen) > most and found.logprobs.requires_grad:
            found.logprobs.register_hook(fail)
        return found

    def fail(gradient):
        raise torch.OutOfMemoryError("CUDA out of memory")

    policy.evaluate = limited
    return rows


@pytest.mark.parametrize("fails", ["forward", "backward"])
def test_an_update_is_done_again_in_half_the_size_and_gives_the_same(
    toy: Toy, stage_of, actor_of, fails: str
):
    config = toy("algorithm.update_epoch=1", "algorithm.kl_beta=0.1")
    batch, _ = make_samples(stage_of(config).collect(0, 0), config)
    plenty, little = actor_of(config), actor_of(config)
    expected = plenty.update(batch, 0).reduce()
    rows = small_memory(little.policy, most=6, fails=fails)
    metrics = little.update(batch, 0).reduce()
    assert metrics.pop("faults/out_of_memory") == 1
    assert 12 in rows and rows[-20:] == [6] * 20  # two updates of 60; the second knows it
    assert metrics == pytest.approx(expected, rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(
        weights_of(little).view(np.float32), weights_of(plenty).view(np.float32), atol=1e-6
    )
    assert "faults/out_of_memory" not in little.update(batch, 1).reduce()


def test_what_does_not_fit_in_half_the_size_says_what_is_in_memory_and_what_to_do(
    toy: Toy, stage_of, actor_of
):
    config = toy()
    batch, _ = make_samples(stage_of(config).collect(0, 0), config)
    actor = actor_of(config)
    before = weights_of(actor)
    small_memory(actor.policy, most=3)
    with pytest.raises(OutOfMemory) as raised:
        actor.update(batch, 0)
    message = str(pickle.loads(pickle.dumps(raised.value)))  # as it reaches the launcher
    assert "not enough memory for 6 samples at a time, half of what did not fit before" in message
    assert "Adam" in message and "0.00 GB" in message
    assert "fix: set actor.micro_batch_size=3, or actor.fsdp_config.cpu_offload=true" in message
    assert raised.value.smaller is None and raised.value.exit_code == 2
    assert np.array_equal(weights_of(actor), before)
