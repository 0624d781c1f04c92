"""The network of OpenVLA and OpenVLA-OFT: vision towers, projector and a Llama of transformers.

The Llama's layers are run here one by one, so that the attention mask is exactly the one given and
no logits are made that nobody reads.

Letters: B rows, T positions of a sequence, P image tokens of a row, H width of the language model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from rlinf.config.model_folder import Architecture
from rlinf.models.prismatic.vision import Block, Projector, VisionBackbone


class KeyValueCache:
    """Keys and values of all layers in memory that is allocated once, for T positions.

    It has the one method that transformers' attention calls.
    """

    def __init__(self, layers: int, positions: int) -> None:
        self.positions = positions
        self.filled = 0  # positions written so far
        self._store: list[tuple[Tensor, Tensor] | None] = [None] * layers

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Appends [B, heads, n, D] to a layer; returns all keys and values so far."""
        held = self._store[layer]
        if held is None:
            shape = (*keys.shape[:2], self.positions, keys.shape[3])
            held = keys.new_empty(shape), values.new_empty(shape)
            self._store[layer] = held
        end = self.filled + keys.shape[2]
        held[0][:, :, self.filled : end] = keys
        held[1][:, :, self.filled : end] = values
        return held[0][:, :, :end], held[1][:, :, :end]


@dataclass(frozen=True, slots=True)
class Attending:
    """Who sees whom among the T positions of B rows.

    Padding is hidden from everybody; rotary positions count what is not padding.
    """

    real: Tensor  # [B, T] bool, False for padding
    padded: bool  # whether any row has padding
    causal: bool  # a position sees itself and what is before it; else all of the row

    @property
    def positions(self) -> Tensor:
        """[B, T] int64 rotary positions."""
        return (self.real.cumsum(1) - 1).clamp(min=0)

    def until(self, end: int) -> Attending:
        """The same for the first `end` positions."""
        return Attending(self.real[:, :end], self.padded, self.causal)

    def mask(self, implementation: str, dtype: torch.dtype, first: int = 0) -> Tensor | None:
        """What the attention of the positions from `first` on adds: [B, 1, T - first or 1, T].

        None where attention needs no mask, which leaves the faster kernels possible.
        """
        if implementation == "flash_attention_2":
            return self.real if self.padded else None
        length = self.real.shape[1]
        queries = length - first
        if not self.padded and implementation == "sdpa" and (queries in (1, length)):
            return None
        if not self.padded and not self.causal:
            return None
        visible = self.real[:, None, None, :]
        if self.causal and queries > 1:
            square = self.real.new_ones(length, length).tril()[first:]
            visible = visible & square
        mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
        return mask.masked_fill_(~visible, torch.finfo(dtype).min)


class Prismatic(nn.Module):
    """Pictures and embedded tokens in, hidden states out; parameters are named as published."""

    def __init__(self, architecture: Architecture, attention: str = "sdpa") -> None:
        super().__init__()
        self.architecture = architecture
        self.attention = attention
        self.checkpointing = False
        self.vision_backbone = VisionBackbone(architecture)
        self.projector = Projector(architecture)
        self.language_model = LlamaForCausalLM(llama_config(architecture, attention))
        for module in self.unused():
            module.requires_grad_(False)

    def see(self, pixels: Tensor) -> Tensor:
        """[B, V, 6, S, S] normalised pictures to [B, V * P, H], picture after picture."""
        rows, views = pixels.shape[:2]
        seen = self.projector(self.vision_backbone(pixels.flatten(0, 1)))
        return seen.view(rows, -1, seen.shape[-1]) if views > 1 else seen

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids [B, n] to [B, n, H]."""
        return self.language_model.model.embed_tokens(tokens)

    def read(
        self,
        embedded: Tensor,
        attending: Attending,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Hidden states [B, n, H] after the final norm.

        Args:
            embedded: [B, n, H], the last n of the T positions; the others lie in the cache.
            attending: of all T positions.
            cache: takes up the keys and values of these positions.
        """
        model = self.language_model.model
        first = attending.real.shape[1] - embedded.shape[1]
        rotary = model.rotary_emb(embedded, position_ids=attending.positions[:, first:])
        mask = attending.mask(self.attention, embedded.dtype, first)
        hidden = embedded
        for layer in model.layers:
            layer.gradient_checkpointing = self.checkpointing and torch.is_grad_enabled()
            hidden = layer(
                hidden,
                attention_mask=mask,
                position_embeddings=rotary,
                past_key_values=cache,
                is_causal=attending.causal and embedded.shape[1] > 1,
            )
        if cache is not None:
            cache.filled += embedded.shape[1]
        return model.norm(hidden)

    def logits(self, hidden: Tensor, tokens: slice = slice(None)) -> Tensor:
        """[..., H] to float32 logits of the tokens in `tokens`: only these rows are multiplied."""
        head = self.language_model.lm_head
        base = getattr(head, "base_layer", head)
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = hidden.float()  # bf16 would round logits of 20 to steps of 0.1
            logits = linear(hidden, base.weight[tokens].float())
            for name, scale in getattr(head, "scaling", {}).items():  # adapters of peft
                inner = linear(hidden, head.lora_A[name].weight.float())
                logits = logits + scale * linear(inner, head.lora_B[name].weight[tokens].float())
        return logits

    def checkpoint_layers(self) -> None:
        """From now on activations inside a layer are computed again in the backward pass.

        Like any policy in training, this one has to be in train mode for it (it has no dropout).
        """
        self.checkpointing = True
        for module in self.vision_backbone.modules():
            if isinstance(module, Block):
                module.checkpointing = True
        self.language_model.activation_checkpointing_enable({"use_reentrant": False})

    def layers(self) -> list[nn.Module]:
        """Blocks of both towers and layers of the language model, as far as they are computed."""
        vision = self.vision_backbone
        return [
            *vision.featurizer.computed(),
            *vision.fused_featurizer.computed(),
            *self.language_model.model.layers,
        ]

    def unused(self) -> Iterator[nn.Module]:
        """What is stored for others and never computed."""
        yield from self.vision_backbone.featurizer.unused()
        yield from self.vision_backbone.fused_featurizer.unused()

    def restore_buffers(self) -> None:
        """Makes the rotary frequencies, which are not stored, after a start without memory."""
        model = self.language_model.model
        device = model.norm.weight.device
        model.rotary_emb = LlamaRotaryEmbedding(self.language_model.config).to(device)


def llama_config(architecture: Architecture, attention: str) -> LlamaConfig:
    """The Llama in transformers' terms; every value that matters is given, none is a default."""
    settings: dict[str, Any] = {
        "vocab_size": architecture.vocabulary,
        "hidden_size": architecture.width,
        "intermediate_size": architecture.mlp_width,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "num_key_value_heads": architecture.key_heads,
        "rms_norm_eps": architecture.rms_norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": architecture.rope_theta},
        "max_position_embeddings": architecture.max_positions,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": architecture.pad_token,
        "attn_implementation": attention,
    }
    return LlamaConfig(**settings)
