"""The network, compared with what the original programs recorded: features, velocities, loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rlinf.models.flow import steps
from rlinf.models.flow.density import interpolate, training_time
from rlinf.models.gr00t.head import Looked
from tests.golden import largest_difference
from tests.unit.models.gr00t.golden import Gr00tSet, network_of, sets

pytestmark = pytest.mark.parametrize("golden", sets())
CASES = ["single", "batch3", "batch3_rightpad", "batch3_embodiments"]
FEATURES, ACTIONS = 5e-5, 1e-5


def look(golden: Gr00tSet, case: str, slots: Any) -> tuple[torch.Tensor, Looked]:
    """Backbone features, and what the head looks at."""
    network = network_of(golden)
    given = {name: torch.from_numpy(array) for name, array in golden.inputs(case).items()}
    real = given["eagle_attention_mask"].bool()
    features = network.features(
        given["eagle_input_ids"], real, given["eagle_pixel_values"], "flash"
    )
    return features, network.look(features, real, given["state"], slots, "flash")


def slots_of(golden: Gr00tSet, case: str) -> Any:
    if case.endswith("embodiments"):
        return torch.tensor([31, 24, 17])
    return int(golden.inputs(case)["embodiment_id"][0])


@pytest.mark.parametrize("case", CASES)
def test_features_velocities_and_actions_are_the_originals(golden: Gr00tSet, case: str):
    recorded, head = golden.arrays(f"sample_{case}"), network_of(golden).action_head
    count = golden.folder.training.steps
    with torch.inference_mode():
        features, looked = look(golden, case, slots_of(golden, case))
        assert largest_difference(features, recorded["backbone_features"]) < FEATURES
        assert largest_difference(looked.features, recorded["vl_embeddings"]) < FEATURES
        assert largest_difference(looked.state, recorded["state_features"]) < ACTIONS
        x = torch.from_numpy(recorded["noise"])
        for step in range(count):
            time = torch.full((len(x),), step * golden.folder.training.buckets // count)
            assert np.array_equal(time, recorded["t_discrete"][:, step])
            velocity, _ = head(looked, torch.from_numpy(recorded["x_t"][:, step]), time)
            assert largest_difference(velocity, recorded["velocity"][:, step]) < ACTIONS
            x = steps.euler(x, head(looked, x, time)[0], count)
    assert largest_difference(x, recorded["action_pred"]) < ACTIONS


@pytest.mark.parametrize("case", ["single", "batch3"])
def test_the_parts_in_between_are_the_originals(golden: Gr00tSet, case: str):
    recorded, network = golden.arrays(f"sample_{case}"), network_of(golden)
    given = golden.inputs(case)
    with torch.inference_mode():
        seen = network.backbone.see(torch.from_numpy(given["eagle_pixel_values"]))
        assert largest_difference(seen, recorded["vision_last_hidden"]) < FEATURES
        projected = network.backbone.eagle_model["mlp1"](seen)
        assert largest_difference(projected, recorded["vision_projected"]) < FEATURES
        features, looked = look(golden, case, slots_of(golden, case))
        normed = network.action_head.vlln(features)
        assert largest_difference(normed, recorded["after_vlln"]) < FEATURES
        for step, time in enumerate(recorded["t_discrete"][0].tolist()):
            x = torch.from_numpy(recorded["x_t"][:, step])
            times = torch.full((len(x),), time)
            encoded = network.action_head.action_encoder(x, times, slots_of(golden, case))
            assert largest_difference(encoded, recorded["action_features"][:, step]) < FEATURES
            _, hidden = network.action_head(looked, x, times)
            wanted = recorded["dit_output"][:, step, -x.shape[1] :]
            assert largest_difference(hidden, wanted) < FEATURES


def test_the_loss_of_flow_matching_is_the_originals(golden: Gr00tSet):
    recorded, network = golden.arrays("train_loss"), network_of(golden)
    given = {name: torch.from_numpy(array) for name, array in recorded.items()}
    _, looked = look(golden, "batch3", slots_of(golden, "batch3"))
    x = interpolate(given["action"], given["noise"], given["time"])
    assert largest_difference(x, recorded["noisy_trajectory"]) < 1e-6
    time = (given["time"] * golden.folder.training.buckets).long()
    assert np.array_equal(time, recorded["t_discrete"])
    velocity, _ = network.action_head(looked, x, time)
    assert largest_difference(velocity, recorded["pred_velocity"]) < ACTIONS
    error = (velocity - (given["action"] - given["noise"])) ** 2 * given["action_mask"]
    loss = error.sum() / given["action_mask"].sum()
    assert loss.item() == pytest.approx(float(recorded["loss"]), rel=1e-5)
    gradients = dict(zip(*_gradients(network.action_head, loss), strict=True))
    wanted = golden.json("train_grad_norms")
    assert wanted.keys() == {f"action_head.{name}" for name in gradients}
    for name, gradient in gradients.items():
        norm = wanted[f"action_head.{name}"]
        assert gradient.norm().item() == pytest.approx(norm, rel=1e-4, abs=1e-7), name
    whole = {name for name in recorded if name.startswith("grad/action_head.")}
    assert whole
    for name in whole:
        found = gradients[name.removeprefix("grad/action_head.")]
        assert largest_difference(found, recorded[name]) < 1e-4 * np.abs(recorded[name]).max(), name


def test_features_and_actions_are_as_near_to_exact_numbers_as_the_originals(golden: Gr00tSet):
    exact, head = golden.arrays("sample_single_float64"), network_of(golden).action_head
    count, buckets = golden.folder.training.steps, golden.folder.training.buckets
    with torch.inference_mode():
        features, looked = look(golden, "single", slots_of(golden, "single"))
        assert largest_difference(features, exact["backbone_features"]) < FEATURES
        assert largest_difference(looked.features, exact["vl_embeddings"]) < FEATURES
        x = torch.from_numpy(exact["noise"]).float()
        for step in range(count):
            velocity, _ = head(looked, x, torch.full((len(x),), step * buckets // count))
            assert largest_difference(velocity, exact["velocity"][:, step]) < ACTIONS
            x = steps.euler(x, velocity, count)
    assert largest_difference(x, exact["action_pred"]) < ACTIONS


def test_times_of_training_are_distributed_as_the_originals(golden: Gr00tSet):
    recorded = np.sort(golden.arrays("train_time_samples")["t"])[::-1]
    learned, count = golden.folder.training, len(recorded)
    uniform = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    ours = training_time(uniform, learned.alpha, learned.beta, learned.scale).numpy()
    # `ours` falls as `uniform` rises. Share of the recorded times above each of ours, against it:
    # Kolmogorov's distance, which 1.63 / root(n) exceeds once in a hundred sets.
    above = np.searchsorted(-recorded, -ours) / count
    assert np.abs(above - uniform.numpy()).max() < 1.63 / np.sqrt(count)
    assert recorded[0] <= ours[0] and recorded[-1] >= ours[-1] - 1e-6


def _gradients(module: torch.nn.Module, loss: torch.Tensor) -> tuple[list[str], Any]:
    names = [name for name, _ in module.named_parameters()]
    return names, torch.autograd.grad(loss, list(module.parameters()))
