"""Reads a configuration of the published RLinf: its groups where the folder has them, the usual
ones by name where it has not.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlinf.config.compose import register_resolvers
from rlinf.config.convert.groups import known
from rlinf.config.tree import Tree
from rlinf.errors import UserError

_MOST_GROUPS = 32


@dataclass(frozen=True, slots=True)
class Foreign:
    """Their configuration, as far as it could be resolved."""

    plain: Tree
    by_name: tuple[str, ...]  # groups that the folder lacks and that are known by name
    missing: tuple[str, ...]  # groups that are not known either
    unresolved: tuple[str, ...]  # keys whose value refers to something that is not there


def read(file: Path) -> Foreign:
    """Composes `file` with its groups.

    Raises:
        UserError: it cannot be read.
    """
    register_resolvers()
    with tempfile.TemporaryDirectory() as stand_ins:
        by_name: list[str] = []
        missing: list[str] = []
        for _ in range(_MOST_GROUPS):
            try:
                config = _compose(file, stand_ins)
                break
            except MissingConfigException as error:
                part = (error.missing_cfg_file or "").removesuffix(".yaml")
                if not part or part in (*by_name, *missing):
                    raise _unreadable(file, error) from error
                content = known(part)
                (missing if content is None else by_name).append(part)
                _write(Path(stand_ins) / f"{part}.yaml", content or {})
            except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
                raise _unreadable(file, error) from error
        else:
            raise UserError(f"{file.name} names more than {_MOST_GROUPS} groups that are missing")
    unresolved: list[str] = []
    plain = _resolved(config, "", unresolved)
    return Foreign(plain, tuple(by_name), tuple(missing), tuple(unresolved))


def _compose(file: Path, stand_ins: str) -> DictConfig:
    """The main file over its groups, as it was composed there; its search path stays unused."""
    with (
        warnings.catch_warnings(),
        initialize_config_dir(str(file.parent.absolute()), version_base=None),
    ):
        warnings.filterwarnings("ignore", "(?s).*_self_.*")
        return compose(file.stem, [f"hydra.searchpath=[file://{stand_ins}]"])


def _write(path: Path, content: Tree) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))


def _unreadable(file: Path, error: Exception) -> UserError:
    first = next(iter(str(error).splitlines()), type(error).__name__)
    return UserError(f"{file.name} cannot be read: {first}", "correct the file")


def _resolved(node: DictConfig, above: str, unresolved: list[str]) -> Tree:
    """The values of a section; one that refers to nothing, or is `???`, is left out."""
    found: Tree = {}
    for name in node:
        key = above + str(name)
        try:
            value: Any = node[name]
            if isinstance(value, DictConfig):
                value = _resolved(value, f"{key}.", unresolved)
            elif OmegaConf.is_config(value):
                value = OmegaConf.to_container(value, resolve=True)
        except OmegaConfBaseException:
            unresolved.append(key)
            continue
        found[str(name)] = value
    return found
