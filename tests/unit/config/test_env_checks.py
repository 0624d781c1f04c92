"""What a simulator would refuse when it is built is refused before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from rlinf.config.load import Loaded, load
from rlinf.config.machine import Machine
from rlinf.config.show import render
from rlinf.envs.isaaclab.catalog import tasks
from rlinf.envs.isaaclab.config import IsaacLabParams, ManagerParams, MjlabParams
from rlinf.envs.libero.config import TASKS as SUITES
from rlinf.envs.libero.config import LiberoParams
from rlinf.envs.maniskill.config import ManiskillParams
from rlinf.envs.maniskill.tasks import CONTROLLERS, TASKS
from rlinf.errors import UserError
from tests.tiny_openvla import UNNORM_KEY, write_folder

Load = Callable[..., Loaded]


@pytest.fixture
def refusal(tmp_path: Path, laptop: Machine) -> Callable[..., str]:
    """The message that refuses a configuration with overrides."""

    def refuse(name: str, *overrides: str, machine: Machine = laptop, purpose: str = "") -> str:
        with pytest.raises(UserError) as caught:
            load(name, [f"runner.logger.log_path={tmp_path}/run", *overrides], machine, purpose)
        return str(caught.value)

    return refuse


PICK = "env.train.init_params"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            f"{PICK}.control_mode=pd_ee_delta_pose",
            ["has action_dim 7, actor.model (mlp) needs 8", "control_mode to pd_joint_delta_pos"],
        ),
        # pd_joint_delta_pos is the robot's own: joints and gripper.
        ("actor.model.action_dim=7", ["has action_dim 8", "to pd_ee_delta_pose or pd_ee_pose or"]),
        (f"{PICK}.control_mode=pd_joint_delta_po", ["panda of PickCube-v1", "=pd_joint_delta_pos"]),
        (f"{PICK}.reward_mode=staged", ["has sparse, dense, normalized_dense", "=sparse"]),
        (f"{PICK}.id=PickCub-v1", ["id = PickCub-v1: ManiSkill has no such task", "PickCube-v1"]),
        (f"{PICK}.id=Unheard-v1", ["Unheard-v1: ManiSkill has no such task", "own tasks"]),
        (f"{PICK}.id=StackPyramid-v1", ["reward_mode = normalized_dense", "has obs_dim 64"]),
        (f"{PICK}.sim_backend=gpu", ["sim_backend = gpu: the env workers have no accelerator"]),
        ("actor.model.obs_dim=40", ["has obs_dim 42, actor.model (mlp) needs 40"]),
    ],
)
def test_what_a_table_task_does_not_have_is_reported_with_what_it_has(
    refusal: Callable[..., str], override: str, words: list[str]
) -> None:
    message = refusal("maniskill_ppo_mlp", override)
    for word in words:
        assert word in message


def maniskill() -> Iterator[ManiskillParams]:
    for name, task in TASKS.items():
        objects = next(iter(task.object_sets), None)
        for mode in ("state", "rgb") if task.has_state else ("rgb",):
            for control in (None, *CONTROLLERS[task.robot]):
                yield ManiskillParams(id=name, obs_mode=mode, control_mode=control, obj_set=objects)


def managers() -> Iterator[ManagerParams]:
    for params in (IsaacLabParams, MjlabParams):
        for name, task in tasks().items():
            if set(params.backends) & task.ids.keys():
                yield params(id=name)
                yield params(id=name, cameras=())


def test_the_sizes_of_every_shipped_task_and_controller_are_known() -> None:
    shipped = [*maniskill(), *managers(), *(LiberoParams(task_suite_name=s) for s in SUITES)]
    assert len(shipped) > 200
    for params in shipped:
        spaces = params.spaces()
        size = spaces.obs_dim if spaces.shows == "state" else spaces.image_size
        assert size is not None and spaces.action_dim is not None, params


def test_cameras_of_different_sizes_are_reported_with_the_size_that_fits_both() -> None:
    camera = {"eye": (0.3, 0.0, 0.6), "target": (0.0, 0.0, 0.1), "width": 32, "height": 64}
    params = ManiskillParams(id="StackCube-v1", camera=camera)
    (problem,) = params.problems("env.train.init_params", on_accelerator=False, num_envs=1)
    assert "second camera, whose pictures are 128 x 128, and this one's are 64 x 32" in str(problem)
    assert problem.fix == "set env.train.init_params.image_size=[64,32]"
    fits = params.model_copy(update={"image_size": (64, 32)})
    assert not list(fits.problems("env.train.init_params", False, 1))


@pytest.mark.parametrize("value", ["null", "None"])
def test_without_a_controller_the_robots_own_is_taken(
    tmp_path: Path, laptop: Machine, value: str
) -> None:
    """It is the one that `maniskill_ppo_mlp` names."""
    overrides = [f"runner.logger.log_path={tmp_path}", f"{PICK}.control_mode={value}"]
    loaded = load("maniskill_ppo_mlp", overrides, laptop)
    assert loaded.config.env.train.init_params.control_mode is None
    assert (f"{PICK}.control_mode: None is read as null" in loaded.notes) == (value == "None")


def test_a_none_of_python_is_no_path(load_toy: Load) -> None:
    loaded = load_toy("runner.ckpt_path=None", "actor.model.model_path=None")
    assert loaded.config.runner.ckpt_path is loaded.config.actor.model.model_path is None


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (f"{PICK}.sim_backend=auto", "light_visuals = true: GPU simulation draws the stock meshes"),
        ("actor.model.num_views=2", "actor.model.num_views = 2: env.train has 1 camera"),
    ],
)
def test_what_the_quickstart_cannot_do_on_a_gpu_is_reported(
    refusal: Callable[..., str], gpu_machine: Machine, override: str, words: str
) -> None:
    assert words in refusal("quickstart", override, machine=gpu_machine)


@pytest.fixture(scope="module")
def openvla(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = write_folder(tmp_path_factory.mktemp("model"))
    return [f"actor.model.model_path={folder}", f"actor.model.unnorm_key={UNNORM_KEY}"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["actor.model.num_images_in_input=2"],
            ["actor.model.num_images_in_input = 2: env.train has 1 camera", "_input=1"],
        ),
        (
            ["runner.only_eval=true", "env.eval.num_trials=128"],
            ["env.eval.num_trials = 128: each task has 50 different starts", "num_trials=50"],
        ),
        (
            ["runner.val_check_interval=5", "env.eval.num_trials=51"],
            ["env.eval.num_trials = 51: each task has 50", "eval_rollout_epoch repeats"],
        ),
        (
            ["runner.val_check_interval=5", "env.train.hold_out_evaluation=true"],
            ["each task has 50 different starts, none is left to train on", "for example to 10"],
        ),
        (
            ["env.train.mixture.weights={libero_goal: 1}"],
            ["mixture.weights = {'libero_goal': 1.0}: libero_goal is no group", "are libero_10"],
        ),
        (
            ["env.train.mixture.weights={10: 1}"],
            ["there is no task 10: tasks have the numbers 0 to 9", "by their index"],
        ),
        (
            ["env.train.mixture.curriculum={low: 0.5, high: 0.5}"],
            ["mixture.curriculum.low = 0.5 with high = 0.5", "below env.train.mixture"],
        ),
        (
            ["env.train.mixture={}", "env.train.init_params.task_ids=[3]"],
            ["env.train.mixture: env.train.init_params has one task", "remove env.train.mixture"],
        ),
    ],
)
def test_what_libero_does_not_have_is_reported(
    refusal: Callable[..., str],
    gpu_machine: Machine,
    openvla: list[str],
    overrides: list[str],
    words: list[str],
) -> None:
    message = refusal("libero_10_grpo_openvlaoft", *openvla, *overrides, machine=gpu_machine)
    for word in words:
        assert word in message


@pytest.mark.parametrize(("held_out", "words"), [(False, "draws from too"), (True, "never has")])
def test_the_plan_says_what_an_evaluation_draws_and_whether_its_starts_are_trained_on(
    tmp_path: Path, gpu_machine: Machine, openvla: list[str], held_out: bool, words: str
) -> None:
    given = ["env.eval.num_trials=10", f"env.train.hold_out_evaluation={str(held_out).lower()}"]
    folder = f"runner.logger.log_path={tmp_path}"
    loaded = load("libero_10_grpo_openvlaoft", [*openvla, *given, folder], gpu_machine)
    console = Console(width=200, file=StringIO(), record=True)
    console.print(render(loaded))
    expected = f"draws actions at temperature 1.6; starts that training {words}"
    assert expected in console.export_text()


def test_both_cameras_of_libero_are_two_views(
    tmp_path: Path, gpu_machine: Machine, openvla: list[str]
) -> None:
    cameras = "[agentview,robot0_eye_in_hand]"
    loaded = load(
        "libero_10_grpo_openvlaoft",
        [
            f"runner.logger.log_path={tmp_path}",
            *openvla,
            "actor.model.num_images_in_input=2",
            f"env.train.init_params.cameras={cameras}",
        ],
        gpu_machine,
    )
    assert loaded.config.env.train.init_params.spaces().views == ("main", "wrist")


def test_the_tasks_of_the_plate_have_their_own_object_sets(
    refusal: Callable[..., str], gpu_machine: Machine, openvla: list[str]
) -> None:
    task = "env.train.init_params.id=PutOnPlateInScene25PositionChangeTo-v1"
    message = refusal("maniskill_ppo_openvla", *openvla, task, machine=gpu_machine)
    assert "obj_set = train: PutOnPlateInScene25PositionChangeTo-v1 has test" in message


def test_tasks_whose_resets_settle_need_the_cpu(
    refusal: Callable[..., str], gpu_machine: Machine, openvla: list[str]
) -> None:
    settings = (
        "env@env.train=maniskill_put_carrot_on_plate",
        "env.train.init_params.sim_backend=gpu",
        "env.train.max_steps_per_rollout_epoch=60",
    )
    message = refusal("maniskill_ppo_openvla", *openvla, *settings, machine=gpu_machine)
    assert "its resets let things settle" in message and "sim_backend=cpu" in message


def test_an_evaluation_that_is_not_asked_for_refuses_nothing(
    load_toy: Load, gpu_machine: Machine, refusal: Callable[..., str]
) -> None:
    """500 do not divide by 8 workers."""
    odd = (
        "env.eval.total_num_envs=500",
        "cluster.component_placement={env: 0-7, rollout: 0, actor: 0}",
    )
    loaded = load_toy("runner.val_check_interval=-1", *odd, machine=gpu_machine)
    assert "`rlinf eval` would refuse it: env.eval.total_num_envs = 500" in loaded.warnings[0]
    assert "simulators of eval" not in str(loaded.plan.memory)
    assert "try 496 or 504" in refusal("toy_ppo_mlp", *odd, machine=gpu_machine)
    only = ("runner.only_eval=true", "runner.val_check_interval=-1")
    assert "try 496 or 504" in refusal("toy_ppo_mlp", *odd, *only, machine=gpu_machine)


def test_an_evaluation_alone_asks_nothing_of_training(load_toy: Load) -> None:
    loaded = load_toy(
        "runner.only_eval=true",
        "env.train.total_num_envs=7",
        "env.train.max_steps_per_rollout_epoch=13",
        "cluster.component_placement.env=all",
    )
    assert loaded.config.env.train.total_num_envs == 7


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("runner.only_eval=true", "env.eval.num_shards=2", "env.eval.shard=2"), "write 0 to 1"),
        (("env.eval.num_shards=2",), "an evaluation during training has all its trials"),
    ],
)
def test_a_part_of_an_evaluation_is_one_that_there_is(
    refusal: Callable[..., str], overrides: tuple[str, ...], words: str
) -> None:
    assert words in refusal("toy_ppo_mlp", *overrides)
