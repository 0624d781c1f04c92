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
from rlinf.config.dialect import defaults, read_yaml
from rlinf.config.tree import Tree
from rlinf.convert.groups import known
from rlinf.errors import UserError


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
    with tempfile.TemporaryDirectory() as folder:
        stand_ins = _StandIns(Path(folder))
        for part in _parts(file):
            if not (file.parent / f"{part}.yaml").exists():
                stand_ins.add(part)
        config = _compose(file, stand_ins)
    unresolved: list[str] = []
    plain = _resolved(config, "", unresolved)
    return Foreign(plain, tuple(stand_ins.by_name), tuple(stand_ins.missing), tuple(unresolved))


class _StandIns:
    """A folder with what is known of group files that are missing; an empty file otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_name: list[str] = []
        self.missing: list[str] = []

    def add(self, part: str) -> bool:
        """Writes the stand-in of a group file; False where there is one already."""
        if part in (*self.by_name, *self.missing):
            return False
        content = known(part)
        (self.missing if content is None else self.by_name).append(part)
        path = self.folder / f"{part}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content or {}))
        return True


def _parts(file: Path) -> list[str]:
    """Group files that the main file names, as paths below its folder without `.yaml`."""
    entries = (e.partition("@")[0] for e in defaults(read_yaml(file)) if e != "_self_")
    parts = (entry.replace(": ", "/") for entry in entries if not entry.startswith("hydra/"))
    return list(dict.fromkeys(parts))


def _compose(file: Path, stand_ins: _StandIns) -> DictConfig:
    """The main file over its groups. A group file may name another one that is missing."""
    while True:
        try:
            return _compose_once(file, stand_ins.folder)
        except MissingConfigException as error:
            part = (error.missing_cfg_file or "").removesuffix(".yaml")
            if not part or not stand_ins.add(part):
                raise _unreadable(file, error) from error
        except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
            raise _unreadable(file, error) from error


def _compose_once(file: Path, stand_ins: Path) -> DictConfig:
    """As it was composed there; its own search path stays unused."""
    with (
        warnings.catch_warnings(),
        initialize_config_dir(str(file.parent.absolute()), version_base=None),
    ):
        warnings.filterwarnings("ignore", "(?s).*_self_.*")
        return compose(file.stem, [f"hydra.searchpath=[file://{stand_ins}]"])


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
