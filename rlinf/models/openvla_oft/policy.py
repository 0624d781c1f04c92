"""OpenVLA-OFT with discrete tokens: all C x A tokens of a chunk in one bidirectional pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from rlinf.data.types import Observation
from rlinf.models.base import Sampling
from rlinf.models.files import write_tensors
from rlinf.models.openvla_oft.config import OpenVlaOftConfig
from rlinf.models.openvla_oft.proprio import FILE as PROPRIO_FILE
from rlinf.models.openvla_oft.proprio import ProprioProjector
from rlinf.models.prismatic.compiled import CompiledPasses
from rlinf.models.prismatic.lora import is_adapter
from rlinf.models.prismatic.policy import PrismaticPolicy
from rlinf.models.prismatic.tokens import END


class OpenVlaOftPolicy(PrismaticPolicy):
    """Kim et al. 2025, Fine-Tuning Vision-Language-Action Models (arXiv 2502.19645).

    Behind the prompt stand C * A placeholders whose embedding is zero, and `</s>` in the official
    recipe; every position sees all others, and token k is predicted by the position before
    placeholder k.
    """

    epsilon = 1e-8

    def __init__(self, config: OpenVlaOftConfig) -> None:
        super().__init__(config)
        self.proprio: ProprioProjector | None = None
        if config.use_proprio:
            statistics = self.folder.proprio_of(self.unnorm_key)
            width = self.folder.architecture.width
            self.proprio = ProprioProjector(statistics, width).to(self.dtype)

    def _act(
        self, observation: Observation, sampling: Sampling, uniform: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self._states(observation, self.chunk * self.action_dim, self.passes)
        logdist = self.log_distribution(hidden, sampling).unflatten(1, uniform.shape[1:])
        return *self.draw(logdist, uniform, sampling), hidden[:, 0]

    def _prompt_end(self, observation: Observation) -> Tensor:
        return self._states(observation, 1)[:, 0]

    def _action_states(self, observation: Observation, given: Tensor, with_end: bool) -> Tensor:
        count = self.chunk * self.action_dim
        return self._states(observation, count + (with_end and self.recipe.end_token))

    def _states(
        self, observation: Observation, count: int, passes: CompiledPasses | None = None
    ) -> Tensor:
        """The first `count` states [B, count, H] from the prompt's end on."""
        embedded, real = self.context(observation)
        rows, start = len(real), real.shape[1] - 1
        places = self.chunk * self.action_dim
        parts = [embedded, embedded.new_zeros(rows, places, embedded.shape[2])]
        if self.recipe.end_token:
            end = torch.full((rows, 1), END, device=embedded.device)
            parts.append(self.network.embed(end))
        sequence = torch.cat(parts, dim=1)
        more = real.new_ones(rows, sequence.shape[1] - real.shape[1])
        attending = self.attending(torch.cat((real, more), dim=1), causal=False)
        reader = self.network if passes is None else passes
        return reader.read(sequence, attending, wanted=slice(start, start + count))

    def load(self, folder: Path) -> None:
        super().load(folder)
        if self.proprio is not None and not is_adapter(folder):
            self.proprio.read(folder)

    def save(
        self, folder: Path, state: Mapping[str, Tensor] | None = None, merge: bool = False
    ) -> None:
        whole = self.state_dict() if state is None else state
        super().save(folder, whole, merge)
        if self.proprio is not None:
            own = {name[8:]: t for name, t in whole.items() if name.startswith("proprio.")}
            write_tensors(own, folder / PROPRIO_FILE)

    def _seen(self, pixels: Tensor, observation: Observation) -> Tensor:
        seen = super()._seen(pixels, observation)
        if self.proprio is None:
            return seen
        state = torch.from_numpy(observation.state).to(self.device)
        return torch.cat((seen, self.proprio(state)), dim=1)
