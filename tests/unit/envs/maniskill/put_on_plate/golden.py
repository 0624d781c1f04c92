"""The recorded results of the published task classes; see the README beside them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.assets import GOLDEN

FOLDER = GOLDEN / "put_on_plate_25"
needs_recordings = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no recordings in {FOLDER} (RLINF_GOLDEN)"
)


def rows() -> list[dict[str, Any]]:
    """Every recorded start, of all environment ids."""
    found = []
    for file in sorted(FOLDER.glob("episodes_*.json")):
        content = json.loads(file.read_text())
        common = {key: content[key] for key in ("env_id", "obj_set") if key in content}
        found += [{**common, **row} for row in content["rows"]]
    return found


def totals() -> dict[tuple[str, str], int]:
    """Number of episodes of each (environment id, object set)."""
    found = {}
    for file in sorted(FOLDER.glob("episodes_*.json")):
        content = json.loads(file.read_text())
        count = content["total_num_trials"]
        if isinstance(count, int):
            found[content["env_id"], content["obj_set"]] = count
        else:
            found |= {tuple(key.split(":")): value for key, value in count.items()}
    return found


def rollouts() -> list[str]:
    """Names of the recorded action sequences."""
    return sorted(file.stem for file in FOLDER.glob("rollout_*.npz"))


def rollout(name: str) -> dict[str, np.ndarray]:
    """One of them."""
    with np.load(FOLDER / f"{name}.npz") as content:
        return dict(content)
