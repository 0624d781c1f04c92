"""What OpenVLA and OpenVLA-OFT share as policies: inputs, action tokens, critic, weights.

Letters: B rows, P image tokens of a row, L prompt tokens, C actions per chunk, A dimensions,
H width of the language model. A sequence is `<s>`, P patches, padding, the prompt, actions.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlinf.config.base import Compile
from rlinf.data.random import Noise
from rlinf.data.statistics import ActionStatistics
from rlinf.data.types import ActionChunk, Observation, Sampled
from rlinf.errors import UserError
from rlinf.models import adapters
from rlinf.models import sampling as tokens
from rlinf.models.base import Evaluation, Imitation, Sampling, TokenPolicy, views_of
from rlinf.models.prismatic import folders, images, lora
from rlinf.models.prismatic.adapter_folder import read_adapter
from rlinf.models.prismatic.attention import Attending
from rlinf.models.prismatic.compiled import CompiledPasses
from rlinf.models.prismatic.config import PrismaticConfig
from rlinf.models.prismatic.model_folder import ACTION_BINS
from rlinf.models.prismatic.network import Prismatic
from rlinf.models.prismatic.recipes import RECIPE
from rlinf.models.prismatic.reference import check_llama
from rlinf.models.prismatic.tokens import END, ActionScale, Prompts
from rlinf.models.prismatic.value_head import PrismaticValueHead
from rlinf.models.prismatic.weight_content import model_fingerprint

_PARITY_TOLERANCES = {"fp32": 1e-3, "bf16": 0.05}
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_LOG = logging.getLogger(__name__)


class PrismaticPolicy(TokenPolicy):
    """A vision-language-action model in the layout of openvla/openvla-7b.

    It is built without weights (on PyTorch's meta device) and gets them from `load`. Tokens in
    `ActionChunk.sampled` are ids of the vocabulary; log-probs and entropy are over the 256 action
    tokens alone, which are also the only logits computed.
    """

    epsilon: float  # of the action scale, as the original of the model has it

    def __init__(self, config: PrismaticConfig) -> None:
        super().__init__()
        self.config, self.folder = config, config.folder()
        architecture = self.folder.architecture
        self.chunk, self.action_dim = config.num_action_chunks, config.action_dim
        self.recipe = config.resolved_recipe()
        self.dtype = _DTYPES[config.precision]
        self.parity_tolerance = _PARITY_TOLERANCES[config.precision]
        self.prompts = Prompts(self.folder.path, architecture.pad_token)
        check_llama(architecture, config.attn_implementation)
        with torch.device("meta"):
            self.network = Prismatic(architecture, config.attn_implementation)
        self.network.to(self.dtype)
        self.value_head = (
            PrismaticValueHead(architecture.width, config.num_values)
            if config.add_value_head
            else None
        )
        self.unnorm_key, statistics = self.folder.statistics_of(config.unnorm_key)
        self.scale = ActionScale(statistics, architecture.text_vocabulary, self.epsilon)
        self._check_dimensions()
        self.register_buffer("live", self._live())
        self.passes: CompiledPasses | None = None  # while it acts, with `rollout.compile`
        self.base: str | None = None  # fingerprint of the model below the adapters
        self.lineage: list[str] = []  # fingerprints of the adapters that these began from
        _LOG.info("%s: %s, actions of %s", self.folder.path, self.recipe, self.unnorm_key)

    # --- acting and judging ----------------------------------------------------------------------

    @torch.inference_mode()
    def act(self, observation: Observation, sampling: Sampling, noise: Noise) -> ActionChunk:
        uniform = torch.from_numpy(noise.uniform(self.chunk, self.action_dim)).to(self.device)
        sampled, logprobs, hidden = self._act(observation, sampling, uniform)
        return ActionChunk(
            actions=self.decode(sampled).cpu().numpy(),
            sampled={tokens.TOKENS: sampled.cpu().numpy()},
            logprobs=logprobs.cpu().numpy(),
            values=self._values(hidden).cpu().numpy(),
            version=self.version,
        )

    @torch.inference_mode()
    def value(self, observation: Observation) -> np.ndarray:
        return self._values(self._prompt_end(observation))[:, 0].cpu().numpy()

    def evaluate(
        self, observation: Observation, sampled: Sampled, sampling: Sampling
    ) -> Evaluation:
        given = torch.from_numpy(sampled[tokens.TOKENS]).to(self.device)
        hidden = self._action_states(observation, given, with_end=False)
        logdist = self.log_distribution(hidden, sampling).unflatten(1, given.shape[1:])
        return Evaluation(
            tokens.token_logprobs(logdist, given - self.scale.first),
            tokens.entropy(logdist),
            self._values(hidden[:, 0]),
        )

    def imitate(
        self, observation: Observation, actions: np.ndarray, values: np.ndarray, noise: Noise
    ) -> Imitation:
        """Cross-entropy over the whole vocabulary, as in the models' own fine-tuning.

        Where the sequence ends with `</s>`, that is learned too, as the last of the K tokens.
        """
        labels = torch.from_numpy(self.scale.encode(actions)).to(self.device)
        hidden = self._action_states(observation, labels, with_end=True)
        logits = self.network.logits(hidden)
        bins = logits[:, : labels[0].numel(), self.scale.tokens].detach()
        best = (bins.argmax(-1) + self.scale.first).view(labels.shape)
        error = (self.decode(best) - torch.from_numpy(actions).to(self.device)).abs()
        predicted = self._values(hidden[:, 0])
        returns = torch.from_numpy(values).to(self.device)[:, None]
        return self.imitation(
            token_loss=self._cross_entropy(logits, labels.flatten(1), self.smoothing),
            value_loss=(predicted - returns) ** 2,
            correct=(best == labels).float().flatten(1),
            error=error[..., self.live],
        )

    def compile_act(self, how: Compile | None) -> None:
        self.passes = None if how is None else CompiledPasses(self.network, how)

    @abstractmethod
    def _act(
        self, observation: Observation, sampling: Sampling, uniform: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids and their log-probs [B, C, A], and the state [B, H] the critic reads."""

    @abstractmethod
    def _prompt_end(self, observation: Observation) -> Tensor:
        """The state [B, H] that predicts the first action token: what the critic reads."""

    @abstractmethod
    def _action_states(self, observation: Observation, given: Tensor, with_end: bool) -> Tensor:
        """The states [B, C * A, H] that predict the action tokens.

        Args:
            given: [B, C, A] token ids; each is predicted from those before it, where the model
                decodes one after the other.
            with_end: one state more, that predicts `</s>`, where the model's sequence has one.
        """

    # --- shared parts ----------------------------------------------------------------------------

    def context(self, observation: Observation) -> tuple[Tensor, Tensor]:
        """Embedded sequence up to the prompt's end [B, P + L, H], and which of it is real."""
        ids, real = self.prompts.batch(observation.instructions)
        seen = self._seen(self.pixels(observation), observation)
        text = self.network.embed(ids.to(self.device))
        embedded = torch.cat((text[:, :1], seen, text[:, 1:]), dim=1)
        shown = real.new_ones(len(ids), seen.shape[1])
        return embedded, torch.cat((real[:, :1], shown, real[:, 1:]), dim=1)

    def pixels(self, observation: Observation) -> Tensor:
        """The images as the towers take them: [B, V, 6, S, S]."""
        return images.prepare(
            views_of(observation, self.config.num_images_in_input, "num_images_in_input"),
            self.network.architecture.image_size,
            self.recipe.image_path,
            self.recipe.center_crop,
            self.device,
            self.dtype,
        )

    def attending(self, real: Tensor, causal: bool) -> Attending:
        """Attention over positions of which `real` ([B, T] bool, on the CPU) are no padding."""
        return Attending(real.to(self.device), not bool(real.all()), causal)

    def log_distribution(self, hidden: Tensor, sampling: Sampling) -> Tensor:
        """States [..., H] to log-probs [..., 256] over the action tokens."""
        return tokens.log_distribution(self.network.logits(hidden, self.scale.tokens), sampling)

    def draw(self, logdist: Tensor, uniform: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
        """Token ids and their log-probs, both of the shape of `uniform`."""
        drawn = tokens.draw(logdist, uniform, sampling)
        return drawn + self.scale.first, tokens.token_logprobs(logdist, drawn)

    def decode(self, sampled: Tensor) -> Tensor:
        """Actions [..., A] float32 in the data set's units of token ids [..., A]."""
        return self.scale.decode(sampled)

    def _seen(self, pixels: Tensor, observation: Observation) -> Tensor:
        """Image tokens [B, P, H]."""
        return self.network.see(pixels)

    def _values(self, hidden: Tensor) -> Tensor:
        if self.value_head is None:
            return torch.zeros(len(hidden), 0, device=hidden.device)
        return self.value_head(hidden)

    def _cross_entropy(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """[B, K] for action tokens `labels` [B, k] and `</s>` after them, if there are more.

        `smoothing` spreads a label over the bins around it; it is a standard deviation in bins.
        """
        logdist = logits.log_softmax(-1)
        actions, ends = logdist[:, : labels.shape[1]], logdist[:, labels.shape[1] :, END]
        bins = torch.arange(ACTION_BINS, device=labels.device, dtype=torch.float32)
        distance = (labels - self.scale.first)[..., None] - bins
        weights = (
            (distance == 0).float()
            if smoothing == 0
            else (-0.5 * (distance / smoothing) ** 2).softmax(-1)
        )
        return torch.cat((-(weights * actions[..., self.scale.tokens]).sum(-1), -ends), dim=1)

    # --- statistics ------------------------------------------------------------------------------

    def set_action_statistics(self, statistics: ActionStatistics) -> None:
        self.scale.take(statistics)
        self.live.copy_(self._live())

    def _statistics(self) -> dict[str, Any]:
        """Those of the folder, with the range of actions that the policy has by now."""
        before = self.folder.statistics[self.unnorm_key]
        own = self.scale.describe()
        if own["q01"] != before["action"]["q01"] or own["q99"] != before["action"]["q99"]:
            counts = ("num_transitions", "num_trajectories")  # were of other demonstrations
            kept = {name: value for name, value in before.items() if name not in counts}
            before = {**kept, "action": own}
        return {**self.folder.statistics, self.unnorm_key: before}

    def _check_dimensions(self) -> None:
        found = len(self.scale.low)
        if found != self.action_dim:
            raise UserError(
                f"actor.model.action_dim = {self.action_dim}: the statistics of {self.unnorm_key} "
                f"have {found} dimensions",
                f"set actor.model.action_dim={found}, or another unnorm_key",
            )

    def _live(self) -> Tensor:
        """[A] bool: dimensions whose token changes what the simulator gets."""
        return (self.scale.high > self.scale.low) | ~self.scale.scaled

    # --- weights ---------------------------------------------------------------------------------

    def load(self, folder: Path) -> None:
        """Takes weights from a model folder, or from an adapter of the model loaded before."""
        self._read_value_head(folder)
        if lora.is_adapter(folder):
            lora.load(self.network, folder)
        else:
            state = folders.read(folder, self.network, self.dtype)
            folders.assign(self.network, state)
            self.base = model_fingerprint(folder) if self.config.is_lora else None
            self.begin_training_form()

    def _read_value_head(self, folder: Path) -> None:
        if self.value_head is not None:
            folders.read_value_head(self.value_head, folder)

    def begin_training_form(self) -> None:
        """Adds adapters and checkpointing once there are weights."""
        if self.config.is_lora and not adapters.attached(self.network):
            adapter = self.config.adapter()
            lora.attach(self.network, self.config.lora_rank, adapter)
            if adapter is not None:
                self.lineage = read_adapter(adapter).lineage
                self._read_value_head(adapter)
        if self.config.gradient_checkpointing:
            self.network.checkpoint_layers()

    def save(
        self, folder: Path, state: Mapping[str, Tensor] | None = None, merge: bool = False
    ) -> None:
        """A model folder, or a PEFT adapter where there is one that is not to be merged."""
        whole = self.state_dict() if state is None else state
        network = {name[8:]: t for name, t in whole.items() if name.startswith("network.")}
        value_head = {name: t for name, t in whole.items() if name.startswith("value_head.")}
        if adapters.attached(self.network) and not merge:
            record = {RECIPE: self.recipe.noted(), "base": self.base, "lineage": self.lineage}
            lora.save(self.network, network, folder, self.folder.path, record)
            folders.write_statistics(self._statistics(), folder)
        else:
            folded = [*self.lineage, lora.fingerprint_of(network)] if merge else []
            merged = adapters.merge(self.network, network)
            source = replace(self.folder, statistics=self._statistics())
            folders.write(merged, folder, source, self.recipe, folded)
        folders.write_value_head(value_head, folder)

    def layers(self) -> list[nn.Module]:
        return self.network.layers()

    def layers_in_fp32(self) -> list[nn.Module]:
        return [self.value_head] if self.value_head is not None else []

    def value_parameters(self) -> list[nn.Parameter]:
        return list(self.value_head.parameters()) if self.value_head is not None else []
