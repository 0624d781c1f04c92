"""What the folder of an OpenVLA model says about its sizes, its actions and its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlinf.config.base import ADAPTER_FILE, Footprint
from rlinf.errors import UserError

ACTION_BINS = 256
PROMPT_TOKENS = 40
"""Text of an observation, with the template: an instruction of a dozen words."""
UNCOUNTED = 2.5
"""What users of the original code report for a sample without checkpointing and with adapters, over
what its tensors have: 5.2 GB for 2.1."""
SETTINGS_FILE = "config.json"
STATISTICS_FILE = "dataset_statistics.json"
_SUFFIXES = ("_no_noops", "_trajall")
"""Ends of the names of a data set's variants: without idle actions, with every trajectory."""
_TOWER_DEFAULTS = {
    "patch_size": 16,
    "embed_dim": 768,
    "depth": 12,
    "num_heads": 12,
    "mlp_ratio": 4.0,
    "class_token": True,
    "no_embed_class": False,
    "reg_tokens": 0,
    "init_values": None,
    "global_pool": "token",
}
"""What timm's VisionTransformer has by default."""
_DINO_L = {
    "patch_size": 14,
    "embed_dim": 1024,
    "depth": 24,
    "num_heads": 16,
    "init_values": 1e-5,
    "reg_tokens": 4,
    "no_embed_class": True,
}
_SIGLIP_SO400M = {
    "patch_size": 14,
    "embed_dim": 1152,
    "depth": 27,
    "num_heads": 16,
    "mlp_ratio": 3.7362,
    "class_token": False,
    "global_pool": "map",
}
_KNOWN_TOWERS: dict[str, Mapping[str, Any]] = {
    "vit_large_patch14_reg4_dinov2.lvd142m": _DINO_L,
    "vit_so400m_patch14_siglip_224": _SIGLIP_SO400M,
}


