"""Settings of every flow policy: how a chunk is drawn and what its log-prob is."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from rlinf.config.base import Count, Index, ModelConfig, Positive


class FlowConfig(ModelConfig):
    """A policy that turns noise into a chunk of actions in some denoising steps."""

    draws_tokens: ClassVar[bool] = False
    recomputes: ClassVar[bool] = False
    chain: ClassVar[tuple[str, ...]] = (
        *("denoising_steps", "noise_level", "noise_level_end", "noise_anneal_updates"),
        *("joint_logprob", "ignore_last", "noise_range"),
    )
    """Fields that say how a chunk is drawn, and of which imitation reads none: it learns the
    velocity at times of its own."""
    same_weights: ClassVar[tuple[str, ...]] = (*ModelConfig.same_weights, *chain)

    denoising_steps: Count = 4
    """N, steps from noise to actions."""
    noise_method: Literal["flow_sde", "flow_cps", "reinflow"] = "flow_sde"
    """Stochastic step: that of a stochastic differential equation, one that keeps the amount of
    noise, or the deterministic one with a standard deviation that is learned. Evaluation with
    `do_sample: false` makes deterministic steps alone."""
    noise_level: Positive = 0.5
    """Size of the noise of `flow_sde` and `flow_cps`; for `flow_cps` at most 1."""
    noise_level_end: Positive | None = None
    """Size of the noise after `noise_anneal_updates`; None: the same all the time."""
    noise_anneal_updates: Index = 0
    """Updates in which the noise goes from `noise_level` to `noise_level_end`, in a line."""
    noise_range: tuple[Positive, Positive] = (0.08, 0.16)
    """Least and largest standard deviation of `reinflow`."""
    joint_logprob: bool = False
    """All N steps are stochastic, and the log-prob is the mean over them and the first noise.
    False draws one step for each observation that is, while the others are deterministic."""
    ignore_last: bool | None = None
    """Never draw the last step. None does so for `flow_cps`, whose last step is deterministic: a
    sample that drew it would have no gradient."""

    @model_validator(mode="after")
    def _noise(self) -> Self:
        if (self.noise_level_end is None) != (self.noise_anneal_updates == 0):
            raise ValueError("noise_level_end and noise_anneal_updates come together")
        if self.noise_range[0] >= self.noise_range[1]:
            raise ValueError("noise_range: the first number is the smaller one")
        if self.noise_method == "flow_cps" and max(self.noise_levels) > 1:
            raise ValueError("noise_level of flow_cps is at most 1, where all noise is new")
        if self.drawn_steps < 1:
            raise ValueError("denoising_steps = 1 leaves no step to draw; set ignore_last: false")
        return self

    def imitated(self) -> dict[str, object]:
        given = super().imitated()
        for name in (*self.chain, "noise_method"):
            del given[name]
        return given | {"learns_noise": self.noise_method == "reinflow"}  # more weights

    @property
    def noise_levels(self) -> tuple[float, float]:
        """At the start and at the end."""
        end = self.noise_level if self.noise_level_end is None else self.noise_level_end
        return self.noise_level, end

    @property
    def drawn_steps(self) -> int:
        """Steps that may be the stochastic one."""
        last = self.noise_method == "flow_cps" if self.ignore_last is None else self.ignore_last
        return self.denoising_steps - (last and not self.joint_logprob)

    @property
    def has_entropy(self) -> bool:
        return self.noise_method == "reinflow"  # of the others, nothing that is learned changes it
