"""OpenVLA: the A tokens of one action, each predicted from those before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlinf.data.types import Observation
from rlinf.models.base import Sampling
from rlinf.models.prismatic.attention import GrowingCache, LayerCache
from rlinf.models.prismatic.policy import PrismaticPolicy

_LAST = slice(-1, None)


class OpenVlaPolicy(PrismaticPolicy):
    """Kim et al. 2024, OpenVLA (arXiv 2406.09246)."""

    epsilon = 0.0

    def _act(
        self, observation: Observation, sampling: Sampling, uniform: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One pass over the prompt, then A - 1 passes over one token each."""
        embedded, real = self.context(observation)
        steps, prompt = self.action_dim, real.shape[1]
        whole = self.attending(_longer(real, steps - 1), causal=True)
        passes, positions = self.passes, prompt + steps - 1
        caches: Sequence[LayerCache]
        if passes is not None:
            stores = passes.stores(embedded, positions)
            caches = passes.caches(stores, len(embedded))
        else:
            caches = [GrowingCache(positions) for _ in range(self.network.architecture.layers)]
        states, drawn, logprobs = [], [], []
        for step in range(steps):
            if step == 0 or passes is None:
                until = whole.until(prompt + step)
                hidden = self.network.read(embedded, until, caches, wanted=_LAST)[:, 0]
            else:
                hidden = passes.step(embedded, whole.real, prompt + step - 1, stores)[:, 0]
            logdist = self.log_distribution(hidden, sampling)
            token, logprob = self.draw(logdist, uniform[:, 0, step], sampling)
            embedded = self.network.embed(token[:, None])
            states.append(hidden)
            drawn.append(token)
            logprobs.append(logprob)
        return torch.stack(drawn, 1)[:, None], torch.stack(logprobs, 1)[:, None], states[0]

    def _prompt_end(self, observation: Observation) -> Tensor:
        embedded, real = self.context(observation)
        return self.network.read(embedded, self.attending(real, causal=True), wanted=_LAST)[:, 0]

    def _action_states(self, observation: Observation, given: Tensor, with_end: bool) -> Tensor:
        """One pass over the prompt and the tokens that others are predicted from."""
        embedded, real = self.context(observation)
        before = given[:, 0] if with_end else given[:, 0, :-1]
        embedded = torch.cat((embedded, self.network.embed(before)), dim=1)
        attending = self.attending(_longer(real, before.shape[1]), causal=True)
        wanted = slice(-before.shape[1] - 1, None)
        return self.network.read(embedded, attending, wanted=wanted)

    def _live(self) -> Tensor:
        """All of them: what the simulator does not get is still read by the tokens after it."""
        return torch.ones(self.action_dim, dtype=torch.bool)


def _longer(real: Tensor, count: int) -> Tensor:
    """[B, T] with `count` more real positions."""
    return torch.cat((real, real.new_ones(len(real), count)), dim=1)
