"""The tiny VLA as a policy: from uint8 images to action tokens, and from tokens to actions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from rlinf.data.random import Noise
from rlinf.data.statistics import ActionStatistics
from rlinf.data.types import ActionChunk, Observation, Sampled
from rlinf.errors import UserError
from rlinf.models import sampling as tokens
from rlinf.models.base import Evaluation, Imitation, Sampling, TokenPolicy, views_of
from rlinf.models.tiny_vla.config import TinyVlaConfig
from rlinf.models.tiny_vla.network import TinyVla, TinyVlaSizes, tokenize


class TinyVlaPolicy(TokenPolicy):
    """Each of the A dimensions of each of the C actions is one of `bins` tokens.

    A token stands for the centre of its bin in [-1, 1], which the statistics of the demonstrations
    (1 % and 99 % quantile of each dimension) map to the env's units. Where both quantiles are equal
    the dimension is constant, no token of it reaches the simulator, and it is not `live`. The
    statistics are part of the weights, so that a checkpoint acts alike wherever it is loaded.
    """

    low: Tensor  # [A] float32, 1 % quantile of the demonstrations' actions
    high: Tensor  # [A] float32, 99 % quantile

    def __init__(self, config: TinyVlaConfig) -> None:
        super().__init__()
        self.chunk, self.action_dim = config.num_action_chunks, config.action_dim
        self.network = TinyVla(
            TinyVlaSizes(
                image_size=config.image_size,
                views=config.num_views,
                chunk=self.chunk,
                action_dim=self.action_dim,
                width=config.width,
                layers=config.depth,
                heads=config.num_heads,
                values=config.num_values if config.add_value_head else 0,
                recompute=config.gradient_checkpointing,
            )
        )
        self.bins = self.network.config.bins
        self.register_buffer("low", -torch.ones(self.action_dim))
        self.register_buffer("high", torch.ones(self.action_dim))
        self.register_buffer("live", torch.ones(self.action_dim, dtype=torch.bool))

    def set_action_statistics(self, statistics: ActionStatistics) -> None:
        self.low.copy_(torch.from_numpy(statistics.q01))
        self.high.copy_(torch.from_numpy(statistics.q99))
        self.live.copy_(self.high > self.low)

    @torch.inference_mode()
    def act(self, observation: Observation, sampling: Sampling, noise: Noise) -> ActionChunk:
        logits, values = self._forward(observation)
        logdist = tokens.log_distribution(logits[:, :, self.live], sampling)
        uniform = torch.from_numpy(noise.uniform(self.chunk, self.action_dim)).to(self.device)
        drawn = tokens.draw(logdist, uniform[:, :, self.live], sampling)
        sampled = self._with_dead(drawn)
        return ActionChunk(
            actions=self.decode(sampled).cpu().numpy(),
            sampled={tokens.TOKENS: sampled.cpu().numpy()},
            logprobs=self._with_dead(tokens.token_logprobs(logdist, drawn)).cpu().numpy(),
            values=values.cpu().numpy(),
            version=self.version,
        )

    @torch.inference_mode()
    def value(self, observation: Observation) -> np.ndarray:
        return self._forward(observation)[1][:, 0].cpu().numpy()

    def evaluate(
        self, observation: Observation, sampled: Sampled, sampling: Sampling
    ) -> Evaluation:
        logits, values = self._forward(observation)
        logdist = tokens.log_distribution(logits[:, :, self.live], sampling)
        given = torch.from_numpy(sampled[tokens.TOKENS]).to(self.device)[:, :, self.live]
        return Evaluation(
            self._with_dead(tokens.token_logprobs(logdist, given)),
            self._with_dead(tokens.entropy(logdist)),
            values,
        )

    def imitate(
        self,
        observation: Observation,
        actions: np.ndarray,
        values: np.ndarray,
        noise: Noise,
    ) -> Imitation:
        logits, predicted = self._forward(observation)
        live = logits[:, :, self.live]
        labels = torch.from_numpy(self.encode(actions)).to(self.device)[:, :, self.live]
        loss = -(self._label_weights(self.smoothing)[labels] * live.log_softmax(-1)).sum(-1)
        returns = torch.from_numpy(values).to(self.device)[:, None]
        chosen = live.detach().argmax(-1)
        wanted = torch.from_numpy(actions).to(self.device)
        return self.imitation(
            token_loss=loss.flatten(1),
            value_loss=(predicted - returns) ** 2,
            correct=(chosen == labels).float().flatten(1),
            error=(self.decode(self._with_dead(chosen)) - wanted).abs()[:, :, self.live],
        )

    def _label_weights(self, smoothing: float) -> Tensor:
        """[bins, bins]: row i is the label distribution of bin i, a Gaussian cut at the ends."""
        bins = torch.arange(self.bins, device=self.device, dtype=torch.float32)
        distance = bins[:, None] - bins
        if smoothing == 0:
            return (distance == 0).float()
        return (-0.5 * (distance / smoothing) ** 2).softmax(-1)

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Token ids [..., A] int64 of the bins that hold the given actions [..., A] (env units)."""
        span = np.maximum(self.high.cpu().numpy() - self.low.cpu().numpy(), 1e-8)
        unit = np.clip((actions - self.low.cpu().numpy()) / span, 0.0, 1.0)
        return np.minimum((unit * self.bins).astype(np.int64), self.bins - 1)

    def decode(self, drawn: Tensor) -> Tensor:
        """Actions [..., A] float32 in the env's units at the centres of the bins `drawn`."""
        unit = (drawn.float() + 0.5) / self.bins
        return self.low + unit * (self.high - self.low)

    def value_parameters(self) -> list[nn.Parameter]:
        head = self.network.value_head
        return list(head.parameters()) if head is not None else []

    def layers(self) -> list[nn.Module]:
        return list(self.network.blocks)

    def _with_dead(self, values: Tensor) -> Tensor:
        """[..., live dimensions] to [..., A], with zeros where a dimension is constant."""
        full = values.new_zeros(*values.shape[:-1], self.action_dim)
        full[..., self.live] = values
        return full

    def _forward(self, observation: Observation) -> tuple[Tensor, Tensor]:
        """Logits [B, C, A, bins] and values [B, C or 1 or 0]."""
        config = self.network.config
        images = torch.from_numpy(pictures(observation, config.views, config.image_size)).to(
            self.device
        )
        text = tokenize(observation.instructions).to(self.device)
        return self.network(images, text)


def pictures(observation: Observation, views: int, side: int) -> np.ndarray:
    """The pictures of an observation, [B, views, side, side, 3] uint8, as the model takes them.

    Raises:
        UserError: the simulator shows others.
    """
    shown = views_of(observation, views, "num_views")
    size = shown.shape[2:4]
    if size != (side, side):
        raise UserError(
            f"actor.model.image_size = {side}: the simulator's pictures are {size[0]} x {size[1]}",
            f"set image_size=[{side},{side}] in env.train.init_params and env.eval.init_params",
        )
    return shown
