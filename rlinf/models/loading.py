"""Building a policy from its configuration, and the folder a policy is kept in.

A policy folder holds the weights as the policy's `save` writes them, and `policy.json` (the model
section of the configuration). Exports are one, `model_path` names one. A checkpoint of a training
is read as well; it holds the weights in shards, see `shards.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch

from rlinf.config.base import POLICY_FILE, ModelConfig
from rlinf.config.schema import Config, SamplingParams
from rlinf.models import shards
from rlinf.models.base import Policy, Sampling
from rlinf.registry import imported, model


def build_policy(config: ModelConfig, seed: int, checkpoint: Path | None = None) -> Policy:
    """The policy of the configuration, with initial weights from `model_path` or from the seed.

    Args:
        checkpoint: of a training, whose weights it gets on top.

    Raises:
        UserError: if `model_path` holds no policy, or one of another shape.
    """
    torch.manual_seed(seed)
    policy: Policy = imported(model(config.model_type).policy)(config)
    if config.model_path is not None and (checkpoint is None or has_frozen(policy)):
        load_policy(policy, Path(config.model_path))
    if checkpoint is not None:
        load_policy(policy, checkpoint)
    return policy


def start_policy(config: Config) -> Policy:
    """The policy that a run starts from, once `runners.warmup.initial_weights` has chosen it."""
    path = config.runner.ckpt_path
    checkpoint = None if path is None else Path(path)
    return build_policy(config.actor.model, config.actor.seed, checkpoint)


def has_frozen(policy: Policy) -> bool:
    """Whether training leaves some weights as they are, as with adapters."""
    return any(not parameter.requires_grad for parameter in policy.parameters())


def load_policy(policy: Policy, folder: Path) -> None:
    """Copies the weights of a policy folder, or of a checkpoint.

    Raises:
        UserError: if there is none, it is damaged, or it does not fit.
    """
    if shards.is_checkpoint(folder):
        weights = shards.weights_of(policy)
        shards.read({shards.POLICY: weights}, folder / shards.FOLDER, alone=True)
    else:
        policy.load(folder)


def save_policy(policy: Policy, config: ModelConfig, folder: Path, merge: bool = False) -> None:
    """Writes a policy folder; `merge` folds adapters into the weights that they adapt."""
    policy.save(folder, merge=merge)
    described = config.model_dump(mode="json", exclude={"model_path"})
    (folder / POLICY_FILE).write_text(json.dumps(described, indent=2) + "\n")


def sampling_of(params: SamplingParams, purpose: Literal["train", "eval"]) -> Sampling:
    """How actions are drawn in training (always sampled) or in evaluation."""
    training = purpose == "train"
    return Sampling(
        temperature=params.temperature_train if training else params.temperature_eval,
        top_k=max(params.top_k, 0),
        top_p=params.top_p,
        greedy=not training and not params.do_sample,
    )
