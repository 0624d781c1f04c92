"""Which policy it is: what its files hold, not what they are called or when they were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rlinf.config.schema import Config
from rlinf.runners import checkpoint


def policy_of(config: Config) -> dict[str, object]:
    """What decides which policy a run starts from, once `warmup.initial_weights` has chosen it.

    Two configurations with the same answer act alike, wherever their folders lie. Reads every file
    of the weights, unless they are a checkpoint's.
    """
    model, trained = config.actor.model, config.runner.ckpt_path
    folders = {"model": model.model_path, "adapter": getattr(model, "lora_path", None)}
    return {
        "settings": model.identity(),
        "seed": config.actor.seed,  # of the weights that no folder gives
        # It was verified against the sums in its manifest when it was chosen.
        "checkpoint": trained and _digest(checkpoint.sums_of(Path(trained))),
        **{name: path and content_of(Path(path).expanduser()) for name, path in folders.items()},
    }


def content_of(path: Path) -> str:
    """SHA-256 of a file or folder: of the names below the folder and of what the files hold."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    names = [file.relative_to(path).as_posix() for file in files]
    with ThreadPoolExecutor() as threads:
        return _digest(dict(zip(names, threads.map(checkpoint.sum_of, files), strict=True)))


def _digest(sums: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()
