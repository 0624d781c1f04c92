"""Hydra composition: a config name and overrides become one plain, resolved dict.

Nothing of Hydra's application side happens: no working folder, no log files.
"""

from __future__ import annotations

import operator
import re
import shlex
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

import rlinf
from rlinf.config import tree
from rlinf.config.tree import Tree
from rlinf.errors import UserError

_INSTALLED = Path(__file__).parent / "shipped"
_CHECKOUT = Path(rlinf.__file__).parents[1] / "examples" / "embodiment" / "config"
CONFIG_DIR = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
"""The shipped configurations: those of a wheel, or of a checkout."""

_RESOLVERS: dict[str, Callable[[int, int], int]] = {
    "multiply": operator.mul,
    "int_div": operator.floordiv,
    "subtract": operator.sub,
}
"""Arithmetic in YAML: `${multiply:${a},2}`."""
_LACKING = re.compile(r"Could not (?:override|delete) '([\w/]+)'\. No match in the defaults list")
"""What Hydra says of an override of a group that the defaults list does not have."""


def locate(name_or_path: str) -> Path:
    """The YAML file of a shipped configuration's name, or of a path to one of the user's own."""
    path = Path(name_or_path).expanduser()
    if path.suffix == ".yml" and path.is_file():
        raise UserError(
            f"{path}: Hydra reads only files whose names end in .yaml",
            f"rename it: mv {shlex.quote(str(path))} {shlex.quote(str(path.with_suffix('.yaml')))}",
        )
    if path.suffix == ".yaml" and path.is_file():
        return path.absolute()
    shipped = CONFIG_DIR / f"{name_or_path.removesuffix('.yaml')}.yaml"
    if "/" not in name_or_path and shipped.is_file():
        return shipped
    if "=" in name_or_path:
        raise UserError(
            f"'{name_or_path}' stands where the name of a configuration belongs",
            "write the configuration first: rlinf train quickstart key=value ...",
        )
    names = sorted(file.stem for file in CONFIG_DIR.glob("*.yaml"))
    near = get_close_matches(path.stem, names, n=3, cutoff=0.4) or names
    raise UserError(
        f"there is no configuration '{name_or_path}' in {CONFIG_DIR}",
        f"choose one of {', '.join(near)}, or give the path of a .yaml file",
    )


def register_resolvers() -> None:
    """Makes the arithmetic known to OmegaConf."""
    for name, function in _RESOLVERS.items():
        OmegaConf.register_new_resolver(name, function, replace=True)


def compose(file: Path, overrides: Sequence[str], prepare: Callable[[DictConfig], None]) -> Tree:
    """Composes `file` with its defaults list and the overrides.

    Args:
        file: main YAML file; groups are looked up beside it, then among the shipped ones.
        overrides: `key=value` in Hydra's grammar; keys need not be in the YAML file.
        prepare: fills in values that interpolations refer to, before they are resolved.
    """
    register_resolvers()
    parsed = [_forced(override, file.parent) for override in _parse(overrides)]
    search = f"hydra.searchpath=[{_quoted(f'file://{CONFIG_DIR}')}]"
    try:
        with initialize_config_dir(str(file.parent), version_base=None):
            config = _composed(file.stem, [search, *parsed])
        OmegaConf.set_struct(config, False)
        prepare(config)
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingConfigException as error:
        raise _no_such_part(error, file) from error
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise UserError(f"{file.name}: {error}", "correct the file or the override") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _composed(name: str, overrides: Sequence[str]) -> DictConfig:
    """Composes; a group that the defaults list lacks is appended to it, or already left out.

    Which groups there are is known to Hydra alone, as the list may name files with lists.
    """
    try:
        return hydra_compose(name, list(overrides))
    except ConfigCompositionException as error:
        lacking = _LACKING.match(str(error))
        if lacking is None:
            raise
    group = lacking[1]
    others = [text for text in overrides if text.partition("=")[0] not in (group, f"~{group}")]
    appended = [f"+{text}" for text in overrides if text.startswith(f"{group}=")]
    return _composed(name, [*others, *appended])


