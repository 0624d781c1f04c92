"""The same numbers everywhere: as recorded, as on a CPU, and in rollout and actor.

Recorded numbers of the original models are sets of files in the folder that `RLINF_GOLDEN` names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from rlinf.algorithms.parity import mismatch
from rlinf.config.base import Precision
from rlinf.data.random import Noise, derive
from rlinf.data.types import Observation
from rlinf.models.base import Policy, Sampling
from rlinf.models.flow.policy import FIRST, LEVEL, STATES
from rlinf.models.gr00t.config import Gr00tConfig
from rlinf.models.loading import build_policy
from rlinf.models.openvla.config import OpenVlaConfig
from rlinf.models.openvla_oft.config import OpenVlaOftConfig
from rlinf.selftest.check import Absent, Found, Scope, require
from rlinf.selftest.models import ModelName, SizeName, build, observe

GOLDEN = "RLINF_GOLDEN"
_SETS = {"openvla": "batch.npz", "openvla_oft": "rl_batch.npz"}
_RECORDED = {"openvla": "rlinf_batch/sampled", "openvla_oft": "rlinf_1img/sampled"}
_TOLERANCE = {"openvla": 1e-3, "openvla_oft": 2e-3}
"""Largest difference of a log-prob in float32, as the sets' own README has it."""
_ROUNDED = 0.3
"""Largest mean difference in bf16; on a CPU it is 0.09 for OpenVLA and 0.14 for OpenVLA-OFT."""
_ACROSS_DEVICES = 1e-3


def golden(scope: Scope, model: Literal["openvla", "openvla_oft"], precision: Precision) -> Found:
    """Log-probs of recorded tokens are the recorded ones; in bf16 in the mean, up to rounding."""
    folder = _recorded_set(_SETS[model])
    meta = json.loads((folder / "meta.json").read_text())
    policy = _policy_of(folder, meta, model, precision).to(scope.device).eval()
    arrays = np.load(folder / _SETS[model], allow_pickle=False)
    own = _RECORDED[model]
    logprobs = next(
        name
        for name in arrays.files
        if name.startswith((f"{own}_train_logprobs_T", f"{own}_logprobs_T"))
    )
    tokens = next(
        arrays[name] for name in (f"{own}_action_tokens", f"{own}_tokens") if name in arrays.files
    )
    pictures = "rlinf_batch/images_uint8_nchw" if model == "openvla" else "rlinf_images_uint8_nchw"
    seen = Observation(
        arrays[pictures].transpose(0, 2, 3, 1)[:, None],
        np.zeros((len(tokens), 0), np.float32),
        tuple(meta["tasks"]),
    )
    given = tokens.reshape(len(tokens), policy.chunk, policy.action_dim)
    temperature = Sampling(float(logprobs.rpartition("_T")[2]))
    with torch.inference_mode():
        judged = policy.evaluate(seen, {"tokens": given}, temperature)
    return _compared(judged.logprobs, arrays[logprobs], precision, _TOLERANCE[model])


def golden_gr00t(scope: Scope, precision: Precision) -> Found:
    """Log-probs of a recorded chain are the recorded ones."""
    folder = _recorded_set("golden/rl_flow_sde_k1.npz", depth=2)
    given = json.loads((folder / "golden" / "measured.json").read_text())["hyper"]
    policy = build_policy(
        Gr00tConfig(
            model_type="gr00t",
            model_path=str(folder / "checkpoint"),
            processor_path=str(folder / "eagle_processor"),
            precision=precision,
            num_action_chunks=given["chunk"],
            denoising_steps=given["rl_steps"],
            noise_level=given["noise_level"],
            noise_method="flow_sde",
            ignore_last=False,
            padding="flash",
            critic="chain",
            value_type="chunk",
        ),
        seed=0,
    )
    policy = policy.to(scope.device).eval()
    policy.prompts = _RecordedPrompts(folder)  # type: ignore[assignment]
    recorded = folder / "golden"
    chain, seen = (
        np.load(recorded / f"{name}.npz", allow_pickle=False)
        for name in ("rl_flow_sde_k1", "observations")
    )
    first, rows = chain["denoise_inds"][:, 0], np.arange(len(chain["chains"]))
    states = np.stack([chain["chains"][rows, first + step] for step in (0, 1)], axis=1)
    level = np.full(len(rows), given["noise_level"], np.float32)
    images = np.stack([seen["main_image"], seen["wrist_image"]], axis=1)
    tasks = json.loads((recorded / "texts.json").read_text())["tasks"]
    with torch.inference_mode():
        judged = policy.evaluate(
            Observation(images, seen["states"], tuple(tasks)),
            {STATES: states, FIRST: first, LEVEL: level},
            Sampling(),
        )
    return _compared(judged.logprobs, chain["actor_logprobs"], precision, 1e-3)


