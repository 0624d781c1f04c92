"""Keys of other recipes that mean nothing here: answered with the reason instead of ignored.

A pattern is a dotted key in which `*` stands for any text; a refused section covers all it holds.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from rlinf.config import tree
from rlinf.config.problems import Problem
from rlinf.config.tree import Tree

_EVALUATION = (
    "evaluation runs every (task, trial) once, to its end or to env.eval.max_episode_steps",
    "remove it; env.eval.num_trials is the number of episodes per task",
)
_POLICY_SETUP = (
    "it has no reader",
    "remove it; env.*.init_params.control_mode names the controller of a ManiSkill task",
)
_INSIDE_PARAMS = (
    "what a simulator is built with stands together",
    "move it into env.*.init_params",
)
_CAMERA_SIZE = (
    "images are square",
    "remove it and set env.*.init_params.camera_size; the simulator's protocol has a size",
)
_IN_THE_FOLDER = ("config.json in the model's folder says it", "remove it")

REFUSED: dict[str, tuple[str, str]] = {
    # Features this version does not have.
    "reward": ("reward models are not part of this version", "remove it"),
    "critic": (
        "a critic model of its own is not part of this version",
        "remove it; actor.model.add_value_head adds a critic to the policy",
    ),
    "runner.weight_sync_interval": (
        "the rollout gets the new weights after every update",
        "remove it",
    ),
    # Options of the first generation of FSDP that the second has no use for.
    "actor.fsdp_config.reshard_after_forward": (
        "sharding_strategy says it",
        "remove it; full_shard gathers weights again for the backward pass, shard_grad_op keeps "
        "them",
    ),
    "actor.fsdp_config.backward_prefetch": (
        "the backward pass always gathers the next layer ahead",
        "remove it",
    ),
    "actor.fsdp_config.limit_all_gathers": ("memory is always bounded", "remove it"),
    "actor.fsdp_config.use_orig_params": (
        "parameters always stay what they are in the model",
        "remove it",
    ),
    "actor.fsdp_config.use_liger_kernel": ("there are no such kernels here", "remove it"),
    "actor.fsdp_config.mixed_precision.buffer_dtype": (
        "buffers keep the format that the model gives them",
        "remove it",
    ),
    "actor.fsdp_config.amp*": (
        "there is one way to mixed precision",
        "remove it and set actor.fsdp_config.mixed_precision",
    ),
    # Keys at a place where they have no reader.
    "actor.checkpoint_save_path": (
        "checkpoints go to <log_path>/<experiment_name>/checkpoints",
        "remove it and set runner.logger.log_path",
    ),
    # Keys without an effect on an embodied run.
    "algorithm.loss_agg_func": (
        "every loss is the weighted sum over valid entries, divided by their weight in the global "
        "batch",
        "remove it; algorithm.length_normalization says whether episodes or entries weigh alike",
    ),
    "algorithm.length_params": (
        "the number of action tokens follows from action_dim and num_action_chunks",
        "remove it",
    ),
    "algorithm.sampling_params.repetition_penalty": ("actions are not text", "remove it"),
    "algorithm.sampling_params.max_length": ("actions are not text", "remove it"),
    "algorithm.sampling_params.min_length": ("actions are not text", "remove it"),
    "rollout.mode": ("cluster.component_placement says who shares what", "remove it"),
    "rollout.backend": ("there is one inference engine, PyTorch", "remove it"),
    "rollout.generation_backend": ("there is one inference engine, PyTorch", "remove it"),
    "*.group_name": ("worker groups are named after their component", "remove it"),
    "*.channel": ("workers call each other, there are no channels", "remove it"),
    "*.queue_size": ("workers call each other, there are no queues", "remove it"),
    "*.queue_name": ("workers call each other, there are no queues", "remove it"),
    "env.*.num_envs_per_gpu": (
        "sub-envs are spread evenly over the env workers",
        "remove it and set env.*.total_num_envs",
    ),
    "env.*.is_eval": ("env.eval is always evaluation, env.train never", "remove it"),
    "env.*.only_eval": (
        "env.eval is always evaluation, env.train never",
        "remove it; `rlinf eval CONFIG` evaluates only",
    ),
    "*.use_ordered_reset_state_ids": (
        "evaluation always runs every (task, trial) once, in order",
        "remove it and set env.eval.num_trials",
    ),
    "env.eval.auto_reset": _EVALUATION,
    "env.eval.group_size": _EVALUATION,
    "env.eval.max_steps_per_rollout_epoch": _EVALUATION,
    "env.eval.use_fixed_reset_state_ids": _EVALUATION,
    "algorithm.n_eval_chunk_steps": _EVALUATION,
    "env.*.policy_setup": _POLICY_SETUP,
    "actor.model.policy_setup": _POLICY_SETUP,
    "env.*.reset_gripper_open": (
        "what the gripper does before an episode is part of the simulator's settings",
        "remove it; for false, set env.*.init_params.settle_gripper=half_open",
    ),
    "env.train.task_suite_name": _INSIDE_PARAMS,
    "env.eval.task_suite_name": _INSIDE_PARAMS,
    "env.train.reward_mode": _INSIDE_PARAMS,
    "env.eval.reward_mode": _INSIDE_PARAMS,
    "env.*.num_group": ("groups follow from total_num_envs and group_size", "remove it"),
    "env.*.init_params.num_envs": (
        "the simulator has as many sub-envs as its env worker",
        "remove it and set env.*.total_num_envs",
    ),
    "env.*.init_params.max_episode_steps": (
        "the step limit belongs to the episode",
        "remove it and set env.*.max_episode_steps",
    ),
    "env.*.init_params.render_mode": (
        "what is drawn follows from obs_mode and video_cfg",
        "remove it",
    ),
    "env.*.init_params.sensor_configs": (
        "the camera has keys of its own",
        "remove it; env.*.init_params.shader names the shader pack, env.*.init_params.camera pose "
        "and size",
    ),
    "env.*.init_params.sim_config": (
        "the frequencies stand beside the task",
        "remove it and set env.*.init_params.sim_freq and env.*.init_params.control_freq",
    ),
    "env.*.init_params.camera_heights": _CAMERA_SIZE,
    "env.*.init_params.camera_widths": _CAMERA_SIZE,
    "env.*.init_params.camera_names": (
        "the views have another key",
        "remove it and set env.*.init_params.cameras",
    ),
    "env.*.init_params.gripper": (
        "the simulator takes its own numbers, and those of the model are converted to them",
        "remove it; actor.model.action_convention says what the numbers of OpenVLA mean",
    ),
    "runner.seq_length": ("sequence lengths follow from the model", "remove it"),
    "runner.max_prompt_length": ("sequence lengths follow from the model", "remove it"),
    "actor.tokenizer": ("the tokenizer belongs to the model's folder", "remove it"),
    "actor.model.trust_remote_code": ("no code of a model folder is ever run", "remove it"),
    "actor.model.low_cpu_mem_usage": ("weights are always loaded once", "remove it"),
    "actor.model.vocab_size": _IN_THE_FOLDER,
    "actor.model.hidden_size": _IN_THE_FOLDER,
    "actor.model.max_prompt_length": ("sequence lengths follow from the model", "remove it"),
    "actor.model.vh_mode": (
        "the critic always reads the state of the first action token",
        "remove it",
    ),
    "actor.model.use_wrist_image": (
        "the number of views says it",
        "remove it and set actor.model.num_images_in_input",
    ),
    "actor.model.use_film": (
        "models with FiLM are not part of this version",
        "remove it where it is false; a model that was fine-tuned with FiLM cannot be used",
    ),
    "actor.model.obs_converter_type": (
        "what a view and a number of the state is called is the embodiment's business",
        "remove it; actor.model.embodiment names one, or a file that describes yours",
    ),
    **dict.fromkeys(
        ("actor.model.rl_head_config.noise_params", "actor.model.rl_head_config.noise_anneal"),
        (
            "the noise level changes only where an end value is given",
            "remove it; for [a,b,n] write actor.model.noise_level=a, noise_level_end=b and "
            "noise_anneal_updates=n, where n counts optimizer steps",
        ),
    ),
    "actor.model.rl_head_config.valid_action_dim": (
        "log-probs are those of the numbers that reach the simulator, actor.model.action_dim",
        "remove it",
    ),
    "actor.model.rl_head_config.chunk_critic_input": (
        "the critic reads the whole horizon, or the state",
        "remove it; see actor.model.critic",
    ),
    "actor.model.rl_head_config.detach_critic_input": (
        "the critic reads the model and does not shape it",
        "remove it",
    ),
    "actor.model.rl_head_config.safe_get_logprob": (
        "a step without noise has log-prob 0 and no gradient",
        "remove it",
    ),
    "actor.model.rl_head_config.disable_dropout": ("there is no dropout", "remove it"),
    "env.*.base_config_name": ("the adapter has the configuration of the R1 Pro", "remove it"),
    **dict.fromkeys(
        ("env.*.task_idx", "env.*.tasks.activity_task_indices"),
        ("the activities have another key", "remove it and set env.*.init_params.tasks"),
    ),
    **dict.fromkeys(
        ("env.*.init_params.table_cam", "env.*.init_params.wrist_cam"),
        (
            "all cameras have one size",
            "remove it and set env.*.init_params.camera_size; env.*.init_params.cameras names them",
        ),
    ),
    "env.*.init_params.task_description": (
        "the text of the task has another key",
        "write env.*.init_params.instruction",
    ),
    "actor.model.lora_alpha": (
        "it is the same as lora_rank, and that of an adapter in lora_path its own",
        "remove it",
    ),
    "actor.optim.num_cycles": ("the cosine is half a wave", "remove it"),
    "rollout.sampling_params": (
        "actions are drawn in one way by rollout and training",
        "write it as algorithm.sampling_params",
    ),
    "runner.logger.wandb_proxy": (
        "the writer's library reads it from the environment",
        "remove it and export HTTPS_PROXY=ADDRESS",
    ),
    "runner.logger.swanlab_mode": (
        "the writer's library reads it from the environment",
        "remove it and export SWANLAB_MODE=MODE",
    ),
    "weight_syncer": ("weights reach the rollout in one way, through shared memory", "remove it"),
}
"""Pattern -> (reason, fix)."""

_OUTSIDE = "not part of this version"

ABSENT: dict[str, dict[str, str]] = {
    "simulator_type": {
        **dict.fromkeys(
            ("robotwin", "metaworld", "calvin", "robocasa", "habitat", "genesis", "frankasim"),
            _OUTSIDE,
        ),
    },
    "model_type": {
        **dict.fromkeys(("openpi", "pi0", "pi05", "gr00t_n1_6", "cnn_policy"), _OUTSIDE),
    },
}
"""Last part of a key -> names that other recipes have there, and where they stand here."""


def take_refused(config: Tree) -> list[Problem]:
    """Removes the refused keys from `config`; returns one problem for each."""
    problems: list[Problem] = []
    for key in list(tree.keys(config)):
        pattern = next((p for p in REFUSED if fnmatchcase(key, p)), None)
        if pattern is not None and tree.has(config, key):
            reason, fix = REFUSED[pattern]
            value = tree.take(config, key)
            shown = "" if isinstance(value, dict) else f" = {value}"
            problems.append(Problem(f"{key}{shown}: {reason}", fix))
    return problems
