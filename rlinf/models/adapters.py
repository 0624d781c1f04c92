"""Low-rank adapters (Hu et al. 2021, LoRA) through peft: adding them and folding them in.

A weight W becomes W + scale * B A with scale = alpha / r. What is adapted stays frozen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

NAME = "default"
"""Peft's name of the adapter; a network has one."""


def attached(network: nn.Module) -> bool:
    """Whether the network has adapters."""
    return any(".lora_A." in name for name, _ in network.named_parameters())


def inject(network: nn.Module, targets: list[str] | str, rank: int, **settings: Any) -> None:
    """Puts adapters that change nothing yet on layers of a network, and freezes all of the rest.

    Args:
        targets: ends of the layers' names, or a pattern that matches whole names.
        settings: further ones of peft's `LoraConfig`.

    Raises:
        ValueError: no layer has such a name.
    """
    from peft import LoraConfig, inject_adapter_in_model

    from rlinf.models.adapted import AdaptedLinear

    config = LoraConfig(
        r=rank,
        target_modules=targets,
        lora_dropout=0.0,
        init_lora_weights="gaussian",
        **{"lora_alpha": rank, **settings},
    )
    # As peft's guide to custom models has it.
    config._register_custom_module({nn.Linear: AdaptedLinear})
    inject_adapter_in_model(config, network, adapter_name=NAME)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(".lora_" in name)


def forget(network: nn.Module) -> None:
    """Makes the adapters change nothing."""
    for _, layer in adapted(network):
        nn.init.zeros_(layer.lora_B[NAME].weight)


def merge(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the plain model, with the adapters in `state` folded into its weights."""
    scales = {name: module.scaling[NAME] for name, module in adapted(network)}
    merged: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if ".lora_" in name:
            continue
        module = name.rpartition(".base_layer.")[0]
        if module in scales and name.endswith("weight"):
            down, up = (state[f"{module}.lora_{part}.{NAME}.weight"] for part in "AB")
            change = up.float().flatten(1) @ down.float().flatten(1)
            tensor = (tensor.float() + scales[module] * change.view(tensor.shape)).to(tensor.dtype)
        merged[unadapted(name)] = tensor
    return merged


def unadapted(name: str) -> str:
    """Name that a weight of an adapted layer has in the plain model."""
    return name.replace(".base_layer.", ".")


def adapted(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """Names and layers that have adapters."""
    for name, module in network.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            yield name, module