class _RecordedPrompts:
    """Ids and mask as they were recorded, with padding on the right too."""

    def __init__(self, folder: Path) -> None:
        found = np.load(folder / "golden" / "inputs_batch3_rightpad.npz", allow_pickle=False)
        self._ids = torch.from_numpy(found["eagle_input_ids"])
        self._real = torch.from_numpy(found["eagle_attention_mask"]).bool()

    def batch(self, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Whatever the instructions are."""
        return self._ids, self._real


def across_devices(scope: Scope, model: ModelName) -> Found:
    """In float32 a GPU gives the log-probs of the CPU."""
    on_cpu, there = (
        build(Path(scope.folder) / place, model, "tiny", "fp32", "cpu").to(place).eval()
        for place in ("cpu", scope.device)
    )
    seen, sampling = observe(8), Sampling()
    acted = on_cpu.act(seen, sampling, _noise(8))
    with torch.inference_mode():
        logprobs = there.evaluate(seen, acted.sampled, sampling).logprobs.cpu().numpy()
    largest = float(np.abs(logprobs - acted.logprobs).max())
    require(largest < _ACROSS_DEVICES, f"log-probs differ by {largest:.2g} at most")
    return Found(f"log-probs differ by {largest:.2g} at most", {"largest_difference": largest})


def rollout_and_actor(scope: Scope, model: ModelName, precision: Precision) -> Found:
    """Log-probs of a batch that acts are those of the micro-batches that learn."""
    size: SizeName = "1b" if scope.gpus else "tiny"
    rows = 16 if scope.gpus else 6
    policy = build(Path(scope.folder), model, size, precision, scope.device)
    seen, sampling = observe(rows), Sampling()
    acted = policy.eval().act(seen, sampling, _noise(rows))
    policy.train()
    parts = []
    for start in range(0, rows, 2):
        at = slice(start, start + 2)
        sampled = {name: drawn[at] for name, drawn in acted.sampled.items()}
        micro_batch = seen.take(np.arange(start, start + 2))
        parts.append(policy.evaluate(micro_batch, sampled, sampling).logprobs.detach().cpu())
    found = mismatch(
        torch.cat(parts).float(),
        torch.from_numpy(acted.logprobs),
        torch.ones(rows, policy.chunk, dtype=torch.bool),
        policy.live.cpu(),
    )
    numbers = {"mean_difference": found.mean, "largest_difference": found.largest}
    text = f"log-probs differ by {found.mean:.2g} in the mean and {found.largest:.2g} at most"
    tolerance = policy.parity_tolerance
    require(not found.exceeds(tolerance), f"{text}, more than {tolerance:g}", **numbers)
    return Found(text, numbers)


def _compared(ours: Tensor, recorded: np.ndarray, precision: Precision, most: float) -> Found:
    """Log-probs against recorded ones: the largest difference, or the mean one in bf16.

    Args:
        most: allowed in fp32.
    """
    found = ours.float().cpu().numpy()
    difference = np.abs(found - recorded.reshape(found.shape))
    mean, largest = float(difference.mean()), float(difference.max())
    numbers = {"mean_difference": mean, "largest_difference": largest}
    text = f"log-probs differ by {mean:.2g} in the mean and {largest:.2g} at most"
    exact = precision == "fp32"
    most = most if exact else _ROUNDED
    require((largest if exact else mean) <= most, f"{text}, more than {most:g}", **numbers)
    return Found(text, numbers)


def _noise(rows: int) -> Noise:
    return Noise(derive(1, np.arange(rows)))


def _recorded_set(file: str, depth: int = 1) -> Path:
    """The first folder with such a file, which lies so many levels below it."""
    named = os.environ.get(GOLDEN)
    if named is None:
        raise Absent(f"{GOLDEN} names no folder with recorded numbers of the original models")
    found = sorted(path.parents[depth - 1] for path in Path(named).glob(f"*/{file}"))
    if not found:
        raise Absent(f"no recorded set with {file} in {GOLDEN} = {named}")
    return found[0]


def _policy_of(folder: Path, meta: dict[str, Any], model: str, precision: Precision) -> Policy:
    head = load_file(folder / "value_head.safetensors")
    given: dict[str, Any] = {
        "model_path": str(folder / "checkpoint"),
        "precision": precision,
        "image_path": "pillow",
        "value_type": "chunk" if len(head["value_head.mlp.4.weight"]) == 1 else "action",
    }
    if model == "openvla":
        given["unnorm_key"] = meta["unnorm_key"]
        policy = build_policy(OpenVlaConfig(model_type="openvla", **given), seed=0)
    else:
        given |= {
            "unnorm_key": meta["unnorm_key_short"],
            "action_dim": meta["action_dim"],
            "num_action_chunks": meta["num_action_chunks"],
            "recipe": "rlinf",
        }
        policy = build_policy(OpenVlaOftConfig(model_type="openvla_oft", **given), seed=0)
    policy.load_state_dict(head, strict=False)
    return policy
