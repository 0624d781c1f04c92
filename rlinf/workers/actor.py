"""The actor worker: trains the policy on the samples of an iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlinf.algorithms.losses import (
    Denominators,
    LossSettings,
    Samples,
    denominators,
    left_out,
    minibatch_loss,
)
from rlinf.config.schema import AlgorithmConfig, Config
from rlinf.data.layout import minibatches
from rlinf.data.shared import SharedMemory
from rlinf.data.types import DeviceHandle, Observation, TrainBatch, Wanted, Weights, take_sampled
from rlinf.metrics.timeline import Span, Spans
from rlinf.metrics.types import Mean, Metrics, Total
from rlinf.models import shards
from rlinf.models.loading import sampling_of, start_policy
from rlinf.workers import device_memory
from rlinf.workers.debugging import keep_batch
from rlinf.workers.host_copy import HostCopyWorker
from rlinf.workers.logprobs import Logprobs, ParityCheck
from rlinf.workers.memory import BatchSizeLimit
from rlinf.workers.micro_batches import MicroBatch
from rlinf.workers.observations import Ask, BatchObservations, Fetch, rows_of
from rlinf.workers.offload import give_back
from rlinf.workers.process import prepare_process, prepare_torch
from rlinf.workers.process_group import ProcessGroup
from rlinf.workers.reference_policy import ReferencePolicy
from rlinf.workers.training import Schedule

_NO_ROWS = np.zeros(0, np.int64)
_ORDER = 2  # keeps the order of samples apart from the noise of actions; see workers/stage.py


class ActorWorker(HostCopyWorker):
    """consumes: samples; produces: weights, metrics; waits for: the gradients of the other ranks.

    Every rank reads the same batch and computes its share of each minibatch.
    """

    def __init__(
        self,
        config: Config,
        rank: int,
        world: int,
        threads: int,
        updates: int,
        fetch: Fetch,
        log_dir: str,
        shard_size: int = 1,
        shares_gpu: bool = False,
        writes_weights: bool = True,
        nodes: Sequence[int] | None = None,
    ) -> None:
        """Builds the policy; with several ranks `connect` makes it ready to be trained.

        Args:
            updates: optimizer steps of the whole run, for the learning-rate schedule.
            fetch: turns references to observations into observations.
            shard_size: ranks that hold one copy of the weights together.
            shares_gpu: rollout or env workers compute on the same GPUs.
            writes_weights: this rank writes the weights for the rollout workers of its machine.
            nodes: on which each rank is; None: all on one.
        """
        prepare_process(f"actor{rank}", log_dir)
        device = prepare_torch(threads)
        self.fetch, self.log_dir = fetch, Path(log_dir)
        self.shares_gpu, self.writes_weights = shares_gpu, writes_weights
        self._ask: Ask | None = None
        self._on_device: Tensor | None = None  # weights on their way within a GPU
        self._written: int | None = None  # version of the weights in shared memory
        self.sampling = sampling_of(config.algorithm.sampling_params, "train")
        self.settings = loss_settings(config.algorithm)
        self.spans = Spans(f"actor{rank}")
        self._shared: SharedMemory | None = None  # weights on their way
        super().__init__(
            config,
            start_policy(config),
            Schedule(config.actor.optim, updates),
            BatchSizeLimit("actor.micro_batch_size", config.actor.micro_batch_size),
            ProcessGroup(rank, world, nodes),
            device,
            shard_size,
        )

    def use_peers(self, ask: Ask) -> None:
        """From now on, rows of observations on other nodes come through `ask`."""
        self._ask = ask

    def observations(self, wanted: Wanted) -> Observation:
        """Rows of observations that this node has, for a rank of another; also during an update."""
        return rows_of(self.fetch, wanted)

    def version(self) -> int:
        """Updates made so far."""
        return self.policy.version

    def timeline(self) -> list[Span]:
        """What the worker did since the last call."""
        return self.spans.take()

    def try_device_memory(self) -> Any:
        """A handle of memory on this rank's GPU with a mark in it; None where that cannot be."""
        self._on_device = device_memory.marked(self.device, self.layout.size)
        return None if self._on_device is None else device_memory.export(self._on_device)

    def weights_on_device(self, readers: int) -> tuple[Weights, ...]:
        """The weights in memory of this rank's GPU, until `free_device_memory`; all ranks ask.

        Args:
            readers: rollout workers on this GPU; each gets a handle of its own.
        """
        self._on_device = None
        if readers:
            self._on_device = torch.empty(self.layout.size, dtype=torch.uint8, device=self.device)
        with self.spans.span("write weights"):
            self.parallel.write_weights(self._on_device)
        if self._on_device is None:
            return ()
        found = Weights(self.policy.version, self.layout.digest, None)
        handles = [device_memory.export(self._on_device) for _ in range(readers)]
        return tuple(replace(found, data=DeviceHandle(handle)) for handle in handles)

    def free_device_memory(self) -> None:
        """No process reads `weights_on_device` any more."""
        if self._on_device is not None:
            self._on_device = None
            device_memory.collect()
            give_back(self.device)

    def weights(self, publish: Callable[[Any], Any] | None) -> tuple[Weights, Any] | None:
        """The weights, from each rank that writes them: for workers of its machine in shared memory
        that is used again and again, for those of machines without an actor published.

        Args:
            publish: what makes a reference to a value; None if no other machine needs them.
        """
        if self._written != self.policy.version:
            self._write_weights()
        if self._shared is None:
            return None
        near = Weights(self.policy.version, self.layout.digest, self._shared.handle)
        far = publish(replace(near, data=self._shared.array)) if publish is not None else None
        return near, far

    def update(self, batch: TrainBatch, step: int) -> Metrics:
        """Trains on the samples of iteration `step` and returns this rank's part of the metrics.

        Raises:
            NumericsError: several updates in a row had a gradient that is not finite, or this
                worker's log-probs are not the rollout's.
            OutOfMemory: the samples do not fit into the device, see `MicroBatchRunner.run`.
            UpdateGivenUp: `give_up` was called; `read_host_copy` brings the state before it back.
        """
        with self._at_work():
            metrics = Metrics.merge([self._train(batch, step), self._lack_of_memory()])
            if self.config.actor.enable_offload:  # while the shards are on the GPU
                self._write_weights()
        if self.shares_gpu:
            give_back(self.device)
        return metrics

    def _write_weights(self) -> None:
        """Gathers the weights, which all ranks take part in, into shared memory of those that
        write them.
        """
        if self.writes_weights and self._shared is None:
            self._shared = SharedMemory.create(self.layout.size)
        buffer = torch.from_numpy(self._shared.array) if self._shared is not None else None
        with self.spans.span("write weights"):
            self.parallel.write_weights(buffer)
        self._written = self.policy.version

    def give_up(self) -> None:
        """Ends the update on all ranks, before their next micro-batch; from another thread.

        After it `read_host_copy` and `save` are all there is to do: ranks of a sharded policy still
        hold gradients of the micro-batches before.
        """
        self.micro_batches.given_up.set()

    def save(self, folder: str, with_reference: bool = False) -> None:
        """See `TrainingWorker.save`.

        Args:
            with_reference: also the reference policy of the KL term, if there is one; training
                waits for it. It never changes, so later checkpoints take it from this one.

        Raises:
            OSError: a disk is full or not writable.
        """
        if with_reference and self.reference is not None:
            self.reference.write(Path(folder), self._saving_ranks)
        super().save(folder)

    def load(self, folder: str) -> None:
        """See `TrainingWorker.load`; with the reference policy, if there is one."""
        super().load(folder)
        self._written = None
        self.load_reference(folder)

    def read_host_copy(self) -> None:
        """See `HostCopyWorker.read_host_copy`."""
        super().read_host_copy()
        self._written = None

    def load_reference(self, folder: str) -> None:
        """Takes the reference policy that a checkpoint holds: where training started."""
        if self.reference is not None and shards.has_reference(Path(folder)):
            self.reference.read(Path(folder))

    def _train(self, batch: TrainBatch, step: int) -> Metrics:
        with self.spans.span("read observations"):
            ranks = self.ranks
            seen = BatchObservations(
                batch, ranks.nodes, ranks.nodes[ranks.rank], self.fetch, self._ask
            )
        with self.spans.span("log-probs"):
            parts = [self.check_parity(batch, seen, step)]
            reference = self._reference_logprobs(batch, seen)
        for epoch in range(self.config.algorithm.update_epoch):
            for minibatch in minibatches(
                batch.planned,
                len(batch),
                self.config.actor.global_batch_size,
                *(self.config.actor.seed, _ORDER, step, epoch),
            ):
                with self.spans.span("update"):
                    metrics, go_on = self._train_minibatch(batch, seen, reference, minibatch)
                parts.append(metrics.on_host())
                if not go_on:
                    return Metrics.merge(parts)
        return Metrics.merge(parts)

    def _prepare(self) -> None:
        super()._prepare()
        self.logprobs = Logprobs(self.policy, self.sampling, self.ranks, self.micro_batches)
        self.check_parity = ParityCheck(self.config, self.logprobs)
        pulled = self.settings.kl_beta > 0
        self.reference = ReferencePolicy(self.policy, self.parallel) if pulled else None

    def _train_minibatch(
        self,
        batch: TrainBatch,
        seen: BatchObservations,
        reference: Tensor | None,
        minibatch: np.ndarray,
    ) -> tuple[Metrics, bool]:
        """One optimizer step on the samples `minibatch` ([n] int64); False to end the epochs."""
        learnt = batch.trained[minibatch]
        if not learnt.any():
            return Metrics({"train/actor/idle_updates": Total(self.ranks.share)}), True
        over = denominators(batch, minibatch, self.policy.live, self.settings)
        parts: list[Metrics] = []
        if self.ranks.rank == 0:
            idle = minibatch[~learnt]
            parts.append(left_out(batch, idle, self.policy.live, self.settings, over))
        parts += self.micro_batches.run(
            minibatch[learnt],
            lambda micro_batches: self._find_gradients(batch, seen, reference, micro_batches, over),
            seen.homes(minibatch[learnt]),
        )
        metrics = Metrics.merge(parts)
        self.parallel.all_reduce(self.optimizer.gradients())
        if self._too_far(metrics):
            return Metrics.merge(
                [metrics, {"train/actor/kl_stops": Total(self.ranks.share)}]
            ), False
        return Metrics.merge(
            [metrics, self._move(lambda: self._keep(batch, seen, minibatch))]
        ), True

    def _move(self, keep_samples: Callable[[], str]) -> Metrics:
        policy_rate, value_rate = self.optimizer.rates()
        return self._step(
            {"train/actor/lr": policy_rate, "train/critic/lr": value_rate},
            "train/actor/grad_norm",
            lambda: f"look at train/loss and lower actor.optim.lr; {keep_samples()}",
        )

    def _find_gradients(
        self,
        batch: TrainBatch,
        seen: BatchObservations,
        reference: Tensor | None,
        micro_batches: Sequence[MicroBatch],
        over: Denominators,
    ) -> list[Metrics]:
        """The gradients of this rank's micro-batches, and the metrics of each."""
        parts = []
        with self.spans.span("read observations"):
            seen.bring(np.concatenate([rows for rows, _ in micro_batches] or [_NO_ROWS]))
        for rows, count in self._gradients_of(micro_batches):
            new = self.policy.evaluate(
                seen.take(rows),
                take_sampled(batch.sampled, rows),
                self.sampling,
            )
            old = Samples.take(batch, rows, self.policy.device)
            loss, metrics = minibatch_loss(
                new,
                old if count else old.without_weight(),
                self.policy.live,
                self.settings,
                over,
                train_policy=not self.optimizer.warming_up,
                reference_logprobs=None
                if reference is None
                else reference[rows].to(self.policy.device),
            )
            loss.backward()
            parts.append(metrics)
        return parts

    def _reference_logprobs(self, batch: TrainBatch, seen: BatchObservations) -> Tensor | None:
        """Log-probs of all samples under the reference policy, [N, C, A]; None without KL."""
        if self.reference is None:
            return None
        with self.reference.in_place():
            return self.logprobs(batch, seen, np.arange(len(batch)))

    def _keep(self, batch: TrainBatch, seen: BatchObservations, minibatch: np.ndarray) -> str:
        """Writes the samples of an update that failed, once; says where they are."""
        path = self.log_dir / f"not-finite-update-{self.policy.version}.npz"
        text = f"its samples are in {path}"
        if self.ranks.rank == 0:
            text = keep_batch(path, batch, seen.take(minibatch), minibatch)
        self.ranks.all_reduce([torch.zeros(1)])  # no rank ends the run before the file is complete
        return text

    def _too_far(self, metrics: Metrics) -> bool:
        """Whether the policy is further from the behaviour policy than `target_kl`."""
        target = self.config.algorithm.target_kl
        nothing = Mean(0.0, 0.0)
        divergence = metrics.get("train/actor/approx_kl_k3", nothing)
        return target is not None and self.ranks.mean(divergence) > target


def loss_settings(algorithm: AlgorithmConfig) -> LossSettings:
    """The part of the configuration that the loss depends on."""
    return LossSettings(
        loss_type=algorithm.loss_type,
        reward_type=algorithm.reward_type,
        logprob_type=algorithm.logprob_type,
        entropy_type=algorithm.entropy_type,
        clip_ratio_low=algorithm.clip_ratio_low,
        clip_ratio_high=algorithm.clip_ratio_high,
        clip_ratio_c=algorithm.clip_ratio_c,
        value_clip=algorithm.value_clip,
        huber_delta=algorithm.huber_delta,
        entropy_bonus=algorithm.entropy_bonus,
        kl_beta=algorithm.kl_beta,
        kl_penalty=algorithm.kl_penalty,
    )
