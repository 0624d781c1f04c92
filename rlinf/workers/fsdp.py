"""A policy sharded over the ranks by PyTorch's `fully_shard` (FSDP2).

A parameter is a DTensor, of which each rank holds a slice of the first dimension. A layer's weights
are gathered just before it computes and dropped afterwards; its gradients are added up over the
ranks and sliced alike. One rank alone uses it for mixed precision and CPU offload.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor

from rlinf.config.base import Precision
from rlinf.config.derive import accumulates
from rlinf.config.schema import ActorConfig
from rlinf.models.base import Policy
from rlinf.models.weights import Layout, write
from rlinf.workers.policy_parallel import ParallelPolicy, train_in_fp32
from rlinf.workers.process_group import ProcessGroup

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


class ShardedPolicy(ParallelPolicy):
    """Every rank holds its slices; they are gathered layer by layer."""

    in_step = True

    def __init__(
        self,
        policy: Policy,
        layout: Layout,
        actor: ActorConfig,
        device: torch.device,
        ranks: ProcessGroup,
        shard_size: int,
    ) -> None:
        self.policy, self.layout, self.ranks = policy, layout, ranks
        self.options = actor.fsdp_config
        self.accumulates = accumulates(self.options, shard_size)
        mesh = _mesh(device, ranks.world, shard_size)
        layers, exact = policy.layers(), policy.layers_in_fp32()
        for module in (*layers, *exact, policy):  # one by one: only shares stay
            train_in_fp32(module.parameters())
            fully_shard(
                module,
                mesh=mesh,
                reshard_after_forward=self.options.sharding_strategy != "shard_grad_op",
                mp_policy=MixedPrecisionPolicy(
                    param_dtype=_DTYPES["fp32" if module in exact else actor.model.precision],
                    reduce_dtype=_DTYPES[self.options.mixed_precision.reduce_dtype],
                ),
                offload_policy=CPUOffloadPolicy(pin_memory=self.options.offload_pin_memory)
                if self.options.cpu_offload
                else OffloadPolicy(),
            )
        for name in policy.forward_methods:
            register_fsdp_forward_method(policy, name)
        self.modules = [m for m in policy.modules() if isinstance(m, FSDPModule)]
        for part in self.modules:
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)  # gloo knows no other reduction
        if self.options.forward_prefetch:
            for layer, following in pairwise(m for m in layers if isinstance(m, FSDPModule)):
                layer.set_modules_to_forward_prefetch([following])

    def move(self, device: torch.device) -> None:
        """Moves this rank's shares; with `cpu_offload` they are where they belong already."""
        if not self.options.cpu_offload:
            self.settle()
            self.policy.to(device)

    def before_backward(self, last: bool) -> None:
        for part in self.modules[:1]:  # the policy itself; it passes it on
            part.set_requires_gradient_sync(last or not self.accumulates)

    def all_reduce(self, gradients: Sequence[Tensor]) -> None:
        """The backward pass has done it."""

    def settle(self) -> None:
        """Drops gathered weights, which a forward pass without gradient may leave behind."""
        for part in self.modules:
            part.reshard()

    def clip(self, parameters: Sequence[Tensor], largest_norm: float) -> float:
        return float(_whole(torch.nn.utils.clip_grad_norm_(parameters, largest_norm)))

    def write_weights(self, buffer: Tensor | None) -> None:
        write(self.policy, self.layout, buffer, _whole)

    def share(self, tensor: Tensor) -> Tensor:
        return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _whole(tensor: Tensor) -> Tensor:
    """The full tensor of which each rank holds a share; all ranks ask together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _mesh(device: torch.device, world: int, shard_size: int) -> DeviceMesh:
    """One dimension where all ranks share one copy of the weights, else copies x shares."""
    if shard_size == world:
        return init_device_mesh(device.type, (world,), mesh_dim_names=("share",))
    shape = (world // shard_size, shard_size)
    return init_device_mesh(device.type, shape, mesh_dim_names=("copy", "share"))
