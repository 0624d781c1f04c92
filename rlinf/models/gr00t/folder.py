"""What the folder of a GR00T-N1.5 model says about its sizes and its actions.

A published folder has config.json, safetensors and experiment_cfg/metadata.json. The tokenizer and
the sizes of the backbone are not in it: they come from a processor folder.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rlinf.errors import UserError
from rlinf.models.weight_files import read_header, weight_files

ROWS = ("min", "max", "mean", "std", "q01", "q99")
"""Statistics of each number of a key."""
METADATA = Path("experiment_cfg") / "metadata.json"
PROCESSOR = "processor"
"""Sub-folder in which our own saves keep the processor."""
PROCESSOR_REPOSITORY = "lerobot/eagle2hg-processor-groot-n1p5"
ADAPTED = {
    "language": r"backbone\.eagle_model\.language_model\.model\.layers\..+_proj",
    "head": r"action_head\.(vl_self_attention|model)\.transformer_blocks\.\d+\."
    r"(attn1\.(to_q|to_k|to_v|to_out\.0)|ff\.net\.(0\.proj|2))",
}
"""Part of the model -> names of its layers that get adapters: those of attention and perceptrons.
The head's encoders and decoder, which each embodiment has of its own, get none."""
_AGAIN = "copy or download the model folder again"


@dataclass(frozen=True, slots=True)
class HeadSizes:
    """Sizes of the action head."""

    slots: int  # embodiments with weights of their own
    state_dim: int  # with padding
    action_dim: int  # with padding
    horizon: int  # actions
    width: int  # E, of the head's tokens
    hidden: int  # of encoders and decoder, and of the DiT's output
    features: int  # D, width of what the head looks at
    future_tokens: int
    positions: int  # rows of the position embedding; 0: there is none
    norm: bool  # of the features
    heads: int
    layers: int
    looking_heads: int
    looking_layers: int


@dataclass(frozen=True, slots=True)
class FlowTraining:
    """How the velocity was learned."""

    steps: int  # N, denoising steps at inference
    buckets: int  # whole numbers that a time is counted in
    alpha: float  # of the Beta distribution of times
    beta: float
    scale: float


