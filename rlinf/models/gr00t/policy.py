"""GR00T-N1.5 as a policy: from observations to chunks of actions, and what RL needs of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rlinf.data.statistics import ActionStatistics
from rlinf.data.types import Observation, Sampled
from rlinf.errors import UserError
from rlinf.models import adapters
from rlinf.models.flow.policy import BUCKETS, FlowPolicy, LearnedNoise, Times
from rlinf.models.gr00t import network
from rlinf.models.gr00t.config import Gr00tConfig
from rlinf.models.gr00t.head import Looked
from rlinf.models.gr00t.heads import Gr00tValueHead, read_heads, write_heads
from rlinf.models.gr00t.inputs import Gr00tPrompts, Scale, pixels
from rlinf.models.gr00t.network import Gr00t

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
FEATURES, REAL = "features", "feature_mask"
"""Of `sampled`, with `keep_features`: [B, L, D] of the backbone, and which are real."""
_PARITY = {"fp32": 1e-3, "bf16": 0.1}
"""A log-prob is a squared distance in deviations as small as 0.14: rounding of the mean grows."""


class _Prepared(NamedTuple):
    looked: Looked
    features: Tensor  # [B, L, D] of the backbone
    real: Tensor  # [B, L] bool on the CPU


class Gr00tPolicy(FlowPolicy):
    """The backbone is frozen; the action head is trained, with critic and noise if there are any.
    With LoRA adapters are, of the head in place of its weights or of the language model.

    It is built without weights (on PyTorch's meta device) and gets them from `load`.
    """

    def __init__(self, config: Gr00tConfig) -> None:
        super().__init__()
        self.settings = self.config = config
        self.folder, self.embodiment = config.folder(), config.resolved_embodiment()
        sizes, learned = self.folder.head, self.folder.training
        assert learned.buckets == BUCKETS, "checked when the folder was read"
        self.times = Times(learned.alpha, learned.beta, learned.scale)
        self.chunk, self.action_dim = config.num_action_chunks, config.action_dim
        self.horizon, self.width = sizes.horizon, sizes.action_dim
        self.dtype = _DTYPES[config.precision]
        self.parity_tolerance = _PARITY[config.precision]
        self.critic_reads_chain = config.critic == "chain"
        one, statistics = self.embodiment, self.folder.statistics(self.embodiment.tag)
        self.prompts = Gr00tPrompts(self.folder, len(one.views))
        self.columns = np.concatenate(list(one.columns().values()))
        self.state_scale = Scale(statistics["state"], list(one.state), one.normaliser)
        self.action_scale = Scale(statistics["action"], one.action, one.normaliser)
        with torch.device("meta"):
            self.network = Gr00t(self.folder)
        self.network.to(self.dtype)
        self.network.backbone.requires_grad_(False)
        reads = sizes.hidden if self.critic_reads_chain else sizes.features + sizes.width
        self.value_head = (
            Gr00tValueHead(config.critic, reads, config.num_values)
            if config.add_value_head
            else None
        )
        draws = config.noise_method == "reinflow"
        self.noise_head = LearnedNoise(sizes.hidden, self.width) if draws else None
        self.register_buffer("live", self.action_scale.varies())

    # --- one chain -------------------------------------------------------------------------------

    def prepare(self, observation: Observation, sampled: Sampled | None) -> _Prepared:
        if sampled is not None and FEATURES in sampled:
            features, real = self._unpack(sampled)
        else:
            ids, real = self.prompts.batch(observation.instructions)
            learns = "language" in self.config.adapted_parts and torch.is_grad_enabled()
            with torch.set_grad_enabled(learns):
                features = self.network.features(
                    ids.to(self.device), real, self._pixels(observation), self.config.padding
                )
        looked = self.network.look(
            features, real, self._state(observation), self.embodiment.slot, self.config.padding
        )
        return _Prepared(looked, features, real)

    def velocity(self, prepared: _Prepared, x: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        found, hidden = self.network.action_head(prepared.looked, x.to(self.dtype), times)
        return found.float(), hidden

    def values(self, prepared: _Prepared, hidden: Tensor) -> Tensor:
        if self.value_head is None:
            return torch.zeros(len(hidden), 0, device=self.device)
        if self.critic_reads_chain:
            return self.value_head(hidden.float().mean(dim=1))
        looked, real = prepared.looked, prepared.real.to(self.device)[..., None]
        mean = (looked.features.float() * real).sum(dim=1) / real.sum(dim=1)  # without padding
        return self.value_head(torch.cat((mean, looked.state[:, 0].float()), dim=-1))

    def kept(self, prepared: _Prepared) -> Sampled:
        if not self.config.keep_features:
            return {}
        return self._pack(prepared.features, prepared.real)

    # --- scales ----------------------------------------------------------------------------------

    def scale(self, actions: Tensor) -> Tensor:
        return functional.pad(self.action_scale(actions), (0, self.width - self.action_dim))

    def unscale(self, states: Tensor) -> Tensor:
        return self.action_scale.inverse(self._cut(states))

    def set_action_statistics(self, statistics: ActionStatistics) -> None:
        self.action_scale.take(_rows(statistics))
        self.live.copy_(self.action_scale.varies())

    def set_state_statistics(self, statistics: ActionStatistics) -> None:
        if self.embodiment.state_form == "normalised":
            self.state_scale.take(_rows(statistics)[:, self.columns])

    # --- inputs ----------------------------------------------------------------------------------

    def _pixels(self, observation: Observation) -> Tensor:
        shown, wanted = observation.images.shape[1], len(self.embodiment.views)
        if shown < wanted:
            raise UserError(
                f"actor.model.embodiment = {self.config.embodiment}: it sees "
                f"{', '.join(self.embodiment.views)}; the simulator shows {shown} views",
                "add cameras to the simulator, or choose another embodiment",
            )
        images = observation.images[:, :wanted]
        return pixels(images, self.folder.image_size, self.device, self.dtype)

    def _state(self, observation: Observation) -> Tensor:
        """[B, 1, state_dim] of the head, padded with zeros."""
        given, wanted = observation.state.shape[1], sum(self.embodiment.reads.values())
        if given != wanted:
            parts = ", ".join(f"{name} {size}" for name, size in self.embodiment.reads.items())
            raise UserError(
                f"actor.model.embodiment = {self.config.embodiment}: it reads a state of {wanted} "
                f"numbers ({parts}); the simulator's has {given}",
                "choose another embodiment, or describe yours in a .yaml file",
            )
        state = torch.from_numpy(observation.state[:, self.columns]).to(self.device)
        if self.embodiment.state_form == "sine_cosine":
            state = torch.cat((state.sin(), state.cos()), dim=-1)
        else:
            state = self.state_scale(state)
        padding = self.folder.head.state_dim - state.shape[1]
        return functional.pad(state, (0, padding))[:, None].to(self.dtype)

    def _pack(self, features: Tensor, real: Tensor) -> Sampled:
        """Features on the left of a space that is as long for all rows, and which are real."""
        length = features.shape[1]
        space = self.config.kept_tokens(self.folder)
        if length > space:
            raise UserError(
                f"actor.model.keep_features: an instruction makes a prompt of {length} tokens, "
                f"{space} are kept",
                "set actor.model.keep_features=false",
            )
        whole = functional.pad(features, (0, 0, space - length, 0)).cpu()
        mask = functional.pad(real, (space - length, 0))
        numbers = whole.view(torch.int16) if self.dtype == torch.bfloat16 else whole
        return {FEATURES: numbers.numpy(), REAL: mask.numpy()}

    def _unpack(self, sampled: Sampled) -> tuple[Tensor, Tensor]:
        real = torch.from_numpy(np.ascontiguousarray(sampled[REAL]))
        first = int(real.any(dim=0).int().argmax())
        whole = torch.from_numpy(np.ascontiguousarray(sampled[FEATURES][:, first:]))
        features = whole.view(torch.bfloat16) if self.dtype == torch.bfloat16 else whole
        return features.to(self.device), real[:, first:]

    # --- weights ---------------------------------------------------------------------------------

    def load(self, folder: Path) -> None:
        """Takes the weights of a model folder, and of its critic and noise where it has them."""
        source = (
            self.folder
            if folder == self.folder.path
            else self.config.model_copy(
                update={"model_path": str(folder), "processor_path": None}
            ).folder()
        )
        state, heads = network.read(source, self.network.stored(), self.dtype)
        self.network.assign(state)
        self.begin_training_form()
        read_heads(self.value_head, self.noise_head, heads, folder)

    def begin_training_form(self) -> None:
        """Adds adapters once there are weights."""
        if self.config.is_lora and not adapters.attached(self.network):
            self.network.adapt(self.config.adapted_parts, self.config.lora_rank)

    def save(
        self, folder: Path, state: Mapping[str, Tensor] | None = None, merge: bool = False
    ) -> None:
        """A model folder. Adapters are folded into the weights in any case: the published
        layout has none.
        """
        whole = self.state_dict() if state is None else state
        folder.mkdir(parents=True, exist_ok=True)
        tag = self.embodiment.tag
        before = self.folder.metadata[tag]
        own = {
            "state": before["statistics"]["state"] | self.state_scale.describe(),
            "action": before["statistics"]["action"] | self.action_scale.describe(),
        }
        tags = {**self.folder.metadata, tag: {**before, "statistics": own}}
        weights = {n[8:]: t for n, t in whole.items() if n.startswith("network.")}
        plain = adapters.merge(self.network, weights)
        network.write(plain, folder, self.folder, tags)
        write_heads({n: t for n, t in whole.items() if "_head." in n[:11]}, folder)

    def value_parameters(self) -> list[nn.Parameter]:
        return list(self.value_head.parameters()) if self.value_head is not None else []

    def layers(self) -> list[nn.Module]:
        return [*self.network.backbone.layers(), *self.network.action_head.layers()]

    def layers_in_fp32(self) -> list[nn.Module]:
        return [head for head in (self.value_head, self.noise_head) if head is not None]


def _rows(s: ActionStatistics) -> np.ndarray:
    """[6, A], as `Scale` has them."""
    return np.stack([s.minimum, s.maximum, s.mean, s.std, s.q01, s.q99])
