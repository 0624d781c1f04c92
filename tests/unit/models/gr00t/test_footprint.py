"""The memory that a pass is expected to need, against the tensors that autograd keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rlinf.data.random import Noise, derive
from rlinf.data.types import Observation
from rlinf.models.base import Sampling
from rlinf.models.gr00t.config import PARAMETERS, Gr00tConfig
from rlinf.models.gr00t.footprint import PUBLISHED, footprint, sizes_of
from rlinf.models.gr00t.policy import Gr00tPolicy
from rlinf.models.gr00t.random_weights import SIZES, Gr00tSizes, build, write_folder

ROWS = 2
INSTRUCTION = "put both moka pots on the stove"
SMALL = Gr00tSizes(
    vocabulary=SIZES["tiny"].vocabulary,
    text=(96, 288, 3, 4, 2, 24),
    kept_layers=2,
    vision=(64, 160, 2, 4, 112),
    dit=(4, 24, 4),
    looking=(4, 24, 2),
    hidden=64,
    state=64,
    action=32,
    horizon=16,
    future=32,
)


def kept_for_backward(policy: Gr00tPolicy) -> int:
    """Bytes of tensors that are no weights and stay until the backward pass."""
    random = np.random.default_rng(0)
    side = policy.folder.image_size
    images = random.integers(0, 256, (ROWS, 2, side, side, 3), dtype=np.uint8)
    state = random.normal(size=(ROWS, 8)).astype(np.float32)
    seen = Observation(images, state, (INSTRUCTION,) * ROWS)
    sampled = policy.act(seen, Sampling(), Noise(derive(1, np.arange(ROWS)))).sampled
    weights = {p.untyped_storage().data_ptr() for p in policy.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage()
        if place.data_ptr() not in weights:
            kept[place.data_ptr()] = place.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        found = policy.evaluate(seen, sampled, Sampling())  # alive, so that no place is used twice
    assert found.logprobs.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({}, 1),
        ({"joint_logprob": True}, 4),
        ({"is_lora": True, "lora_parts": "both", "lora_rank": 1}, 1),
    ],
    ids=["one step", "all steps", "adapters in the backbone"],
)
def test_what_is_kept_for_the_backward_pass_is_what_the_plan_counts(
    settings: dict[str, Any], passes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(SIZES, "small", SMALL)
    policy = build(tmp_path / "model", "small", "fp32", "cpu", **settings).train()
    ids, _ = policy.prompts.batch([INSTRUCTION])
    sizes = sizes_of(policy.folder)
    text = ids.shape[1] - 2 * sizes.patches  # this tokenizer has a token for each letter
    expected = ROWS * footprint(sizes, 0, 2, text, passes, "is_lora" in settings, 4).kept
    assert 0.9 * expected < kept_for_backward(policy) < 1.1 * expected


def test_without_a_folder_the_sizes_are_those_of_the_published_model(tmp_path: Path):
    folder = write_folder(tmp_path / "model", "3b")
    here = Gr00tConfig(model_type="gr00t", model_path=str(folder))
    assert sizes_of(here.folder()) == PUBLISHED
    nowhere = Gr00tConfig(model_type="gr00t", model_path=str(tmp_path / "none"))
    found = nowhere.footprint()
    # Embedding and the head's weights of 32 embodiments, of which each layer has but one.
    slots = 32 * (65 * 1024 + 33 * 1536 + 4609 * 1536 + 2 * 1024 * 1536 + 1025 * 1024)
    assert found.outside == pytest.approx(151_680 * 2048 + slots, rel=0.06)
    assert found.layer == 12 * 2048**2
    assert nowhere.num_parameters() > PARAMETERS