@dataclass(frozen=True, slots=True)
class Tower:
    """A vision transformer that turns a picture into patches x width features."""

    width: int
    depth: int  # blocks; the last one is stored and never computed
    heads: int
    mlp_width: int
    patch: int  # pixels
    patches: int  # of a picture
    prefix: int  # class and register tokens in front of the patches
    layer_scale: bool
    pooling: bool  # an attention-pooling head is stored, and never computed

    def num_parameters(self, depth: int | None = None, head: bool = True) -> int:
        """Of all blocks, or of the first `depth`; `head`: with what follows the blocks."""
        width, hidden = self.width, self.mlp_width
        attention = 4 * width * width + 4 * width
        mlp = 2 * width * hidden + hidden + width
        block = attention + mlp + 4 * width + 2 * width * self.layer_scale
        embedding = (3 * self.patch**2 + 1 + self.patches + self.prefix) * width
        pool = (attention + mlp + 3 * width) * self.pooling  # a latent and a norm beside the two
        blocks = self.depth if depth is None else depth
        return embedding + blocks * block + (2 * width + pool) * head


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a prismatic VLA: two vision towers, a projector and a Llama."""

    towers: tuple[Tower, Tower]  # DINOv2, SigLIP
    image_size: int  # pixels
    vocabulary: int  # rows of embedding and output head
    padding: int  # of these, at the end, without meaning
    pad_token: int
    width: int
    layers: int
    heads: int
    key_heads: int
    mlp_width: int
    rms_norm_eps: float
    rope_theta: float
    max_positions: int

    @property
    def patches(self) -> int:
        """Image tokens of one picture."""
        return self.towers[0].patches

    @property
    def text_vocabulary(self) -> int:
        """Tokens with a meaning; the last 256 of them stand for actions."""
        return self.vocabulary - self.padding

    @property
    def projector(self) -> tuple[int, int, int]:
        """Widths: features of both towers, hidden, language model."""
        features = sum(tower.width for tower in self.towers)
        return features, 4 * features, self.width

    def num_parameters(self) -> int:
        """Of the published model: everything that is stored, used or not."""
        return self._projector() + self._language() + sum(t.num_parameters() for t in self.towers)

    def num_computed(self) -> int:
        """Of what a forward pass reaches."""
        seen = sum(t.num_parameters(t.depth - 1, head=False) for t in self.towers)
        return self._projector() + self._language() + seen

    def num_adapter(self, rank: int) -> int:
        """Of LoRA of this rank on every linear layer and patch convolution that is computed."""
        features, hidden, width = self.projector
        key_width = self.key_heads * width // self.heads
        shapes = [(features, hidden), (hidden, width), (width, width), (width, self.vocabulary)]
        layer = [(width, width)] * 2 + [(width, key_width)] * 2
        layer += [(width, self.mlp_width)] * 2 + [(self.mlp_width, width)]
        shapes += layer * self.layers
        for tower in self.towers:
            block = [(tower.width, 3 * tower.width), (tower.width, tower.width)]
            block += [(tower.width, tower.mlp_width), (tower.mlp_width, tower.width)]
            shapes += block * (tower.depth - 1) + [(3 * tower.patch**2, tower.width)]
        return rank * sum(inputs + outputs for inputs, outputs in shapes)

    def footprint(
        self, views: int, actions: int, parallel: bool, checkpointing: bool, form: int
    ) -> Footprint:
        """Memory of passes over one sample.

        A layer of the language model keeps 12 tensors of its width and 4 of its perceptron's per
        position; acting, 4 and 3 are there at a time. Checkpointing keeps a layer's input alone.

        Args:
            views: pictures of an observation.
            actions: action tokens of a chunk.
            parallel: whether they are decoded in one pass.
            form: bytes of a number.
        """
        positions = views * self.patches + PROMPT_TOKENS + actions
        layer = form * positions * (12 * self.width + 4 * self.mlp_width)
        inputs = form * positions * self.width * self.layers
        seen = [views * form * (t.patches + t.prefix) * (t.depth - 1) for t in self.towers]
        inputs += sum(n * t.width for n, t in zip(seen, self.towers, strict=True))
        whole = layer * self.layers
        whole += sum(
            n * (12 * t.width + 2 * t.mlp_width) for n, t in zip(seen, self.towers, strict=True)
        )
        key_width = self.key_heads * self.width // self.heads
        cache = 0 if parallel else form * positions * 2 * self.layers * key_width
        return Footprint(
            kept=inputs if checkpointing else round(whole * UNCOUNTED),
            live=layer,
            acting=form * positions * (4 * self.width + 3 * self.mlp_width),
            cache=cache,
            layer=self._layer(),
            outside=2 * self.vocabulary * self.width + self._projector(),
        )

    def _layer(self) -> int:
        width, key_width = self.width, self.key_heads * self.width // self.heads
        return 2 * width * width + 2 * width * key_width + 3 * width * self.mlp_width + 2 * width

    def _projector(self) -> int:
        features, hidden, width = self.projector
        return (features + 1) * hidden + (hidden + 1) * width + (width + 1) * width

    def _language(self) -> int:
        return 2 * self.vocabulary * self.width + self.layers * self._layer() + self.width


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What `config.json` and `dataset_statistics.json` of a model folder say."""

    path: Path
    architecture: Architecture
    statistics: Mapping[str, Any]  # name of the data set -> its statistics
    settings: Mapping[str, Any]  # config.json as it is
    tuned: tuple[str, ...] = ()  # data sets in the dataset_statistics.json of the last fine-tuning

    def data_set(self, name: str) -> tuple[str, str]:
        """Full name of a data set, and why it was taken where it is not the name itself.

        `X` also finds `X_no_noops`, then the one name that differs from it in `_no_noops` and
        `_trajall` alone, then the only one there is.

        Raises:
            UserError: if there is none.
        """
        for key in (name, f"{name}_no_noops"):
            if key in self.statistics:
                return key, "" if key == name else f"for {name}, without idle actions"
        alike = [key for key in self.statistics if _stem(key) == _stem(name)]
        if len(alike) == 1:
            return alike[0], f"for {name}, which the folder lacks: the names differ in a suffix"
        if len(self.statistics) == 1:
            return next(iter(self.statistics)), f"for {name}, which the folder lacks: its only one"
        raise self._no_data_set(name)

    def statistics_of(self, name: str) -> tuple[str, Mapping[str, Any]]:
        """The statistics of a data set and its full name, as `data_set` finds it."""
        key, _ = self.data_set(name)
        return key, self.statistics[key]

    def _no_data_set(self, name: str) -> UserError:
        known = ", ".join(sorted(self.statistics)) or "none"
        tuned = f" ({STATISTICS_FILE} has {', '.join(self.tuned[:3])})" if self.tuned else ""
        return UserError(
            f"actor.model.unnorm_key = {name}: {self.path} has no statistics of that name; "
            f"there are {known}",
            f"set actor.model.unnorm_key to the data set the model was trained on{tuned}"
            if self.statistics
            else f"put the {STATISTICS_FILE} of the fine-tuning into the folder",
        )

    def action_dim(self, name: str) -> int:
        """Numbers in an action, by the statistics of a data set."""
        key, found = self.statistics_of(name)
        try:
            return len(found["action"]["q01"])
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{self.path}: the statistics of {key} have no action.q01",
                "take config.json or dataset_statistics.json from the original folder",
            ) from error

    def lowest_gripper(self, name: str) -> tuple[str, float]:
        """The full name of a data set, and the smallest number of its gripper."""
        key, found = self.statistics_of(name)
        try:
            action = found["action"]
            return key, float(action.get("min", action["q01"])[-1])
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise UserError(
                f"{self.path}: the statistics of {key} have no numbers in action.min or action.q01",
                "take config.json or dataset_statistics.json from the original folder",
            ) from error

    def proprio_of(self, name: str) -> Mapping[str, Any]:
        """The statistics of the robot's state in a data set."""
        key, found = self.statistics_of(name)
        if "q01" not in found.get("proprio", {}):
            raise UserError(
                f"actor.model.use_proprio = true: the statistics of {key} in {self.path} have none "
                "of the robot's state",
                "set actor.model.use_proprio=false, or take the dataset_statistics.json of the "
                "fine-tuning",
            )
        return found["proprio"]


