"""Which inputs and which statistics a model gets, by its names and files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from rlinf.config.compose import CONFIG_DIR
from rlinf.config.load import load
from rlinf.errors import UserError
from rlinf.models.loading import build_policy
from rlinf.models.openvla.config import OpenVlaConfig
from rlinf.models.openvla_oft.config import OpenVlaOftConfig
from rlinf.models.prismatic.adapter_folder import AdapterFolder
from rlinf.models.prismatic.model_folder import ARCHITECTURE_7B, ModelFolder
from rlinf.models.prismatic.recipes import NOTED, RECIPE, Recipe, resolve
from tests.tiny_openvla import UNNORM_KEY, write_folder
from tests.unit.config.conftest import LAPTOP

NOTES = {"end_token": True, "image_path": "pillow", "center_crop": True}


def folder(name: str, *data_sets: str, tuned: tuple[str, ...] = (), **settings: Any) -> ModelFolder:
    statistics = {data_set: {"action": {"q01": [0.0]}} for data_set in data_sets}
    return ModelFolder(Path("/models", name), ARCHITECTURE_7B, statistics, settings, tuned)


def adapter(name: str, **record: Any) -> AdapterFolder:
    return AdapterFolder(Path("/adapters", name), {}, record)


def values(recipe: Recipe) -> tuple[bool, str, bool]:
    return recipe.end_token, recipe.image_path, recipe.center_crop


@pytest.mark.parametrize(
    ("name", "data_set", "parallel", "expected", "origin"),
    [
        # OpenVLA itself, and what is fine-tuned from it on LIBERO: JPEG, Lanczos and crop.
        ("openvla-7b", "bridge_orig", False, (False, "pillow", False), "official (default)"),
        *(
            (f"openvla-7b-finetuned-libero-{suite}", key, False, (False, "jpeg", True), "LIBERO")
            for suite, key in (("spatial", "libero_spatial"), ("10", "libero_10"))
        ),
        ("openvla-7b-finetuned-libero-goal", "custom", False, (False, "jpeg", True), "LIBERO"),
        ("my-model", "libero_90_no_noops", False, (False, "jpeg", True), "LIBERO"),
        ("openvla-7b-oft", "libero_10_no_noops", True, (True, "jpeg", True), "LIBERO"),
        ("openvla-7b-oft", "my_kitchen", True, (True, "pillow", False), "official (default)"),
        # The incumbent's path resizes to 224 at once, also on LIBERO, and never crops.
        ("openvla-7b-rlvla-warmup", "bridge_orig", False, (False, "tensor", False), "rlinf"),
        *(
            (name, f"libero_{n}_no_noops_trajall", True, (False, "tensor", False), f"name {name}")
            for n in (90, 130)
            for name in (f"RLinf-OpenVLAOFT-LIBERO-{n}-Base-Lora",)
        ),
    ],
)
def test_the_recipe_follows_the_names(name, data_set, parallel, expected, origin):
    found = resolve(folder(name), None, None, parallel, data_set)
    assert values(found) == expected
    assert origin in found.origin


@pytest.mark.parametrize(
    ("family", "data_set", "expected"),
    [
        ("rlinf", "libero_10", (False, "tensor", False)),
        ("official", "libero_10", (True, "jpeg", True)),
        ("official", "bridge_orig", (True, "pillow", False)),
    ],
)
def test_a_recipe_asked_for_decides_all_three_whatever_the_folder_says(family, data_set, expected):
    noted = folder("RLinf-model", **{NOTED: NOTES})
    found = resolve(noted, adapter("RLinf-lora", **{RECIPE: NOTES}), family, True, data_set)
    assert values(found) == expected
    assert "actor.model.recipe" in found.origin


def test_what_an_adapter_says_comes_before_what_its_model_says():
    base = folder("Openvla-oft-SFT-libero10-trajall")
    assert values(resolve(base, None, None, True, "bridge_orig")) == (True, "jpeg", True)
    lora = adapter("RLinf-OpenVLAOFT-ManiSkill-Base-Lora")
    found = resolve(base, lora, None, True, "bridge_orig")
    assert values(found) == (False, "tensor", False) and lora.path.name in found.origin
    # Trained on other data than its model.
    assert resolve(base, adapter("mine"), None, True, "bridge_orig").image_path == "pillow"
    noted = folder("x", **{NOTED: {"image_path": "tensor"}})
    found = resolve(noted, adapter("mine", **{RECIPE: NOTES}), None, True, "bridge_orig")
    assert values(found) == (True, "pillow", True)


def test_the_name_a_model_was_made_from_counts_without_the_folders_above_it():
    of = {"_name_or_path": "gen-robot/openvla-7b-rlvla-warmup"}
    assert resolve(folder("model", **of), None, None, False, "x").image_path == "tensor"
    of = {"_name_or_path": "/home/me/RLinf/checkpoints/openvla-7b"}
    assert resolve(folder("model", **of), None, None, False, "x").image_path == "pillow"


def model_of(path: Path, **settings: Any) -> OpenVlaOftConfig:
    given = {"unnorm_key": UNNORM_KEY, **settings}
    return OpenVlaOftConfig(model_type="openvla_oft", model_path=str(path), **given)


@pytest.fixture(scope="module")
def rlinf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("models") / "RLinf-Tiny")


def test_single_keys_override_and_the_plan_says_which(rlinf: Path):
    assert values(model_of(rlinf).resolved_recipe()) == (False, "tensor", False)
    assert list(model_of(rlinf).warnings()) == []
    changed = model_of(rlinf, center_crop=True, image_path="tensor")
    assert values(changed.resolved_recipe()) == (False, "tensor", True)
    (note,) = changed.notes()
    assert "recipe rlinf (the name RLinf-Tiny): no </s> at the end, " in note
    assert "image path tensor (set by actor.model.image_path), " in note
    assert "centre crop of 90 % of the area (set by actor.model.center_crop); " in note
    (warning,) = changed.warnings()
    assert warning.startswith("actor.model.center_crop = true: the recipe rlinf")


def test_openvla_has_a_recipe_too(rlinf: Path):
    config = OpenVlaConfig(
        model_type="openvla", model_path=str(rlinf), unnorm_key=UNNORM_KEY, recipe="official"
    )
    assert values(config.resolved_recipe()) == (False, "pillow", False)


def test_a_renamed_folder_is_another_policy_where_the_name_decides_on_the_recipe(
    rlinf: Path, tmp_path: Path
):
    plain = shutil.copytree(rlinf, tmp_path / "plain")
    assert model_of(rlinf).identity() != model_of(plain).identity()
    for settings in ({"recipe": "rlinf"}, {"image_path": "tensor", "recipe": "rlinf"}):
        assert model_of(plain, **settings).identity() == model_of(rlinf).identity()
    assert model_of(plain, unnorm_key="x").identity() == model_of(plain).identity()


@pytest.mark.parametrize(
    ("asked", "there", "found", "why"),
    [
        ("a", ["a", "a_no_noops"], "a", ""),
        ("libero_10", ["bridge_orig", "libero_10_no_noops"], "libero_10_no_noops", "without idle"),
        *(
            (asked, ["bridge_orig", full], full, "differ in a suffix")
            for full in ("libero_90_no_noops_trajall", "libero_130_no_noops_trajall")
            for asked in (full.removesuffix("_trajall"), full.removesuffix("_no_noops_trajall"))
        ),
        ("libero_90_no_noops_trajall", ["b", "libero_90"], "libero_90", "differ in a suffix"),
        ("bridge_orig", ["my_kitchen"], "my_kitchen", "its only one"),
    ],
)
def test_a_data_set_is_found_by_its_name_without_suffixes(asked, there, found, why):
    name, reason = folder("model", *there).data_set(asked)
    assert name == found
    assert why in reason and bool(why) == bool(reason)


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("libero_9", ["libero_90_no_noops", "bridge_orig"]),
        ("libero_90", ["libero_90_trajall", "libero_90_no_noops_trajall"]),  # which of them?
        ("x", []),
    ],
)
def test_a_data_set_that_could_be_none_or_several_is_refused_with_those_there_are(asked, there):
    with pytest.raises(UserError) as caught:
        folder("model", *there, tuned=tuple(there[:1])).data_set(asked)
    assert f"there are {', '.join(sorted(there)) or 'none'}" in caught.value.message
    assert (there[0] if there else "dataset_statistics.json") in (caught.value.fix or "")


def test_the_plan_says_which_statistics_were_taken_and_why(tmp_path: Path):
    model = write_folder(tmp_path / "model")
    (note,) = model_of(model, unnorm_key="bridge_orig").notes()
    assert f"actions of {UNNORM_KEY} (for bridge_orig, which the folder lacks: its only" in note
    (model / "dataset_statistics.json").write_text('{"my_kitchen": {}}')
    (note,) = model_of(model).notes()
    assert note.endswith(f"actions of {UNNORM_KEY}, while the folder's own data set is my_kitchen")


@pytest.mark.parametrize(
    "name",
    sorted({*CONFIG_DIR.glob("*openvlaoft.yaml")} - {*CONFIG_DIR.glob("behavior_*")}),
    ids=lambda p: p.stem,
)
def test_shipped_configurations_fit_the_models_they_name(name: Path, tmp_path: Path):
    """With names and statistics as published, at the places that the configuration names."""
    model = load(name.stem, [f"runner.logger.log_path={tmp_path}/run"], LAPTOP).config.actor.model
    assert isinstance(model, OpenVlaOftConfig)
    suite = re.search(r"LIBERO-(\d+)-Base-Lora", model.model_path)
    data_set = f"libero_{suite[1]}_no_noops_trajall" if suite else "bridge_orig"
    assert model.unnorm_key == data_set
    folder = write_folder(tmp_path / Path(model.model_path).name)
    settings = folder / "config.json"
    settings.write_text(settings.read_text().replace(UNNORM_KEY, data_set))
    own = "libero_10_no_noops" if data_set == "bridge_orig" else data_set
    statistics = json.loads(settings.read_text())["norm_stats"][data_set]
    (folder / "dataset_statistics.json").write_text(json.dumps({own: statistics}))
    here = {"model_path": str(folder)}
    if model.lora_path is not None:
        base = model.model_copy(update={**here, "lora_path": None, "lora_rank": 2})
        policy = build_policy(base, seed=0)
        policy.save(tmp_path / "saved")
        adapter = (tmp_path / "saved").rename(tmp_path / Path(model.lora_path).name)
        (adapter / "rlinf_adapter.json").unlink()
        told = json.loads((adapter / "adapter_config.json").read_text())
        told["base_model_name_or_path"] = "/train/Openvla-oft-SFT-libero10-trajall"
        (adapter / "adapter_config.json").write_text(json.dumps(told))
        here["lora_path"] = str(adapter)
    model = model.model_copy(update=here)
    assert [list(model.problems()), list(model.warnings())] == [[], []]
    assert values(model.resolved_recipe()) == (False, "tensor", False)
    assert model.notes()[0].endswith(f"; actions of {data_set}")
