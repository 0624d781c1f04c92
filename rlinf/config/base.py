"""What every section of the configuration shares: strictness and the number types."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


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
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0)]

Level = Literal["token", "action", "chunk"]
"""Of what there is one number: an action token [B,C,A], an action [B,C] or a whole chunk [B]."""
Precision = Literal["fp32", "bf16"]


class Section(BaseModel):
    """One section of the tree: unknown keys are refused, values never change after loading.

    The string under a field is its documentation in the JSON schema.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )


class Spaces(NamedTuple):
    """Observations and actions of a simulator, or those a policy needs; None: any, or not known."""

    shows: Literal["state", "images"]
    obs_dim: int | None  # size of the state vector
    image_size: tuple[int, int] | None  # height, width in pixels
    action_dim: int | None
