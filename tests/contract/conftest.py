"""The simulators that the conformance tests run on, built once for all of them."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlinf.config.pythons import hosting
from rlinf.data.conventions import ActionConvention
from rlinf.data.types import Start
from rlinf.envs.base import Simulator
from rlinf.envs.behavior.config import BehaviorParams
from rlinf.envs.episode import EpisodeRules
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.envs.libero.config import LiberoParams
from rlinf.envs.maniskill.config import Camera, ManiskillParams
from rlinf.envs.toy.reach import ToyReach
from rlinf.registry import imported, simulator
from tests import behavior
from tests.assets import GOLDEN
from tests.contract.remote import Remote
from tests.own_pythons import hosted

NUM_ENVS = 3
SHORT = EpisodeRules(max_episode_steps=6, final="always")

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
    fast_rendering=True,
)


@dataclass(frozen=True)
class Case:
    """A simulator of three envs, and what is known about it."""

    simulator: Simulator
    image_shape: tuple[int, ...]  # [V, H, W, 3]
    state_size: int
    # Gives, after a reset of env 0 to start `a`, the actions [A] that solve the task there.
    expert: Callable[[Simulator], Callable[[], np.ndarray]] | None
    trials: tuple[int, int, int] = (-1, -1, -1)  # of the three starts
    # Simulator and settings that a sub-process builds; None where runs do not use any.
    hosted: tuple[str, dict[str, Any]] | None = None
    takes: ActionConvention | None = None
    # Data set of a published model whose actions the expert can do with; `tests/published.py`.
    data_set: str = ""
    # What equal starts and actions may differ by where a simulator is not replayable: numbers of
    # the state, and the share of pixels.
    state_drift: float = 0.0
    pixel_drift: float = 0.0
    stride: float = 1.0  # what random actions are multiplied by

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


def _solve_toy(simulator: Simulator) -> Callable[[], np.ndarray]:
    """Straight to the goal: the first eight entries of the state are goal - point."""
    away = simulator.observe(np.zeros(1, np.int64)).state[0, :8]
    return lambda: away / np.abs(away).max()


def _pick_state() -> Case:
    maniskill = pytest.importorskip("rlinf.envs.maniskill.env")
    return Case(
        maniskill.ManiSkillCpu(NUM_ENVS, PICK_STATE),
        (0, 0, 0, 3),
        42,
        _solve_pick,
        takes=PICK_STATE.takes(),
        data_set="bridge_orig",
    )


def _solve_pick(simulator: Simulator) -> Callable[[], np.ndarray]:
    """Over the cube, down, close, and with it to the goal; the tool's steps are of 0.1 m at 1."""
    env = simulator._envs[0]
    closed = 0  # steps since the fingers began to close

    def act() -> np.ndarray:
        nonlocal closed
        tool, cube, goal = (
            thing.pose.p[0].numpy() for thing in (env.agent.tcp, env.cube, env.goal_site)
        )
        away = cube - tool
        above = np.linalg.norm(away[:2]) > 0.01
        closed += bool(closed or np.linalg.norm(away) < 0.01)
        if closed:
            move = goal - cube if closed > 3 else np.zeros(3)
        else:
            move = away + np.array([0, 0, 0.08 * above])
        return np.array([*np.clip(move / 0.1, -1, 1), 0, 0, 0, -1 if closed else 1], np.float32)

    return act


def _push_image() -> Case:
    maniskill = pytest.importorskip("rlinf.envs.maniskill.env")
    simulator = maniskill.ManiSkillCpu(NUM_ENVS, PUSH_IMAGE)
    return Case(
        simulator,
        (1, 48, 64, 3),
        9,
        _solve_push,
        hosted=("maniskill", PUSH_IMAGE.model_dump(mode="json")),
        takes=PUSH_IMAGE.takes(),
        data_set="bridge_orig",
    )


def _solve_push(simulator: Simulator) -> Callable[[], np.ndarray]:
    from rlinf.envs.maniskill.demonstrators import PushDemonstrator
    from rlinf.envs.maniskill.env import ManiSkillCpu
    from rlinf.envs.maniskill.experts import PushFlaw

    assert isinstance(simulator, ManiSkillCpu)
    sound = PushFlaw(sound_share=1.0, reach_low=0.0, reach_high=0.0)
    return PushDemonstrator(simulator, sound, np.random.default_rng(0)).act


def _libero() -> Case:
    pytest.importorskip("robosuite", reason="needs LIBERO")
    if "LIBERO_ASSETS" not in os.environ:
        pytest.skip("needs LIBERO's assets")
    from rlinf.envs.libero.env import make_libero

    return Case(
        make_libero(NUM_ENVS, **LIBERO.model_dump()),
        (2, 32, 32, 3),
        8,
        _solve_libero,
        hosted=("libero", LIBERO.model_dump(mode="json")),
        takes=LIBERO.takes(),
        data_set="libero_spatial_no_noops",
    )


