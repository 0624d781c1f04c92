"""A suggestion is a slip of the keyboard or the same words, never a chance likeness."""

from __future__ import annotations

import pytest

from rlinf import registry
from rlinf.config.nearest import edits, nearest, same_words
from rlinf.config.refused import ABSENT
from rlinf.config.validate import schema_keys

NAMES = sorted({key.rpartition(".")[2] for key in schema_keys()})


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [("mlp", "mlp", 0), ("mpl", "mlp", 1), ("gama", "gamma", 1), ("lr", "", 2), ("abc", "ca", 3)],
)
def test_slips_are_letters_too_many_too_few_wrong_or_swapped(one: str, other: str, count: int):
    assert edits(one, other) == edits(other, one) == count


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("max_epsiode_steps", "max_episode_steps"),
        ("gae_lamda", "gae_lambda"),
        ("clip_ratio_hihg", "clip_ratio_high"),
        ("autoreset", "auto_reset"),
        ("shaders", "shader"),
    ],
)
def test_a_slip_leads_to_the_name(slip: str, meant: str):
    assert nearest(slip, NAMES) == meant


@pytest.mark.parametrize(
    "foreign", ["render_mode", "vocab_size", "sensor_configs", "hidden_size", "policy_setup"]
)
def test_names_of_other_recipes_resemble_none_of_ours(foreign: str):
    assert nearest(foreign, NAMES) is None


def test_the_same_words_lead_to_one_key_or_to_none():
    assert same_words("num_envs", ["total_num_envs", "num_processes"]) == "total_num_envs"
    assert same_words("batch_size", ["micro_batch_size", "global_batch_size"]) is None
    assert same_words("size", ["image_size"]) is None


def test_no_name_is_said_to_be_absent_that_is_there():
    assert not set(ABSENT["simulator_type"]) & set(registry.simulators())
    assert not set(ABSENT["model_type"]) & set(registry.MODELS)
