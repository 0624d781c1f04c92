"""The backbone of GR00T-N1.5: SigLIP, a linear connector and the first layers of Qwen3.

Letters: B rows, V pictures of a row, P tokens of a picture, L tokens of the prompt, D width.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, Qwen3Config, Qwen3Model, SiglipVisionConfig
from transformers import SiglipVisionModel as Siglip
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

from rlinf.models.gr00t.folder import Gr00tFolder

Padding = Literal["masked", "flash"]
_NOT_TAKEN = ("layer_types", "max_window_layers", "rope_scaling", "torch_dtype")
_ZERO_AT_PADDING = "rlinf_sdpa_zero_at_padding"


def _zero_at_padding(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **rest: Any
) -> tuple[Tensor, None]:
    """Attention as flash-attn's un-padding leaves it: exactly 0 at padding.

    Args:
        rest: `real` [B, L] bool among them.
    """
    real = rest.pop("real", None)
    mixed, _ = sdpa_attention_forward(module, query, key, value, mask, **rest)
    return mixed if real is None else mixed * real[:, :, None, None], None


AttentionInterface.register(_ZERO_AT_PADDING, _zero_at_padding)


class Backbone(nn.Module):
    """Pictures and a prompt in, one feature of each token out."""

    def __init__(self, folder: Gr00tFolder) -> None:
        super().__init__()
        vision, text = dict(folder.vision), dict(folder.text)
        for name in _NOT_TAKEN:
            vision.pop(name, None)
            text.pop(name, None)
        text["num_hidden_layers"] = folder.text_layers
        self.image_token = folder.image_token
        qwen = Qwen3Config(**text, attn_implementation=_ZERO_AT_PADDING)
        siglip = SiglipVisionConfig(**vision, attn_implementation="sdpa")
        connector = nn.Sequential(nn.Linear(siglip.hidden_size, qwen.hidden_size))
        language = nn.ModuleDict({"model": Qwen3Model(qwen)})
        self.eagle_model = nn.ModuleDict(
            {"vision_model": Siglip(siglip), "mlp1": connector, "language_model": language}
        )

    def see(self, pixels: Tensor) -> Tensor:
        """Features of pictures [n, 3, S, S]: [n, P, vision width]."""
        vision = self.eagle_model["vision_model"]
        assert isinstance(vision, Siglip)
        hidden = vision.encoder(inputs_embeds=vision.embeddings(pixels)).last_hidden_state
        return vision.post_layernorm(hidden)

    def forward(self, ids: Tensor, real: Tensor, pixels: Tensor, padding: Padding) -> Tensor:
        """Features [B, L, D].

        Args:
            ids: [B, L] int64, V * P image tokens among them.
            real: [B, L] bool on the CPU, no padding.
            pixels: [B * V, 3, S, S], the pictures of a row together.
            padding: `masked` counts positions without it, so that a row is computed as if it were
                alone; `flash` counts it, as the original does.
        """
        language = self.eagle_model["language_model"]["model"]  # type: ignore[index]
        seen = self.eagle_model["mlp1"](self.see(pixels))
        embedded = language.embed_tokens(ids)
        places = (ids == self.image_token)[..., None].expand_as(embedded)
        embedded = embedded.masked_scatter(places, seen.to(embedded.dtype))
        if bool(real.all()):
            mask = {"full_attention": None}
            return language(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
        here = real.to(ids.device)
        length = ids.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        self_too = torch.eye(length, dtype=torch.bool, device=ids.device)
        allowed = (earlier & here[:, None]) | self_too  # padding sees itself, or it would be NaN
        positions = None if padding == "flash" else (here.cumsum(1) - 1).clamp(min=0)
        return language(
            inputs_embeds=embedded,
            attention_mask={"full_attention": allowed[:, None]},
            position_ids=positions,
            real=here if padding == "flash" else None,
        ).last_hidden_state

    def restore_buffers(self) -> None:
        """Makes what is not stored, after a start without memory."""
        vision, language = self.eagle_model["vision_model"], self.eagle_model["language_model"]
        qwen: Any = language["model"]  # type: ignore[index]
        device = qwen.norm.weight.device
        qwen.rotary_emb = Qwen3RotaryEmbedding(qwen.config).to(device)
        places: Any = vision.embeddings
        positions = torch.arange(places.num_positions, device=device).expand((1, -1))
        places.register_buffer("position_ids", positions, persistent=False)

    def layers(self) -> list[nn.Module]:
        """The repeated layers, in order of use."""
        vision, language = self.eagle_model["vision_model"], self.eagle_model["language_model"]
        return [*vision.encoder.layers, *language["model"].layers]  # type: ignore[index, misc, union-attr]
