"""Two samples, C = 2 actions, A = 3 dimensions, of which the last is not live."""

from __future__ import annotations

import pytest
import torch

from rlinf.algorithms.levels import aggregate, entries, entry_weights

TOKENS = torch.tensor([[[1.0, 2, 100], [4, 8, 100]], [[16, 32, 100], [64, 128, 100]]])
LIVE = torch.tensor([True, True, False])
MASK = torch.tensor([[True, True], [True, False]])  # sample 1 ends with its first action
WEIGHTS = torch.tensor([[2.0, 2.0], [3.0, 0.0]])
CHUNK_WEIGHTS = torch.tensor([[2.0], [5.0]])


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("token", [[[1, 2, 0], [4, 8, 0]], [[16, 32, 0], [0, 0, 0]]]),
        ("action", [[[3], [12]], [[48], [0]]]),
        ("chunk", [[[15]], [[48]]]),
    ],
)
def test_only_live_tokens_of_executed_actions_are_summed(level, expected):
    assert aggregate(TOKENS, MASK, LIVE, level).tolist() == expected


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("token", [[[2, 2, 0], [2, 2, 0]], [[3, 3, 0], [0, 0, 0]]]),
        ("action", [[[2], [2]], [[3], [0]]]),
        ("chunk", [[[2]], [[5]]]),
    ],
)
def test_every_entry_that_counts_has_its_episodes_weight(level, expected):
    of_entries = CHUNK_WEIGHTS if level == "chunk" else WEIGHTS
    weights = entry_weights(of_entries, MASK, LIVE, level)
    assert weights.tolist() == expected
    assert torch.equal(entries(MASK, LIVE, level), weights > 0)


def test_a_sample_in_which_nothing_counts_has_no_entry_at_any_level():
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    for level in ("token", "action", "chunk"):
        assert not entries(nothing, LIVE, level).any()
        assert not aggregate(TOKENS[:1], nothing, LIVE, level).any()


def test_garbage_in_what_does_not_count_reaches_neither_result_nor_gradient():
    tokens = TOKENS.clone()
    tokens[..., 2] = float("nan")
    tokens[1, 1] = float("-inf")
    tokens.requires_grad_(True)
    total = aggregate(tokens, MASK, LIVE, "chunk").sum()
    total.backward()
    assert total.item() == 63  # 1 + 2 + 4 + 8 + 16 + 32
    assert tokens.grad is not None
    assert torch.equal(tokens.grad, entries(MASK, LIVE, "token").float())
