"""Prompt, pictures, state and scales, compared with what the original programs recorded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlinf.models.gr00t.embodiments import BUILT_IN
from rlinf.models.gr00t.inputs import ROWS, Gr00tPrompts, Scale, pixels
from tests.golden import largest_difference
from tests.unit.models.gr00t.golden import Gr00tSet, sets

pytestmark = pytest.mark.parametrize("golden", sets())
CPU = torch.device("cpu")


@pytest.mark.parametrize("case", ["single", "batch3"])
def test_prompts_are_the_originals(golden: Gr00tSet, case: str):
    recorded = golden.inputs(case)
    texts = golden.json("texts")["tasks"][: len(recorded["eagle_input_ids"])]
    views = len(recorded["eagle_pixel_values"]) // len(texts)
    ids, real = Gr00tPrompts(golden.folder, views).batch(texts)
    assert np.array_equal(ids, recorded["eagle_input_ids"])
    assert np.array_equal(real, recorded["eagle_attention_mask"])
    image = golden.folder.image_token
    assert golden.json("texts")["special_ids"]["<IMG_CONTEXT>"] == image
    for row, wanted in zip(
        ids.tolist(), golden.json("texts")["token_ids_without_images"], strict=False
    ):
        kept = [token for token in row if token != image]
        assert kept[-len(wanted) :] == wanted


def test_pictures_are_the_originals_to_the_last_level(golden: Gr00tSet):
    recorded, seen = golden.inputs("batch3"), golden.arrays("observations")
    images = np.stack([seen["main_image"], seen["wrist_image"]], axis=1)
    found = pixels(images, golden.folder.image_size, CPU, torch.float32)
    assert largest_difference(found, recorded["eagle_pixel_values"]) < 1e-6


def test_the_state_is_scaled_as_in_the_original(golden: Gr00tSet):
    recorded, seen = golden.inputs("batch3"), golden.arrays("observations")
    one = BUILT_IN["libero_franka"]
    statistics = golden.folder.statistics(one.tag)["state"]
    assert any(s["min"] == s["max"] for s in statistics.values())  # the set has such a key
    scale = Scale(statistics, list(one.state), one.normaliser)
    found = scale(torch.from_numpy(seen["states"]))
    assert largest_difference(found, recorded["state"][:, 0, : found.shape[1]]) < 1e-6


@pytest.mark.parametrize("kind", ["min_max", "mean_std", "q99", "binary"])
def test_scales_are_the_originals_both_ways(golden: Gr00tSet, kind: str):
    recorded = golden.arrays("normalizers")
    scale = Scale({"k": {row: recorded[f"stat_{row}"].tolist() for row in ROWS}}, ["k"], kind)
    x = torch.from_numpy(recorded["x"])
    assert largest_difference(scale(x), recorded[f"{kind}_forward"]) < 1e-6
    assert largest_difference(scale.inverse(x), recorded[f"{kind}_inverse_of_x"]) < 1e-6
