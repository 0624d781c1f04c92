"""The network of OpenVLA and OpenVLA-OFT: vision towers, projector and a Llama of transformers.

The Llama's layers are run here one by one, so that the attention mask is exactly the one given and
only logits that are read are made.

Letters: B rows, T positions of a sequence, P image tokens of a row, H width of the language model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from rlinf.models.prismatic.attention import Attending, LayerCache, StepCache
from rlinf.models.prismatic.llama import build_llama
from rlinf.models.prismatic.model_folder import Architecture
from rlinf.models.prismatic.vision import Block, Projector, VisionBackbone

RunLayer = Callable[..., Tensor]
"""Runs a layer, its first argument, on the others; see `Layer.forward`."""


def run_layer(layer: nn.Module, *inputs: object) -> Tensor:
    """Operation by operation."""
    hidden: Tensor = layer(*inputs)
    return hidden


class Prismatic(nn.Module):
    """Pictures and embedded tokens in, hidden states out; parameters are named as published."""

    def __init__(self, architecture: Architecture, attention: str = "sdpa") -> None:
        super().__init__()
        self.architecture = architecture
        self.attention = attention
        self.checkpointing = False
        self.vision_backbone = VisionBackbone(architecture)
        self.projector = Projector(architecture)
        self.language_model = build_llama(architecture, attention)
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
        caches: Sequence[LayerCache] = (),
        wanted: slice = slice(None),
        run: RunLayer = run_layer,
    ) -> Tensor:
        """Hidden states [B, w, H] of the wanted positions, after the final norm.

        Args:
            embedded: [B, n, H], the last n of the T positions; the others lie in the caches.
            attending: of all T positions.
            caches: of each layer, or none; they take up the keys and values of the n positions.
            wanted: of the n; the last layer leaves out what only the others need.
            run: runs each layer but the last.
        """
        model = self.language_model.model
        length, new = attending.real.shape[1], embedded.shape[1]
        rotary = model.rotary_emb(embedded, position_ids=attending.positions[:, length - new :])
        hidden, last = embedded, len(model.layers) - 1
        for index, layer in enumerate(model.layers):
            asked = wanted if index == last else slice(None)
            first, stop, _ = asked.indices(new)
            if index in (0, last):  # all but the last want the same
                mask = attending.mask(
                    self.attention, embedded.dtype, length - new + first, length - new + stop
                )
            layer.gradient_checkpointing = self.checkpointing and torch.is_grad_enabled()
            causal = attending.causal and stop - first > 1
            cache = caches[index] if caches else None
            through = run if index < last else run_layer  # few positions, other shapes
            hidden = through(layer, hidden, rotary, mask, causal, cache, asked)
        return model.norm(hidden)

    def step(
        self,
        embedded: Tensor,
        real: Tensor,
        position: Tensor,
        stores: Sequence[tuple[Tensor, Tensor]],
        run: RunLayer = run_layer,
    ) -> Tensor:
        """Hidden state [B, 1, H] of one position, by operations whose shapes do not depend on it.

        Args:
            embedded: [B, 1, H].
            real: [B, T] bool, False for padding.
            position: [1] int64 of the T; those after it are hidden.
            stores: keys and values of each layer, [B, heads, T, D]; those of the position are
                written.
        """
        model = self.language_model.model
        places = torch.arange(real.shape[1], device=real.device)
        counted = Attending(real, True, True).positions.index_select(1, position)
        rotary = model.rotary_emb(embedded, position_ids=counted)
        visible = (real & (places <= position))[:, None, None, :]
        mask = torch.zeros(visible.shape, dtype=embedded.dtype, device=embedded.device)
        mask = mask.masked_fill(~visible, torch.finfo(embedded.dtype).min)
        hidden = embedded
        for layer, (keys, values) in zip(model.layers, stores, strict=True):
            cache = StepCache(keys, values, position)
            hidden = run(layer, hidden, rotary, mask, False, cache, slice(None))
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
