"""A configuration that travels with a policy: it names no place of the machine it was used on."""

from __future__ import annotations

from pathlib import Path

import yaml

from rlinf.config.schema import Config

FILE = "config.yaml"
"""Of the configuration, in a folder of a policy."""
OF_THE_MACHINE = (
    "cluster.node_groups",
    "cluster.ray_address",
    "cluster.ray_port",
    "runner.resume_dir",
    "runner.ckpt_path",
    "runner.logger.log_path",
    "env.train.video_cfg.video_base_dir",
    "env.eval.video_cfg.video_base_dir",
    "env.train.python",
    "env.eval.python",
    "actor.model.model_path",
    "actor.model.lora_path",
    "imitation",
)
"""Keys that are left out: they name places of the machine that it ran on."""


def portable(config: Config) -> str:
    """The configuration as YAML, without what is true of one machine alone."""
    plain = yaml.safe_load(config.to_yaml())
    for key in OF_THE_MACHINE:
        *parents, last = key.split(".")
        section = plain
        for parent in parents:
            section = section.get(parent) or {}
        section.pop(last, None)
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    return text


def write(config: Config, folder: Path) -> None:
    """Writes it into the folder of a policy."""
    (folder / FILE).write_text(portable(config), encoding="utf-8")
