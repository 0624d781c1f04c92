"""Compiled passes against those computed operation by operation.

CUDA graphs are replaced by what a CPU has: a function that computes again from the same memory into
the same memory. So what is tested is all but the recording itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from rlinf.config.base import Compile
from rlinf.data.random import Noise, derive
from rlinf.data.types import ActionChunk, Observation
from rlinf.models.base import Sampling
from rlinf.models.prismatic.compiled import MOST_GRAPHS, CompiledPasses, Graphs, padded
from rlinf.models.prismatic.policy import PrismaticPolicy
from tests.unit.models.openvla.conftest import Build

SAMPLING = Sampling(temperature=1.0)
MODELS = ("openvla", "openvla_oft")


def again(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Stands in for a CUDA graph."""
    output = work()
    return lambda: output.copy_(work()), output


def compiled(policy: PrismaticPolicy, how: Compile) -> PrismaticPolicy:
    policy.passes = CompiledPasses(policy.network, how, again)
    return policy


def rows_of(observation: Observation, rows: list[int]) -> Observation:
    texts = tuple(observation.instructions[row] for row in rows)
    return Observation(observation.images[rows], observation.state[rows], texts)


def act(policy: PrismaticPolicy, observation: Observation) -> ActionChunk:
    return policy.act(observation, SAMPLING, Noise(derive(1, np.arange(len(observation)))))


def assert_same(found: ActionChunk, expected: ActionChunk) -> None:
    np.testing.assert_array_equal(found.sampled["tokens"], expected.sampled["tokens"])
    np.testing.assert_array_equal(found.actions, expected.actions)
    np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=2e-5)
    np.testing.assert_allclose(found.values, expected.values, atol=2e-5)


@pytest.mark.parametrize("model", MODELS)
@torch.inference_mode()
def test_recorded_passes_give_what_eager_ones_give_for_any_number_of_rows_and_any_prompts(
    build: Build, observation: Observation, model: str
):
    policy = compiled(build(model), "cuda_graphs")
    eager = build(model)
    # The last two have been recorded before; others have stale numbers in their padding rows.
    for rows in ([0, 1, 2], [1], [2, 1], [0, 1, 2] * 3, [1, 1], [2, 0, 1], [1]):
        seen = rows_of(observation, rows)
        assert_same(act(policy, seen), act(eager, seen))
    changed = torch.nn.utils.parameters_to_vector(eager.parameters()) * 1.1
    for one in (policy, eager):  # as new weights come, into the same memory
        torch.nn.utils.vector_to_parameters(changed, one.parameters())
    assert_same(act(policy, observation), act(eager, observation))


@pytest.mark.parametrize("model", MODELS)
def test_fused_layers_give_what_eager_ones_give_and_are_compiled_once(
    build: Build, observation: Observation, model: str
):
    policy, eager = compiled(build(model), "both"), build(model)
    counted = torch._dynamo.utils.counters["stats"]
    before = counted["unique_graphs"]
    for rows in ([0, 1, 2], [1, 0, 1, 0]):
        seen = rows_of(observation, rows)
        assert_same(act(policy, seen), act(eager, seen))
    assert counted["unique_graphs"] == before + 1


def test_new_weights_are_used_by_recorded_passes(build: Build, observation: Observation):
    policy, eager = compiled(build(), "cuda_graphs"), build()
    first = act(policy, observation)
    with torch.no_grad():
        for one in (policy, eager):
            one.network.language_model.model.layers[0].mlp.up_proj.weight.mul_(-3.0)
    second = act(policy, observation)
    assert_same(second, act(eager, observation))
    assert not np.allclose(first.logprobs, second.logprobs, atol=1e-3)


def test_rows_are_rounded_up_by_less_than_a_quarter():
    assert [padded(rows) for rows in (1, 2, 3, 5, 7, 8, 9, 15, 17, 33, 128)] == [
        *(1, 2, 3, 5, 7, 8, 10, 16, 20, 40, 128)
    ]
    assert all(rows <= padded(rows) < 1.25 * rows for rows in range(1, 600))
    assert len({padded(rows) for rows in range(1, 129)}) == 24


def test_a_pass_is_recorded_once_and_the_longest_unused_goes_first():
    recorded: list[int] = []

    def record(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        recorded.append(len(work()))
        return again(work)

    graphs = Graphs(record)
    for length in (1, 2, *range(3, MOST_GRAPHS + 1), 1, MOST_GRAPHS + 1, 1):
        given = torch.full((9, length), 2.0)
        assert torch.equal(graphs.run("double", lambda x: 2 * x, given), 2 * given)
    assert recorded == [padded(9)] * (MOST_GRAPHS + 1) and len(graphs) == MOST_GRAPHS
    graphs.run("double", lambda x: 2 * x, torch.ones(9, 2))  # was dropped, not the first
    assert len(recorded) == MOST_GRAPHS + 2


def test_longer_prompts_need_more_memory_for_the_cache_and_what_was_recorded_is_dropped(
    build: Build, observation: Observation
):
    policy, eager = compiled(build("openvla"), "cuda_graphs"), build("openvla")
    for text in ("push", "push the cube to the goal", "push"):
        seen = replace(observation, instructions=(text,) * len(observation))
        assert_same(act(policy, seen), act(eager, seen))
    assert policy.passes is not None and policy.passes._graphs is not None
    assert len(policy.passes._graphs) == 2