ARCHITECTURE_7B = Architecture(
    towers=(
        Tower(1024, 24, 16, 4096, 14, 256, 5, True, False),
        Tower(1152, 27, 16, 4304, 14, 256, 0, False, True),
    ),
    image_size=224,
    vocabulary=32064,
    padding=64,
    pad_token=32000,
    width=4096,
    layers=32,
    heads=32,
    key_heads=32,
    mlp_width=11008,
    rms_norm_eps=1e-6,
    rope_theta=10000.0,
    max_positions=2048,
)
"""Sizes of openvla-7b and of what is fine-tuned from it."""


def read_folder(path: Path, adapter: Path | None = None) -> ModelFolder:
    """Reads sizes and statistics of a model folder; no weights, no code.

    Args:
        adapter: folder of an adapter for it, which may bring statistics of its own.

    Raises:
        UserError: if it is no folder of this kind.
    """
    if (path / ADAPTER_FILE).is_file() and not (path / SETTINGS_FILE).is_file():
        raise UserError(
            f"actor.model.model_path = {path}: this is a LoRA adapter, not a model",
            "set actor.model.lora_path to it, and model_path to the model it was trained on",
        )
    settings = _read_json(path / SETTINGS_FILE)
    statistics = dict(settings.get("norm_stats") or {})
    for place in (path, adapter or path):
        found = place / STATISTICS_FILE
        tuned = _read_json(found) if found.is_file() else {}
        statistics.update(tuned)
    try:
        architecture = _architecture(settings)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path / 'config.json'} does not describe an OpenVLA model: {error}",
            "name a folder in the layout of openvla/openvla-7b",
        ) from error
    return ModelFolder(path, architecture, statistics, settings, tuple(sorted(tuned)))


def _stem(data_set: str) -> str:
    """Name of a data set without what marks its variants."""
    while data_set.endswith(_SUFFIXES):
        for suffix in _SUFFIXES:
            data_set = data_set.removesuffix(suffix)
    return data_set


def _read_json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read: {error}", "copy or download the model folder again"
        ) from error
    if not isinstance(read, dict):
        raise UserError(f"{path} holds no object", "copy or download the model folder again")
    return read


def _architecture(settings: Mapping[str, Any]) -> Architecture:
    """Sizes from `config.json`; what `text_config` leaves out has LlamaConfig's default."""
    text, names = settings["text_config"], settings["timm_model_ids"]
    given = settings.get("timm_model_kwargs") or [_KNOWN_TOWERS.get(name) for name in names]
    size = settings["image_sizes"][0]
    if len(names) != 2 or None in given:
        raise ValueError(f"timm_model_ids = {names}; known are {', '.join(_KNOWN_TOWERS)}")
    if settings.get("n_action_bins", ACTION_BINS) != ACTION_BINS:
        raise ValueError(f"n_action_bins = {settings['n_action_bins']}, not {ACTION_BINS}")
    dino, siglip = (_tower(_TOWER_DEFAULTS | dict(tower), size) for tower in given)
    if dino.patches != siglip.patches:
        raise ValueError(f"the towers see {dino.patches} and {siglip.patches} patches")
    heads = text.get("num_attention_heads", 32)
    return Architecture(
        towers=(dino, siglip),
        image_size=size,
        vocabulary=text.get("vocab_size", 32000),
        padding=settings.get("pad_to_multiple_of", 64),
        pad_token=settings.get("pad_token_id", 32000),
        width=text.get("hidden_size", 4096),
        layers=text.get("num_hidden_layers", 32),
        heads=heads,
        key_heads=text.get("num_key_value_heads") or heads,
        mlp_width=text.get("intermediate_size", 11008),
        rms_norm_eps=text.get("rms_norm_eps", 1e-6),
        rope_theta=text.get("rope_theta", 10000.0),
        max_positions=text.get("max_position_embeddings", 2048),
    )


def _tower(settings: Mapping[str, Any], image_size: int) -> Tower:
    if settings["class_token"] and not settings["no_embed_class"]:
        raise ValueError("a tower with a position embedding on its class token")
    return Tower(
        width=settings["embed_dim"],
        depth=settings["depth"],
        heads=settings["num_heads"],
        mlp_width=int(settings["embed_dim"] * settings["mlp_ratio"]),
        patch=settings["patch_size"],
        patches=(image_size // settings["patch_size"]) ** 2,
        prefix=settings["class_token"] + settings["reg_tokens"],
        layer_scale=bool(settings["init_values"]),
        pooling=settings["global_pool"] == "map",
    )
