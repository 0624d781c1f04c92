"""What sections of the configuration share: strictness, number types, what every policy has."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from rlinf.config.paths import PathText, exists, expanded
from rlinf.config.problems import Problem
from rlinf.data.conventions import ActionConvention


def _off_or_positive(value: int) -> int:
    if value == -1 or value >= 1:
        return value
    raise ValueError("must be -1 (off) or at least 1")


Limit = Annotated[int, AfterValidator(_off_or_positive)]
"""A number of things, -1 for no limit or never."""
Count = Annotated[int, Field(ge=1)]
"""A number of things, at least one."""
Index = Annotated[int, Field(ge=0)]
"""A number of things, possibly none."""
Places = Annotated[int, Field(le=4096)]
"""A number of machines, or of places on one: each of them is looked at, so not without end."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0)]


def _below(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\0" in value:
        raise ValueError("must be a name, or a path without a leading / and without ..")
    return value


Below = Annotated[str, AfterValidator(_below)]
"""A path that does not lead out of the folder it is in."""


def _as_text(value: Any) -> Any:
    return str(value) if type(value) in (int, float) else value


Hidden = Annotated[SecretStr, BeforeValidator(_as_text)]
"""A text or number that may be a secret: it is used, and shown and written as `HIDDEN`."""
HIDDEN = str(SecretStr("?"))

Precision = Literal["fp32", "bf16"]
Compile = Literal["inductor", "cuda_graphs", "both"]
"""How passes are compiled: kernels fused by torch.compile, recorded as CUDA graphs, or both."""


def nearest_multiples(value: int, step: int) -> str:
    """The multiples of `step` around `value`, as words: `8 or 12`."""
    below = value // step * step
    return f"{below} or {below + step}" if below else str(step)


class Section(BaseModel):
    """One section of the tree: unknown keys are refused, values never change after loading.

    The string under a field is its documentation in the JSON schema.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )


POLICY_FILE = "policy.json"
"""Settings of the policy in a folder of one."""
ADAPTER_FILE = "adapter_config.json"
"""Settings of an adapter in a folder of one, as PEFT names it."""
WEIGHTS_FILE = "policy.safetensors"
"""Weights in the folder of a policy that has no published layout."""


class Spaces(NamedTuple):
    """Observations and actions of a simulator, or those a policy needs; None: any, or not known."""

    shows: Literal["state", "images"]
    obs_dim: int | None  # size of the state vector
    image_size: tuple[int, int] | None  # height, width in pixels
    action_dim: int | None
    num_views: int | None = None  # pictures of one observation
    views: tuple[str, ...] | None = None  # names of the pictures: main, wrist, ...
    state: tuple[tuple[str, int], ...] | None = None  # names and sizes of the state's slices


class Footprint(NamedTuple):
    """What passes of a policy need of a GPU's memory, computed from its sizes."""

    kept: int  # bytes per sample, from a forward pass to its backward pass
    live: int  # bytes per sample, of the layer that computes in training
    acting: int  # bytes per row, of the layer that computes while it acts
    cache: int  # bytes per row, keys and values of one that decodes token by token
    layer: int  # parameters of the largest layer that is gathered by itself
    outside: int  # parameters in no layer: embedding, head, projector


class ModelConfig(Section):
    """What every policy has."""

    draws_tokens: ClassVar[bool]
    """Whether actions are tokens, to which top-k and top-p apply."""
    imitates: ClassVar[bool] = True
    """Whether it can learn from demonstrations."""
    recomputes: ClassVar[bool] = True
    """Whether `gradient_checkpointing` can be switched on."""
    saves_adapters: ClassVar[bool] = False
    """Whether adapters can be saved by themselves, as a folder of PEFT."""
    compiles: ClassVar[bool] = False
    """Whether `rollout.compile` applies to it."""
    views_key: ClassVar[str] = ""
    """The field that says how many pictures of an observation are read."""
    same_weights: ClassVar[tuple[str, ...]] = ("precision", "gradient_checkpointing")
    """Fields that a continued run may change: its weights fit and mean the same."""
    meaning: ClassVar[tuple[str, ...]] = ()
    """Fields with another value of which the weights of a checkpoint fit, and mean another task."""

    model_type: str
    """Name of the policy class."""
    model_path: PathText | None = None
    """Folder of the initial weights; None starts from random weights."""
    precision: Precision = "fp32"
    """Number format of the forward pass."""
    action_dim: Count
    """A, size of one action."""
    num_action_chunks: Count
    """C, actions per chunk: the policy acts once for C simulator steps."""
    add_value_head: bool = True
    """Adds the critic; GAE needs it."""
    value_type: Literal["action", "chunk"] = "action"
    """Values per observation: one for each of the C actions, or one for the chunk. Equal to
    `algorithm.reward_type` wherever there is a critic."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""

    @abstractmethod
    def spaces(self) -> Spaces:
        """What the simulator has to show and to take."""

    def emits(self) -> ActionConvention | None:
        """What the numbers of its actions mean; None where they are the simulator's own."""
        return None

    @abstractmethod
    def num_parameters(self) -> int:
        """Parameters of the policy, for memory estimates; no weights are made."""

    def num_trainable(self) -> int:
        """Parameters that an update can change."""
        return self.num_parameters()

    def footprint(self) -> Footprint | None:
        """Memory of its passes on a GPU; None where it is too small to count."""
        return None

    @property
    def trains_adapters(self) -> bool:
        """Whether low-rank adapters are trained in place of weights."""
        return False

    @property
    def has_entropy(self) -> bool:
        """Whether training can change the entropy of its actions."""
        return True

    @property
    def horizon(self) -> int:
        """Actions of a demonstration that a sample is learned from; C of them are executed."""
        return self.num_action_chunks

    def starting_from(self, folder: Path) -> Self:
        """The same with the weights of a policy folder."""
        return self.model_copy(update={"model_path": str(folder)})

    @classmethod
    def take_folder(cls, given: dict[str, Any], path: str) -> None:
        """Lets a policy folder take the place of the model in a section that is not checked yet.

        A checkpoint does not: it holds what training changed in that model.
        """
        folder = expanded(path)
        if not exists(str(folder / "actor")) and exists(str(folder / POLICY_FILE)):
            given["model_path"] = path

    def folders(self) -> dict[str, str]:
        """Key -> folder of each that the model is read from."""
        return {"actor.model.model_path": self.model_path} if self.model_path is not None else {}

    def without_effect(self) -> Iterator[tuple[str, str]]:
        """Fields that nothing reads with the other settings, and what takes their effect."""
        yield from ()

    def identity(self) -> dict[str, object]:
        """What decides beside the weights how the policy acts, wherever its folders lie."""
        return self.model_dump(mode="json", exclude={"model_path", "lora_path"})

    def imitated(self) -> dict[str, object]:
        """What decides the weights that imitation gives: settings that only reinforcement learning
        reads are left out.
        """
        return self.model_dump(mode="json")

    def notes(self) -> list[str]:
        """What was found out about the model's files, for the plan; asked once they are sound."""
        return []

    def warnings(self) -> Iterator[str]:
        """What will probably go wrong with the model's files; asked once they are sound."""
        yield from ()

    def problems(self) -> Iterator[Problem]:
        """What stands in the way on this machine: packages, and what is wrong with the files."""
        if self.model_path is None or not exists(self.model_path):
            return  # reported with what is missing on this machine
        folder = expanded(self.model_path)
        if not any((folder / name).exists() for name in (WEIGHTS_FILE, "actor")):
            yield Problem(
                f"actor.model.model_path = {self.model_path}: there is no policy in it",
                f"name an exported policy, which has {WEIGHTS_FILE}, or a checkpoint",
            )

    @abstractmethod
    def observation_bytes(self, shown: Spaces) -> int:
        """Size of one observation as it is stored, of a simulator that shows `shown`."""

    @property
    def num_values(self) -> int:
        """Outputs of the critic: C, 1 or 0."""
        if not self.add_value_head:
            return 0
        return self.num_action_chunks if self.value_type == "action" else 1
