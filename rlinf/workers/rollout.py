"""The rollout worker: answers observations with action chunks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlinf.config.schema import Config
from rlinf.data.random import Noise
from rlinf.data.types import ActionChunk, ActReply, Observation, Purpose
from rlinf.models.base import Policy
from rlinf.models.loading import build_policy, sampling_of
from rlinf.models.weights import Weights, unpack
from rlinf.workers.process import prepare_process, prepare_torch


class RolloutWorker:
    """consumes: observations; produces: action chunks and values; waits for: weights of the step.

    Requests are answered in the order they come. Every random number comes with the request, so
    the answer does not depend on which rank gives it, or on what it was asked before.
    """

    def __init__(self, config: Config, rank: int, threads: int, log_dir: str) -> None:
        prepare_process(f"rollout{rank}", log_dir)
        device = prepare_torch(threads)
        self.policy: Policy = build_policy(config.actor.model, seed=config.actor.seed).to(device)
        self.policy.eval()
        self.policy.requires_grad_(True)
        self.sampling = {
            "train": sampling_of(config.algorithm.sampling_params, "train"),
            "eval": sampling_of(config.algorithm.sampling_params, "eval"),
        }
        self.max_batch = config.rollout.max_batch_size

    def ready(self) -> None:
        """Answers once the constructor is through."""

    def load_weights(self, weights: Weights) -> int:
        """Takes over the weights of an update and answers with their version."""
        unpack(weights, self.policy)
        return self.policy.version

    def act(
        self,
        observation: Observation,
        keys: np.ndarray,
        final: Observation | None,
        purpose: Purpose,
        version: int,
    ) -> ActReply:
        """Chooses actions for B rows, and judges the last observations of ended episodes.

        Args:
            keys: [B] uint64, one noise key per row.
            final: K last observations whose values the bootstrap needs; None where K = 0.
            version: that the caller expects; acting with stale weights is an error, not a delay.
        """
        if version != self.policy.version:
            raise RuntimeError(f"asked for weights {version}, have {self.policy.version}")
        size = self.max_batch or len(observation)
        replies = [
            self.policy.act(part, self.sampling[purpose], Noise(keys[i * size : (i + 1) * size]))
            for i, part in enumerate(observation.split(size))
        ]
        return ActReply(_concatenate(replies), self.judge(final))

    def judge(self, observation: Observation | None) -> np.ndarray:
        """V of each row: [B] float32; nothing is computed for None."""
        if observation is None:
            return np.zeros(0, np.float32)
        parts = observation.split(self.max_batch or len(observation))
        return np.concatenate([self.policy.judge(part) for part in parts])


def _concatenate(chunks: Sequence[ActionChunk]) -> ActionChunk:
    if len(chunks) == 1:
        return chunks[0]
    return ActionChunk(
        actions=np.concatenate([c.actions for c in chunks]),
        sampled=np.concatenate([c.sampled for c in chunks]),
        logprobs=np.concatenate([c.logprobs for c in chunks]),
        values=np.concatenate([c.values for c in chunks]),
        version=chunks[0].version,
    )
