"""`env` of the published RLinf: simulators, rewards, episodes."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from rlinf.assets.maniskill import PLATE_PREFIX
from rlinf.config import tree
from rlinf.config.refused import ABSENT
from rlinf.convert.draft import Draft
from rlinf.data.types import Purpose
from rlinf.envs.behavior.robot import ACTION_DIM
from rlinf.envs.libero.config import TASKS, TRIALS
from rlinf.registry import simulators
from rlinf.wording import plural

_ENVS = 16  # sub-envs where their file gives no number
_PARTS: tuple[Purpose, Purpose] = ("train", "eval")

CONTROLLERS = {
    "widowx_bridge": "arm_pd_ee_target_delta_pose_align2_gripper_pd_joint_pos",
    "panda-qpos": "pd_joint_delta_pos",
}
"""`policy_setup` -> `control_mode` of ManiSkill that it chose there."""

_RENAMED_TASKS = {"PutCarrotOnPlateInScene-v2": "PutCarrotOnPlateInScene-v1"}
_SETTLES = "PutCarrotOnPlateInScene"
_PICTURES = ("rgb", "rgb+segmentation")
_SIZE = 256  # pixels, side of LIBERO's pictures in every protocol


def convert_tasks(draft: Draft) -> bool:
    """Carries both environments over; False where a simulator is not here."""
    _share_sections(draft)
    setup = draft.take("actor.model.policy_setup")
    for part in _PARTS:
        name = draft.take(f"env.{part}.simulator_type", f"env.{part}.env_type")
        name = name or _by_content(draft, part)
        if name not in simulators():
            _lose_simulator(draft, part, name)
            continue
        draft.put(f"env.{part}.simulator_type", name)
        if name == "maniskill":
            _convert_maniskill(draft, part, setup)
        elif name == "libero":
            _convert_libero(draft, part)
        elif name == "isaaclab":
            _convert_isaaclab(draft, part)
        elif name == "behavior":
            _convert_behavior(draft, part)
    if draft.lost:
        return False
    _convert_train(draft)
    _convert_evaluation(draft)
    draft.put("env.enable_offload", draft.take("env.enable_offload") or None)
    return True


def _share_sections(draft: Draft) -> None:
    """Files for evaluation, or for training alone, have one section: both come from it."""
    for part, other in (("train", "eval"), ("eval", "train")):
        section = tree.get(draft.theirs, f"env.{other}")
        if draft.look(f"env.{part}") is None and isinstance(section, dict):
            tree.put(draft.theirs, f"env.{part}", deepcopy(section))


def _lose_simulator(draft: Draft, part: Purpose, name: Any) -> None:
    if name is None:
        draft.lose(
            f"env.{part}: nothing says which simulator it is for",
            "put the folder of its group files, env, beside the main file",
        )
        return
    state = ABSENT["simulator_type"].get(str(name), "not known to `rlinf convert`")
    draft.lose(
        f"the simulator {name}: {state}", f"this version has {', '.join(sorted(simulators()))}"
    )


def _by_content(draft: Draft, part: Purpose) -> str | None:
    if draft.look(f"env.{part}.task_suite_name", f"env.{part}.init_params.task_suite_name"):
        return "libero"
    return "maniskill" if draft.look(f"env.{part}.init_params.id") else None


# --- simulators ----------------------------------------------------------------------------------


def _convert_maniskill(draft: Draft, part: Purpose, setup: Any) -> None:
    params = f"env.{part}.init_params"
    task = str(draft.take(f"{params}.id"))
    here = _RENAMED_TASKS.get(task, task)
    draft.put(f"{params}.id", here, f"{task} there; ManiSkill's own" if here != task else "")
    _convert_observation(draft, params)
    _convert_controller(draft, params, setup)
    for name in ("sim_freq", "control_freq"):
        draft.carry(f"{params}.{name}", f"{params}.sim_config.{name}", f"{params}.{name}")
    draft.carry(f"{params}.shader", f"{params}.sensor_configs.shader_pack")
    draft.carry(f"{params}.obj_set")
    draft.leave(f"{params}.sim_backend", "auto simulates on a GPU where the env worker has one")
    if here.startswith(_SETTLES):
        draft.put(f"{params}.sim_backend", "cpu", "its resets move every env of a batch")
    _convert_reward(draft, part, here)


def _convert_isaaclab(draft: Draft, part: Purpose) -> None:
    params = f"env.{part}.init_params"
    draft.carry(f"{params}.id")
    draft.carry(f"{params}.instruction", f"{params}.task_description")
    cameras = [draft.take(f"{params}.{name}") for name in ("table_cam", "wrist_cam")]
    sizes = {(each["height"], each["width"]) for each in cameras if isinstance(each, dict)}
    if len(sizes) > 1:
        draft.lose(f"{params}: cameras of different sizes", "make table_cam and wrist_cam equal")
    for size in sizes:
        draft.put(f"{params}.camera_size", list(size))


def _convert_behavior(draft: Draft, part: Purpose) -> None:
    env, params = f"env.{part}", f"env.{part}.init_params"
    base = draft.take(f"{env}.base_config_name")
    if base not in (None, "r1pro_behavior"):
        draft.lose(
            f"{env}.base_config_name = {base}: not part of this version", "r1pro_behavior is"
        )
    wanted = draft.take(f"{env}.task_idx", f"{env}.tasks.activity_task_indices")
    draft.put(f"{params}.tasks", str(0 if wanted is None else wanted))
    numbers = tree.get(draft.ours, "actor.model.action_dim")
    remark = f"{numbers} in their usual file of the model" if numbers != ACTION_DIM else ""
    draft.put("actor.model.action_dim", ACTION_DIM, remark)
    size = draft.take(f"{params}.image_size")
    draft.put(f"{params}.camera_size", list(size) if size else None)
    if part == "eval":
        remark = "those that the challenge evaluates on"
        draft.put(f"{params}.instances", "evaluation", remark)


def _convert_observation(draft: Draft, params: str) -> None:
    mode = draft.take(f"{params}.obs_mode")
    if mode in _PICTURES:
        draft.put(f"{params}.obs_mode", "rgb")
    elif mode == "state":
        draft.put(f"{params}.obs_mode", "state")
    elif mode is not None:
        draft.lose(f"{params}.obs_mode = {mode}: not part of this version", "choose rgb or state")


def _convert_controller(draft: Draft, params: str, setup: Any) -> None:
    """There the program wrote `control_mode` by what `policy_setup` said, whatever stood in it."""
    given = draft.take(f"{params}.control_mode")
    if setup in CONTROLLERS:
        draft.put(f"{params}.control_mode", CONTROLLERS[setup], f"by policy_setup: {setup}")
    elif setup is not None:
        draft.lose(
            f"actor.model.policy_setup = {setup}: it is not known which controller it chose",
            f"set {params}.control_mode, and policy_setup to null",
        )
    elif given not in (None, "None"):
        draft.put(f"{params}.control_mode", given)


def _convert_reward(draft: Draft, part: Purpose, task: str) -> None:
    params = f"env.{part}.init_params"
    mode = draft.take(f"env.{part}.reward_mode")
    staged = task.startswith((PLATE_PREFIX, _SETTLES))
    if mode == "raw":
        draft.put(
            f"{params}.reward_mode",
            draft.take(f"{params}.reward_mode") or "raw",
            "the task's own, which is always 0" if staged else "the task's own, each step",
        )
        draft.leave(f"env.{part}.use_rel_reward", "reward_mode: raw took no difference")
    elif mode in (None, "default") and staged:
        draft.put(
            f"{params}.reward_mode", "staged", "0.1 held, 0.1 held for 5 steps, 1 on the plate"
        )
    elif mode in (None, "default"):
        draft.lose(
            f"env.{part}.reward_mode is not raw: the staged reward needs a task that says whether "
            f"the object is held, {task} does not",
            f"set env.{part}.reward_mode: raw",
        )
    else:
        draft.lose(f"env.{part}.reward_mode = {mode}: not known to `rlinf convert`", "choose raw")


def _convert_libero(draft: Draft, part: Purpose) -> None:
    env, params = f"env.{part}", f"env.{part}.init_params"
    suite = draft.take(f"{env}.task_suite_name", f"{params}.task_suite_name")
    draft.put(f"{params}.task_suite_name", suite)
    draft.put(f"{params}.protocol", "rlinf")
    sides = {draft.take(f"{params}.camera_{side}") or _SIZE for side in ("heights", "widths")}
    if sides != {_SIZE}:
        draft.put(f"{params}.camera_size", max(sides))
    if draft.look(f"{env}.reset_gripper_open") is False:
        draft.take(f"{env}.reset_gripper_open")
        remark = "reset_gripper_open: False gave the fingers no command, which leaves them half-way"
        draft.put(f"{params}.settle_gripper", "half_open", remark)
    kind = draft.take(f"{env}.libero_type")
    if kind not in (None, "standard"):
        draft.lose(f"{env}.libero_type = {kind}: not part of this version", "choose standard")
    views = tree.get(draft.ours, "actor.model.num_images_in_input") or 1
    if views > 1:
        draft.put(
            f"{params}.cameras",
            ["agentview", "robot0_eye_in_hand"][:views],
            f"num_images_in_input: {views}",
        )


# --- episodes ------------------------------------------------------------------------------------


def chunk_size(draft: Draft) -> int:
    """C of our model."""
    return int(tree.get(draft.ours, "actor.model.num_action_chunks") or 1)


def _convert_train(draft: Draft) -> None:
    env = "env.train"
    _convert_common(draft, "train")
    group = int(draft.take("algorithm.group_size", f"{env}.group_size") or 1)
    draft.put(f"{env}.group_size", group)
    groups = draft.take("algorithm.num_group_envs")
    envs = draft.take(f"{env}.total_num_envs", f"{env}.num_envs")
    if envs is None and groups is None:
        envs = draft.look("env.eval.total_num_envs", "env.eval.num_envs")
    draft.put(f"{env}.total_num_envs", groups * group if envs is None and groups else envs)
    draft.put(f"{env}.auto_reset", bool(draft.take("algorithm.auto_reset", f"{env}.auto_reset")))
    fixed = draft.take("algorithm.use_fixed_reset_state_ids", f"{env}.use_fixed_reset_state_ids")
    together = group > 1 and not fixed
    draft.put(
        f"{env}.use_fixed_reset_state_ids",
        bool(fixed) or together,
        "false there, so that the members of a group had different starts" if together else "",
    )
    _convert_rollout_steps(draft)


def _convert_rollout_steps(draft: Draft) -> None:
    env, chunk = "env.train", chunk_size(draft)
    steps = draft.take(f"{env}.max_steps_per_rollout_epoch")
    chunks = draft.take("algorithm.n_chunk_steps")
    if steps is None and chunks is not None:
        steps = chunks * chunk
    limit = tree.get(draft.ours, f"{env}.max_episode_steps")
    remark = ""
    if limit is not None and not tree.get(draft.ours, f"{env}.auto_reset"):
        whole = -(-limit // chunk) * chunk
        if steps not in (None, whole):
            remark = f"{steps} there; without auto_reset an episode is run to its limit"
        steps = whole
    draft.put(f"{env}.max_steps_per_rollout_epoch", steps, remark)


def _convert_common(draft: Draft, part: Purpose) -> None:
    env = f"env.{part}"
    limits = [f"{env}.max_episode_steps", f"{env}.init_params.max_episode_steps"]
    draft.put(f"{env}.max_episode_steps", draft.take(*limits) or draft.look(_LIMIT))
    ends = f"{env}.ignore_terminations"
    draft.put(ends, draft.take(*((_ENDS,) if part == "train" else ()), ends) or None)
    draft.put(f"{env}.seed", draft.take(f"{env}.seed") or None)
    coefficient = draft.take(f"{env}.reward_coef")
    if coefficient is None:
        coefficient = draft.look("algorithm.reward_coef")
    draft.put(f"{env}.reward_coef", coefficient)
    draft.carry(f"{env}.use_rel_reward")
    video = f"{env}.video_cfg"
    if part == "eval":
        draft.put(f"{video}.save_video", draft.take(f"{video}.save_video") or None)
        info = draft.take(f"{video}.info_on_video")
        draft.put(f"{video}.info_on_video", False if info is False else None)


_LIMIT, _ENDS = "algorithm.max_episode_steps", "algorithm.ignore_terminations"


def _convert_evaluation(draft: Draft) -> None:
    """There an evaluation ran so many sub-envs for so many steps; here it has so many trials."""
    env, chunk = "env.eval", chunk_size(draft)
    _convert_common(draft, "eval")
    draft.take(_LIMIT), draft.take("algorithm.reward_coef")
    limit = tree.get(draft.ours, f"{env}.max_episode_steps")
    envs = draft.take(f"{env}.total_num_envs", f"{env}.num_envs")
    steps = draft.take(f"{env}.max_steps_per_rollout_epoch")
    chunks = draft.take("algorithm.n_eval_chunk_steps")
    if steps is None and chunks is not None:
        steps = chunks * chunk
    each = max(1, (steps or limit) // limit) if limit else 1
    if envs is not None:
        _convert_trials(draft, envs, each)
    elif tree.get(draft.ours, f"{env}.simulator_type") == "libero":
        draft.put(f"{env}.num_trials", TRIALS, "no number there: every recorded start once")
    if envs is None:
        envs = tree.get(draft.ours, "env.train.total_num_envs") or _ENVS
        draft.put("env.train.total_num_envs", envs)
    draft.put(f"{env}.total_num_envs", envs)


def _convert_trials(draft: Draft, envs: int, each: int) -> None:
    suite = tree.get(draft.ours, "env.eval.init_params.task_suite_name")
    tasks = sum(TASKS.values()) if suite == "libero_130" else TASKS.get(str(suite), 1)
    trials = max(1, round(envs * each / tasks))
    draft.put(
        "env.eval.num_trials",
        min(trials, TRIALS) if suite else trials,
        f"{plural(envs, 'sub-env')} x {plural(each, 'episode')} there"
        + (f", over {plural(tasks, 'task')}" if suite else ""),
    )
