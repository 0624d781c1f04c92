"""The tiny flow policy: small towers and GR00T-N1.5's action head."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rlinf.data.statistics import ActionStatistics
from rlinf.data.types import Observation, Sampled
from rlinf.models.flow.policy import FlowPolicy, LearnedNoise
from rlinf.models.gr00t.folder import HeadSizes
from rlinf.models.gr00t.head import ActionHead, Looked
from rlinf.models.tiny_flow.config import TinyFlowConfig
from rlinf.models.tiny_vla.network import (
    PADDING,
    TEXT_BUCKETS,
    TEXT_LENGTH,
    FusedVision,
    TinyValueHead,
    TinyVlaSizes,
    tokenize,
)
from rlinf.models.tiny_vla.policy import pictures

_FUTURE_TOKENS = 4


class _Prepared(NamedTuple):
    looked: Looked
    seen: Tensor  # [B, V * G * G * D] image tokens in a row


class TinyFlowPolicy(FlowPolicy):
    """In place of the robot's state the head reads the image tokens in a row: that is how it learns
    quickly where things are. The head looks at image tokens and words.
    """

    low: Tensor  # [A] float32, 1 % quantile of the demonstrations' actions
    high: Tensor  # [A] float32, 99 % quantile

    def __init__(self, config: TinyFlowConfig) -> None:
        super().__init__()
        self.settings = config
        self.chunk = self.horizon = config.num_action_chunks
        self.action_dim = self.width = config.action_dim
        width = config.width
        self.vision = FusedVision(TinyVlaSizes(image_size=config.image_size, width=width))
        self.view_embedding = nn.Parameter(0.02 * torch.randn(config.num_views, 1, width))
        self.text_embedding = nn.Embedding(TEXT_BUCKETS, width, padding_idx=PADDING)
        self.text_position = nn.Parameter(0.02 * torch.randn(TEXT_LENGTH, width))
        self.action_head = ActionHead(
            HeadSizes(
                slots=1,
                state_dim=config.seen,
                action_dim=self.action_dim,
                horizon=self.horizon,
                width=width,
                hidden=width,
                features=width,
                future_tokens=_FUTURE_TOKENS,
                positions=self.horizon,
                norm=True,
                heads=config.num_heads,
                layers=config.depth,
                looking_heads=config.num_heads,
                looking_layers=1,
            )
        )
        learned = config.noise_method == "reinflow"
        self.noise_head = LearnedNoise(width, self.width) if learned else None
        self.value_head = (
            TinyValueHead(config.seen + width, config.num_values) if config.add_value_head else None
        )
        self.register_buffer("low", -torch.ones(self.action_dim))
        self.register_buffer("high", torch.ones(self.action_dim))
        self.register_buffer("live", torch.ones(self.action_dim, dtype=torch.bool))

    def set_action_statistics(self, statistics: ActionStatistics) -> None:
        self.low.copy_(torch.from_numpy(statistics.q01))
        self.high.copy_(torch.from_numpy(statistics.q99))
        self.live.copy_(self.high > self.low)

    def prepare(self, observation: Observation, sampled: Sampled | None) -> _Prepared:
        config = self.settings
        assert isinstance(config, TinyFlowConfig)
        shown = pictures(observation, config.num_views, config.image_size)
        images = torch.from_numpy(shown).to(self.device)
        pixels = images.flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        tokens = self.vision(pixels).unflatten(0, (-1, config.num_views))
        tokens = (tokens + self.view_embedding).flatten(1, 2)
        text = tokenize(observation.instructions).to(self.device)
        read = self.text_embedding(text) + self.text_position
        seen = tokens.flatten(1)
        features = torch.cat((tokens, read), dim=1)
        return _Prepared(self.action_head.look(features, None, seen[:, None], 0), seen)

    def velocity(self, prepared: _Prepared, x: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        return self.action_head(prepared.looked, x, times)

    def values(self, prepared: _Prepared, hidden: Tensor) -> Tensor:
        if self.value_head is None:
            return prepared.seen.new_zeros(len(prepared.seen), 0)
        return self.value_head(torch.cat((prepared.seen, prepared.looked.state[:, 0]), dim=1))

    def scale(self, actions: Tensor) -> Tensor:
        span = (self.high - self.low).clamp(min=1e-8)
        return torch.where(self.live, 2 * (actions - self.low) / span - 1, 0.0)

    def unscale(self, states: Tensor) -> Tensor:
        return self.low + (states + 1) / 2 * (self.high - self.low)

    def value_parameters(self) -> list[nn.Parameter]:
        return list(self.value_head.parameters()) if self.value_head is not None else []

    def layers(self) -> list[nn.Module]:
        return self.action_head.layers()
