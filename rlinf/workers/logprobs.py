"""What the policy says of samples without learning from them, and whether the rollout agrees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rlinf.algorithms.parity import mismatch
from rlinf.config.schema import Config
from rlinf.data.types import TrainBatch, take_sampled
from rlinf.errors import NumericsError
from rlinf.metrics.types import Maximum, Mean, Metrics
from rlinf.models.base import Policy, Sampling
from rlinf.workers.micro_batches import MicroBatch, MicroBatchRunner
from rlinf.workers.observations import BatchObservations
from rlinf.workers.process_group import ProcessGroup

COMPARED = 64  # samples of each rank whose log-probs are compared with the rollout's


class Logprobs:
    """Log-probs under the present weights. Each rank computes a share, and all get all."""

    def __init__(
        self,
        policy: Policy,
        sampling: Sampling,
        ranks: ProcessGroup,
        micro_batches: MicroBatchRunner,
    ) -> None:
        self.policy, self.sampling = policy, sampling
        self.ranks, self.micro_batches = ranks, micro_batches

    @torch.no_grad()
    def __call__(self, batch: TrainBatch, seen: BatchObservations, rows: np.ndarray) -> Tensor:
        """[n, C, A] float32 of the samples `rows` ([n] int64), on the CPU."""
        found = torch.zeros(len(rows), *batch.logprobs.shape[1:])

        def compute(micro_batches: Sequence[MicroBatch]) -> None:
            for micro_batch, count in self.micro_batches.each(micro_batches):
                at = rows[micro_batch]
                new = self.policy.evaluate(
                    seen.take(at), take_sampled(batch.sampled, at), self.sampling
                ).logprobs
                if count:
                    found[micro_batch] = new.float().cpu()

        self.micro_batches.run(np.arange(len(rows)), compute, seen.homes(rows))
        self.ranks.all_reduce([found])
        return found


class ParityCheck:
    """Compares some of the rollout's log-probs with the learner's, where it is due."""

    def __init__(self, config: Config, logprobs: Logprobs) -> None:
        algorithm = config.algorithm
        self.interval = algorithm.parity_check_interval
        self.micro_batch_size = config.actor.micro_batch_size
        self.tolerance = algorithm.parity_tolerance or logprobs.policy.parity_tolerance
        self.logprobs, self.done = logprobs, False

    def __call__(self, batch: TrainBatch, seen: BatchObservations, step: int) -> Metrics:
        """In the first iteration there is something to compare, and every `interval` iterations.

        Weights that have moved since the rollout say something else: then nothing is compared. The
        metrics depend on the number of the iteration alone, so that a resumed run, whose first
        iteration is checked too, has those of an uninterrupted one.

        Raises:
            NumericsError: the log-probs differ by more than rounding explains.
        """
        policy, ranks = self.logprobs.policy, self.logprobs.ranks
        reported = step == 0 or (self.interval > 0 and step % self.interval == 0)
        if (self.done and not reported) or not len(batch) or batch.version != policy.version:
            return Metrics()
        self.done = True
        count = min(len(batch), min(COMPARED, self.micro_batch_size) * ranks.world)
        rows = np.linspace(0, len(batch) - 1, count).astype(np.int64)
        found = mismatch(
            self.logprobs(batch, seen, rows),
            torch.from_numpy(batch.logprobs[rows]),
            torch.from_numpy(batch.mask[rows]),
            policy.live.cpu(),
        )
        if found.exceeds(self.tolerance):
            raise NumericsError(
                f"{found.describe()} of iteration {step} (algorithm.parity_tolerance is "
                f"{self.tolerance:g}): token mapping, temperature, top-k, number format or weights "
                "differ"
            )
        if not reported:
            return Metrics()
        share = ranks.share  # all ranks know the same numbers: together they count once
        return Metrics(
            {
                "train/actor/logprob_mismatch": Mean(found.mean * share, share),
                "train/actor/logprob_mismatch_max": Maximum(found.largest),
            }
        )
