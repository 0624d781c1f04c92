"""The forward pass in all its settings gives one distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlinf.data.random import Noise
from rlinf.data.types import Observation
from rlinf.models.base import Sampling
from rlinf.models.prismatic.attention import Attending
from rlinf.models.prismatic.tokens import ActionScale
from tests.unit.models.openvla.conftest import NOISE, B, Build

MODELS = ["openvla", "openvla_oft"]
SAMPLING = Sampling(temperature=0.7)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "sampling",
    [
        *(Sampling(1.6), Sampling(top_k=20), Sampling(0.8, top_p=0.9)),
        Sampling(1.3, greedy=True),
    ],
)
def test_act_and_evaluate_agree_for_every_way_of_sampling(
    model: str, sampling: Sampling, build: Build, observation: Observation
):
    policy = build(model)
    chunk = policy.act(observation, sampling, NOISE)
    judged = policy.evaluate(observation, chunk.sampled, sampling)
    assert np.allclose(judged.logprobs.detach(), chunk.logprobs, atol=1e-5)
    assert np.isfinite(chunk.logprobs).all()


@pytest.mark.parametrize("model", MODELS)
def test_eager_attention_gives_what_sdpa_gives(model: str, build: Build, observation: Observation):
    first = build(model).act(observation, SAMPLING, NOISE)
    second = build(model, attn_implementation="eager").act(observation, SAMPLING, NOISE)
    assert np.array_equal(first.sampled["tokens"], second.sampled["tokens"])
    assert np.allclose(first.logprobs, second.logprobs, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_bf16_is_near_fp32_and_act_agrees_with_evaluate(
    model: str, build: Build, observation: Observation
):
    exact, rounded = build(model), build(model, precision="bf16")
    chunk = rounded.act(observation, SAMPLING, NOISE)
    judged = rounded.evaluate(observation, chunk.sampled, SAMPLING)
    assert judged.logprobs.dtype == judged.entropy.dtype == judged.values.dtype == torch.float32
    assert np.abs(judged.logprobs.detach().numpy() - chunk.logprobs).max() < 0.05
    reference = exact.evaluate(observation, chunk.sampled, SAMPLING).logprobs.detach().numpy()
    assert np.abs(reference - chunk.logprobs).max() < 0.2


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_lora", [False, True])
def test_checkpointing_changes_no_gradient(
    model: str, is_lora: bool, build: Build, observation: Observation
):
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        policy = build(model, is_lora=is_lora, gradient_checkpointing=checkpointing).train()
        given = policy.act(observation, Sampling(greedy=True), NOISE).sampled["tokens"]
        judged = policy.evaluate(observation, {"tokens": given}, SAMPLING)
        (judged.logprobs.sum() + judged.values.sum()).backward()
        gradients.append([p.grad for p in policy.parameters() if p.grad is not None])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.allclose(plain, recomputed, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_padding_changes_nothing(model: str, build: Build, observation: Observation):
    policy = build(model)
    together = policy.act(observation, SAMPLING, NOISE)
    for row in range(B):
        alone = policy.act(observation.take(np.array([row])), SAMPLING, noise_of(row))
        assert np.array_equal(alone.sampled["tokens"][0], together.sampled["tokens"][row])
        assert np.allclose(alone.logprobs[0], together.logprobs[row], atol=1e-5)


def noise_of(row: int) -> Noise:
    return Noise(NOISE.keys[row : row + 1])


def test_masks_hide_padding_and_the_future():
    real = torch.tensor([[True, False, True, True]])
    causal = Attending(real, padded=True, causal=True)
    assert causal.positions.tolist() == [[0, 0, 1, 2]]
    mask = causal.mask("sdpa", torch.float32)
    assert mask is not None
    assert (mask[0, 0] == 0).tolist() == [
        [True, False, False, False],
        [True, False, False, False],
        [True, False, True, False],
        [True, False, True, True],
    ]
    step = causal.mask("sdpa", torch.float32, first=3)
    assert step is not None and (step[0, 0] == 0).tolist() == [[True, False, True, True]]
    both = Attending(real, padded=True, causal=False).mask("eager", torch.float32)
    assert both is not None and (both[0, 0] == 0).tolist() == [[True, False, True, True]]


def test_without_padding_there_is_no_mask_where_the_kernel_needs_none():
    real = torch.ones(2, 4, dtype=torch.bool)
    assert Attending(real, padded=False, causal=True).mask("sdpa", torch.float32) is None
    assert Attending(real, padded=False, causal=False).mask("eager", torch.float32) is None
    causal = Attending(real, padded=False, causal=True).mask("eager", torch.float32)
    assert causal is not None and (causal[0, 0] == 0).tolist() == np.tri(4, dtype=bool).tolist()


def test_action_tokens_follow_the_published_arithmetic():
    # 256 edges, 255 centres at -1 + (2 i + 1) / 255; ids 31999 (lowest) ... 31745, 31744 (highest).
    statistics = {"action": {"q01": [-1.0, 0.0, 0.0], "q99": [1.0, 4.0, 1.0], "mask": [1, 1, 0]}}
    scale = ActionScale(statistics, text_vocabulary=32000, epsilon=0.0)
    table = scale.decode(torch.arange(31744, 32000)[:, None]).T
    assert table.dtype == torch.float32
    assert scale.tokens == slice(31744, 32000)
    assert table[0, 255] == pytest.approx(-1 + 1 / 255)
    assert table[0, 0] == table[0, 1] == pytest.approx(1 - 1 / 255)
    assert table[1, 255] == pytest.approx(2 / 255)  # 0.5 * (1/255) * 4
    assert table[2, 255] == pytest.approx(-1 + 1 / 255)  # masked: the normalised value itself


def test_encoding_an_action_gives_the_token_that_decodes_nearest():
    statistics = {"action": {"q01": [-2.0, 0.0], "q99": [2.0, 1.0], "mask": [True, False]}}
    scale = ActionScale(statistics, text_vocabulary=32000, epsilon=1e-8)
    tokens = np.arange(31745, 32000)
    again = scale.encode(scale.decode(torch.from_numpy(tokens)[:, None]).numpy())
    assert np.array_equal(again, np.stack([tokens, tokens], axis=1))
    assert scale.encode(np.array([-9.0, 9.0])).tolist() == [31999, 31744]


def test_labels_of_dimensions_that_never_change_are_the_originals():
    # 0 lies between edges 127 (-1/255) and 128 (1/255) of linspace(-1, 1, 256), counted from 0:
    # bin 128, token 32000 - 128. The last dimension varies at its ends alone, so q01 = q99.
    statistics = {
        "action": {
            **{"q01": [0.5, 0.0, -1.0, 0.0], "q99": [0.5, 2.0, -1.0, 0.0]},
            **{"min": [0.5, -1.0, -1.0, -3.0], "max": [0.5, 3.0, -1.0, 3.0]},
            "mask": [True, True, False, True],
        }
    }
    scale = ActionScale(statistics, text_vocabulary=32000, epsilon=0.0)
    labels = scale.encode(np.array([0.5, 1.0, -1.0, 3.0]))
    assert labels.tolist() == [31872, 31872, 31999, 31744]
    assert scale.encode(np.array([0.4, 2.0, -1.0, 0.0])).tolist() == [31872, 31744, 31999, 31999]
    # Not scaled: what decodes to the demonstrated -1, though it never changes either.
    assert scale.decode(torch.tensor(labels))[2] == pytest.approx(-1 + 1 / 255)


def test_an_action_on_the_upper_quantile_is_in_the_last_bin():
    # As LIBERO's actions often are. In float32 1.875 + 1e-8 is 1.875 and the unit exactly 1, of
    # which digitize makes 256; in float64 it would be below 1 and the token 31745.
    statistics = {"action": {"q01": [-0.9375], "q99": [0.9375]}}
    scale = ActionScale(statistics, text_vocabulary=32000, epsilon=0.0)
    assert scale.encode(np.array([0.9375], np.float32)).tolist() == [31744]


def test_without_min_and_max_no_dimension_counts_as_constant():
    scale = ActionScale({"action": {"q01": [1.0], "q99": [1.0]}}, 32000, epsilon=0.0)
    assert scale.encode(np.array([1.0])).tolist() == [31999]


def test_a_constant_dimension_is_not_live_where_tokens_are_parallel(build: Build):
    from rlinf.data.statistics import ActionStatistics

    actions = np.random.default_rng(0).normal(size=(100, 7)).astype(np.float32)
    actions[:, 2] = 0.5
    for model, live in (("openvla_oft", False), ("openvla", True)):
        policy = build(model)
        policy.set_action_statistics(ActionStatistics.of(actions, episodes=5))
        assert policy.live.tolist() == [True, True, live, True, True, True, True]
        assert policy.decode(torch.full((7,), 31800))[2] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_last_layer_leaves_out_only_what_is_never_read(
    model: str, attention: str, build: Build, observation: Observation
):
    policy = build(model, attn_implementation=attention)
    network = policy.network
    with torch.inference_mode():
        embedded, real = policy.context(observation)
        attending = policy.attending(real, causal=model == "openvla")
        whole = network.read(embedded, attending)
        for wanted in (slice(-1, None), slice(-5, None), slice(None)):
            part = network.read(embedded, attending, wanted=wanted)
            assert torch.allclose(part, whole[:, wanted], atol=1e-5)
    computed = []
    network.language_model.model.layers[-1].mlp.register_forward_hook(
        lambda _module, given, _result: computed.append(given[0].shape[1])
    )
    policy.act(observation, SAMPLING, NOISE)
    assert computed == ([1] * 7 if model == "openvla" else [policy.chunk * 7])
