"""Recognises a configuration of the published RLinf, and its date, from the main file alone."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import yaml

from rlinf.config import tree
from rlinf.config.tree import Tree
from rlinf.errors import UserError

ConfigDialect = Literal["v0.1", "v0.2", "v0.3"]

GROUPS = ("env/", "model/", "training_backend/", "weight_syncer/")
"""Beginnings of entries of their defaults lists; ours have groups of one word (`env@env.train`)."""

MARKS = (
    "*.group_name",
    "*.channel",
    "actor.checkpoint_load_path",
    "actor.checkpoint_save_path",
    "actor.model.policy_setup",
    "actor.model.vocab_size",
    "actor.tokenizer",
    "algorithm.length_params",
    "algorithm.loss_agg_func",
    "algorithm.n_chunk_steps",
    "algorithm.n_eval_chunk_steps",
    "algorithm.num_group_envs",
    "critic.use_critic_model",
    "env.*.task_suite_name",
    "env.*.use_ordered_reset_state_ids",
    "reward.use_reward_model",
    "rollout.backend",
    "rollout.generation_backend",
    "rollout.mode",
    "runner.max_prompt_length",
    "runner.seq_length",
    "weight_syncer",
)
"""Keys that their files have and ours do not."""

_ENOUGH = 4
"""Marks that make a file theirs; a fragment of their documentation has fewer."""

_SINCE: tuple[tuple[ConfigDialect, tuple[str, ...]], ...] = (
    (
        "v0.3",
        (
            "algorithm.bootstrap_type",
            "env.eval.rollout_epoch",
            "env.train.rollout_epoch",
            "rollout.sampling_params",
            "runner.ckpt_path",
            "runner.weight_sync_interval",
            "weight_syncer",
        ),
    ),
    ("v0.2", ("actor.model.implement_version", "env.eval.env_type", "env.train.env_type")),
)
"""Version -> keys that appeared with it, newest version first."""


def read_yaml(file: Path) -> Tree:
    """The main file as it stands, nothing resolved.

    Raises:
        UserError: it is no YAML, or no map.
    """
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file.name}: {error}", "correct the file") from error
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}", "give a file you may read") from error
    if not isinstance(found, dict):
        raise UserError(f"{file.name} holds no keys", "give the path of a configuration")
    return {str(key): value for key, value in found.items()}


def is_foreign(plain: Tree) -> bool:
    """Whether a main file is one of theirs: by entries of its defaults list and by its keys."""
    keys = list(tree.keys(plain))
    marks = sum(any(fnmatchcase(key, mark) for key in keys) for mark in MARKS)
    return marks + sum(entry.startswith(GROUPS) for entry in defaults(plain)) >= _ENOUGH


def guess(plain: Tree) -> ConfigDialect:
    """The oldest version that has the newest of the keys; v0.1 stands for December 2025 too."""
    for version, keys in _SINCE:
        if any(tree.has(plain, key) for key in keys):
            return version
    return "v0.1"


def defaults(plain: Tree) -> list[str]:
    """Entries of the defaults list: `group: name` or `name`, without the word before it."""
    entries: list[Any] = plain.get("defaults") or []
    texts = []
    for entry in entries if isinstance(entries, list) else []:
        for key, name in entry.items() if isinstance(entry, dict) else [(entry, "")]:
            text = str(key).removeprefix("override ").removeprefix("optional ")
            if name is not None:
                texts.append(f"{text}: {name}" if name else text)
    return texts


def refuse(file: Path) -> None:
    """Raises the one thing there is to say about a file of theirs."""
    plain = read_yaml(file)
    if is_foreign(plain):
        raise UserError(
            f"{file.name} is a configuration of the published RLinf ({guess(plain)}): several of "
            "its keys have another meaning here, or none",
            f"rlinf convert {file} -o OURS.yaml writes what it means here",
        )
