"""What flow policies share: drawing a chunk, its log-prob, and imitation by flow matching.

Letters: B rows, H actions of the horizon, of which C are executed, W numbers of an action with
padding, of which A reach the simulator, N denoising steps, S transitions that have a log-prob.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rlinf.data.random import Noise
from rlinf.data.types import ActionChunk, Observation, Sampled
from rlinf.models.base import Evaluation, ImitablePolicy, Imitation, Sampling
from rlinf.models.flow import density, steps
from rlinf.models.flow.config import FlowConfig
from rlinf.models.flow.steps import Transition

SMALLEST_STD = 1e-4
"""Rounding of a mean in float32 is about 1e-7: of smaller deviations, log-probs would be noise."""
BUCKETS = 1000
"""A network sees times as whole numbers of so many."""
STATES, FIRST, LEVEL = "states", "step", "noise_level"
"""Of `sampled`: [B, S + 1, H, W] states of the chain, float32; [B] int64, step of the first; [B]
float32, level of the noise."""


class Times(NamedTuple):
    """The distribution of the times at which a velocity is learned; see `training_time`."""

    alpha: float = 1.5
    beta: float = 1.0
    scale: float = 0.999


class LearnedNoise(nn.Module):
    """The numbers that a standard deviation is made of (`learned_std`)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(inputs, 128), nn.Tanh(), nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, outputs)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, H, inputs] to [B, H, W] float32."""
        return self.mlp(hidden.float())


class FlowPolicy(ImitablePolicy):
    """A policy whose network gives the velocity of noisy actions.

    Noise is drawn in float32 from each row's own keys, as is the step that is stochastic, so that
    a row draws the same whatever it is computed with.
    """

    settings: FlowConfig
    horizon: int  # H
    width: int  # W
    times: Times = Times()
    noise_head: LearnedNoise | None  # there is one for `reinflow`
    critic_reads_chain: bool = False
    """Whether the critic reads the network's numbers at the stochastic step, and not the state
    alone."""

    # --- what a policy of this kind has to say ---------------------------------------------------

    @abstractmethod
    def prepare(self, observation: Observation, sampled: Sampled | None) -> Any:
        """What is computed once for all steps of a chain.

        Args:
            sampled: of these rows, where they have acted before.
        """

    @abstractmethod
    def velocity(self, prepared: Any, x: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Of states [B, H, W] float32 at times [B] int64 of 1000.

        Returns:
            [B, H, W] float32, and the numbers [B, H, E] that it was made of.
        """

    @abstractmethod
    def values(self, prepared: Any, hidden: Tensor) -> Tensor:
        """[B, C or 1 or 0] float32; `hidden`: second part of `velocity`."""

    @abstractmethod
    def scale(self, actions: Tensor) -> Tensor:
        """Actions [B, H, A] in the data's units as states [B, H, W] at time 1."""

    @abstractmethod
    def unscale(self, states: Tensor) -> Tensor:
        """States [B, H, W] at time 1 as actions [B, C, A] in the data's units."""

    def kept(self, prepared: Any) -> Sampled:
        """What `prepare` can use again when these rows are learned from."""
        return {}

    # --- acting ----------------------------------------------------------------------------------

    @torch.inference_mode()
    def act(self, observation: Observation, sampling: Sampling, noise: Noise) -> ActionChunk:
        prepared = self.prepare(observation, None)
        rows, count, joint = len(observation), self._count, self.settings.joint_logprob
        uniform, normal = self._noise(noise, 1 + (count if joint else 1))
        level = torch.full((rows,), self._level(), device=self.device)
        first = density.draw_step(uniform, self.settings.drawn_steps)
        first = torch.zeros_like(first) if joint else first
        x, states, values = normal[:, 0], [normal[:, 0]], []
        terms = [self._cut(density.log_prob_of_start(x))] if joint else []
        before, after = x, x
        logprobs = self._cut(torch.zeros_like(x))
        for index in range(count):
            step = torch.full((rows,), index, device=self.device)
            velocity, hidden = self.velocity(prepared, x, self._times(step))
            reached = steps.euler(x, velocity, count)
            if not sampling.greedy:
                here = self._transition(x, velocity, hidden, step, level, sampling)
                drawn = here.mean + here.std * normal[:, 1 + index if joint else 1]
                found = self._cut(density.log_prob(drawn, here))
            else:
                drawn, found = reached, logprobs
            chosen = (first == index).view(-1, 1, 1)
            if joint:
                reached = drawn
                terms.append(found)
            else:
                logprobs = torch.where(chosen, found, logprobs)
                before = torch.where(chosen, x, before)
                reached = torch.where(chosen, drawn, reached)
                after = torch.where(chosen, reached, after)
            if self.critic_reads_chain or not index:
                values.append(self.values(prepared, hidden))
            states.append(reached)
            x = reached
        if joint:
            logprobs = torch.zeros_like(logprobs) if sampling.greedy else density.joint(terms)
        chain = torch.stack(states if joint else [before, after], dim=1)
        sampled = {STATES: chain, FIRST: first, LEVEL: level}
        return ActionChunk(
            actions=self.unscale(x).cpu().numpy(),
            sampled={n: t.cpu().numpy() for n, t in sampled.items()} | self.kept(prepared),
            logprobs=logprobs.cpu().numpy(),
            values=self._value_of(torch.stack(values, dim=1), first).cpu().numpy(),
            version=self.version,
        )

    @torch.inference_mode()
    def value(self, observation: Observation) -> np.ndarray:
        """V of each row. A critic that reads the chain reads the start of that without noise."""
        prepared = self.prepare(observation, None)
        x = torch.zeros(len(observation), self.horizon, self.width, device=self.device)
        step = torch.zeros(len(observation), dtype=torch.int64, device=self.device)
        _, hidden = self.velocity(prepared, x, self._times(step))
        return self.values(prepared, hidden)[:, 0].cpu().numpy()

    # --- learning --------------------------------------------------------------------------------

    def evaluate(
        self, observation: Observation, sampled: Sampled, sampling: Sampling
    ) -> Evaluation:
        prepared = self.prepare(observation, sampled)
        states, first, level = (
            torch.from_numpy(sampled[name]).to(self.device) for name in (STATES, FIRST, LEVEL)
        )
        joint = self.settings.joint_logprob
        terms = [self._cut(density.log_prob_of_start(states[:, 0]))] if joint else []
        entropies, values, without_noise = [], [], []
        for index in range(states.shape[1] - 1):
            x, step = states[:, index], first + index
            velocity, hidden = self.velocity(prepared, x, self._times(step))
            here = self._transition(x, velocity, hidden, step, level, sampling)
            terms.append(self._cut(density.log_prob(states[:, index + 1], here)))
            std = self._cut(here.std.expand_as(x))
            entropies.append(density.entropy(std))
            without_noise.append((std == 0).flatten(1).all(dim=1).float())
            if self.critic_reads_chain or not index:
                values.append(self.values(prepared, hidden))
        return Evaluation(
            logprobs=density.joint(terms),
            entropy=density.joint(entropies) if self.settings.has_entropy else None,
            values=torch.stack(values).mean(dim=0),
            without_noise=torch.stack(without_noise).mean(dim=0),
        )

    def imitate(
        self, observation: Observation, actions: np.ndarray, values: np.ndarray, noise: Noise
    ) -> Imitation:
        """Squared error of the velocity, of the numbers that reach the simulator (flow matching).

        In evaluation mode also how far the actions of a deterministic chain are from the
        demonstrated ones.
        """
        prepared = self.prepare(observation, None)
        wanted = torch.from_numpy(actions).to(self.device)
        target = self.scale(wanted)
        uniform, normal = self._noise(noise, 2)
        start = normal[:, 0]
        time = density.training_time(uniform, *self.times).float()
        x = density.interpolate(target, start, time)
        velocity, hidden = self.velocity(prepared, x, (time * BUCKETS).long())
        live = self.action_dim
        error = (velocity - (target - start))[..., :live] ** 2
        losses = {"flow_loss": error[..., self.live].flatten(1)}
        found = self.values(prepared, hidden)
        if found.shape[1]:
            returns = torch.from_numpy(values).to(self.device)[:, None]
            losses["value_loss"] = (found - returns) ** 2
        metrics = {}
        if not self.training:
            reached = self.unscale(self._deterministic(prepared, normal[:, 1]))
            apart = (reached - wanted[:, : self.chunk]).abs()
            metrics["action_error"] = apart[..., self.live]
        return Imitation(losses, metrics)

    # --- parts -----------------------------------------------------------------------------------

    @property
    def _count(self) -> int:
        return self.settings.denoising_steps

    def _level(self) -> float:
        settings = self.settings
        return density.noise_level(
            settings.noise_levels, settings.noise_anneal_updates, self.version
        )

    def _times(self, step: Tensor) -> Tensor:
        """Of steps [B], as the network sees them."""
        return step * BUCKETS // self._count

    def _noise(self, noise: Noise, count: int) -> tuple[Tensor, Tensor]:
        """A uniform number [B] float64 and `count` states of noise [B, count, H, W] float32."""
        size = self.horizon * self.width
        uniform = torch.from_numpy(noise.uniform(1 + count * size)).to(self.device)
        normal = torch.special.ndtri(uniform[:, 1:]).float()
        return uniform[:, 0], normal.view(-1, count, self.horizon, self.width)

    def _transition(
        self,
        x: Tensor,
        velocity: Tensor,
        hidden: Tensor,
        step: Tensor,
        level: Tensor,
        sampling: Sampling,
    ) -> Transition:
        """The Gaussian of the next state; temperature scales its variance.

        A deviation below `SMALLEST_STD` is none, neither here nor in the log-prob.
        """
        if self.noise_head is not None:
            std = steps.learned_std(self.noise_head(hidden), *self.settings.noise_range)
            found = steps.learned(x, velocity, self._count, std)
        else:
            kinds = {"flow_sde": steps.flow_sde, "flow_cps": steps.flow_cps}
            kind = kinds[self.settings.noise_method]
            found = kind(x, velocity, step, self._count, level)
        std = found.std * math.sqrt(sampling.temperature)
        return Transition(found.mean, torch.where(std < SMALLEST_STD, 0.0, std))

    def _deterministic(self, prepared: Any, x: Tensor) -> Tensor:
        """The state at time 1 of a chain that starts at x."""
        for index in range(self._count):
            step = torch.full((len(x),), index, device=self.device)
            x = steps.euler(x, self.velocity(prepared, x, self._times(step))[0], self._count)
        return x

    def _cut(self, states: Tensor) -> Tensor:
        """[B, H, W] to the numbers that are executed: [B, C, A]."""
        return states[:, : self.chunk, : self.action_dim]

    def _value_of(self, values: Tensor, first: Tensor) -> Tensor:
        """Values of each step [B, N, K] as one: that of the stochastic step, or of all the mean."""
        if self.settings.joint_logprob or not self.critic_reads_chain:
            return values.mean(dim=1)
        return values[torch.arange(len(values), device=values.device), first]
