"""Other spellings of keys and values, in one place.

Recipes in circulation spell several keys in two ways. One spelling is ours; the others are read
as it, with a note. Both at once with different values is an error, unless one of them was given on
the command line: then that one counts.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlinf.config import tree
from rlinf.config.problems import Problem
from rlinf.config.tree import Tree

RENAMED: dict[str, str] = {
    "actor.checkpoint_load_path": "actor.model.model_path",
    "actor.fsdp_config.gradient_checkpointing": "actor.model.gradient_checkpointing",
    "actor.model.embodiment_tag": "actor.model.embodiment",
    "actor.model.implement_version": "actor.model.recipe",
    "actor.model.model_name": "actor.model.model_type",
    "actor.model.rl_head_config.ignore_last": "actor.model.ignore_last",
    "actor.model.rl_head_config.joint_logprob": "actor.model.joint_logprob",
    "actor.model.rl_head_config.noise_level": "actor.model.noise_level",
    "actor.model.rl_head_config.noise_method": "actor.model.noise_method",
    "actor.model.sharding_strategy": "actor.fsdp_config.sharding_strategy",
    "algorithm.auto_reset": "env.train.auto_reset",
    "algorithm.bootstrap_type": "algorithm.bootstrap",
    "algorithm.group_size": "env.train.group_size",
    "algorithm.ignore_terminations": "env.train.ignore_terminations",
    "algorithm.max_episode_steps": "env.train.max_episode_steps",
    "algorithm.reward_coef": "env.train.reward_coef",
    "algorithm.use_fixed_reset_state_ids": "env.train.use_fixed_reset_state_ids",
    "env.eval.env_type": "env.eval.simulator_type",
    "env.eval.num_envs": "env.eval.total_num_envs",
    "env.eval.rollout_epoch": "algorithm.eval_rollout_epoch",
    "env.train.env_type": "env.train.simulator_type",
    "env.train.rollout_epoch": "algorithm.rollout_epoch",
    "imitation.flawed_reach_m": "imitation.flaw",
    "rollout.actor.checkpoint_load_path": "actor.model.model_path",
    "rollout.model_dir": "rollout.model.model_path",
    "rollout.precision": "rollout.model.precision",
    "runner.eval_policy_path": "runner.ckpt_path",
}
"""Old key -> our key, same value."""

PRODUCTS: dict[str, tuple[str, str]] = {
    "algorithm.num_group_envs": ("env.train.total_num_envs", "env.train.group_size"),
    "algorithm.n_chunk_steps": (
        "env.train.max_steps_per_rollout_epoch",
        "actor.model.num_action_chunks",
    ),
}
"""Old key -> (our key, factor): our value is the old value times the factor's value."""

NEGATED: dict[str, str] = {
    "algorithm.sampling_params.use_greedy": "algorithm.sampling_params.do_sample",
}
"""Old key -> our key, which says the opposite."""

FOLLOWERS: dict[str, str] = {
    "rollout.model.model_path": "actor.model.model_path",
    "rollout.model.precision": "actor.model.precision",
}
"""Key -> the key whose value it must have; it gives way where that one was set by itself."""

_LEVELS = {"token_level": "token", "action_level": "action", "chunk_level": "chunk"}
_PRECISIONS = {"32": "fp32", "float32": "fp32", "bfloat16": "bf16"}
_PICTURES = {"rgb+segmentation": "rgb"}  # where a task needs the segmentation, it takes it
VALUES: dict[str, dict[str, str]] = {
    "actor.fsdp_config.mixed_precision.param_dtype": _PRECISIONS,
    "actor.fsdp_config.mixed_precision.reduce_dtype": _PRECISIONS,
    "actor.fsdp_config.strategy": {"fsdp": "fsdp2"},
    "actor.model.precision": _PRECISIONS,
    "actor.model.value_type": _LEVELS,
    "algorithm.adv_type": {
        "embodied_gae": "gae",
        "embodied_grpo": "grpo",
        "reinforce++": "reinforce_plus_plus",
        "reinforce++_baseline": "reinforce_plus_plus_baseline",
        "reinpp": "reinforce_plus_plus",
    },
    "algorithm.bootstrap": {"standard": "truncated"},
    "algorithm.entropy_type": _LEVELS,
    "algorithm.kl_penalty": {"kl": "k1", "mse": "k2", "low_var_kl": "k3"},
    "algorithm.logprob_type": _LEVELS,
    "algorithm.loss_type": {"embodied_ppo": "actor_critic", "embodied_grpo": "actor"},
    "algorithm.reward_type": _LEVELS,
    "env.eval.init_params.obs_mode": _PICTURES,
    "env.train.init_params.obs_mode": _PICTURES,
    "rollout.model.precision": _PRECISIONS,
}
"""Our key -> other spellings of its values."""


