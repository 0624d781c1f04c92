"""Models of other sizes than the recorded ones: grouped keys, odd widths, more patches and layers.

Both towers are compared with a vision transformer written out head by head, the language model with
transformers' own forward pass.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm
from transformers import LlamaForCausalLM

from rlinf.models.prismatic import random_weights
from rlinf.models.prismatic.attention import Attending
from rlinf.models.prismatic.llama import llama_config
from rlinf.models.prismatic.model_folder import Architecture, read_folder
from rlinf.models.prismatic.network import Prismatic
from tests.tiny_openvla import SETTINGS, UNNORM_KEY

B, SIDE, PATCH, EPSILON = 2, 3, 14, 1e-6
DINO, SIGLIP = SETTINGS["timm_model_kwargs"]


@pytest.fixture(scope="module")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> Architecture:
    towers = [
        {**DINO, "embed_dim": 32, "num_heads": 4, "depth": 4, "reg_tokens": 2},
        {**SIGLIP, "embed_dim": 40, "num_heads": 5, "depth": 3},
    ]
    text = {
        **{"hidden_size": 96, "intermediate_size": 200, "num_hidden_layers": 5},
        **{"num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 32064},
        **{"rope_theta": 50_000.0, "rms_norm_eps": 1e-5},
    }
    size = [PATCH * SIDE] * 2
    settings = {**SETTINGS, "image_sizes": size, "timm_model_kwargs": towers, "text_config": text}
    folder = tmp_path_factory.mktemp("other_sizes")
    random_weights.write_folder(folder, settings, action_dim=7, name=UNNORM_KEY)
    return read_folder(folder).architecture


@pytest.fixture(scope="module")
def network(architecture: Architecture) -> Prismatic:
    torch.manual_seed(0)
    network = Prismatic(architecture)
    for parameter in network.parameters():
        parameter.data = torch.randn_like(parameter) * 0.2
    return network.eval()


@pytest.mark.parametrize("place", [0, 1])
@torch.inference_mode()
def test_both_towers_compute_a_vision_transformer(network: Prismatic, place: int):
    backbone = network.vision_backbone
    tower = (backbone.featurizer, backbone.fused_featurizer)[place]
    pixels = torch.randn(B, 3, PATCH * SIDE, PATCH * SIDE)
    expected = written_out(tower.state_dict(), pixels, heads=(4, 5)[place], blocks=(3, 2)[place])
    torch.testing.assert_close(tower(pixels), expected, rtol=1e-4, atol=1e-4)


def written_out(weights: dict[str, Tensor], pixels: Tensor, heads: int, blocks: int) -> Tensor:
    """Features of the patches [B, SIDE * SIDE, D] after so many blocks."""
    kernel = weights["patch_embed.proj.weight"]
    patches = [
        (pixels[:, None, :, y : y + PATCH, x : x + PATCH] * kernel).sum((2, 3, 4))
        for y in range(0, PATCH * SIDE, PATCH)
        for x in range(0, PATCH * SIDE, PATCH)
    ]
    tokens = torch.stack(patches, 1) + weights["patch_embed.proj.bias"] + weights["pos_embed"]
    extra = [weights[name] for name in ("cls_token", "reg_token") if name in weights]
    tokens = torch.cat([*(token.expand(B, -1, -1) for token in extra), tokens], 1)
    for block in range(blocks):
        own = {
            k.split(".", 2)[2]: v for k, v in weights.items() if k.startswith(f"blocks.{block}.")
        }
        tokens = tokens + attention(own, normed(own, "norm1", tokens), heads)
        seen = normed(own, "norm2", tokens) @ own["mlp.fc1.weight"].T + own["mlp.fc1.bias"]
        seen = gelu(seen) @ own["mlp.fc2.weight"].T + own["mlp.fc2.bias"]
        tokens = tokens + seen * own.get("ls2.scale_factor", 1.0)
    return tokens[:, -SIDE * SIDE :]


def attention(own: dict[str, Tensor], seen: Tensor, heads: int) -> Tensor:
    packed = seen @ own["attn.qkv.weight"].T + own["attn.qkv.bias"]
    query, key, value = (part.chunk(heads, -1) for part in packed.chunk(3, -1))
    scale = query[0].shape[-1] ** -0.5
    mixed = [
        (scale * query[head] @ key[head].mT).softmax(-1) @ value[head] for head in range(heads)
    ]
    out = torch.cat(mixed, -1) @ own["attn.proj.weight"].T + own["attn.proj.bias"]
    return out * own.get("ls1.scale_factor", 1.0)


def normed(own: dict[str, Tensor], name: str, tokens: Tensor) -> Tensor:
    weight, bias = own[f"{name}.weight"], own[f"{name}.bias"]
    return layer_norm(tokens, weight.shape, weight, bias, EPSILON)


@torch.inference_mode()
def test_the_language_model_computes_what_transformers_does(
    network: Prismatic, architecture: Architecture
):
    plain = LlamaForCausalLM(llama_config(architecture, "eager")).eval()
    plain.load_state_dict(network.language_model.state_dict())
    real = torch.ones(B, 11, dtype=torch.bool)
    embedded = torch.randn(B, 11, architecture.width)
    read = network.read(embedded, Attending(real, padded=False, causal=True))
    expected = plain(inputs_embeds=embedded).logits
    torch.testing.assert_close(network.logits(read), expected, rtol=1e-4, atol=1e-4)
