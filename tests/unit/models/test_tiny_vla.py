from __future__ import annotations

import numpy as np
import pytest
import torch

from rlinf.data.random import Noise
from rlinf.data.statistics import ActionStatistics
from rlinf.data.types import Observation
from rlinf.models.tiny_vla.config import TinyVlaConfig
from rlinf.models.tiny_vla.policy import TinyVlaPolicy


@pytest.fixture
def policy() -> TinyVlaPolicy:
    config = TinyVlaConfig(
        model_type="tiny_vla", image_size=32, action_dim=3, num_action_chunks=2, width=32, depth=1
    )
    policy = TinyVlaPolicy(config)
    low, high = np.array([-1, 0, 0.5], np.float32), np.array([1, 4, 0.5], np.float32)
    middle = (low + high) / 2
    policy.set_action_statistics(
        ActionStatistics(low, high, low, high, middle, high - middle, actions=2, episodes=1)
    )
    return policy


def test_a_token_stands_for_the_centre_of_its_bin(policy: TinyVlaPolicy):
    decoded = policy.decode(torch.tensor([[0, 0, 0], [255, 128, 255]]))
    # 256 bins over 2 units: width 1/128, centre 1/256 inside. Over 4 units: width 1/64.
    assert decoded[0].tolist() == pytest.approx([-1 + 1 / 256, 1 / 128, 0.5])
    assert decoded[1].tolist() == pytest.approx([1 - 1 / 256, 2 + 1 / 128, 0.5])


def test_encoding_inverts_decoding(policy: TinyVlaPolicy):
    tokens = torch.arange(256)[:, None].repeat(1, 3)
    again = policy.encode(policy.decode(tokens).numpy())
    assert np.array_equal(again[:, :2], tokens[:, :2])


def test_actions_outside_the_statistics_get_the_outermost_bin(policy: TinyVlaPolicy):
    assert policy.encode(np.array([[-9.0, 9.0, 0.5]]))[0, :2].tolist() == [0, 255]


def test_a_dimension_without_range_is_not_live(policy: TinyVlaPolicy):
    assert policy.live.tolist() == [True, True, False]


def test_a_policy_that_knows_nothing_pays_the_entropy_of_256_bins(policy: TinyVlaPolicy):
    torch.nn.init.zeros_(policy.network.action_head.weight)
    torch.nn.init.zeros_(policy.network.action_head.bias)
    seen = Observation(np.zeros((3, 1, 32, 32, 3), np.uint8), np.zeros((3, 0)), ("push",) * 3)
    # Equal logits: the first bin counts as the most likely one, whose centre is -1 + 1/256.
    actions = np.full((3, 2, 3), 1.0, np.float32)
    learned = policy.imitate(seen, actions, np.ones(3, np.float32), Noise(np.arange(3)))
    assert learned.losses["token_loss"].shape == (3, 2 * 2)  # the constant dimension is not learned
    assert learned.losses["token_loss"].detach().numpy() == pytest.approx(np.log(256))
    assert learned.metrics["token_accuracy"].shape == (3, 2 * 2)
    assert not learned.metrics["token_accuracy"].any()
    assert learned.metrics["action_error"].shape == (3, 2, 2)
    assert learned.metrics["action_error"][..., 0].numpy() == pytest.approx(2 - 1 / 256)