def _solve_libero(simulator: Simulator) -> Callable[[], np.ndarray]:
    from rlinf.envs.libero.env import LiberoEnv
    from rlinf.envs.libero.experts import PickPlaceExpert

    assert isinstance(simulator, LiberoEnv)
    return PickPlaceExpert(simulator.scene(0)).act


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

    def solve(simulator: Simulator) -> Callable[[], np.ndarray]:
        if not recording.is_file():
            pytest.skip(f"no {recording}")
        with np.load(recording) as content:
            actions: np.ndarray = content["action"]
        return iter(actions).__next__

    trials = (650_000, 123_456, 42_087)
    hosted = ("maniskill", params.model_dump(mode="json"))
    simulator = maniskill.ManiSkillCpu(NUM_ENVS, params)
    return Case(simulator, (1, 120, 160, 3), 8, solve, trials, hosted)


def _own_python(
    name: str, image_shape: tuple[int, ...], state_size: int, stride: float = 1.0, **settings: Any
) -> Callable[[], Case]:
    """A simulator with a Python of its own; tests of it share one process."""

    def build() -> Case:
        params = imported(simulator(name).settings)(**settings)
        log = Path(tempfile.mkdtemp(prefix=f"contract-{name}-")) / "simulator.log"
        plain = params.model_dump(mode="json")
        there = Remote(hosted(name), simulator(name).build, NUM_ENVS, plain, log)
        return Case(
            there,
            image_shape,
            state_size,
            None,
            takes=params.takes(),
            state_drift=1e-3,
            pixel_drift=0.02,
            stride=stride,
        )

    return build


def _behavior(dialect: str) -> Callable[[], Case]:
    """A stand-in for OmniGibson in a process of another Python, with what there is before it."""

    def build() -> Case:
        folder = Path(tempfile.mkdtemp(prefix=f"contract-{dialect}-"))
        params = BehaviorParams(tasks="turning_on_radio", camera_size=(48, 64))
        spec, python = simulator("behavior"), behavior.stand_in(folder, dialect)
        there = Remote(
            hosting(spec, str(python)),
            *(spec.build, NUM_ENVS, params.model_dump(mode="json"), folder / "simulator.log"),
        )
        trials = (0, 1, 47)
        return Case(there, (3, 48, 64, 3), 23, _switch_on, trials, takes=params.takes())

    return build


def _switch_on(simulator: Simulator) -> Callable[[], np.ndarray]:
    """The left hand to the radio of the first instance, then its gripper closes."""
    action = np.zeros(23, np.float32)
    action[7:9], action[[14, 22]] = behavior.goal(0), 1
    steps = itertools.count()

    def act() -> np.ndarray:
        action[14] = 1 if next(steps) < 5 else -1
        return action.copy()

    return act


_STACK = "Isaac-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos-v0"

CASES: dict[str, Callable[[], Case]] = {
    "toy": lambda: _toy(0),
    "toy_image": lambda: _toy(16),
    "maniskill_state": _pick_state,
    "maniskill_image": _push_image,
    "libero": _libero,
    "maniskill_plate": _put_on_plate,
    "isaaclab_stack_cube": _own_python(
        *("isaaclab", (2, 64, 64, 3), 8, 0.02), id=_STACK, camera_size=(64, 64), fast_physics=True
    ),
    "isaaclab_reach": _own_python(
        *("isaaclab", (0, 0, 0, 3), 10),
        **{"id": "reach", "cameras": (), "camera_size": (64, 64), "fast_physics": True},
    ),
    "mjlab_lift_cube": _own_python(
        *("mjlab", (1, 64, 64, 3), 19), id="lift_cube", camera_size=(64, 64), reward="task"
    ),
    **{f"behavior_{dialect}": _behavior(dialect) for dialect in behavior.VERSIONS},
}


@pytest.fixture(scope="session", params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """One simulator after the other; closed twice at the end, which must do no harm."""
    built = CASES[request.param]()
    yield built
    built.simulator.close()
    built.simulator.close()


@pytest.fixture(scope="session", autouse=True)
def in_sub_processes(
    case: Case, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[ProcessBatch] | None]:
    """One env of the same kind in a process that has just begun; it is built meanwhile."""
    if case.hosted is None:
        yield None
        return
    name, settings = case.hosted
    spec = simulator(name)
    log = tmp_path_factory.mktemp("processes") / "simulators.log"
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(
            *(ProcessBatch, spec.build, settings, 1, SHORT, 1, log, 300.0),
            hosting=spec.hosting,
        )
        yield batch
        batch.result().close()
