"""Building a policy from its configuration, and the folder a policy is kept in.

A policy folder holds the weights as the policy's `save` writes them, and `policy.json` (the model
section of the configuration). Checkpoints contain one, exports are one, `model_path` names one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch

from rlinf.config.models import AnyModel
from rlinf.config.schema import SamplingParams
from rlinf.models.base import Policy, Sampling
from rlinf.registry import MODELS, resolve

CONFIG_FILE = "policy.json"


def build_policy(config: AnyModel, seed: int) -> Policy:
    """The policy of the configuration, with start weights from `model_path` or from the seed.

    Raises:
        UserError: if `model_path` holds no policy, or one of another shape.
    """
    torch.manual_seed(seed)
    policy: Policy = resolve(MODELS, config.model_type)(config)
    if config.model_path is not None:
        load_policy(policy, Path(config.model_path))
    return policy


def load_policy(policy: Policy, folder: Path) -> None:
    """Copies the weights of a policy folder, or of a checkpoint that contains one.

    Raises:
        UserError: if there is none, it is damaged, or it does not fit.
    """
    policy.load(folder / "policy" if (folder / "policy" / CONFIG_FILE).is_file() else folder)


def save_policy(policy: Policy, config: AnyModel, folder: Path) -> None:
    """Writes a policy folder."""
    policy.save(folder)
    described = config.model_dump(mode="json", exclude={"model_path"})
    (folder / CONFIG_FILE).write_text(json.dumps(described, indent=2) + "\n")


def sampling_of(params: SamplingParams, purpose: Literal["train", "eval"]) -> Sampling:
    """How actions are drawn in training (always sampled) or in evaluation."""
    training = purpose == "train"
    return Sampling(
        temperature=params.temperature_train if training else params.temperature_eval,
        top_k=max(params.top_k, 0),
        top_p=params.top_p,
        greedy=not training and not params.do_sample,
    )
