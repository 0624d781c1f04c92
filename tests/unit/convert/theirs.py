"""Configurations of the published RLinf, written from the tables of its values: whole main files in
the spelling of each version, with the folders of their group files or without.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

Date = Literal["2025-12", "v0.1", "v0.2", "v0.3"]
DATES: tuple[Date, ...] = ("2025-12", "v0.1", "v0.2", "v0.3")


@dataclass(frozen=True)
class Recipe:
    """One column of the table: what its file says, whatever the spelling."""

    env: str  # name of the group file since v0.1
    model: str
    placement: tuple[str, str, str]  # env, rollout, actor
    ppo: bool
    envs: int
    eval_envs: int
    steps: int  # of a rollout epoch
    eval_steps: int
    episode: int
    chunk: int
    batches: tuple[int, int]  # micro, global
    lr: float
    env_before: str = ""  # name of the pair of group files in December 2025
    group: int = 1
    auto_reset: bool = False
    level: str = "action"
    logprob: str = "token"
    action_dim: int = 7
    rollout_epoch: int = 1
    update_epoch: int = 1
    stages: int = 1
    high: float = 0.28
    value_clip: float = 0.2
    gamma: float = 0.99
    gae_lambda: float = 0.95
    value_lr: float = 3e-3
    clip_grad: float = 10.0
    temperatures: tuple[float, float] = (1.0, 0.6)
    top_k: int = 0
    filtered: bool = False
    reward_coef: float | None = None
    lora: bool = False
    unnorm_key: str | None = "bridge_orig"
    precision: str = "bf16"
    offload: bool = True
    settings: dict[str, Any] = field(default_factory=dict)  # of the model, beside the usual ones


PLATE, CUBE = "maniskill_put_on_plate_in_scene_25_main", "maniskill_pick_cube"
_HALVES = ("0-3", "4-7", "0-7")
_EVERY = ("all", "all", "all")

_OFT_PLATE = Recipe(
    PLATE, "openvla_oft", _HALVES, True, 128, 16, 160, 80, 80, 8, (40, 640), 1e-4,
    env_before="PutOnPlateInScene25Main", auto_reset=True, lora=True,
)  # fmt: skip
_LIBERO = Recipe(
    "libero_10", "openvla_oft", _EVERY, False, 64, 500, 512, 512, 512, 8, (32, 16384), 2e-5,
    env_before="libero_10", group=8, rollout_epoch=16, clip_grad=1.0, temperatures=(1.6, 1.6),
    top_k=-1, filtered=True, reward_coef=5.0, unnorm_key="libero_10_no_noops", offload=False,
)  # fmt: skip

RECIPES: dict[str, Recipe] = {
    "maniskill_ppo_openvlaoft": _OFT_PLATE,
    "maniskill_ppo_openvla": replace(
        _OFT_PLATE, model="openvla", chunk=1, logprob="action", high=0.2, stages=2
    ),
    "maniskill_grpo_openvla": replace(
        _OFT_PLATE, model="openvla", chunk=1, ppo=False, envs=256, eval_envs=32, steps=80, group=8,
        auto_reset=False, lora=False, lr=1e-5, clip_grad=1.0, top_k=50, stages=2,
    ),
    "maniskill_grpo_openvlaoft": replace(
        _OFT_PLATE, placement=("0-7", "0-7", "0-7"), ppo=False, envs=256, steps=80, group=8,
        auto_reset=False,
    ),
    "maniskill_ppo_mlp": Recipe(
        CUBE, "mlp", ("0-0", "0-0", "0-0"), True, 1024, 32, 50, 50, 50, 1, (6400, 6400), 3e-4,
        env_before="PickCube", auto_reset=True, logprob="action", action_dim=8, update_epoch=8,
        high=0.2, value_clip=1.0, gamma=0.8, gae_lambda=0.9, value_lr=3e-4, clip_grad=0.5,
        unnorm_key=None, precision="32", offload=False, settings={"obs_dim": 42, "hidden_dim": 256},
    ),
    "libero_10_grpo_openvlaoft": _LIBERO,
    "libero_10_ppo_openvlaoft": replace(
        _LIBERO, ppo=True, group=1, steps=4096, auto_reset=True, level="chunk", rollout_epoch=1,
        temperatures=(1.0, 0.6), top_k=50, filtered=False, reward_coef=None, lora=True,
        batches=(16, 1024), lr=5e-6, offload=True,
    ),
    "behavior_ppo_openvlaoft": replace(
        _OFT_PLATE, env="behavior_r1pro", env_before="behavior_r1pro", envs=2, eval_envs=2,
        placement=("0-1", "2-3", "0-3"), episode=2000, auto_reset=False, level="chunk",
        action_dim=23, rollout_epoch=8, batches=(2, 160), lora=False, top_k=50,
        unnorm_key="behavior_turn_on_radio",
    ),
    "isaaclab_ppo_gr00t_demo": replace(
        _OFT_PLATE, env="isaaclab_stack_cube", env_before="isaaclab_stack_cube", model="gr00t",
        placement=("0", "1", "2"), envs=4, eval_envs=1, steps=5, eval_steps=5, episode=5, chunk=5,
        auto_reset=False, level="chunk", logprob="chunk", batches=(1, 2), lr=2e-5, lora=False,
        unnorm_key=None, settings={"denoising_steps": 4, "rl_head_config": {"noise_level": 0.5}},
    ),
}  # fmt: skip


def write(folder: Path, name: str, date: Date, groups: bool = False, **changes: Any) -> Path:
    """The main file of a recipe below `folder`.

    Args:
        groups: write the folders of group files beside it, too.
        changes: dotted keys (with `__` for the dot) of the main file, and their values.
    """
    recipe = RECIPES[name]
    main = _main(recipe, name, date)
    for key, value in changes.items():
        node = main
        *above, last = key.split("__")
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(main, sort_keys=False))
    if groups:
        _write_groups(folder, recipe, date)
    return file


def _main(recipe: Recipe, name: str, date: Date) -> dict[str, Any]:
    env, rollout, actor = recipe.placement
    together = {"env,rollout,actor": env} if env == rollout == actor else None
    return {
        "defaults": _defaults(recipe, date),
        "hydra": {
            "run": {"dir": "."},
            "output_subdir": None,
            "searchpath": ["file://${oc.env:EMBODIED_PATH}/config/"],
        },
        "cluster": {
            "num_nodes": 1,
            "component_placement": together or {"env": env, "rollout": rollout, "actor": actor},
        },
        "runner": {
            "task_type": "embodied",
            "logger": {
                "log_path": "../results",
                "project_name": "rlinf",
                "experiment_name": name,
                "logger_backends": ["tensorboard"],
            },
            "max_epochs": 1000,
            "max_steps": -1,
            "only_eval": False,
            "val_check_interval": -1,
            "save_interval": 40,
            "seq_length": 4096,
            "max_prompt_length": 30,
            "resume_dir": None,
            ("ckpt_path" if date == "v0.3" else "eval_policy_path"): None,
        },
        "algorithm": _algorithm(recipe, date),
        "env": _env(recipe, date),
        "rollout": _rollout(recipe, date),
        "actor": _actor(recipe, date),
        "reward": {"use_reward_model": False},
        "critic": {"use_critic_model": False},
    }


def _defaults(recipe: Recipe, date: Date) -> list[Any]:
    envs: list[Any] = [{f"env/{part}": recipe.env_before} for part in ("train", "eval")]
    parts: list[Any] = []
    if date != "2025-12":
        envs = [f"env/{recipe.env}@env.{part}" for part in ("train", "eval")]
        parts = [f"model/{recipe.model}@actor.model", "training_backend/fsdp@actor.fsdp_config"]
    return [*envs, *parts, {"override hydra/job_logging": "stdout"}]


def _algorithm(recipe: Recipe, date: Date) -> dict[str, Any]:
    train, evaluation = recipe.temperatures
    sampling = {
        "do_sample": True,
        "temperature_train": train,
        "temperature_eval": evaluation,
        "top_k": recipe.top_k,
        "top_p": 1.0,
        "repetition_penalty": 1.0,
    }
    if date == "2025-12":
        sampling["use_greedy"] = not sampling.pop("do_sample")
    found: dict[str, Any] = {
        "normalize_advantages": True,
        "kl_penalty": "kl",
        "kl_beta": 0.0,
        "group_size": recipe.group,
        "update_epoch": recipe.update_epoch,
        "reward_type": f"{recipe.level}_level",
        "logprob_type": f"{recipe.logprob}_level",
        "entropy_type": f"{recipe.logprob}_level",
        "adv_type": "gae" if recipe.ppo else "grpo",
        "loss_type": "actor_critic" if recipe.ppo else "actor",
        "loss_agg_func": "token-mean",
        "entropy_bonus": 0,
        "clip_ratio_low": 0.2,
        "clip_ratio_high": recipe.high,
        "clip_ratio_c": 3.0,
        "value_clip": recipe.value_clip,
        "huber_delta": 10.0,
        "gamma": recipe.gamma,
        "gae_lambda": recipe.gae_lambda,
        "length_params": {"max_new_token": None, "max_length": 1024, "min_length": 1},
    }
    if recipe.filtered:
        found |= {
            "filter_rewards": True,
            "rewards_lower_bound": 0.5,
            "rewards_upper_bound": 4.5,
        }
    if recipe.reward_coef:
        found["reward_coef"] = recipe.reward_coef
    if date == "2025-12":
        found |= {
            "auto_reset": recipe.auto_reset,
            "ignore_terminations": False,
            "use_fixed_reset_state_ids": recipe.group > 1,
            "num_group_envs": recipe.envs // recipe.group,
            "n_chunk_steps": recipe.steps // recipe.chunk,
            "n_eval_chunk_steps": recipe.eval_steps // recipe.chunk,
            "max_episode_steps": recipe.episode,
        }
    if date != "v0.3":
        found |= {"rollout_epoch": recipe.rollout_epoch, "sampling_params": sampling}
    else:
        found["bootstrap_type"] = "always" if "maniskill" in recipe.env else "standard"
    return found


def _env(recipe: Recipe, date: Date) -> dict[str, Any]:
    found: dict[str, Any] = {
        "group_name": "EnvGroup",
        "channel": {"name": "env_buffer_list", "queue_name": "obs_buffer", "queue_size": 0},
        "enable_offload": False,
    }
    if date == "2025-12":
        return found | {"train": {}, "eval": {"num_envs": recipe.eval_envs}}
    for part, envs, steps in (
        ("train", recipe.envs, recipe.steps),
        ("eval", recipe.eval_envs, recipe.eval_steps),
    ):
        found[part] = {
            "total_num_envs": envs,
            "auto_reset": recipe.auto_reset or part == "eval",
            "ignore_terminations": part == "eval",
            "max_episode_steps": recipe.episode,
            "max_steps_per_rollout_epoch": steps,
            "use_fixed_reset_state_ids": recipe.group > 1 or part == "eval",
        }
        if date == "v0.3":
            found[part]["rollout_epoch"] = recipe.rollout_epoch if part == "train" else 1
    return found


def _rollout(recipe: Recipe, date: Date) -> dict[str, Any]:
    found: dict[str, Any] = {
        "group_name": "RolloutGroup",
        "channel": {"name": "${env.channel.name}", "queue_name": "action_buffer", "queue_size": 0},
        "mode": "colocate",
        "backend": "huggingface",
        "enable_offload": recipe.offload,
        "pipeline_stage_num": recipe.stages,
    }
    if date == "2025-12":
        return found | {"model_dir": "/path/to/model", "precision": recipe.precision}
    found["model"] = {"model_path": "/path/to/model", "precision": "${actor.model.precision}"}
    if date == "v0.3":
        train, evaluation = recipe.temperatures
        found["sampling_params"] = {
            "do_sample": True,
            "temperature_train": train,
            "temperature_eval": evaluation,
            "top_k": recipe.top_k,
        }
    return found


def _actor(recipe: Recipe, date: Date) -> dict[str, Any]:
    micro, whole = recipe.batches
    shared = {"gradient_checkpointing": recipe.model != "mlp", "sharding_strategy": "full_shard"}
    actor: dict[str, Any] = {
        "group_name": "ActorGroup",
        "channel": {"name": "${env.channel.name}", "queue_name": "replay_buffer", "queue_size": 0},
        "training_backend": "fsdp",
        "micro_batch_size": micro,
        "global_batch_size": whole,
        "seed": 1234,
        "enable_offload": recipe.offload,
        "model": {
            "add_value_head": recipe.ppo,
            "is_lora": recipe.lora,
            "lora_path": "/path/to/lora" if recipe.lora else None,
            **({"unnorm_key": recipe.unnorm_key} if recipe.unnorm_key else {}),
        },
        "optim": {
            "lr": recipe.lr,
            "value_lr": recipe.value_lr,
            "adam_beta1": 0.9,
            "adam_beta2": 0.999,
            "adam_eps": 1e-8 if date == "v0.3" else 1e-5,
            "clip_grad": recipe.clip_grad,
        },
        "tokenizer": {"tokenizer_type": "HuggingFaceTokenizer", "use_fast": False},
    }
    if date == "2025-12":
        actor["checkpoint_load_path"] = "/path/to/model"
        actor["checkpoint_save_path"] = "${runner.logger.log_path}/ckpt"
        actor["model"] |= _model(recipe, date) | shared
        actor["fsdp_config"] = {"forward_prefetch": False, "limit_all_gathers": False}
    else:
        actor["model"]["model_path"] = "/path/to/model"
        actor["fsdp_config"] = {
            **shared,
            "mixed_precision": {
                "param_dtype": "${actor.model.precision}",
                "reduce_dtype": "${actor.model.precision}",
                "buffer_dtype": "${actor.model.precision}",
            },
        }
    return actor


def _model(recipe: Recipe, date: Date) -> dict[str, Any]:
    kind = "mlp_policy" if recipe.model == "mlp" and date == "v0.3" else recipe.model
    found: dict[str, Any] = {
        ("model_name" if date == "2025-12" else "model_type"): kind,
        "precision": recipe.precision,
        "action_dim": recipe.action_dim,
        "num_action_chunks": recipe.chunk,
        "vocab_size": 32000,
        "hidden_size": 4096,
        "image_size": [224, 224],
        "center_crop": True,
        "use_proprio": False,
        "use_film": False,
        "policy_setup": "panda-qpos" if recipe.model == "mlp" else "widowx_bridge",
        "attn_implementation": "flash_attention_2",
        "low_cpu_mem_usage": True,
        "trust_remote_code": True,
        "value_type": "${algorithm.reward_type}",
        "lora_rank": 32,
        "lora_alpha": 16,
        "num_images_in_input": 1,
        **recipe.settings,
    }
    if date == "v0.3" and recipe.model == "openvla_oft":
        found["implement_version"] = "rlinf"
    return found


def _write_groups(folder: Path, recipe: Recipe, date: Date) -> None:
    kind = "env_type" if date in ("v0.2", "v0.3") else "simulator_type"
    env = {kind: recipe.env.partition("_")[0], "seed": 0, "group_size": 1, **_ENVS[recipe.env]}
    video = {"save_video": True, "info_on_video": True}
    files: dict[str, Any] = {}
    for part in ("train", "eval"):
        content = deepcopy(env)
        content["video_cfg"] = video | {"video_base_dir": "${runner.logger.log_path}/video/eval"}
        if date == "2025-12":
            if part == "eval":
                content |= {"auto_reset": True, "ignore_terminations": True}
            files[f"env/{part}/{recipe.env_before}"] = content
        else:
            files[f"env/{recipe.env}"] = content | {"total_num_envs": None}
    if date != "2025-12":
        files[f"model/{recipe.model}"] = _model(recipe, date)
        files["training_backend/fsdp"] = {"strategy": "fsdp", "use_orig_params": False}
    for path, content in files.items():
        file = folder / f"{path}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(content, sort_keys=False))


_ENVS: dict[str, dict[str, Any]] = {
    PLATE: {
        "use_rel_reward": True,
        "init_params": {
            "id": "PutOnPlateInScene25Main-v3",
            "num_envs": None,
            "obs_mode": "rgb+segmentation",
            "control_mode": "None",
            "sim_backend": "gpu",
            "sim_config": {"sim_freq": 500, "control_freq": 5},
            "max_episode_steps": 80,
            "sensor_configs": {"shader_pack": "default"},
            "render_mode": "all",
            "obj_set": "train",
        },
    },
    CUBE: {
        "use_rel_reward": True,
        "reward_mode": "raw",
        "init_params": {
            "id": "PickCube-v1",
            "num_envs": None,
            "obs_mode": "state",
            "control_mode": None,
            "sim_backend": "gpu",
            "sim_config": {"sim_freq": 100, "control_freq": 20},
            "max_episode_steps": 50,
            "render_mode": "all",
        },
    },
    "libero_10": {
        "task_suite_name": "libero_10",
        "use_rel_reward": True,
        "reset_gripper_open": True,
        "is_eval": False,
        "use_ordered_reset_state_ids": False,
        "init_params": {"camera_heights": 256, "camera_widths": 256},
    },
    "behavior_r1pro": {
        "base_config_name": "r1pro_behavior",
        "task_idx": 0,
        "init_params": {"image_size": [224, 224]},
    },
    "isaaclab_stack_cube": {
        "init_params": {
            "id": "Isaac-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos-v0",
            "table_cam": {"height": 256, "width": 256},
            "task_description": "Stack the red block on the blue block",
        },
    },
}
