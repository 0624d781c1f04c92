"""What the folders of `imitation.data` say of themselves, looked at without reading a row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rlinf.config.paths import expanded
from rlinf.config.problems import Problem
from rlinf.config.schema import Config

INFO = "meta/info.json"
ACTION, STATE = "action", "observation.state"


def check(config: Config) -> Iterator[Problem]:
    """The data sets fit together, and the policy takes actions of their size.

    Folders that are missing or damaged are reported by their readers.
    """
    settings = config.imitation
    if settings is None:
        return
    features = {folder: found for folder in settings.data if (found := _features(folder))}
    for name in (ACTION, STATE):
        yield from differences({at: _size(found, name) for at, found in features.items()}, name)
    model = config.actor.model
    for folder, found in features.items():
        size = _size(found, ACTION)
        if size not in (None, model.action_dim):
            yield Problem(
                f"imitation.data: the actions of {folder} have {size} dimensions, "
                f"actor.model.action_dim is {model.action_dim}",
                f"set actor.model.action_dim={size} if the simulator takes such actions, or use "
                "another data set",
            )


def differences(sizes: Mapping[str, int | None], feature: str) -> Iterator[Problem]:
    """Data sets whose rows have other sizes than those of the first.

    Args:
        sizes: folder -> numbers of the feature in a row; None: not known.
    """
    known = [(folder, size) for folder, size in sizes.items() if size is not None]
    for folder, size in known[1:]:
        first, expected = known[0]
        if size != expected:
            yield Problem(
                f"imitation.data: {feature} of {folder} has {size} numbers, that of {first} has "
                f"{expected}",
                "learn from data sets of one robot and one kind of action together, and from the "
                "others in a run of their own",
            )


def _features(folder: str) -> Mapping[str, Any]:
    try:
        found = json.loads((expanded(folder) / INFO).read_text())["features"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _size(features: Mapping[str, Any], name: str) -> int | None:
    """Numbers of a feature in a row; 0 where the data set has none of that name."""
    if name not in features:
        return 0
    match features[name]:
        case {"shape": [int(size)]}:
            return size
    return None