@dataclass(frozen=True)
class Gr00tFolder:
    """The files of a model, read and looked at once."""

    path: Path
    processor: Path
    settings: Mapping[str, Any]  # config.json
    backbone: Mapping[str, Any]  # config.json of the processor folder
    metadata: Mapping[str, Any]  # embodiment tag -> statistics, modalities

    @property
    def vision(self) -> Mapping[str, Any]:
        """Settings of SigLIP."""
        return self.backbone["vision_config"]

    @property
    def text(self) -> Mapping[str, Any]:
        """Settings of Qwen3, with all of its layers."""
        return self.backbone["text_config"]

    @property
    def text_layers(self) -> int:
        """Layers of Qwen3 that are kept."""
        kept = self.settings["backbone_cfg"]["select_layer"]
        layers = self.text["num_hidden_layers"]
        return kept if 0 < kept <= layers else layers

    @property
    def image_token(self) -> int:
        """Token whose embedding a part of a picture replaces."""
        return self.backbone["image_token_index"]

    @property
    def image_size(self) -> int:
        """Side of a picture in pixels."""
        return self.vision["image_size"]

    @property
    def patches(self) -> int:
        """Tokens of a picture."""
        return (self.image_size // self.vision["patch_size"]) ** 2

    @property
    def horizon(self) -> int:
        """Actions that the model gives."""
        return self.settings["action_head_cfg"]["action_horizon"]

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, read from the heads of the files."""
        return {
            name: tuple(entry["shape"])
            for path in weight_files(self.path)
            for name, entry in read_header(path)[0].items()
        }

    @property
    def head(self) -> HeadSizes:
        """Sizes of the action head; what config.json does not say is read from the weights."""
        given = self.settings["action_head_cfg"]
        dit, looking = given["diffusion_model_cfg"], given["vl_self_attention_cfg"]
        positions = self.shapes.get("action_head.position_embedding.weight", (1024,))[0]
        slots = self.shapes.get("action_head.state_encoder.layer1.W", (32,))[0]
        return HeadSizes(
            slots=slots,
            state_dim=given["max_state_dim"],
            action_dim=given["action_dim"],
            horizon=given["action_horizon"],
            width=given["input_embedding_dim"],
            hidden=given["hidden_size"],
            features=given["backbone_embedding_dim"],
            future_tokens=given["num_target_vision_tokens"],
            positions=positions if given["add_pos_embed"] else 0,
            norm=given["use_vlln"],
            heads=dit["num_attention_heads"],
            layers=dit["num_layers"],
            looking_heads=looking["num_attention_heads"],
            looking_layers=looking["num_layers"],
        )

    @property
    def training(self) -> FlowTraining:
        """How the velocity was learned."""
        given = self.settings["action_head_cfg"]
        return FlowTraining(
            steps=given["num_inference_timesteps"],
            buckets=given["num_timestep_buckets"],
            alpha=given["noise_beta_alpha"],
            beta=given["noise_beta_beta"],
            scale=given["noise_s"],
        )

    def num_parameters(self, prefix: str = "") -> int:
        """Weights whose names begin so."""
        return sum(
            _product(shape) for name, shape in self.shapes.items() if name.startswith(prefix)
        )

    def num_adapter(self, parts: Sequence[str], rank: int) -> int:
        """Weights of LoRA of this rank on parts of the model, see `ADAPTED`."""
        targets = re.compile("|".join(ADAPTED[part] for part in parts))
        return sum(
            rank * sum(shape)
            for name, shape in self.shapes.items()
            if name.endswith(".weight") and targets.fullmatch(name.removesuffix(".weight"))
        )

    def statistics(self, tag: str) -> Mapping[str, Any]:
        """`state` and `action` -> key -> min, max, mean, std, q01, q99 of an embodiment.

        Raises:
            UserError: the folder has none.
        """
        if tag not in self.metadata:
            raise UserError(
                f"{self.path / METADATA} has no statistics of the embodiment {tag}; it has those "
                f"of {', '.join(sorted(self.metadata)) or 'none'}",
                "choose one of them as actor.model.embodiment, or a model of this embodiment",
            )
        found = self.metadata[tag].get("statistics", {})
        for part in ("state", "action"):
            if not found.get(part):
                raise UserError(
                    f"{self.path / METADATA}: {tag} has no statistics of its {part}",
                    "fine-tune with imitation.statistics=data, or add them to the file",
                )
            for key, numbers in found[part].items():
                self._check_statistics(f"{tag}: {part}.{key}", numbers)
        return found

    def _check_statistics(self, name: str, numbers: Any) -> None:
        """Raises UserError unless there are all rows, of the same length, of finite numbers."""
        wrong = ""
        if not isinstance(numbers, dict) or any(row not in numbers for row in ROWS):
            wrong = f"lacks one of {', '.join(ROWS)}"
        elif not all(_finite(numbers[row]) for row in ROWS):
            wrong = "has statistics that are not lists of finite numbers"
        elif len({len(numbers[row]) for row in ROWS}) > 1:
            wrong = "has statistics of different lengths"
        elif any(low > high for low, high in zip(numbers["min"], numbers["max"], strict=True)):
            wrong = "has a min above its max"
        if wrong:
            raise UserError(
                f"{self.path / METADATA}: {name} {wrong}",
                "correct the file, or make it anew from data with imitation.statistics=data",
            )


def read(path: Path, processor: Path | None) -> Gr00tFolder:
    """Reads what says how to build the model; no weights.

    Raises:
        UserError: files are missing, damaged, or of another model.
    """
    settings = _json(path / "config.json")
    if settings.get("model_type") != "gr00t_n1_5" or "action_head_cfg" not in settings:
        raise UserError(
            f"{path / 'config.json'}: model_type is {settings.get('model_type')}, not gr00t_n1_5",
            "name a folder of GR00T-N1.5, such as one that NVIDIA's or LeRobot's 0.4 and 0.5 save",
        )
    found = _processor(path, processor)
    folder = Gr00tFolder(
        path, found, settings, _json(found / "config.json"), _json(path / METADATA)
    )
    try:
        _check(folder)
        assert folder.head and folder.training and folder.text_layers and folder.patches
        assert folder.image_token is not None
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path}: a setting of its config.json is missing: {error}", _AGAIN
        ) from error
    return folder


def _processor(path: Path, given: Path | None) -> Path:
    """The folder with the tokenizer: the given one, or one that lies in the model's."""
    places = [given] if given else [path / PROCESSOR, path]
    for place in places:
        has_words = (place / "tokenizer.json").is_file() or (
            (place / "vocab.json").is_file() and (place / "merges.txt").is_file()
        )
        if has_words and "text_config" in _json(place / "config.json"):
            return place
    raise UserError(
        f"{' and '.join(map(str, places))} lack the processor: config.json with text_config, and "
        "tokenizer.json, or vocab.json with merges.txt",
        f"GR00T-N1.5's folders come without; rlinf download {PROCESSOR_REPOSITORY}, and set "
        "actor.model.processor_path to the folder",
    )


def _check(folder: Gr00tFolder) -> None:
    head = folder.settings["action_head_cfg"]
    unusual = {
        "backbone_cfg.project_to_dim": (
            folder.settings["backbone_cfg"].get("project_to_dim"),
            None,
        ),
        "diffusion_model_cfg.norm_type": (head["diffusion_model_cfg"].get("norm_type"), "ada_norm"),
        "diffusion_model_cfg.interleave_self_attention": (
            head["diffusion_model_cfg"].get("interleave_self_attention"),
            True,
        ),
        "num_timestep_buckets": (head.get("num_timestep_buckets"), 1000),
        "noise_beta_beta": (head.get("noise_beta_beta"), 1.0),
        "use_pixel_shuffle": (folder.backbone.get("use_pixel_shuffle", False), False),
        "mlp_connector_layers": (folder.backbone.get("mlp_connector_layers", 1), 1),
    }
    whole, horizon = folder.settings.get("action_horizon"), head["action_horizon"]
    if whole not in (None, horizon):
        raise UserError(
            f"{folder.path / 'config.json'}: action_horizon = {whole}, but that of "
            f"action_head_cfg is {horizon}",
            "write the horizon that the weights were trained with into both",
        )
    for name, (found, known) in unusual.items():
        if found != known:
            raise UserError(
                f"{folder.path}: {name} = {found}: this implementation has only {known}, which "
                "GR00T-N1.5 has",
                "name a folder of GR00T-N1.5",
            )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing", _AGAIN) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", _AGAIN) from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no JSON object", _AGAIN)
    return found


def _finite(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(
        isinstance(number, int | float) and math.isfinite(number) for number in numbers
    )


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
