"""OpenVLA-OFT against what the original, SimpleVLA-RL's and RLinf's code gave."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from rlinf.data.random import Noise, derive
from rlinf.models.base import Sampling
from rlinf.models.loading import build_policy
from rlinf.models.openvla_oft.config import OpenVlaOftConfig
from rlinf.models.openvla_oft.policy import OpenVlaOftPolicy
from rlinf.models.prismatic.images import prepare
from tests.golden import (
    GoldenSet,
    best_tokens,
    drawn_at,
    is_clear,
    largest_difference,
    observe,
    sets_with,
)

TOLERANCE = 2e-3
GREEDY = Sampling(greedy=True)
CASES = [(views, recipe) for views in (1, 2) for recipe in ("official", "rlinf")]


@pytest.fixture(scope="module", params=sets_with("rl_batch.npz"))
def golden(request: pytest.FixtureRequest) -> GoldenSet:
    return request.param


@pytest.fixture(scope="module")
def batch(golden: GoldenSet):
    return golden.arrays("rl_batch.npz")


def build(golden: GoldenSet, views: int, recipe: str, lora_path: str | None = None):
    value_head, value_type = golden.value_head()
    config = OpenVlaOftConfig(
        model_type="openvla_oft",
        model_path=str(golden.checkpoint),
        precision="fp32",
        unnorm_key=golden.meta["unnorm_key_short"],
        action_dim=golden.meta["action_dim"],
        num_action_chunks=golden.meta["num_action_chunks"],
        num_images_in_input=views,
        recipe=recipe,
        image_path="pillow",
        value_type=value_type,
        is_lora=lora_path is not None,
        lora_path=lora_path,
    )
    policy = build_policy(config, seed=0)
    assert isinstance(policy, OpenVlaOftPolicy)
    policy.load_state_dict(value_head, strict=False)
    return policy


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}img-{case[1]}")
def case(request: pytest.FixtureRequest, golden: GoldenSet, batch):
    """Policy, observation and recorded arrays of a number of images and a recipe."""
    views, recipe = request.param
    if not (golden.path / f"moojink_{views}img.npz").is_file():
        pytest.skip("nothing recorded with so many images")
    if recipe == "rlinf":
        key = f"rlinf_{views}img"
        names = ("rlinf_images_uint8_nchw", "rlinf_wrist_images_uint8_nchw")[:views]
        images = np.stack([batch[name].transpose(0, 2, 3, 1) for name in names], axis=1)
    else:
        key = f"simplevla_{views}img"
        stored = golden.arrays(f"moojink_{views}img.npz")
        images = np.stack(
            [stored[f"moojink_{views}img_{i}/images_224_uint8"] for i in golden.samples]
        )
    recorded = {n.partition("/")[2]: batch[n] for n in batch.files if n.startswith(f"{key}/")}
    policy = build(golden, views, recipe)
    return policy, observe(images, golden.meta["tasks"]), recorded


def noise(rows: int) -> Noise:
    return Noise(derive(1, np.arange(rows)))


def test_greedy_tokens_and_actions_of_a_padded_batch_are_recorded_ones(case):
    policy, observation, recorded = case
    chunk = policy.act(observation, GREEDY, noise(len(observation)))
    clear = is_clear(recorded["logits_action_bins"], TOLERANCE).reshape(
        chunk.sampled["tokens"].shape
    )
    assert clear.any()
    theirs = recorded["greedy_tokens"].reshape(clear.shape)
    assert np.array_equal(chunk.sampled["tokens"][clear], theirs[clear])
    assert largest_difference(chunk.actions[clear], recorded["greedy_actions"][clear]) < 1e-6
    if "greedy_logprobs_T1" in recorded:
        assert largest_difference(chunk.logprobs, recorded["greedy_logprobs_T1"]) < TOLERANCE


def test_evaluate_gives_the_recorded_logprobs_and_entropy(case):
    policy, observation, recorded = case
    shape = (len(observation), policy.chunk, policy.action_dim)
    sampled = recorded["sampled_tokens"].reshape(shape)
    name, temperature = drawn_at(recorded, "sampled_logprobs")
    judged = policy.evaluate(observation, {"tokens": sampled}, Sampling(temperature))
    assert largest_difference(judged.logprobs, recorded[name]) < TOLERANCE
    name, _ = drawn_at(recorded, "entropy")
    assert largest_difference(judged.entropy, recorded[name]) < TOLERANCE


@torch.inference_mode()
def test_logits_and_values_are_recorded_ones(case):
    policy, observation, recorded = case
    hidden = policy._states(observation, policy.chunk * policy.action_dim)
    logits = policy.network.logits(hidden, policy.scale.tokens)
    assert largest_difference(logits, recorded["logits_action_bins"]) < TOLERANCE
    if "values" in recorded:
        assert largest_difference(hidden[:, 0], recorded["value_hidden"]) < TOLERANCE
        first = recorded["values"].reshape(len(observation), -1)[:, 0]
        assert largest_difference(policy.value(observation), first) < TOLERANCE


@pytest.mark.parametrize("views", [1, 2])
def test_single_rows_are_the_originals(golden: GoldenSet, views: int):
    if not (golden.path / f"moojink_{views}img.npz").is_file():
        pytest.skip("nothing recorded with so many images")
    policy = build(golden, views, "official")
    stored = golden.arrays(f"moojink_{views}img.npz")
    for sample in golden.samples:
        pictures = [golden.meta["images"], golden.meta["wrist_images"]][:views]
        ids = stored[f"moojink_{views}img_{sample}/input_ids_used"][0].tolist()
        assert policy.prompts.ids(golden.meta["tasks"][sample]) == ids
        resized = stored[f"moojink_{views}img_{sample}/images_224_uint8"]
        observation = observe(resized[None], golden.meta["tasks"][sample : sample + 1])
        for view, names in enumerate(pictures):  # the raw pictures lead to the same pixels
            raw = golden.picture(names[sample])[None, None]
            size = policy.network.architecture.image_size
            pixels = prepare(raw, size, "pillow", False, policy.device, torch.float32)
            assert torch.equal(pixels[0, 0], policy.pixels(observation)[0, view])
        chunk = policy.act(observation, GREEDY, noise(1))
        recorded = {
            name: stored[f"moojink_{views}img_{sample}/{name}"]
            for name in ("logits_action_bins", "greedy_tokens_unconstrained", "actions")
        }
        clear = is_clear(recorded["logits_action_bins"], TOLERANCE)
        best = best_tokens(recorded["logits_action_bins"], policy.scale.first)
        assert clear.any() and (chunk.sampled["tokens"].flatten() == best)[clear].all()
        # The original's own actions come from its best token of the whole vocabulary.
        chosen = recorded["greedy_tokens_unconstrained"]
        tokens = torch.from_numpy(chosen).view(chunk.actions.shape[1:])
        assert largest_difference(policy.decode(tokens), recorded["actions"]) < 1e-6
        same = (clear & (best == chosen)).reshape(tokens.shape)
        assert np.allclose(chunk.actions[0][same], recorded["actions"][same], rtol=0, atol=1e-6)


def test_adapters_give_the_recorded_logits(golden: GoldenSet):
    stored, pictures = golden.arrays("lora_logits.npz"), golden.arrays("moojink_1img.npz")
    adapters = sorted(path.parent.name for path in golden.path.glob("*/adapter_config.json"))
    assert adapters == sorted({name.partition("/")[0].rpartition("_")[0] for name in stored})
    policies = {name: build(golden, 1, "official", str(golden.path / name)) for name in adapters}
    for (adapter, policy), sample in product(policies.items(), golden.samples):
        images = pictures[f"moojink_1img_{sample}/images_224_uint8"]
        observation = observe(images, golden.meta["tasks"][sample : sample + 1])
        with torch.inference_mode():
            hidden = policy._states(observation, policy.chunk * policy.action_dim)
            logits = policy.network.logits(hidden, policy.scale.tokens)[0]
        theirs = stored[f"{adapter}_{sample}/logits_action_bins"]
        assert largest_difference(logits, theirs) < TOLERANCE
        chunk, clear = policy.act(observation, GREEDY, noise(1)), is_clear(theirs, TOLERANCE)
        tokens = stored[f"{adapter}_{sample}/greedy_tokens_bins"]
        assert np.array_equal(chunk.sampled["tokens"].flatten()[clear], tokens[clear])


@pytest.mark.parametrize("recorded", [True, False], ids=["record", "weights"])
def test_an_adapter_is_recognised_in_the_model_it_was_merged_into(
    golden: GoldenSet, tmp_path: Path, recorded: bool
):
    adapter = min(path.parent for path in golden.path.glob("*/adapter_config.json"))
    policy = build(golden, 1, "official", str(adapter))
    assert [list(policy.config.problems()), list(policy.config.warnings())] == [[], []]
    policy.save(tmp_path, merge=True)
    if not recorded:
        settings = json.loads((tmp_path / "config.json").read_text())
        del settings["rlinf"]
        (tmp_path / "config.json").write_text(json.dumps(settings))
    (problem,) = policy.config.model_copy(update={"model_path": str(tmp_path)}).problems()
    assert ("by the record" if recorded else "by its weights, which hold 1.0") in problem.message


@torch.inference_mode()
def test_the_path_matters(golden: GoldenSet, batch):
    # Each of these mistakes runs without a warning; the recorded logits notice it.
    stored = golden.arrays("moojink_1img.npz")
    observation = observe(stored["moojink_1img_0/images_224_uint8"], golden.meta["tasks"][:1])
    recorded = stored["moojink_1img_0/logits_action_bins"]

    def difference(policy: OpenVlaOftPolicy) -> float:
        hidden = policy._states(observation, policy.chunk * policy.action_dim)
        return largest_difference(policy.network.logits(hidden, policy.scale.tokens)[0], recorded)

    policy = build(golden, 1, "official")
    assert difference(policy) < TOLERANCE < difference(build(golden, 1, "rlinf")) / 10
    attending = policy.attending
    policy.attending = lambda real, causal: attending(real, causal=True)
    assert difference(policy) > 10 * TOLERANCE
