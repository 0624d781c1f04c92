"""OpenVLA and OpenVLA-OFT with nothing left out and nothing saved: what ours is compared with.

The same weights, run as the published code runs them: Pillow for every picture, all blocks of the
towers, transformers' own forward and generate, and logits over the whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import LlamaForCausalLM

from rlinf.models.prismatic.images import normalize
from rlinf.models.prismatic.llama import llama_config
from rlinf.models.prismatic.policy import PrismaticPolicy
from rlinf.models.prismatic.vision import VisionTower


class PlainVla:
    """Acts like the policy whose weights it uses, the plain way."""

    def __init__(self, policy: PrismaticPolicy, parallel: bool) -> None:
        self.policy, self.parallel = policy, parallel
        self.tokens = policy.chunk * policy.action_dim
        self.model = _transformers_model(policy)

    @torch.inference_mode()
    def act(self, images: np.ndarray, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Drawn tokens and their log-probs [B, C * A] of images [B, H, W, 3] uint8."""
        logits = self.logits(images, instructions)
        allowed = torch.full_like(logits, -torch.inf)
        bins = self.policy.scale.tokens
        allowed[..., bins] = logits[..., bins]
        logdist = allowed.log_softmax(-1)
        drawn = torch.multinomial(logdist.exp().flatten(0, 1), 1).view(logdist.shape[:2])
        return drawn, logdist.gather(-1, drawn[..., None])[..., 0]

    def logits(self, images: np.ndarray, instructions: Sequence[str]) -> Tensor:
        """[B, C * A, vocabulary] float32."""
        network = self.policy.network
        model = self.model
        ids, _ = self.policy.prompts.batch(instructions)
        text = network.embed(ids.to(self.policy.device))
        seen = network.projector(self._features(images))
        parts = [text[:, :1], seen, text[:, 1:]]
        if not self.parallel:
            embedded = torch.cat(parts, dim=1)
            made = model.generate(
                inputs_embeds=embedded,
                attention_mask=embedded.new_ones(embedded.shape[:2], dtype=torch.long),
                max_new_tokens=self.tokens,
                min_new_tokens=self.tokens,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
                logits_to_keep=0,  # of every position, as the transformers of the published code
            )
            return torch.stack([step.float() for step in made.logits], dim=1)
        places = text.new_zeros(len(ids), self.tokens, text.shape[2])
        embedded = torch.cat([*parts, places], dim=1)
        length = embedded.shape[1]
        mask = embedded.new_zeros(len(ids), 1, length, length)
        logits = model(inputs_embeds=embedded, attention_mask=mask, use_cache=False).logits
        start = length - self.tokens - 1
        return logits.float()[:, start : start + self.tokens]

    def _features(self, images: np.ndarray) -> Tensor:
        size = self.policy.network.architecture.image_size
        resized = [
            np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
            for image in images
        ]
        pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)
        pixels = normalize(pixels).to(self.policy.device, self.policy.dtype)
        dino, siglip = pixels.split(3, dim=1)
        vision = self.policy.network.vision_backbone
        pairs = ((vision.featurizer, dino), (vision.fused_featurizer, siglip))
        return torch.cat([_whole_tower(tower, given) for tower, given in pairs], dim=2)


def _transformers_model(policy: PrismaticPolicy) -> Any:
    """The language model as transformers builds it, on the policy's own weights."""
    network = policy.network
    with torch.device("meta"):
        model = LlamaForCausalLM(llama_config(network.architecture, network.attention))
    model.load_state_dict(network.language_model.state_dict(), assign=True)
    model.model.rotary_emb = network.language_model.model.rotary_emb  # nothing that is stored
    return model.eval()


def _whole_tower(tower: VisionTower, pixels: Tensor) -> Tensor:
    """The second-last block's output, after the last one was computed too."""
    tokens = tower(pixels)
    tower.blocks[-1](tokens)
    return tokens
