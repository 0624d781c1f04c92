from __future__ import annotations

import numpy as np
import pytest
import torch

from rlinf.config.models import TinyVlaConfig
from rlinf.models.tiny_vla.policy import TinyVlaPolicy


@pytest.fixture
def policy() -> TinyVlaPolicy:
    config = TinyVlaConfig(
        model_type="tiny_vla", image_size=32, action_dim=3, num_action_chunks=2, width=32, depth=1
    )
    policy = TinyVlaPolicy(config)
    policy.set_action_statistics(
        np.array([-1, 0, 0.5], np.float32), np.array([1, 4, 0.5], np.float32)
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
