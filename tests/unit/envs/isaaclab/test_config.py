"""`init_params` of IsaacLab and mjlab."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from pydantic import ValidationError

from rlinf import registry
from rlinf.envs.isaaclab import catalog
from rlinf.envs.isaaclab.config import IsaacLabParams, MjlabParams

LONG = "Isaac-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos-v0"
CONTRIB = "IsaacContrib-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos"


@pytest.mark.parametrize("name", ["stack_cube", LONG, CONTRIB])
def test_a_task_has_one_description_under_all_its_names(name: str):
    params = IsaacLabParams(id=name)
    assert params.task_id() == "stack_cube"
    assert params.spaces()[:5] == ("images", 8, (256, 256), 7, 2)
    assert params.views() == ("main", "wrist")
    assert (params.episode_steps(), params.steps_per_second()) == ((600,), 20)
    assert params.processes(16, True) == 1  # one batch, however many cores there are


def test_the_stacking_task_declares_what_its_actions_mean():
    taken = IsaacLabParams(id=LONG).takes()
    assert taken.names == ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    assert (taken.of("x").size, taken.of("yaw").size, taken.rotation) == (0.5, 0.5, "axis-angle")
    gripper = taken.of("gripper").gripper
    assert gripper is not None and (gripper.open, gripper.closed) == (1, -1)


def test_without_cameras_the_policy_sees_the_state_alone():
    assert IsaacLabParams(id="reach", cameras=()).spaces()[:5] == ("state", 10, None, 3, None)


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        (IsaacLabParams, {"id": LONG.removesuffix("0") + "1"}, f"set env.*.init_params.id={LONG}"),
        (IsaacLabParams, {"id": "cartpole"}, "there is no task cartpole"),
        (MjlabParams, {"id": "stack_cube"}, "there is no task stack_cube"),
        (IsaacLabParams, {"id": LONG, "cameras": ("front",)}, "no view front, only main, wrist"),
        (IsaacLabParams, {"id": LONG, "cameras": ("main", "main")}, "names a view twice"),
        (MjlabParams, {"id": "cartpole", "reward": "subtasks"}, "cartpole has none"),
        (MjlabParams, {"id": "cartpole", "physics": "newton"}, "Extra inputs"),
    ],
)
def test_what_a_task_does_not_have_is_named(kind, settings, said):
    with pytest.raises(ValidationError) as caught:
        kind(**settings)
    assert said in str(caught.value)


def test_a_missing_arm_is_reported_with_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("ISAACLAB_ASSET_DIR", str(tmp_path))
    missing = IsaacLabParams(id="reach").missing_assets()
    assert missing is not None
    assert f"{tmp_path}/panda.usda" in missing[0]
    assert "install.sh --env isaaclab" in missing[1]
    (tmp_path / "panda.usda").touch()
    assert IsaacLabParams(id="reach").missing_assets() is None
    assert IsaacLabParams(id="reach", robot="/no/arm.usd").missing_assets() is not None
    assert (
        IsaacLabParams(id="reach", robot="/no/arm.usd", physics="isaacsim").missing_assets() is None
    )


def test_a_package_outside_brings_its_task(monkeypatch):
    path = "rlinf.envs.isaaclab.tasks.reach:TASK"  # stands for a module of that package
    entry = EntryPoint("my_reach", path, catalog.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    catalog.tasks.cache_clear()
    try:
        assert IsaacLabParams(id="my_reach").spaces().action_dim == 3
    finally:
        catalog.tasks.cache_clear()
