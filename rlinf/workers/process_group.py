"""The process group of training ranks; one rank alone needs none."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import timedelta

import psutil
import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore, TCPStore

from rlinf.metrics.types import Mean, Metric


class ProcessGroup:
    """Rank `rank` of `world`."""

    def __init__(self, rank: int, world: int, nodes: Sequence[int] | None = None) -> None:
        """
        Args:
            nodes: on which each rank is; None: all on one.
        """
        self.rank, self.world = rank, world
        self.nodes = list(nodes) if nodes is not None else [0] * world
        self.share = 1.0 / world  # of a number that all ranks know and that counts once
        self._store: TCPStore | None = None

    def open_rendezvous(self, host: str) -> str:
        """Opens a free port on this machine, known as `host`, and returns `host:port`."""
        self._store = TCPStore(host, 0, is_master=True, wait_for_workers=False)
        return f"{host}:{self._store.port}"

    def stand_alone(self) -> None:
        """Makes one rank a process group, for what needs one."""
        dist.init_process_group(_backend(), store=HashStore(), rank=0, world_size=1)

    def connect(self, address: str, timeout_s: float) -> None:
        """Joins the others; waits at most `timeout_s` for them, now and in every sum."""
        timeout = timedelta(seconds=timeout_s)
        host, _, port = address.rpartition(":")
        _lead_gloo_towards(host, int(port))
        store = self._store or TCPStore(host, int(port), timeout=timeout)
        dist.init_process_group(
            _backend(), store=store, rank=self.rank, world_size=self.world, timeout=timeout
        )

    def leave(self) -> None:
        """Leaves the process group, if there is one."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by its sum over all ranks, in one message."""
        if self.world == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        offset = 0
        for tensor in tensors:
            tensor.copy_(flat[offset : offset + tensor.numel()].view_as(tensor))
            offset += tensor.numel()

    def any(self, here: bool) -> bool:
        """Whether something is so on any rank."""
        count = torch.tensor([float(here)])
        self.all_reduce([count])
        return bool(count)

    def mean(self, metric: Metric) -> float:
        """A mean over the samples of all ranks."""
        assert isinstance(metric, Mean)
        pair = torch.tensor(
            [float(metric.numerator), float(metric.denominator)], dtype=torch.float64
        )
        self.all_reduce([pair])
        return float(pair[0] / pair[1]) if pair[1] else 0.0


def _lead_gloo_towards(host: str, port: int) -> None:
    """Chooses the network interface of Gloo, unless the user did.

    It would tell the others the address that this machine's own name stands for, which on many
    machines is 127.0.0.1.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # sends nothing
        probe.connect((host, port))
        own = probe.getsockname()[0]
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == own for address in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


def _backend() -> str:
    return "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
