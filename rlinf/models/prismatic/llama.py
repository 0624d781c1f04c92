"""Transformers' Llama with layers that compute only the positions that are read.

Letters: B rows, T positions of a sequence, n of them new, w of these wanted, H width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import rms_norm
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaDecoderLayer,
    LlamaRMSNorm,
    eager_attention_forward,
    rotate_half,
)

from rlinf.models.prismatic.attention import LayerCache
from rlinf.models.prismatic.model_folder import Architecture


class Norm(LlamaRMSNorm):
    """The same numbers in one kernel: normalised in float32, rounded, then scaled."""

    weight: nn.Parameter

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[..., H] to [..., H]."""
        unit = rms_norm(hidden_states.float(), self.weight.shape, eps=self.variance_epsilon)
        return self.weight * unit.to(hidden_states.dtype)


class Layer(LlamaDecoderLayer):
    """Attention and perceptron, with the parameters and names of transformers' layer.

    Every position gives a key and a value, and only the wanted ones a query and what follows from
    it. In the last layer these are the few that predict action tokens.
    """

    def __init__(self, config: Any, index: int) -> None:
        super().__init__(config, index)
        self.input_layernorm = Norm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = Norm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        hidden: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        causal: bool,
        cache: LayerCache | None = None,
        wanted: slice = slice(None),
    ) -> Tensor:
        """[B, n, H] to [B, w, H].

        Args:
            rotary: cosine and sine of the n positions.
            mask: what attention adds to the scores of the wanted positions; None: nothing.
            causal: without a mask, hide what comes after a position.
            cache: takes up keys and values of the n positions.
            wanted: of the n positions.
        """
        normed = self.input_layernorm(hidden)
        mixed = self._attend(normed, rotary, mask, causal, cache, wanted)
        hidden = hidden[:, wanted] + mixed
        return hidden + self.mlp(self.post_attention_layernorm(hidden))

    def _attend(
        self,
        normed: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        causal: bool,
        cache: LayerCache | None,
        wanted: slice,
    ) -> Tensor:
        attention = self.self_attn
        query = self._heads(attention.q_proj(normed[:, wanted]))
        key, value = (self._heads(part(normed)) for part in (attention.k_proj, attention.v_proj))
        cosine, sine = (part.unsqueeze(1) for part in rotary)
        query = _turn(query, cosine[:, :, wanted], sine[:, :, wanted])
        key = _turn(key, cosine, sine)
        if cache is not None:
            key, value = cache.update(key, value)
        kernel = ALL_ATTENTION_FUNCTIONS.get_interface(
            attention.config._attn_implementation, eager_attention_forward
        )
        mixed, _ = kernel(
            attention,
            *(query, key, value, mask),
            dropout=0.0,
            scaling=attention.scaling,
            is_causal=causal,
        )
        return attention.o_proj(mixed.flatten(2))

    def _heads(self, packed: Tensor) -> Tensor:
        """[B, n, heads * D] to [B, heads, n, D]."""
        return packed.unflatten(2, (-1, self.self_attn.head_dim)).transpose(1, 2)


def _turn(vectors: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotates queries or keys [B, heads, w, D] to their positions."""
    return vectors * cosine + rotate_half(vectors) * sine


def build_llama(architecture: Architecture, attention: str) -> LlamaForCausalLM:
    """Transformers' model, with the layers and norms of this file in their places."""
    config = llama_config(architecture, attention)
    whole = LlamaForCausalLM(config)
    layers = [Layer(config, index) for index in range(architecture.layers)]
    whole.model.layers = nn.ModuleList(layers)
    whole.model.norm = Norm(architecture.width, architecture.rms_norm_eps)
    return whole


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
