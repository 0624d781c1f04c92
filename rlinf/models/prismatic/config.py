"""What the settings of OpenVLA and OpenVLA-OFT have in common."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from rlinf.config.base import ADAPTER_FILE, Count, Footprint, ModelConfig, Precision, Spaces
from rlinf.config.paths import PathText, exists, expanded
from rlinf.config.problems import Problem, missing_packages
from rlinf.data.conventions import ActionConvention
from rlinf.errors import UserError
from rlinf.models.prismatic import conventions
from rlinf.models.prismatic.adapter_folder import (
    FOLDED,
    AdapterFolder,
    check_adapter,
    other_base,
    read_adapter,
)
from rlinf.models.prismatic.conventions import ConventionName
from rlinf.models.prismatic.file_checks import check_files
from rlinf.models.prismatic.model_folder import (
    ARCHITECTURE_7B,
    SETTINGS_FILE,
    Architecture,
    ModelFolder,
    read_folder,
)
from rlinf.models.prismatic.recipes import NOTED, ImagePath, Recipe, resolve

PACKAGES = ("transformers", "tokenizers", "peft", "simplejpeg")


class PrismaticConfig(ModelConfig):
    """What OpenVLA and OpenVLA-OFT have in common."""

    draws_tokens: ClassVar[bool] = True
    compiles: ClassVar[bool] = True
    views_key: ClassVar[str] = "num_images_in_input"

    model_path: PathText
    """Folder in the layout of openvla/openvla-7b: config.json, weights, tokenizer."""
    precision: Precision = "bf16"
    """Number format of the forward pass."""
    unnorm_key: str
    """Data set whose statistics scale the actions; one of `norm_stats` in the folder."""
    action_dim: Count = 7
    """A, size of one action; that of the statistics."""
    action_convention: Literal["auto"] | ConventionName = "auto"
    """What the numbers of an action mean; they are converted to what the simulator takes. `bridge`:
    metres, radians, gripper 1 open and 0 closed; `libero`: 0.05 m, 0.5 rad, the same gripper;
    `openvla`: that gripper, units not known, which are left as they are; `native`: everything is
    the simulator's own already. `auto` follows `unnorm_key` and the statistics of the gripper."""
    recipe: Literal["auto", "official", "rlinf"] = "auto"
    """How the model's inputs are made: decides the end of the sequence (OpenVLA-OFT), image path
    and centre crop together. A model acts well only with the recipe it was trained with. `official`
    ends the sequence with `</s>`, `rlinf` does not, resizes as torchvision and never crops. `auto`
    follows the origin of the folder, or of the adapter."""
    image_path: ImagePath | Literal["auto"] = "auto"
    """How a camera image becomes the model's: `pillow` resizes as the original processor does,
    `tensor` as torchvision resizes uint8 tensors, `jpeg` compresses and resizes with Lanczos as the
    official evaluation on LIBERO. `auto` follows the recipe."""
    center_crop: bool | None = None
    """Cut out the middle 90 % of the area, as models trained with random crops need it. None
    follows the recipe."""
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Attention kernel of the language model; flash_attention_2 needs the package flash-attn."""
    num_images_in_input: Annotated[int, Field(ge=1, le=4)] = 1
    """V, camera images of one observation."""
    is_lora: bool = False
    """Train low-rank adapters on every linear layer and leave the model itself as it is."""
    lora_rank: Count = 32
    """Rank of the adapters; alpha is the same, so their scale is 1."""
    lora_path: PathText | None = None
    """Folder of a PEFT adapter to start from; its own rank and alpha count."""

    same_weights: ClassVar[tuple[str, ...]] = (*ModelConfig.same_weights, "attn_implementation")
    meaning: ClassVar[tuple[str, ...]] = (
        *("unnorm_key", "image_path", "center_crop"),
        *("recipe", "lora_path"),
    )
    saves_adapters: ClassVar[bool] = True
    parallel: ClassVar[bool]
    """Whether all tokens of a chunk are decoded in one pass."""

    def folder(self) -> ModelFolder:
        """What the model folder says, and the adapter's about the actions."""
        return read_folder(Path(self.model_path).expanduser(), self.adapter())

    def adapter(self) -> Path | None:
        """Folder of the adapter to start from."""
        return Path(self.lora_path).expanduser() if self.lora_path else None

    def starting_from(self, folder: Path) -> Self:
        """With an adapter on the model there is, or with another model that stands for both."""
        if (folder / ADAPTER_FILE).is_file():
            return self.model_copy(update={"is_lora": True, "lora_path": str(folder)})
        return self.model_copy(update={"model_path": str(folder), "lora_path": None})

    @classmethod
    def take_folder(cls, given: dict[str, Any], path: str) -> None:
        folder = expanded(path)
        if exists(str(folder / ADAPTER_FILE)):
            given |= {"is_lora": True, "lora_path": path}
        elif not exists(str(folder / "actor")) and exists(str(folder / SETTINGS_FILE)):
            given["model_path"] = path
            if given.get("lora_path"):
                given["lora_path"] = None  # what was trained is part of the model

    def folders(self) -> dict[str, str]:
        adapter = {"actor.model.lora_path": self.lora_path} if self.lora_path else {}
        return super().folders() | adapter

    def without_effect(self) -> Iterator[tuple[str, str]]:
        if not self.is_lora:
            yield "lora_rank", "is_lora = false"
        elif self.lora_path is not None:
            yield "lora_rank", "lora_path, whose own rank counts"

    def architecture(self) -> Architecture:
        """Sizes, from the folder; of the 7B model while there is no folder yet."""
        try:
            return self.folder().architecture
        except UserError:  # reported by `problems`
            return ARCHITECTURE_7B

    def resolved_recipe(self) -> Recipe:
        """How the model's inputs are made, with what the configuration sets by itself."""
        path = None if self.image_path == "auto" else self.image_path
        return self._recipe().with_own(path, self.center_crop)

    def _recipe(self) -> Recipe:
        """That of the files, or the one asked for."""
        folder = self.folder()
        family = None if self.recipe == "auto" else self.recipe
        data_set, _ = folder.data_set(self.unnorm_key)
        return resolve(folder, self._adapter_folder(), family, self.parallel, data_set)

    def identity(self) -> dict[str, object]:
        """With recipe, data set and convention as found: a folder's name decides on them too."""
        data_set, _ = self.folder().data_set(self.unnorm_key)
        found = {
            **self.resolved_recipe().noted(),
            "unnorm_key": data_set,
            "action_convention": self.resolved_convention(),
        }
        given = super().identity()
        del given["recipe"]
        return given | found

    def emits(self) -> ActionConvention | None:
        return conventions.DATA_SETS.get(self.resolved_convention())

    def resolved_convention(self) -> ConventionName:
        """The given convention, or else that of the data set the model was trained on."""
        if self.action_convention != "auto":
            return self.action_convention
        try:
            key, lowest = self.folder().lowest_gripper(self.unnorm_key)
        except UserError:  # raised again by `_check_actions`
            key, lowest = self.unnorm_key, 0.0
        return conventions.of_data_set(key, lowest, self.action_dim)

    def notes(self) -> list[str]:
        if not self._files_are_here():
            return []  # reported with what is missing on this machine
        folder = self.folder()
        data_set, why = folder.data_set(self.unnorm_key)
        actions = f"actions of {data_set}" + (f" ({why})" if why else "")
        if folder.tuned and data_set not in folder.tuned:
            actions += f", while the folder's own data set is {', '.join(folder.tuned[:3])}"
        return [f"model {folder.path}: recipe {self.resolved_recipe()}; {actions}"]

    def warnings(self) -> Iterator[str]:
        if not self._files_are_here():
            return
        usual, used = self._recipe(), self.resolved_recipe()
        for name in used.own:
            before, now = getattr(usual, name), getattr(used, name)
            if before != now:
                yield (
                    f"actor.model.{name} = {str(now).lower()}: the recipe {usual.origin} has "
                    f"{str(before).lower()}, and a model acts well only on pictures made as in its "
                    "training"
                )
        adapter = self._adapter_folder()
        if adapter is not None:
            other = other_base(adapter, self.folder())
            if other is not None:
                yield other

    def _files_are_here(self) -> bool:
        paths = [self.model_path] + ([self.lora_path] if self.lora_path else [])
        return all(map(exists, paths))

    def _adapter_folder(self) -> AdapterFolder | None:
        adapter = self.adapter()
        return read_adapter(adapter) if adapter else None

    def problems(self) -> Iterator[Problem]:
        yield from missing_packages(PACKAGES, self.model_type)
        if self.attn_implementation == "flash_attention_2" and not find_spec("flash_attn"):
            yield Problem(
                "actor.model.attn_implementation = flash_attention_2: flash-attn is not installed",
                "set actor.model.attn_implementation=sdpa, which needs nothing, or install it",
            )
        if not exists(self.model_path):
            return  # reported with what is missing on this machine
        found: dict[Problem, None] = {}  # several checks may find the same
        for check in (self._check_actions, self._check_files, self._check_adapter):
            try:
                check()
            except UserError as error:
                found[Problem(error.message, error.fix)] = None
        yield from found

    def _check_actions(self) -> None:
        dimensions = self.folder().action_dim(self.unnorm_key)
        if dimensions != self.action_dim:
            raise UserError(
                f"actor.model.action_dim = {self.action_dim}: the statistics of {self.unnorm_key} "
                f"in {self.model_path} have {dimensions} dimensions",
                f"set actor.model.action_dim={dimensions}, or another unnorm_key",
            )
        self.folder().lowest_gripper(self.unnorm_key)

    def _check_files(self) -> None:
        check_files(self.folder())

    def _check_adapter(self) -> None:
        if self.lora_path is None:
            return
        if not self.is_lora:
            raise UserError(
                f"actor.model.lora_path = {self.lora_path} with actor.model.is_lora = false: the "
                "adapter would not be read",
                "set actor.model.is_lora=true, or remove lora_path",
            )
        adapter = self._adapter_folder()
        if adapter is not None and adapter.path.exists():
            folder = self.folder()
            noted = folder.settings.get(NOTED) or {}
            check_adapter(adapter, folder, noted.get(FOLDED, []))

    def spaces(self) -> Spaces:
        return Spaces("images", None, None, self.action_dim, self.num_images_in_input)

    def observation_bytes(self, shown: Spaces) -> int:
        height, width = shown.image_size or (self.architecture().image_size,) * 2
        return self.num_images_in_input * height * width * 3

    def num_parameters(self) -> int:
        return self.architecture().num_parameters() + self._adapter() + self._value_head()

    def num_trainable(self) -> int:
        base = 0 if self.is_lora else self.architecture().num_computed()
        return base + self._adapter() + self._value_head()

    def footprint(self) -> Footprint:
        form = {"fp32": 4, "bf16": 2}[self.precision]
        return self.architecture().footprint(
            self.num_images_in_input,
            self.num_action_chunks * self.action_dim,
            self.parallel,
            self.gradient_checkpointing,
            form,
        )

    @property
    def trains_adapters(self) -> bool:
        return self.is_lora

    def _adapter(self) -> int:
        return self.architecture().num_adapter(self.lora_rank) if self.is_lora else 0

    def _value_head(self) -> int:
        width = self.architecture().width
        return ((width + 1) * 512 + 513 * 128 + 128 * self.num_values) * self.add_value_head