def _no_such_part(error: MissingConfigException, file: Path) -> UserError:
    """A file of the defaults list, or of a group override, that is not there."""
    part = (error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, name = part.rpartition("/")
    roots = [root / group for root in (file.parent, CONFIG_DIR)]
    places = " or ".join({str(root): 0 for root in roots if root.is_dir()}) or str(roots[0])
    names = sorted({found.stem for root in roots for found in root.glob("*.yaml")} - {file.stem})
    return UserError(
        f"{file.name}: there is no {name}.yaml in {places}",
        f"choose one of {', '.join(get_close_matches(name, names, n=3) or names)}"
        if names
        else f"correct the name in the defaults list, or put {part}.yaml beside {file.name}",
    )


def _parse(overrides: Sequence[str]) -> list[Override]:
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except HydraException as error:
            key, _, value = text.partition("=")
            spelt = _spelt(value)
            if not value or spelt is None:
                raise _unreadable(text, error) from error
            try:
                parsed.append(parser.parse_override(f"{key}={spelt}"))
            except HydraException:  # it is the key
                raise _unreadable(text, error) from error
    return parsed


def given_keys(overrides: Sequence[str]) -> frozenset[str]:
    """Dotted keys whose values the overrides give; of a section those inside it."""
    given: set[str] = set()
    for override in _parse(overrides):
        key, value = override.key_or_group, override.value()
        if isinstance(value, dict):
            given |= set(tree.keys({str(name): inner for name, inner in value.items()}, key))
        elif not override.is_delete() and override.package is None:
            given.add(key)
    return frozenset(given)


def _unreadable(text: str, error: HydraException) -> UserError:
    return UserError(
        f"cannot read the override '{text}': {str(error).splitlines()[-1]}",
        "write key=value, lists as key=[a,b], and quote a text that begins with a bracket or a "
        "quote: \"key='[text'\"",
    )


def _spelt(value: str) -> str | None:
    """A value that Hydra's grammar cannot read, quoted: it is a text, or a list of texts.

    The grammar wants quotes around parentheses, `=`, `#`, umlauts and much else that paths have,
    and around what goes on after a bracket, such as `[::1]:6379`.
    None for a broken list, dictionary or quotation.
    """
    if value.startswith("[") and value.endswith("]"):
        words = [word.strip() for word in value[1:-1].split(",")]
        spelt = [word if _is_readable(word) else _spelt_text(word) for word in words]
        return None if None in spelt else f"[{','.join(map(str, spelt))}]"
    return _spelt_text(value)


def _spelt_text(value: str) -> str | None:
    goes_on = re.match(r"\[[^\[\],]*\][^\]]", value)
    return None if value.startswith(("[", "{", "'", '"')) and not goes_on else _quoted(value)


def _is_readable(value: str) -> bool:
    try:
        OverridesParser.create().parse_override(f"key={value}")
    except HydraException:
        return False
    return True


def _quoted(text: str) -> str:
    """A text in quotes, as Hydra's grammar reads it: whatever is in it stands for itself."""
    inside = re.sub(r"(\\*)'", lambda found: 2 * found[1] + r"\'", text)
    return "'" + re.sub(r"(\\+)$", lambda found: 2 * found[1], inside) + "'"


def _forced(override: Override, folder: Path) -> str:
    """The override as Hydra wants it: values may be new keys, a comma list is a plain string."""
    text = override.input_line
    assert text is not None
    key = override.key_or_group
    if key == "hydra" or key.startswith("hydra."):
        raise UserError(
            f"'{text}': Hydra's own settings have no effect here",
            "remove it; runner.logger.log_path says where logs go",
        )
    is_group = any((root / key).is_dir() for root in (folder, CONFIG_DIR))
    if is_group and not override.is_delete():
        if override.value() is None:
            return f"~{key}"  # a group that is set to null is left out
        if not isinstance(override.value(), str):
            roots = [root / key for root in (folder, CONFIG_DIR)]
            names = sorted({file.stem for root in roots for file in root.glob("*.yaml")})
            raise UserError(
                f"'{text}': {key} takes the name of a file in {roots[-1]}",
                f"choose one of {', '.join(names)}",
            )
    if is_group or override.package is not None or override.is_delete():
        return text
    value = text.partition("=")[2]
    if override.is_sweep_override():
        value = _quoted(value)
    return f"++{key}={value}"
