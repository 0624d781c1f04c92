"""A recipe for one GPU is for some models; with another one the message names the right recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rlinf.config import recipes
from rlinf.config.load import load
from rlinf.config.machine import Machine
from rlinf.config.placement import Node
from rlinf.errors import UserError
from rlinf.registry import models

MACHINE = Machine(Node(accelerators=1, cpu_slots=16), 128_000_000_000, 80_000_000_000)


def refused(name: str, *overrides: str) -> UserError:
    with pytest.raises(UserError) as found:
        load(name, overrides, MACHINE)
    return found.value


@pytest.mark.parametrize("size", [24, 48, 80])
def test_the_recipe_of_another_model_is_refused_with_the_one_for_the_same_gpu(size: int):
    wrong = refused("maniskill_ppo_gr00t", f"+hardware=one_{size}gb")
    assert str(wrong).startswith(
        f"hardware = one_{size}gb: a recipe for openvla and openvla_oft; "
        "actor.model.model_type is gr00t"
    )
    assert wrong.fix == f"take +hardware=one_{size}gb_gr00t"
    other = refused("libero_10_grpo_openvlaoft", f"+hardware=one_{size}gb_gr00t")
    assert other.fix == f"take +hardware=one_{size}gb"


def test_a_model_that_needs_no_recipe_is_told_so():
    assert refused("toy_ppo_mlp", "+hardware=one_24gb").fix == (
        "leave +hardware=one_24gb out: mlp needs no recipe"
    )


def test_every_recipe_names_itself_and_models_that_exist():
    found = recipes.recipes()
    assert len(found) == 6
    for path in found:
        section = yaml.safe_load(path.read_text())["hardware"]
        assert section["recipe"] == path.stem
        assert section["models"] and set(section["models"]) <= set(models())


def test_a_recipe_of_ones_own_lies_beside_the_configuration(tmp_path: Path):
    (tmp_path / "own.yaml").write_text("defaults: [maniskill_ppo_gr00t, _self_]\n")
    (tmp_path / "hardware").mkdir()
    recipe = tmp_path / "hardware" / "mine.yaml"
    head = "# @package _global_\n"
    recipe.write_text(f"{head}hardware: {{recipe: mine, models: [openvla]}}\n")
    wrong = refused(str(tmp_path / "own.yaml"), "+hardware=mine")
    assert str(wrong).startswith("hardware = mine: a recipe for openvla;")
    assert wrong.fix == (
        "take +hardware=one_24gb_gr00t or +hardware=one_48gb_gr00t or +hardware=one_80gb_gr00t"
    )
    recipe.write_text(f"{head}hardware: mine\n")
    wrong = refused(str(tmp_path / "own.yaml"), "+hardware=mine")
    assert "must be a section with the keys recipe and models" in str(wrong)
