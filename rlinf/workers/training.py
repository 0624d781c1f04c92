"""What every worker that trains a policy has, whatever its loss: ranks, updates, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from rlinf.config.derive import needs_fsdp
from rlinf.config.schema import Config, OptimConfig
from rlinf.errors import NumericsError
from rlinf.metrics.types import Mean, Metrics, Total
from rlinf.models import shards
from rlinf.models.base import Policy
from rlinf.models.export import write_policy
from rlinf.models.weights import Layout
from rlinf.workers.memory import BatchSizeLimit
from rlinf.workers.micro_batches import MicroBatch, MicroBatchRunner
from rlinf.workers.offload import allocated, note_memory
from rlinf.workers.optimizer import Optimizer
from rlinf.workers.policy_parallel import parallelize
from rlinf.workers.process_group import ProcessGroup

MAX_SKIPPED = 3  # updates in a row whose gradient is not finite
_HOST = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the weights move."""

    optim: OptimConfig
    updates: int  # optimizer steps of the whole run, for the learning rate


class TrainingWorker:
    """One of the ranks that train a policy together.

    Losses are divided by numbers of the whole batch, so gradients just add up over micro-batches
    and ranks.
    """

    def __init__(
        self,
        config: Config,
        policy: Policy,
        schedule: Schedule,
        limit: BatchSizeLimit,
        ranks: ProcessGroup,
        device: torch.device,
        shard_size: int,
    ) -> None:
        """Makes a single rank's policy ready to be trained; with several, `connect` does.

        Args:
            policy: as it was built, in host memory.
            limit: most samples in one micro-batch.
            device: where this rank computes.
            shard_size: ranks that hold one copy of the weights together.
        """
        self.config, self.policy, self.ranks, self.device = config, policy, ranks, device
        self.layout = Layout(policy)
        self.skipped = 0  # updates in a row
        self._schedule, self._limit, self._shard_size = schedule, limit, shard_size
        self._saving_ranks: dist.ProcessGroup | None = None
        self._writing: Future[Any] | None = None
        if ranks.world == 1:
            if needs_fsdp(config.actor, shard_size):
                ranks.stand_alone()
            self._prepare()

    def ready(self) -> None:
        """Answers once the constructor has returned."""

    def open_rendezvous(self, host: str) -> str:
        """Opens the address on this machine, `host`, where the ranks meet (rank 0 only)."""
        return self.ranks.open_rendezvous(host)

    def connect(self, address: str) -> None:
        """Joins the other ranks at the address that rank 0 opened, and shards the policy."""
        self.ranks.connect(address, self.config.runner.worker_timeout_s)
        self._saving_ranks = dist.new_group(backend="gloo")  # writes while the others train
        self._prepare()

    def save(self, folder: str) -> None:
        """Begins to write policy, optimizer and counters; `saved` says when it is done.

        The state is copied first, so training may go on.
        """
        self._writing = shards.begin_to_write(
            self._state(), Path(folder) / shards.FOLDER, self._saving_ranks
        )

    def saved(self) -> tuple[bool, str | None]:
        """Whether this rank's writing has ended, and if it failed, what the disk said."""
        if self._writing is None or not self._writing.done():
            return self._writing is None, None
        return True, shards.problem_of(self._writing)

    def load(self, folder: str) -> None:
        """Continues from what `save` wrote, with whatever number of ranks."""
        self.parallel.settle()
        state = self._state()
        shards.read(state, Path(folder) / shards.FOLDER, alone=not dist.is_initialized())
        self.policy.version, self.skipped = state["version"], state["skipped"]

    @staticmethod
    def export(folder: str, out: str) -> None:
        """Writes the policy of a checkpoint as others of its kind are published; see `export.py`.

        It is built anew, from the disk: what this process trains stays as it is.
        """
        write_policy(Path(folder), Path(out))

    def _state(self) -> shards.State:
        """What a checkpoint holds; the tensors themselves, not copies."""
        return {
            shards.POLICY: shards.weights_of(self.policy),
            "optimizer": self.optimizer.state(),
            "version": self.policy.version,
            "skipped": self.skipped,
        }

    def _prepare(self) -> None:
        """Shards or replicates the policy over the ranks and makes its optimizer."""
        self.parallel = parallelize(
            self.policy,
            self.layout,
            self.config.actor,
            self.device,
            self.ranks,
            self._shard_size,
        )
        self.optimizer = Optimizer(self.parallel, self._schedule.optim, self._schedule.updates)
        self.micro_batches = MicroBatchRunner(
            self.config.actor, self.device, self.ranks, self.parallel, self.optimizer, self._limit
        )
        self._be_on(_HOST)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Inside it policy and optimizer are on the GPU, if they leave it at all."""
        self._be_on(self.device)
        try:
            yield
        finally:
            self._be_on(_HOST)

    def _be_on(self, device: torch.device) -> None:
        """With `enable_offload`: moves policy and optimizer to the GPU, or off it."""
        if self.config.actor.enable_offload and self.device != _HOST:
            before = allocated(self.device)
            self.parallel.move(device)
            self.optimizer.follow()
            note_memory(f"policy and optimizer to {device}", self.device, before)

    def _lack_of_memory(self) -> Metrics:
        """How often micro-batches had to be halved since the last call."""
        failures = self.micro_batches.take_failures()
        if not failures:
            return Metrics()
        return Metrics({"faults/out_of_memory": Total(failures * self.ranks.share)})

    def _gradients_of(self, micro_batches: Sequence[MicroBatch]) -> Iterator[MicroBatch]:
        """The micro-batches of an update; gradients of all add up, from zero."""
        self.optimizer.clear()
        for index, micro_batch in enumerate(self.micro_batches.each(micro_batches)):
            self.parallel.before_backward(last=index == len(micro_batches) - 1)
            yield micro_batch

    def _step(
        self, seen: Mapping[str, float], norm_name: str, advise: Callable[[], str]
    ) -> Metrics:
        """Clips the gradient and moves the weights, or skips an update that is not finite.

        Args:
            seen: metrics of the update that all ranks know.
            norm_name: of the gradient's norm among them.
            advise: what to tell where the run cannot go on.

        Raises:
            NumericsError: several updates in a row had a gradient that is not finite.
        """
        norm = self.optimizer.clip()
        finite = math.isfinite(norm)
        self.skipped = 0 if finite else self.skipped + 1
        if self.skipped >= MAX_SKIPPED:
            raise NumericsError(
                f"the gradient of {self.skipped} updates in a row is not finite (norm {norm}); "
                f"{advise()}"
            )
        if finite:
            self.optimizer.step()
            seen = {**seen, norm_name: norm}
        share = self.ranks.share  # ranks know the same numbers: together they count once
        means = {name: Mean(value * share, share) for name, value in seen.items()}
        return Metrics({**means, "faults/skipped_updates": Total(share * (not finite))})
