"""Chains that the first release of RLinf drew: mean, deviation, log-probs, values, ratios."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rlinf.data.conventions import conversion
from rlinf.data.types import Observation
from rlinf.envs.libero.spec import SPEC
from rlinf.models.base import Sampling
from rlinf.models.flow import density, steps
from rlinf.models.flow.policy import FIRST, LEVEL, STATES
from rlinf.models.gr00t.config import Gr00tConfig
from rlinf.models.gr00t.heads import PREFIXES, published_name, read_heads
from rlinf.models.gr00t.policy import Gr00tPolicy
from rlinf.registry import imported
from tests.golden import largest_difference
from tests.unit.models.gr00t.golden import Gr00tSet, sets

pytestmark = pytest.mark.parametrize("golden", sets())
METHODS = [
    *((f"flow_sde_k{k}", "flow_sde") for k in range(4)),
    *((f"flow_cps_k{k}", "flow_cps") for k in range(4)),
    ("reinflow_k1", "reinflow"),
    ("reinflow_k3", "reinflow"),
]


class RecordedPrompts:
    """Ids and mask as they were recorded: on the right, too, there is padding."""

    def __init__(self, inputs: dict[str, np.ndarray]) -> None:
        self._ids = torch.from_numpy(inputs["eagle_input_ids"])
        self._real = torch.from_numpy(inputs["eagle_attention_mask"]).bool()

    def batch(self, instructions: tuple[str, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        return self._ids, self._real


def policy_of(golden: Gr00tSet, **settings: Any) -> Gr00tPolicy:
    """With the critic and the noise of the set."""
    hyper = golden.json("measured")["hyper"]
    config = Gr00tConfig(
        model_type="gr00t",
        model_path=str(golden.checkpoint),
        processor_path=str(golden.processor),
        precision="fp32",
        num_action_chunks=hyper["chunk"],
        denoising_steps=hyper["rl_steps"],
        noise_level=hyper["noise_level"],
        ignore_last=False,
        padding="flash",
        critic="chain",
        value_type="chunk",
        **settings,
    )
    policy = Gr00tPolicy(config)
    policy.load(golden.checkpoint)
    heads = load_file(golden.path / "rl_heads.safetensors")
    assert all(name.startswith(PREFIXES) for name in heads)
    read_heads(policy.value_head, policy.noise_head, heads, golden.path)
    policy.prompts = RecordedPrompts(golden.inputs("batch3_rightpad"))  # type: ignore[assignment]
    return policy.eval()


def observation(golden: Gr00tSet) -> Observation:
    seen = golden.arrays("observations")
    images = np.stack([seen["main_image"], seen["wrist_image"]], axis=1)
    return Observation(images, seen["states"], tuple(golden.json("texts")["tasks"]))


def sampled_of(recorded: dict[str, np.ndarray], level: float) -> dict[str, np.ndarray]:
    chains, first = recorded["chains"], recorded["denoise_inds"][:, 0]
    rows = np.arange(len(chains))
    states = np.stack([chains[rows, first], chains[rows, first + 1]], axis=1)
    return {STATES: states, FIRST: first, LEVEL: np.full(len(chains), level, np.float32)}


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_a_recorded_chain_has_the_recorded_log_probs_and_values(
    golden: Gr00tSet, name: str, method: str
):
    recorded, policy = golden.arrays(f"rl_{name}"), policy_of(golden, noise_method=method)
    sampled = sampled_of(recorded, policy.settings.noise_level)
    seen = observation(golden)
    found = policy.evaluate(seen, sampled, Sampling())
    assert largest_difference(found.logprobs, recorded["actor_logprobs"]) < 1e-4
    assert largest_difference(found.values, recorded["actor_values"]) < 1e-5
    total = found.logprobs.sum(dim=(1, 2))
    assert largest_difference(total, recorded["chunk_logprob"]) < 1e-4 * found.logprobs[0].numel()
    assert (found.entropy is None) == (method != "reinflow")
    with torch.no_grad():
        policy.network.action_head.action_decoder.layer2.b[policy.embodiment.slot] += 0.05
        moved = policy.evaluate(seen, sampled, Sampling()).logprobs.sum(dim=(1, 2))
    wanted = recorded["chunk_logprob_after_bias_shift"]
    assert largest_difference(moved, wanted) < 1e-4 * found.logprobs[0].numel()


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_mean_and_deviation_of_a_step_are_the_recorded_ones(
    golden: Gr00tSet, name: str, method: str
):
    recorded = golden.arrays(f"rl_{name}")
    given = {n: torch.from_numpy(recorded[n]) for n in ("chains", "velocity", "dit_output")}
    policy = policy_of(golden, noise_method=method)
    first = int(recorded["denoise_inds"][0, 0])
    rows = len(given["chains"])
    with torch.no_grad():
        found = policy._transition(
            given["chains"][:, first],
            given["velocity"][:, first],
            given["dit_output"][:, first],
            torch.full((rows,), first),
            torch.full((rows,), policy.settings.noise_level),
            Sampling(),
        )
    assert largest_difference(found.mean, recorded["mean"][:, first]) < 1e-6
    std = found.std.expand_as(found.mean)
    assert largest_difference(std, recorded["std"][:, first]) < 1e-6


def test_a_chain_that_is_stochastic_throughout_has_the_recorded_log_prob(golden: Gr00tSet):
    recorded = golden.arrays("rl_flow_sde_joint")
    policy = policy_of(golden, noise_method="flow_sde", joint_logprob=True)
    rows = len(recorded["chains"])
    sampled = {
        STATES: recorded["chains"],
        FIRST: np.zeros(rows, np.int64),
        LEVEL: np.full(rows, policy.settings.noise_level, np.float32),
    }
    found = policy.evaluate(observation(golden), sampled, Sampling())
    assert largest_difference(found.logprobs, recorded["actor_logprobs"]) < 1e-4
    assert largest_difference(found.values, recorded["actor_values"]) < 1e-5
    start = density.log_prob_of_start(torch.from_numpy(recorded["chains"][:, 0]))
    assert largest_difference(policy._cut(start), recorded["prev_logprobs"][:, 0]) < 1e-5


def test_the_deterministic_chain_is_the_recorded_one(golden: Gr00tSet):
    recorded = golden.arrays("rl_eval_ode")
    policy = policy_of(golden)
    with torch.no_grad():
        prepared = policy.prepare(observation(golden), None)
        reached = policy._deterministic(prepared, torch.from_numpy(recorded["chains"][:, 0]))
    assert largest_difference(reached, recorded["chains"][:, -1]) < 1e-5
    moves = steps.euler(
        torch.from_numpy(recorded["chains"][:, 0]), torch.from_numpy(recorded["velocity"][:, 0]), 4
    )
    assert largest_difference(moves, recorded["chains"][:, 1]) < 1e-6


@pytest.mark.parametrize("case", ["batch3", "batch3_rightpad"])
def test_actions_reach_libero_as_they_did(golden: Gr00tSet, case: str):
    recorded, policy = golden.arrays(f"sample_{case}"), policy_of(golden)
    found = policy.action_scale.inverse(torch.from_numpy(recorded["action_pred"])[..., :7])
    assert largest_difference(found, recorded["unnormalized_7d"]) < 1e-6
    taken = imported(SPEC.settings)(task_suite_name="libero_spatial").takes()
    to_simulator = conversion(policy.config.emits(), taken)
    chunk = policy.unscale(torch.from_numpy(recorded["action_pred"]))
    wanted = recorded["libero_action_chunk"]
    assert largest_difference(to_simulator(chunk.numpy()), wanted) < 1e-6


def test_the_state_of_a_widowx_is_sines_and_cosines(golden: Gr00tSet):
    recorded = golden.arrays("inputs_widowx")
    policy = policy_of(golden, embodiment="maniskill_widowx")
    seen = observation(golden)
    found = policy._state(Observation(seen.images[:, :1], seen.state, seen.instructions))
    assert largest_difference(found, recorded["state"]) < 1e-6
    assert policy.embodiment.slot == recorded["embodiment_id"][0]


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_the_gradient_of_log_probs_and_values_is_the_recorded_one(
    golden: Gr00tSet, name: str, method: str
):
    recorded, policy = golden.arrays(f"rl_{name}"), policy_of(golden, noise_method=method)
    sampled = sampled_of(recorded, policy.settings.noise_level)
    found = policy.evaluate(observation(golden), sampled, Sampling())
    (found.logprobs.sum(dim=(1, 2)).mean() + found.values.mean()).backward()
    wanted = dict(golden.json(f"rl_{name}_grad_norms"))
    for parameter_name, parameter in policy.named_parameters():
        if parameter.grad is None:
            continue
        published = _published(parameter_name)
        norm = wanted.pop(published, 0.0)  # 0 is not recorded
        assert parameter.grad.norm().item() == pytest.approx(norm, rel=2e-3, abs=1e-4), published
    assert not any(wanted.values()), "gradients that only the original has"


def _published(name: str) -> str:
    """A parameter's name in the original."""
    return name.removeprefix("network.") if name.startswith("network.") else published_name(name)


def test_what_training_leaves_alone_is_what_the_original_freezes(golden: Gr00tSet):
    frozen = golden.json("train_frozen_params")
    names = frozen if isinstance(frozen, list) else frozen.get("frozen", list(frozen))
    policy = policy_of(golden)
    ours = {n.removeprefix("network.") for n, p in policy.named_parameters() if not p.requires_grad}
    theirs = {name.replace("vision_model.vision_model.", "vision_model.") for name in names}
    assert {n for n in theirs if "lm_head" not in n} == ours


def test_a_folder_keeps_critic_and_noise(golden: Gr00tSet, tmp_path: Path):
    policy = policy_of(golden, noise_method="reinflow")
    policy.save(tmp_path)
    saved, given = (
        load_file(tmp_path / "rl_heads.safetensors"),
        load_file(golden.path / "rl_heads.safetensors"),
    )
    assert saved.keys() == given.keys()
    assert all(torch.equal(saved[name], given[name]) for name in given)
