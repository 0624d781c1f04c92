"""OpenVLA against what its original code gave; the sets' own README says how close is fair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from rlinf.data.random import Noise, derive
from rlinf.models.base import Sampling
from rlinf.models.loading import build_policy
from rlinf.models.openvla.config import OpenVlaConfig
from rlinf.models.openvla.policy import OpenVlaPolicy
from rlinf.models.prismatic.images import normalize, prepare, resize
from rlinf.models.prismatic.tokens import END
from tests.golden import (
    GoldenSet,
    best_tokens,
    drawn_at,
    is_clear,
    largest_difference,
    observe,
    sets_with,
)

TOLERANCE = 1e-3
GREEDY = Sampling(greedy=True)
_GREEDY = ("action_tokens", "actions", "prev_logprobs_T1")


@pytest.fixture(scope="module", params=sets_with("single.npz"))
def golden(request: pytest.FixtureRequest) -> GoldenSet:
    return request.param


@pytest.fixture(scope="module")
def policy(golden: GoldenSet, single) -> OpenVlaPolicy:
    value_head, value_type = golden.value_head()
    config = OpenVlaConfig(
        model_type="openvla",
        model_path=str(golden.checkpoint),
        precision="fp32",
        unnorm_key=golden.meta["unnorm_key"],
        action_dim=len(single["single_0/actions"]),
        value_type=value_type,
        image_path="pillow",
    )
    policy = build_policy(config, seed=0)
    assert isinstance(policy, OpenVlaPolicy)
    policy.load_state_dict(value_head, strict=False)
    return policy


@pytest.fixture(scope="module")
def single(golden: GoldenSet):
    return golden.arrays("single.npz")


@pytest.fixture(scope="module")
def batch(golden: GoldenSet):
    return golden.arrays("batch.npz")


def noise(rows: int) -> Noise:
    return Noise(derive(1, np.arange(rows)))


def rl_observation(golden: GoldenSet, batch):
    images = batch["rlinf_batch/images_uint8_nchw"].transpose(0, 2, 3, 1)
    return observe(images, golden.meta["tasks"])


def one(golden: GoldenSet, sample: int):
    picture = golden.picture(golden.meta["images"][sample])
    return observe(picture[None], [golden.meta["tasks"][sample]])


def test_prompts_have_the_same_token_ids(golden: GoldenSet, policy: OpenVlaPolicy, single):
    for sample in golden.samples:
        ids = policy.prompts.ids(golden.meta["tasks"][sample])
        assert ids == single[f"single_{sample}/input_ids_used"][0].tolist()


def test_a_batch_of_prompts_is_padded_behind_its_first_token(golden, policy, batch):
    ids, real = policy.prompts.batch(golden.meta["tasks"])
    theirs, mask = batch["rlinf_batch/input_ids"], batch["rlinf_batch/attention_mask"]
    for row in golden.samples:
        assert ids[row][real[row]].tolist() == theirs[row][mask[row]].tolist()
    assert real[:, 0].all() and real[:, -1].all()


def test_pictures_become_the_same_pixel_values(golden, policy, single):
    for sample in golden.samples:
        theirs = torch.from_numpy(single[f"single_{sample}/images_224_uint8"]).permute(0, 3, 1, 2)
        views = one(golden, sample).images
        size = policy.network.architecture.image_size
        ours = prepare(views, size, "pillow", False, torch.device("cpu"), torch.float32)
        assert torch.equal(ours[0], normalize(theirs))
        there = resize(torch.from_numpy(views[0]).permute(0, 3, 1, 2), size, "pillow")
        assert torch.equal(there, theirs)  # as on a GPU
        if f"single_{sample}/pixel_values" in single:
            assert np.array_equal(ours[0], single[f"single_{sample}/pixel_values"])


def test_vision_and_projector_have_the_same_features(golden, policy, single):
    for sample in golden.samples:
        pixels = normalize(
            torch.from_numpy(single[f"single_{sample}/images_224_uint8"]).permute(0, 3, 1, 2)
        )
        dino, siglip = pixels.split(3, dim=1)
        vision = policy.network.vision_backbone
        for name, ours in (
            ("dino_patches", vision.featurizer(dino)),
            ("siglip_patches", vision.fused_featurizer(siglip)),
            ("projector_out", policy.network.see(pixels[:, None])),
        ):
            assert largest_difference(ours, single[f"single_{sample}/{name}"]) < TOLERANCE


@torch.inference_mode()
def test_hidden_states_and_full_logits_are_the_same_at_every_step(golden, policy, single):
    for sample in golden.samples:
        tokens = torch.from_numpy(single[f"single_{sample}/action_token_ids"])[None, None]
        hidden = policy._action_states(one(golden, sample), tokens, with_end=True)
        theirs = single[f"single_{sample}/hidden_states"][-1]
        steps = tokens.shape[2]
        assert largest_difference(hidden[0], theirs[-steps - 1 :]) < TOLERANCE
        logits = policy.network.logits(hidden[0, :steps])
        full = single[f"single_{sample}/logits_full_vocab_decode"]
        assert largest_difference(logits, full) < TOLERANCE


@torch.inference_mode()
def test_the_best_action_token_is_the_recorded_one_at_every_step(golden, policy, single):
    for sample in golden.samples:
        tokens = torch.from_numpy(single[f"single_{sample}/action_token_ids"])[None, None]
        hidden = policy._action_states(one(golden, sample), tokens, with_end=False)
        ours = policy.network.logits(hidden[0], policy.scale.tokens).numpy()
        theirs = single[f"single_{sample}/logits_full_vocab_decode"][:, policy.scale.tokens]
        clear, first = is_clear(theirs, TOLERANCE), policy.scale.first
        assert clear.any()
        assert (best_tokens(ours, first) == best_tokens(theirs, first))[clear].all()


def test_greedy_tokens_are_the_recorded_ones_as_long_as_those_are_action_tokens(
    golden, policy, single
):
    for sample in golden.samples:
        chosen = single[f"single_{sample}/action_token_ids"]
        theirs = single[f"single_{sample}/logits_full_vocab_decode"][:, policy.scale.tokens]
        best = best_tokens(theirs, policy.scale.first)
        # A token is predicted from those before it, which have to be the originals'.
        same = (best == chosen) & is_clear(theirs, TOLERANCE)
        follows = np.concatenate(([True], same[:-1])).cumprod().astype(bool)
        compared = follows & is_clear(theirs, TOLERANCE)
        ours = policy.act(one(golden, sample), GREEDY, noise(1)).sampled["tokens"][0, 0]
        assert (ours == best)[compared].all()


def test_actions_are_those_of_the_originals_tokens(golden, policy, single):
    for sample in golden.samples:
        tokens = torch.from_numpy(single[f"single_{sample}/action_token_ids"])
        actions = single[f"single_{sample}/actions"]
        assert largest_difference(policy.decode(tokens), actions) < 1e-6


@torch.inference_mode()
def test_a_padded_batch_gives_the_same_greedy_tokens_logprobs_and_values(golden, policy, batch):
    observation = rl_observation(golden, batch)
    theirs = {name: batch[f"rlinf_batch/greedy_{name}"] for name in _GREEDY}
    given = torch.from_numpy(theirs["action_tokens"])
    hidden = policy._action_states(observation, given, with_end=False)
    logits = policy.network.logits(hidden, policy.scale.tokens).numpy()
    clear = is_clear(logits, TOLERANCE)  # [rows, steps]; the recorded tokens are its context
    best = best_tokens(logits, policy.scale.first)
    assert clear.any() and (best == theirs["action_tokens"][:, 0])[clear].all()
    chunk, rows = policy.act(observation, GREEDY, noise(len(golden.samples))), clear.all(axis=1)
    assert np.array_equal(chunk.sampled["tokens"][rows], theirs["action_tokens"][rows])
    for ours, name in ((chunk.actions, "actions"), (chunk.logprobs, "prev_logprobs_T1")):
        found, recorded = ours[rows], theirs[name][rows].reshape(ours[rows].shape)
        assert np.allclose(found, recorded, rtol=0, atol=1e-6 if name == "actions" else TOLERANCE)
    assert largest_difference(policy.decode(given), theirs["actions"]) < 1e-6
    judged = policy.evaluate(observation, {"tokens": theirs["action_tokens"]}, Sampling())
    assert largest_difference(judged.logprobs, theirs["prev_logprobs_T1"]) < TOLERANCE
    assert largest_difference(chunk.values, batch["rlinf_batch/greedy_values"]) < TOLERANCE


def test_right_padded_logits_are_those_of_our_padding(golden, policy, batch, single):
    tokens = [single[f"single_{i}/action_token_ids"] for i in golden.samples]
    given = torch.from_numpy(np.stack(tokens))[:, None]
    pictures = np.concatenate([single[f"single_{i}/images_224_uint8"] for i in golden.samples])
    hidden = policy._action_states(observe(pictures, golden.meta["tasks"]), given, with_end=False)
    logits = policy.network.logits(hidden, policy.scale.tokens)
    theirs = batch["batch_right_padded/logits_action_bins"]
    assert largest_difference(logits, theirs) < TOLERANCE


def test_evaluate_gives_the_recorded_logprobs_entropy_and_values(golden, policy, batch):
    prefix = "rlinf_batch/sampled_train"
    train, temperature = drawn_at(batch.files, f"{prefix}_logprobs")
    rollout, _ = drawn_at(batch.files, "rlinf_batch/sampled_rollout_logprobs")
    entropy, _ = drawn_at(batch.files, f"{prefix}_entropy")
    given = batch["rlinf_batch/sampled_action_tokens"]
    judged = policy.evaluate(
        rl_observation(golden, batch), {"tokens": given}, Sampling(temperature)
    )
    for ours, name in (
        (judged.logprobs, train),
        (judged.logprobs, rollout),
        (judged.entropy, entropy),
        (judged.values, "rlinf_batch/values"),
    ):
        assert largest_difference(ours, batch[name]) < TOLERANCE


def test_judge_gives_the_recorded_values(golden, policy, batch):
    values = policy.value(rl_observation(golden, batch))
    assert largest_difference(values, batch["rlinf_batch/values"][:, 0]) < TOLERANCE


def test_the_imitation_loss_is_the_originals(golden, policy, single):
    for sample in golden.samples:
        tokens = torch.from_numpy(single[f"single_{sample}/action_token_ids"])[None, None]
        observation, recorded = one(golden, sample), float(single[f"single_{sample}/sft_loss"])
        with torch.inference_mode():
            hidden = policy._action_states(observation, tokens, with_end=True)[0]
            labels = torch.cat((tokens.flatten(), torch.tensor([END])))
            loss = cross_entropy(policy.network.logits(hidden), labels)
        assert float(loss) == pytest.approx(recorded, abs=1e-3)
        actions = policy.decode(tokens).numpy()
        if policy.scale.encode(actions).tolist() != tokens.tolist():
            continue  # no action has these tokens as its labels
        compared = policy.imitate(observation, actions, np.zeros(1, np.float32), noise(1))
        assert float(compared.losses["token_loss"].mean().detach()) == pytest.approx(
            recorded, abs=1e-3
        )
        bins = single[f"single_{sample}/logits_full_vocab_decode"][:, policy.scale.tokens]
        best = best_tokens(bins, policy.scale.first) == tokens[0, 0].numpy()
        right, clear = (
            compared.metrics["token_accuracy"][0].bool().numpy(),
            is_clear(bins, TOLERANCE),
        )
        assert (right == best)[clear].all()
        assert (compared.metrics["action_error"][0, 0].numpy() < 1e-6)[best & clear].all()


@torch.inference_mode()
def test_an_empty_picture_changes_the_logits(golden, policy, single):
    # A model path that ignores the image would pass many other checks.
    given = torch.from_numpy(single["single_0/action_token_ids"])[None, None]
    blank = observe(np.zeros_like(one(golden, 0).images[:, 0]), golden.meta["tasks"][:1])
    hidden = policy._action_states(blank, given, with_end=False)
    changed = policy.network.logits(hidden, policy.scale.tokens)[0]
    shown = single["single_0/logits_full_vocab_decode"][:, policy.scale.tokens]
    assert largest_difference(changed, shown) > 10 * TOLERANCE
