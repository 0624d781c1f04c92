"""Whether the installed packages compute a Llama as it is defined.

A policy on another version or a fork of transformers would load without a word and act a little
wrong. So a small Llama with fixed weights is computed before a model is built, and compared with
numbers from a float64 implementation of the paper's equations (Touvron et al. 2023, arXiv
2302.13971, section 2.2), which stands in the tests.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version

import numpy as np
import torch
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from rlinf import installer
from rlinf.errors import UserError
from rlinf.models.prismatic.attention import Attending
from rlinf.models.prismatic.llama import build_llama
from rlinf.models.prismatic.model_folder import Architecture

POSITIONS = 5
LAST_STATE = (0.0, -0.024454, -0.928728, -0.100302, 0.614386, 1.320957, 0.068077, 1.113561)
"""After the final norm, at the last position."""
_TOLERANCE = 1e-5  # float32 comes within 1e-6; another epsilon is off by 4e-5, a rotation by 0.2


def _reduced(architecture: Architecture) -> Architecture:
    """The same kind of model with the sizes of the comparison; its vision is not built."""
    return replace(
        architecture,
        vocabulary=4,
        pad_token=0,
        width=8,
        layers=2,
        heads=2,
        key_heads=1,
        mlp_width=12,
        rms_norm_eps=1e-6,
        rope_theta=10_000.0,
        max_positions=16,
    )


def numbers(*shape: int, start: int) -> np.ndarray:
    """Fixed float64 numbers in -1..1 without a pattern: sin(start), sin(start + 1), ..."""
    return np.sin(np.arange(start, start + np.prod(shape))).reshape(shape)


@torch.inference_mode()
def check_llama(architecture: Architecture, attention: str) -> None:
    """Computes the small Llama with causal attention on the CPU.

    Args:
        attention: that of the policy; what needs a GPU is not looked at.

    Raises:
        UserError: the numbers are others.
    """
    found = _last_state(architecture, "eager" if attention == "eager" else "sdpa")
    if not np.allclose(found, LAST_STATE, rtol=0.0, atol=_TOLERANCE):
        raise UserError(
            f"transformers {version('transformers')} with PyTorch {torch.__version__} does not "
            f"compute a Llama as it is defined: {found.round(4).tolist()} instead of "
            f"{list(LAST_STATE)}; a model would act otherwise than in its publication",
            "install the versions that are pinned for this package: "
            f"{installer.command('--model openvla', 'openvla')}",
        )


def _last_state(architecture: Architecture, attention: str) -> np.ndarray:
    small = _reduced(architecture)
    with torch.device("meta"):  # no random numbers are drawn
        model = build_llama(small, attention).model
    model.to_empty(device="cpu")
    model.rotary_emb = LlamaRotaryEmbedding(model.config)
    for start, parameter in enumerate(model.layers.parameters()):
        parameter.copy_(torch.from_numpy(numbers(*parameter.shape, start=100 * start)))
    model.norm.weight.copy_(torch.from_numpy(numbers(small.width, start=0)))
    hidden = torch.from_numpy(numbers(1, POSITIONS, small.width, start=50)).float()
    seen = Attending(torch.ones(1, POSITIONS, dtype=torch.bool), padded=False, causal=True)
    rotary = model.rotary_emb(hidden, position_ids=seen.positions)
    for layer in model.layers:
        hidden = layer(hidden, rotary, seen.mask(attention, hidden.dtype), causal=True)
    found: np.ndarray = model.norm(hidden)[0, -1].numpy()
    return found
