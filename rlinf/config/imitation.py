"""`imitation` and `collect`: learning from demonstrations, and where they come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rlinf.config.base import (
    Count,
    Fraction,
    Index,
    Limit,
    NonNegative,
    Positive,
    Section,
)
from rlinf.config.paths import MaybePath, PathText


class ImitationConfig(Section):
    """Imitation of a scripted expert, or of the data sets in `data`.

    `rlinf sft` runs it by itself; `rlinf train` warms its policy up with it.
    """

    data: tuple[PathText, ...] = ()
    """Folders of LeRobot data sets (v2.1 or v3.0), learned from together; none collects
    demonstrations of `expert`."""
    image_keys: tuple[str, ...] = ()
    """Features of the data sets that are the policy's views, in its order; none takes all."""
    expert: str | None = None
    """Name of the scripted expert."""
    num_demonstrations: Count | None = None
    """Demonstrations collected of the expert."""
    sound_share: Fraction = 1.0
    """Share of the demonstrations without the expert's systematic flaw."""
    flaw: tuple[NonNegative, NonNegative] = (0.0, 0.0)
    """The flaw is drawn from this range; the expert says what it is, and in which unit."""
    disturbance: NonNegative = 0.0
    """Largest disturbance of an executed action now and then, of 1: demonstrations then show how
    to come back."""
    disturb_every: Count = 7
    """Undisturbed steps between two disturbances; at least one chunk."""
    statistics: Literal["data", "model"] = "data"
    """Range of the actions: that of the demonstrations, or the one that `actor.model.model_path`
    brings along."""
    gamma: Fraction = 0.95
    """Discount per chunk of the returns the critic learns from."""
    label_smoothing_bins: NonNegative = 0.0
    """Standard deviation, in bins, of the labels around the demonstrated bin: near misses cost
    less than far ones."""
    steps: Count
    """Optimizer steps."""
    batch_size: Count = 64
    """Samples per step, over all ranks."""
    micro_batch_size: Count | None = None
    """Most samples in one forward and backward pass of a rank; None takes its whole share."""
    lr: Positive = 1e-3
    """Largest learning rate."""
    lr_warmup_steps: Index = 30
    """Steps of linear warm-up."""
    lr_schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warm-up: a cosine to zero, or the same to the end."""
    schedule_steps: Annotated[int, Field(ge=-1)] = 0
    """Steps of the whole schedule; 0 takes `steps`, and a run that is continued with more of them
    keeps those it began with; -1 takes `steps` then, too."""
    weight_decay: NonNegative = 0.01
    """Decoupled weight decay of AdamW."""
    clip_grad: Positive = 1.0
    """Largest gradient norm."""
    holdout: Fraction = 0.05
    """Share of the episodes that is held out: measured, not learned from."""
    log_interval: Count = 10
    """`rlinf sft` writes metrics after every so many steps."""
    eval_interval: Limit = 100
    """`rlinf sft` judges the held-out episodes after every so many steps, and at the end; -1
    never."""
    save_interval: Limit = 500
    """`rlinf sft` saves a checkpoint after every so many steps, and at the end; -1 only then."""
    seed: Index = 0
    """Seed of demonstrations, held-out episodes and sample order."""
    cache_dir: PathText = "~/.cache/rlinf"
    """Demonstrations, decoded pictures and warmed-up weights are kept here and reused; the
    environment variable `RLINF_CACHE` moves the default."""


class CollectConfig(Section):
    """A data set in the LeRobot layout (v3.0), written by `rlinf collect`."""

    source: Literal["expert", "policy"] = "expert"
    """Who acts: the expert of `imitation`, or the policy of `runner.ckpt_path` or
    `actor.model.model_path`."""
    episodes: Count | None = None
    """Episodes to write; None takes `imitation.num_demonstrations`."""
    only_successes: bool | None = None
    """Leave failed episodes out; None does so for a policy, and keeps those of an expert."""
    attempts: Positive = 10.0
    """Episodes that are run at most, as a multiple of `episodes`."""
    images: Literal["png", "video"] = "png"
    """`png` keeps every pixel; `video` (H.264) is about a tenth of the size and loses detail."""
    folder: MaybePath = ""
    """Folder of the data set; empty takes `<run folder>/dataset`."""
