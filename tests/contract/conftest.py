"""The simulators that the conformance tests run on, built once for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import psutil
import pytest

from rlinf.config.libero import LiberoParams
from rlinf.config.simulators import Camera, ManiskillParams
from rlinf.data.types import Start
from rlinf.envs.base import Simulator
from rlinf.envs.toy.reach import ToyReach
from tests.assets import GOLDEN

NUM_ENVS = 3

PICK_STATE = ManiskillParams(
    id="PickCube-v1", obs_mode="state", reward_mode="normalized_dense", light_visuals=True
)
PUSH_IMAGE = ManiskillParams(
    id="PushCube-v1",
    obs_mode="rgb",
    light_visuals=True,
    camera=Camera(eye=(0.4, 0.2, 0.42), target=(0.03, 0.0, 0.02), fov=0.72, width=64, height=48),
)

LIBERO = LiberoParams(
    task_suite_name="libero_spatial",
    task_ids=(0,),
    cameras=("agentview", "robot0_eye_in_hand"),
    camera_size=32,
    settle_steps=1,
    gripper="native",
    fast_rendering=True,
)


@dataclass(frozen=True)
class Case:
    """A simulator of three envs, and what is known about it."""

    simulator: Simulator
    image_shape: tuple[int, ...]  # [V, H, W, 3]
    state_size: int
    # The actions [n, A] that solve the task from start `a`; None where we have no expert.
    solve: Callable[[Simulator, Start], np.ndarray] | None
    trials: tuple[int, int, int] = (-1, -1, -1)  # of the three starts

    @property
    def a(self) -> Start:
        return Start(0, self.trials[0], 1)

    @property
    def b(self) -> Start:
        return Start(0, self.trials[1], 2)

    @property
    def c(self) -> Start:
        return Start(0, self.trials[2], 52)


def _toy(image_size: int) -> Case:
    shape = (1, image_size, image_size, 3) if image_size else (0, 0, 0, 3)
    return Case(ToyReach(NUM_ENVS, image_size=image_size), shape, 42, _solve_toy)


def _solve_toy(simulator: Simulator, start: Start) -> np.ndarray:
    """Straight to the goal: the first eight entries of the state are goal - point."""
    only = np.zeros(1, np.int64)
    simulator.reset(only, [start])
    away = simulator.observe(only).state[0, :8]
    return np.tile(away / np.abs(away).max(), (20, 1)).astype(np.float32)


def _pick_state() -> Case:
    maniskill = pytest.importorskip("rlinf.envs.maniskill.env")
    return Case(maniskill.ManiSkillCpu(NUM_ENVS, PICK_STATE), (0, 0, 0, 3), 42, None)


def _push_image() -> Case:
    maniskill = pytest.importorskip("rlinf.envs.maniskill.env")
    simulator = maniskill.ManiSkillCpu(NUM_ENVS, PUSH_IMAGE)
    return Case(simulator, (1, 48, 64, 3), 9, _solve_push)


def _solve_push(simulator: Simulator, start: Start) -> np.ndarray:
    """What the scripted expert does until its push is long enough."""
    from rlinf.envs.maniskill.demonstrators import PushDemonstrator
    from rlinf.envs.maniskill.env import ManiSkillCpu
    from rlinf.envs.maniskill.experts import PushFlaw

    assert isinstance(simulator, ManiSkillCpu)
    simulator.reset(np.zeros(1, np.int64), [start])
    sound = PushFlaw(sound_share=1.0, reach_low=0.0, reach_high=0.0)
    expert = PushDemonstrator(simulator, sound, np.random.default_rng(0))
    actions = np.zeros((24, simulator.action_dim), np.float32)
    for step in range(len(actions)):
        actions[step] = expert.act()
        moved = np.repeat(actions[step][None], NUM_ENVS, axis=0)
        simulator.step(moved, np.arange(NUM_ENVS) == 0)
    return actions


def _libero() -> Case:
    pytest.importorskip("robosuite", reason="needs LIBERO")
    if "LIBERO_ASSETS" not in os.environ:
        pytest.skip("needs LIBERO's assets")
    from rlinf.envs.libero.env import LiberoEnv

    return Case(LiberoEnv(NUM_ENVS, LIBERO), (2, 32, 32, 3), 8, _solve_libero)


def _solve_libero(simulator: Simulator, start: Start) -> np.ndarray:
    """What the scripted expert does until the bowl stands on the plate."""
    from rlinf.envs.libero.env import LiberoEnv
    from rlinf.envs.libero.experts import PickPlaceExpert

    assert isinstance(simulator, LiberoEnv)
    simulator.reset(np.zeros(1, np.int64), [start])
    expert = PickPlaceExpert(simulator.scene(0))
    actions: list[np.ndarray] = []
    solved = False
    while not solved:
        assert len(actions) < 160, "the expert did not succeed"
        actions.append(expert.act())
        moved = np.repeat(actions[-1][None], NUM_ENVS, axis=0)
        solved = bool(simulator.step(moved, np.arange(NUM_ENVS) == 0).success[0])
    return np.stack([*actions, *actions[-5:]])


def _put_on_plate() -> Case:
    """The success that was recorded in the published task, and two starts more."""
    maniskill = pytest.importorskip("rlinf.envs.maniskill.env")
    params = ManiskillParams(
        id="PutOnPlateInScene25Main-v3",
        obj_set="train",
        control_mode="arm_pd_ee_target_delta_pose_align2_gripper_pd_joint_pos",
        reward_mode="staged",
        image_size=(120, 160),
    )
    missing = params.missing_assets()
    if missing is not None:
        pytest.skip(missing[0])
    recording = GOLDEN / "put_on_plate_25/rollout_success_train.npz"

    def solve(simulator: Simulator, start: Start) -> np.ndarray:
        if not recording.is_file():
            pytest.skip(f"no {recording}")
        with np.load(recording) as content:
            actions: np.ndarray = content["action"][:48]
        return actions

    simulator = maniskill.ManiSkillCpu(NUM_ENVS, params)
    return Case(simulator, (1, 120, 160, 3), 8, solve, (650_000, 123_456, 42_087))


CASES: dict[str, Callable[[], Case]] = {
    "toy": lambda: _toy(0),
    "toy_image": lambda: _toy(16),
    "maniskill_state": _pick_state,
    "maniskill_image": _push_image,
    "libero": _libero,
    "maniskill_plate": _put_on_plate,
}


@pytest.fixture(scope="session", params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """One simulator after the other; closed twice at the end, which must do no harm."""
    before = psutil.Process().children(recursive=True)
    built = CASES[request.param]()
    yield built
    built.simulator.close()
    built.simulator.close()
    assert psutil.Process().children(recursive=True) == before