def let_command_line_win(config: DictConfig, given: Set[str]) -> None:
    """Makes values of the file that the command line spells otherwise follow it.

    It happens before interpolations are resolved, so that what refers to a key follows too.

    Args:
        config: the composed configuration; changed in place.
        given: dotted keys of the command line.
    """
    for old, new in RENAMED.items():
        for winner, other in ((old, new), (new, old)):
            if winner in given and other not in given and _holds(config, other):
                OmegaConf.update(config, other, f"${{{winner}}}", merge=False)
    for old, new in NEGATED.items():
        value = OmegaConf.select(config, old)
        if old in given and new not in given and isinstance(value, bool):
            OmegaConf.update(config, new, not value, force_add=True)
    for old, (new, factor) in PRODUCTS.items():
        if old in given and new not in given and isinstance(OmegaConf.select(config, old), int):
            known = OmegaConf.select(config, factor) is not None
            product = f"${{multiply:${{{old}}},${{{factor}}}}}" if known else f"${{{old}}}"
            OmegaConf.update(config, new, product, force_add=True)


def apply(config: Tree, given: Set[str] = frozenset()) -> tuple[list[str], list[Problem]]:
    """Rewrites `config` in place to our spellings.

    Args:
        config: the resolved configuration.
        given: dotted keys of the command line; each wins over the file's other spelling of it.

    Returns:
        A note per alias used, and the keys given twice with different values.
    """
    notes: list[str] = []
    problems: list[Problem] = []
    for key in [key for key in tree.keys(config) if tree.get(config, key) == "None"]:
        tree.put(config, key, None)
        notes.append(f"{key}: None is read as null")
    for old, new in RENAMED.items():
        if tree.has(config, old):
            _replace(config, old, new, tree.take(config, old), notes, problems)
    for old, new in NEGATED.items():
        if isinstance(tree.get(config, old), bool) and not _outdone(config, old, new, given, notes):
            _replace(config, old, new, not tree.take(config, old), notes, problems)
    for old, (new, factor_key) in PRODUCTS.items():
        factor = 1 if tree.get(config, factor_key) is None else tree.get(config, factor_key)
        numbers = isinstance(tree.get(config, old), int) and isinstance(factor, int)
        if numbers and not _outdone(config, old, new, given, notes):
            _replace(config, old, new, tree.take(config, old) * factor, notes, problems)
    for key in VALUES:
        value = tree.get(config, key)
        if canonical(key, value) != value:
            tree.put(config, key, canonical(key, value))
            notes.append(f"{key}: {value} is read as {canonical(key, value)}")
    ours = {RENAMED.get(key, key) for key in given}
    for follower, leader in FOLLOWERS.items():
        if leader in ours and follower not in ours:
            _outdone(config, follower, leader, {leader}, notes)
    return notes, problems


def _holds(config: DictConfig, key: str) -> bool:
    """Whether the dotted key is there, be its value None; nothing is resolved."""
    parent, _, name = key.rpartition(".")
    section = OmegaConf.select(config, parent)
    return isinstance(section, DictConfig) and name in section


def _outdone(config: Tree, old: str, new: str, given: Set[str], notes: list[str]) -> bool:
    """Removes the old key where the command line gives ours; returns whether it did."""
    if new not in given or old in given or not tree.has(config, old):
        return False
    value = tree.take(config, old)
    notes.append(f"{new} of the command line counts, not {old} = {value}")
    return True


def canonical(key: str, value: Any) -> Any:
    """Our spelling of a value of our key."""
    return VALUES.get(key, {}).get(str(value), value)


def _replace(
    config: Tree, old: str, new: str, value: Any, notes: list[str], problems: list[Problem]
) -> None:
    """Moves the value of an old key to ours; an unset (null) key never overwrites a set one."""
    present = tree.get(config, new)
    if value is None and tree.has(config, new):
        return
    if present is not None and canonical(new, present) != canonical(new, value):
        problems.append(
            Problem(
                f"{old} (read as {new} = {value}) and {new} = {present} differ",
                f"keep only {new}",
            )
        )
        return
    tree.put(config, new, value)
    notes.append(f"{old} is read as {new} = {value}")
