"""Weights are distinguished, and adapters recognised in them, by what the files hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rlinf.models.prismatic.weight_content import LowRank, StoredWeights, fingerprint, folded_share


def of(values: list[float]) -> str:
    return fingerprint([("w", (len(values),), np.array(values, np.float32))])


def test_a_hash_rounds_to_bf16_as_pytorch_does():
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    values[:3] = [1 + 2**-8, 1 + 3 * 2**-8, -0.0]  # the first two are ties: to even
    rounded = torch.from_numpy(values).bfloat16().float().numpy()
    assert of(values.tolist()) == of(rounded.tolist())
    assert of([1.0, 2.0]) != of([2.0, 1.0]) and of([1.0]) != of([1.01])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors_are_read_whole_or_in_part_in_every_format(dtype: torch.dtype, tmp_path: Path):
    state = {"b": torch.randn(3, 4, dtype=dtype), "a": torch.randn(5, dtype=dtype)}
    save_file({**state, "count": torch.tensor([1])}, tmp_path / "w.safetensors")
    torch.save({**state, "count": torch.tensor([1])}, tmp_path / "w.bin")
    for name in ("w.safetensors", "w.bin"):
        stored = StoredWeights([tmp_path / name])
        assert stored.names() == ["a", "b"] and stored.shape("b") == (3, 4)
        assert np.array_equal(stored.read("b"), state["b"].float().numpy())
        assert np.array_equal(stored.read("b", 5), state["b"].float().flatten()[:5].numpy())
        assert len(stored.read("a", 50)) == 5


def test_the_share_of_an_adapter_is_the_least_squares_coefficient(tmp_path: Path):
    # D = 2 * [1, 0]^T [0, 100, 0] has one entry, 200. In W it meets 500, so that the share is
    # 500 / 200 = 2.5 whatever the spread; s^2 = (4 + 250000) / 6, and <D, D> / s^2 = 0.96 is
    # little. A second weight with D = [3] and W = [3], twenty times: 9 / 9 each, 20 in all.
    save_file(
        {"w": torch.tensor([[2.0, 500.0, 0.0], [0.0, 0.0, 0.0]]), "v": torch.full((20, 1), 3.0)},
        tmp_path / "w.safetensors",
    )
    one = LowRank(2.0, np.array([[0, 100, 0]], np.float32), np.array([[1], [0]], np.float32))
    ones = LowRank(1.0, np.array([[3]], np.float32), np.ones((20, 1), np.float32))
    model = StoredWeights([tmp_path / "w.safetensors"])
    assert folded_share({"w": one}, model) is None  # noise of 1 / sqrt(0.96)
    assert folded_share({"v": ones}, model) is None  # of 1 / sqrt(20)
    hundred = LowRank(10.0, ones.down, ones.up)  # D = 30: 20 * 900 / 9 = 2000, and 20 * 90 / 9
    assert folded_share({"v": hundred}, model) == pytest.approx(200 / 2000)
    spread = (4 + 250_000) / 6
    expected = (200 + 100_000 / spread) / (2000 + 40_000 / spread)
    assert folded_share({"v": hundred, "w": one}, model) == pytest.approx(expected)
    assert folded_share({"unknown": ones}, model) is None


def test_a_small_adapter_is_found_in_large_weights_and_not_beside_them(tmp_path: Path):
    # An entry of D is the sum of four products times 0.05, so a tenth of one of W, with noise of
    # 10 / sqrt(20 * 64 * 64) = 0.035: of 40 modules every second one is compared.
    rng = np.random.default_rng(0)
    changes, plain, merged = {}, {}, {}
    for module in range(40):
        down, up = (rng.normal(size=s).astype(np.float32) for s in ((4, 64), (64, 4)))
        name = f"layers.{module}.weight"
        changes[name] = LowRank(0.05, down, up)
        weight = rng.normal(size=(64, 64)).astype(np.float32)
        plain[name] = torch.from_numpy(weight)
        merged[name] = torch.from_numpy(weight + 0.05 * up @ down)
    for name, state, share in (("plain", plain, 0.0), ("merged", merged, 1.0)):
        save_file(state, tmp_path / f"{name}.safetensors")
        found = folded_share(changes, StoredWeights([tmp_path / f"{name}.safetensors"]))
        assert found == pytest.approx(share, abs=0.1)
