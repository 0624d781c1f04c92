"""Settings of GR00T-N1.5."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from rlinf.config.base import Count, Footprint, Precision, Spaces
from rlinf.config.paths import PathText, exists
from rlinf.config.problems import Problem, missing_packages
from rlinf.data.conventions import ActionConvention
from rlinf.errors import UserError
from rlinf.models.flow.config import FlowConfig
from rlinf.models.gr00t import folder as folders
from rlinf.models.gr00t.embodiments import BUILT_IN, Embodiment, embodiment
from rlinf.models.gr00t.folder import Gr00tFolder
from rlinf.models.gr00t.footprint import PUBLISHED, footprint, sizes_of
from rlinf.models.prismatic import conventions
from rlinf.models.prismatic.conventions import ConventionName
from rlinf.models.weight_files import weight_files

PACKAGES = ("transformers", "tokenizers", "yaml")
PARAMETERS, HEAD_PARAMETERS = 2_413_500_000, 1_068_800_000
"""Of the published model, for estimates while there is no folder."""
ADAPTED_WIDTHS = {"language": 466_944, "head": 598_016}
"""Inputs and outputs of all adapted layers of the published model."""
KEPT_INSTRUCTION = 64
"""Tokens of an instruction, and of what stands around it, that kept features have room for."""
_TEMPLATE = 64
_BYTES = {"fp32": 4, "bf16": 2}


class Gr00tConfig(FlowConfig):
    """GR00T-N1.5: a vision-language backbone that is frozen, and a head that denoises actions."""

    views_key = "embodiment"
    same_weights = (*FlowConfig.same_weights, "keep_features", "processor_path")
    meaning = ("embodiment", "padding")

    model_type: Literal["gr00t"]
    """Name of the policy class."""
    model_path: PathText
    """Folder in the layout of nvidia/GR00T-N1.5-3B: config.json, weights, metadata."""
    processor_path: PathText | None = None
    """Folder with the tokenizer and the backbone's config.json, which published folders lack; None
    looks into `processor` below the model folder, and into that itself."""
    precision: Precision = "bf16"
    """Number format of the forward pass."""
    gradient_checkpointing: Literal[False] = False
    """The head alone is trained: its activations are small."""
    action_dim: Count = 7
    """A, size of one action; that of the statistics."""
    num_action_chunks: Count = 5
    """C, actions that are executed of those the model gives."""
    embodiment: str = "libero_franka"
    """Views, state and actions: `libero_franka`, `isaaclab_franka`, `maniskill_widowx`,
    `new_embodiment`, or the path of a .yaml file that describes yours."""
    action_convention: Literal["auto"] | ConventionName = "auto"
    """What the numbers of an action mean; they are converted to what the simulator takes. `auto`
    follows the embodiment, `native` passes them on as they are."""
    padding: Literal["masked", "flash"] = "masked"
    """Instructions of a batch differ in length. `masked`: padding is not looked at, so that an
    action does not depend on the other rows. `flash`: it is, as in the original with flash-attn."""
    critic: Literal["state", "chain"] = "state"
    """What the critic reads: what the head looks at and the robot's state, or the head's numbers
    for the actions at the stochastic step, as in RLinf's first release."""
    keep_features: bool = False
    """Keep the backbone's features from rollout to update, which then does not compute them again:
    faster, and 2.3 MB more for each sample of the published model."""

    is_lora: bool = False
    """Train low-rank adapters; what they adapt is left as it is."""
    lora_parts: Literal["head", "language", "both"] = "head"
    """What gets adapters: the action head, in place of its own weights; the language model, beside
    the whole head; or both."""
    lora_rank: Count = 32
    """Rank of the adapters; alpha is the same, so their scale is 1."""

    @model_validator(mode="after")
    def _features(self) -> Self:
        if self.keep_features and "language" in self.adapted_parts:
            raise ValueError(
                "keep_features needs a frozen backbone; lora_parts trains its language model"
            )
        if self.keep_features and self.padding == "flash":
            raise ValueError("keep_features needs padding: masked, as kept features are padded")
        return self

    @property
    def adapted_parts(self) -> tuple[str, ...]:
        """Parts of the model with adapters."""
        if not self.is_lora:
            return ()
        return ("language", "head") if self.lora_parts == "both" else (self.lora_parts,)

    @property
    def trains_head(self) -> bool:
        """Whether the head's own weights are trained."""
        return "head" not in self.adapted_parts

    @property
    def trains_adapters(self) -> bool:
        return self.is_lora

    def without_effect(self) -> Iterator[tuple[str, str]]:
        if not self.is_lora:
            yield "lora_parts", "is_lora = false"
            yield "lora_rank", "is_lora = false"

    def folder(self) -> Gr00tFolder:
        """What the files say."""
        processor = Path(self.processor_path).expanduser() if self.processor_path else None
        return folders.read(Path(self.model_path).expanduser(), processor)

    def resolved_embodiment(self) -> Embodiment:
        """The embodiment of the name or the file."""
        if self.embodiment in BUILT_IN:
            return BUILT_IN[self.embodiment]
        return embodiment(self.embodiment, self.folder())

    def resolved_convention(self) -> ConventionName:
        """The given convention, or else that of the embodiment."""
        if self.action_convention != "auto":
            return self.action_convention
        try:
            return self.resolved_embodiment().convention
        except UserError:  # reported by `problems`
            return "native"

    def emits(self) -> ActionConvention | None:
        return conventions.DATA_SETS.get(self.resolved_convention())

    def identity(self) -> dict[str, object]:
        given = super().identity()
        del given["processor_path"]
        found = self.resolved_embodiment().model_dump(mode="json")
        return given | {"embodiment": found, "action_convention": self.resolved_convention()}

    @property
    def horizon(self) -> int:
        return self.folder().horizon

    def notes(self) -> list[str]:
        if not exists(self.model_path):
            return []  # reported with what is missing on this machine
        one = self.resolved_embodiment()
        return [
            f"model {self.model_path}: embodiment {one.tag} (weights {one.slot}), "
            f"{self.num_action_chunks} of {self.horizon} actions, padding {self.padding}, "
            f"critic of the {self.critic}"
        ]

    def problems(self) -> Iterator[Problem]:
        needed = (*PACKAGES, "peft") if self.is_lora else PACKAGES
        yield from missing_packages(needed, self.model_type)
        if not exists(self.model_path):
            return  # reported with what is missing on this machine
        try:
            self._check()
        except UserError as error:
            yield Problem(error.message, error.fix)

    def warnings(self) -> Iterator[str]:
        if not exists(self.model_path):
            return
        one = self.resolved_embodiment()
        statistics = self.folder().statistics(one.tag)
        effects = {"state": "the model does not see it", "action": "the policy never changes it"}
        for part, keys in (("state", one.state), ("action", one.action)):
            for key in keys if one.normaliser == "min_max" else ():
                numbers = statistics[part][key]
                same = [i for i, low in enumerate(numbers["min"]) if low == numbers["max"][i]]
                if same and (part == "action" or one.state_form == "normalised"):
                    yield (
                        f"{self.model_path}: the statistics of {one.tag} have min = max for "
                        f"number {', '.join(map(str, same))} of {part}.{key}: {effects[part]}"
                    )

    def _check(self) -> None:
        folder = self.folder()
        weight_files(folder.path)
        one = embodiment(self.embodiment, folder)
        statistics = folder.statistics(one.tag)
        for part, keys in (("state", one.state), ("action", one.action)):
            missing = [key for key in keys if key not in statistics[part]]
            if missing:
                raise UserError(
                    f"actor.model.embodiment = {self.embodiment}: the statistics of {one.tag} in "
                    f"{self.model_path} lack {part}.{missing[0]}; they have "
                    f"{', '.join(statistics[part])}",
                    "choose another embodiment or model, or describe yours in a .yaml file",
                )
        actions = {key: len(statistics["action"][key]["min"]) for key in one.action}
        if sum(actions.values()) != self.action_dim:
            raise UserError(
                f"actor.model.action_dim = {self.action_dim}: an action of {one.tag} has "
                f"{sum(actions.values())} numbers",
                f"set actor.model.action_dim={sum(actions.values())}",
            )
        if self.num_action_chunks > folder.horizon:
            raise UserError(
                f"actor.model.num_action_chunks = {self.num_action_chunks}: the model gives "
                f"{folder.horizon} actions",
                f"set actor.model.num_action_chunks={folder.horizon} or fewer",
            )
        if all(
            statistics["action"][key]["min"] == statistics["action"][key]["max"]
            for key in one.action
        ):
            raise UserError(
                f"{self.model_path}: the statistics of {one.tag} have min = max for all of its "
                "action: the policy would never move",
                "take a model whose data moves, or fine-tune with imitation.statistics=data",
            )
        slots = folder.head.slots
        if one.slot >= slots:
            raise UserError(
                f"actor.model.embodiment = {self.embodiment}: its slot is {one.slot}, the model "
                f"has weights 0 to {slots - 1}",
                "correct the slot",
            )
        for key, places in one.columns().items():
            size = len(statistics["state"][key]["min"])
            if one.state_form == "normalised" and len(places) != size:
                raise UserError(
                    f"actor.model.embodiment = {self.embodiment}: state.{key} has {len(places)} "
                    f"numbers, its statistics have {size}",
                    "correct the part of the simulator's state that it names",
                )

    def spaces(self) -> Spaces:
        try:
            one = self.resolved_embodiment()
        except UserError:  # reported by `problems`
            return Spaces("images", None, None, self.action_dim)
        return Spaces(
            "images", None, None, self.action_dim, None, one.views, tuple(one.reads.items())
        )

    def observation_bytes(self, shown: Spaces) -> int:
        height, width = shown.image_size or (256, 256)
        pictures = (shown.num_views or 1) * height * width * 3
        return pictures + (self.feature_bytes() if self.keep_features else 0)

    def feature_bytes(self) -> int:
        """Of one observation's features."""
        if not exists(self.model_path):
            return 570 * 2048 * _BYTES[self.precision]
        folder = self.folder()
        tokens = self.kept_tokens(folder)
        return tokens * folder.head.features * _BYTES[self.precision]

    def kept_tokens(self, folder: Gr00tFolder) -> int:
        """L of kept features, the same for all rows: with room for an instruction."""
        views = len(self.resolved_embodiment().views)
        return views * (folder.patches + 16) + _TEMPLATE + KEPT_INSTRUCTION

    def footprint(self) -> Footprint:
        try:
            sizes, views = sizes_of(self.folder()), len(self.resolved_embodiment().views)
        except UserError:  # reported by `problems`
            sizes, views = PUBLISHED, 2
        return footprint(
            sizes,
            self.num_parameters(),
            views,
            KEPT_INSTRUCTION,
            self.denoising_steps if self.joint_logprob else 1,
            "language" in self.adapted_parts,
            _BYTES[self.precision],
        )

    def num_parameters(self) -> int:
        return self._own(PARAMETERS, "") + self._adapter() + self._extra()

    def num_trainable(self) -> int:
        head = self._own(HEAD_PARAMETERS, "action_head.") if self.trains_head else 0
        return head + self._adapter() + self._extra()

    def _adapter(self) -> int:
        if not self.is_lora:
            return 0
        try:
            return self.folder().num_adapter(self.adapted_parts, self.lora_rank)
        except UserError:  # reported by `problems`
            return self.lora_rank * sum(ADAPTED_WIDTHS[part] for part in self.adapted_parts)

    def _own(self, published: int, prefix: str) -> int:
        try:
            return self.folder().num_parameters(prefix)
        except UserError:  # reported by `problems`
            return published

    def _extra(self) -> int:
        """Of critic and noise."""
        try:
            head = self.folder().head
            features, width, hidden, out = head.features, head.width, head.hidden, head.action_dim
        except UserError:
            features, width, hidden, out = 2048, 1536, 1024, 32
        state = (features + width + 1) * 1024 + 1025 * 512 + 513 * 256 + 257 * self.num_values
        chain = (hidden + 1) * 512 + 513 * 256 + 257 * 128 + 129 * self.num_values
        critic = state if self.critic == "state" else chain
        noise = (hidden + 1) * 128 + 129 * 64 + 65 * out
        return critic * self.add_value_head + noise * (self.noise_method == "reinflow")
