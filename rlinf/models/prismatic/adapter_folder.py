"""What the folder of a LoRA adapter says: what it adds, and which model it was trained on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rlinf.config.base import ADAPTER_FILE
from rlinf.errors import UserError
from rlinf.models.prismatic.model_folder import SETTINGS_FILE, ModelFolder
from rlinf.models.prismatic.weight_content import (
    LowRank,
    StoredWeights,
    fingerprint,
    folded_share,
    model_fingerprint,
)
from rlinf.models.weight_files import weight_files

ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
RECORD_FILE = "rlinf_adapter.json"
"""Beside an adapter of ours: what PEFT's file has no place for."""
PREFIX = "base_model.model."
"""In front of the names of a PEFT file."""
FOLDED = "folded_in"
"""Key below `recipes.NOTED` in config.json: fingerprints of adapters that are in the weights."""
_UNSUPPORTED = {"use_dora": False, "bias": "none", "modules_to_save": None, "fan_in_fan_out": False}
_NAMELESS = {"", "."}


@dataclass(frozen=True)
class AdapterFolder:
    """A PEFT adapter on disk."""

    path: Path
    settings: Mapping[str, Any]  # adapter_config.json
    record: Mapping[str, Any]  # of an adapter of ours: recipe, base, lineage; else empty

    @property
    def base(self) -> str:
        """Name or path of the model it was trained on; empty where it is not known."""
        name = str(self.settings.get("base_model_name_or_path") or "").strip()
        return "" if name in _NAMELESS else name

    @property
    def lineage(self) -> list[str]:
        """Fingerprints of the adapters it was trained from, and its own."""
        return [*self.record.get("lineage", ()), self.fingerprint]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of its weights."""
        names = {plain_name(name): name for name in self._stored.names() if ".lora_" in name}
        return fingerprint(
            (plain, self._stored.shape(name), self._stored.read(name))
            for plain, name in sorted(names.items())
        )

    def base_fingerprint(self) -> str | None:
        """Of the model it was trained on: as recorded, or of the folder if it is here."""
        recorded = self.record.get("base")
        if recorded:
            return str(recorded)
        folder = Path(self.base).expanduser()
        if not self.base or not (folder / SETTINGS_FILE).is_file():
            return None
        return model_fingerprint(folder)

    def changes(self) -> dict[str, LowRank]:
        """Name of a weight -> what the adapter adds to it."""
        found = {}
        for name in self._stored.names():
            module = plain_name(name).removesuffix(".lora_A.weight")
            if module == plain_name(name):
                continue
            down = self._stored.read(name)
            up = self._stored.read(name.replace(".lora_A.", ".lora_B."))
            rank = len(down)
            scale = self._scale(module, rank)
            found[f"{module}.weight"] = LowRank(scale, down.reshape(rank, -1), up.reshape(-1, rank))
        return found

    def _scale(self, module: str, rank: int) -> float:
        """Alpha / r, or alpha / sqrt(r); a pattern names modules by the end of their names."""
        alpha = self.settings.get("lora_alpha", rank)
        for pattern, value in (self.settings.get("alpha_pattern") or {}).items():
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                alpha = value
                break
        return alpha / (math.sqrt(rank) if self.settings.get("use_rslora") else rank)

    @cached_property
    def _stored(self) -> StoredWeights:
        if not (self.path / ADAPTER_WEIGHTS_FILE).is_file():
            raise UserError(
                f"actor.model.lora_path = {self.path}: {ADAPTER_WEIGHTS_FILE} is missing",
                "copy or download the adapter again",
            )
        return StoredWeights([self.path / ADAPTER_WEIGHTS_FILE])


def read_adapter(folder: Path) -> AdapterFolder:
    """Reads what an adapter's folder says; its weights are read when they are asked for.

    Raises:
        UserError: if it is no adapter, or of a kind that is not supported.
    """
    settings = _read(folder, ADAPTER_FILE)
    for key, value in _UNSUPPORTED.items():
        if settings.get(key, value) not in (value, [], None):
            raise UserError(
                f"{folder / ADAPTER_FILE}: {key} = {settings[key]} is not supported",
                "use a plain LoRA adapter",
            )
    recorded = (folder / RECORD_FILE).is_file()
    return AdapterFolder(folder, settings, _read(folder, RECORD_FILE) if recorded else {})


def plain_name(name: str) -> str:
    """Name of a weight in an adapter's file or in a network, without what PEFT adds to it."""
    return re.sub(r"(\.lora_[AB])\.\w+\.weight$", r"\1.weight", name.removeprefix(PREFIX))


def check_adapter(adapter: AdapterFolder, model: ModelFolder, recorded: list[str]) -> None:
    """Refuses an adapter that is part of the model already, or that belongs to other weights.

    Args:
        adapter: to be put on the model.
        model: it is put on.
        recorded: what the model's config.json says is folded in.

    Raises:
        UserError: if so.
    """
    if adapter.fingerprint in recorded:
        raise _twice(adapter, model, "by the record in its config.json")
    base = adapter.base_fingerprint()
    if base is not None and base == model_fingerprint(model.path):
        return
    share = folded_share(adapter.changes(), StoredWeights(weight_files(model.path)))
    if share is not None and share > 0.5:
        raise _twice(adapter, model, f"by its weights, which hold {share:.2f} times its changes")
    if base is not None:
        raise UserError(
            f"actor.model.lora_path = {adapter.path}: the adapter was trained on "
            f"{adapter.base or 'another model'}, and the weights of {model.path} are others",
            "set actor.model.model_path to the model it was trained on",
        )


def other_base(adapter: AdapterFolder, model: ModelFolder) -> str | None:
    """A warning where only names can be compared, and they differ."""
    if not adapter.base or adapter.base_fingerprint() is not None:
        return None
    name = adapter.base.rstrip("/").rpartition("/")[2].lower()
    known = [*model.path.parts, *model.path.resolve().parts]
    known.append(str(model.settings.get("_name_or_path", "")).rstrip("/").rpartition("/")[2])
    # A cache of the hub keeps OWNER/MODEL in the folder models--OWNER--MODEL.
    if any(part.lower().rpartition("--")[2] == name for part in known):
        return None
    return (
        f"actor.model.lora_path = {adapter.path} was trained on {adapter.base}, by its "
        f"{ADAPTER_FILE}; actor.model.model_path = {model.path} has another name: on another "
        "model an adapter does harm"
    )


def _twice(adapter: AdapterFolder, model: ModelFolder, why: str) -> UserError:
    return UserError(
        f"actor.model.lora_path = {adapter.path}: it is already folded into the weights of "
        f"{model.path}, {why}; twice it ruins the model",
        "set actor.model.lora_path=null, or name the model without the adapter",
    )


def _read(folder: Path, name: str) -> dict[str, Any]:
    try:
        read = json.loads((folder / name).read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"actor.model.lora_path = {folder}: {name} cannot be read: {error}",
            "name the folder of a PEFT adapter",
        ) from error
    if not isinstance(read, dict):
        raise UserError(
            f"actor.model.lora_path = {folder}: {name} holds no object",
            "name the folder of a PEFT adapter",
        )
    return read
