"""The actor worker: trains the policy on the samples of an iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlinf.algorithms.losses import LossSettings, Samples, denominators, minibatch_loss
from rlinf.algorithms.schedule import learning_rate_factor
from rlinf.config.schema import AlgorithmConfig, Config
from rlinf.data.layout import ObservationTable, micro_batches, minibatches
from rlinf.data.types import Observation, TrainBatch
from rlinf.errors import NumericsError
from rlinf.logging.metrics import Mean, Metrics, Total
from rlinf.logging.timeline import Span, Spans
from rlinf.models.loading import build_policy, load_policy, sampling_of, save_policy
from rlinf.models.weights import pack
from rlinf.workers.process import prepare_process, prepare_torch
from rlinf.workers.ranks import Ranks

MAX_SKIPPED = 3  # updates in a row whose gradient is not finite
_ORDER = 2  # keeps the order of samples apart from the noise of actions; see workers/stage.py
Fetch = Callable[[Sequence[Any]], Sequence[Observation]]


class ActorWorker:
    """consumes: samples; produces: weights, metrics; waits for: the gradients of the other ranks.

    Every rank reads the same batch and takes its slice of each minibatch. Losses are divided by
    denominators of the whole minibatch, so gradients just add up over micro-batches and ranks.
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
    ) -> None:
        """Builds policy and optimizer.

        Args:
            updates: optimizer steps of the whole run, for the learning-rate schedule.
            fetch: turns references to observations into observations.
        """
        prepare_process(f"actor{rank}", log_dir)
        device = prepare_torch(threads)
        self.config, self.fetch, self.ranks = config, fetch, Ranks(rank, world)
        self.optim = config.actor.optim
        self.total_updates = self.optim.total_training_steps or updates
        self.policy = build_policy(config.actor.model, seed=config.actor.seed).to(device)
        self.sampling = sampling_of(config.algorithm.sampling_params, "train")
        self.settings = loss_settings(config.algorithm)
        value = {id(p) for p in self.policy.value_parameters()}
        self.policy_parameters = [p for p in self.policy.parameters() if id(p) not in value]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": self.policy_parameters, "lr": self.optim.lr},
                {"params": self.policy.value_parameters(), "lr": self.optim.value_lr},
            ],
            betas=(self.optim.adam_beta1, self.optim.adam_beta2),
            eps=self.optim.adam_eps,
            weight_decay=self.optim.weight_decay,
        )
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.skipped = 0  # updates in a row
        self.spans = Spans(f"actor{rank}")

    def ready(self) -> None:
        """Answers once the constructor is through."""

    def open_meeting_point(self, host: str) -> str:
        """Opens the address on this machine, `host`, where the ranks meet (rank 0 only)."""
        return self.ranks.open_meeting_point(host)

    def connect(self, address: str) -> None:
        """Joins the other ranks at the address that rank 0 opened."""
        self.ranks.connect(address, self.config.runner.worker_timeout_s)

    def version(self) -> int:
        """Updates made so far."""
        return self.policy.version

    def weights(self, publish: Callable[[Any], Any]) -> Any:
        """A reference to the weights, published from here so that they are written once."""
        with self.spans.span("pack weights"):
            return publish(pack(self.policy))

    def timeline(self) -> list[Span]:
        """What the worker did since the last call."""
        return self.spans.take()

    def update(self, batch: TrainBatch, step: int) -> Metrics:
        """Trains on the samples of iteration `step` and returns this rank's part of the metrics.

        Raises:
            NumericsError: several updates in a row had a gradient that is not finite.
        """
        with self.spans.span("read observations"):
            table = ObservationTable(self.fetch(batch.observations))
        parts: list[Metrics] = []
        for epoch in range(self.config.algorithm.update_epoch):
            for minibatch in minibatches(
                batch.planned,
                len(batch),
                self.config.actor.global_batch_size,
                *(self.config.actor.seed, _ORDER, step, epoch),
            ):
                with self.spans.span("update"):
                    metrics, go_on = self._train_minibatch(batch, table, minibatch)
                parts.append(metrics.on_host())
                if not go_on:
                    return Metrics.merge(parts)
        return Metrics.merge(parts)

    def save(self, folder: str) -> None:
        """Writes policy, optimizer and counters."""
        save_policy(self.policy, self.config.actor.model, Path(folder) / "policy")
        state = {"optimizer": self.optimizer.state_dict(), "version": self.policy.version}
        torch.save(state, Path(folder) / "optimizer.pt")

    def export(self, folder: str) -> None:
        """Writes the policy alone."""
        save_policy(self.policy, self.config.actor.model, Path(folder))

    def load(self, folder: str) -> None:
        """Continues from what `save` wrote."""
        load_policy(self.policy, Path(folder))
        state = torch.load(Path(folder) / "optimizer.pt", weights_only=True, map_location="cpu")
        self.optimizer.load_state_dict(state["optimizer"])
        self.policy.version = state["version"]

    def _train_minibatch(
        self, batch: TrainBatch, table: ObservationTable, minibatch: np.ndarray
    ) -> tuple[Metrics, bool]:
        """One optimizer step on the samples `minibatch` ([n] int64); False to end the epochs."""
        warming_up = self.policy.version < self.optim.critic_warmup_steps
        over = denominators(batch, minibatch, self.policy.live, self.settings)
        pieces = micro_batches(
            minibatch, self.ranks.rank, self.ranks.world, self.config.actor.micro_batch_size
        )
        parts: list[Metrics] = []
        self.optimizer.zero_grad(set_to_none=True)
        for rows in filter(len, pieces):
            new = self.policy.evaluate(
                table.take(batch.objects[rows], batch.rows[rows]),
                batch.sampled[rows],
                self.sampling,
            )
            old = Samples.take(batch, rows, self.policy.device)
            loss, metrics = minibatch_loss(
                new, old, self.policy.live, self.settings, over, train_policy=not warming_up
            )
            loss.backward()
            parts.append(metrics)
        metrics = Metrics.merge(parts)
        self.ranks.add_up(self._gradients(skip_policy=warming_up))
        if self._too_far(metrics):
            return Metrics.merge(
                [metrics, {"train/actor/kl_stops": Total(self.ranks.share)}]
            ), False
        return Metrics.merge([metrics, self._step()]), True

    def _too_far(self, metrics: Metrics) -> bool:
        """Whether the policy has left the behaviour policy further behind than `target_kl`."""
        target = self.config.algorithm.target_kl
        nothing = Mean(0.0, 0.0)
        divergence = metrics.get("train/actor/approx_kl_k3", nothing)
        return target is not None and self.ranks.mean(divergence) > target

    def _gradients(self, skip_policy: bool) -> list[Tensor]:
        """The gradients, zero where a parameter was not reached.

        While the critic warms up the policy's are dropped, so that AdamW neither moves nor decays
        these parameters and the critic's moments live on afterwards.
        """
        if skip_policy:
            for parameter in self.policy_parameters:
                parameter.grad = None
        gradients = []
        for group in self.optimizer.param_groups[1 if skip_policy else 0 :]:
            for parameter in group["params"]:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        return gradients

    def _step(self) -> Metrics:
        """Clips the gradient and moves the weights, or skips an update that is not finite."""
        rates = [rate * self._rate_factor() for rate in self.base_rates]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.optim.clip_grad)
        finite = bool(torch.isfinite(norm))
        self.skipped = 0 if finite else self.skipped + 1
        if self.skipped >= MAX_SKIPPED:
            raise NumericsError(
                f"the gradient of {self.skipped} updates in a row is not finite (norm {norm}); "
                "look at train/loss and lower actor.optim.lr"
            )
        if finite:
            self.optimizer.step()
            self.policy.version += 1
        share = self.ranks.share  # ranks know the same numbers: together they count once
        seen = {"train/actor/lr": rates[0], "train/critic/lr": rates[1]}
        if finite:
            seen["train/actor/grad_norm"] = float(norm)
        means = {name: Mean(value * share, share) for name, value in seen.items()}
        return Metrics({**means, "faults/skipped_updates": Total(share * (not finite))})

    def _rate_factor(self) -> float:
        warmup = self.optim.lr_warmup_steps
        if warmup < 0:
            warmup = round(self.optim.lr_warmup_steps_ratio * self.total_updates)
        return learning_rate_factor(
            self.policy.version,
            warmup,
            self.total_updates,
            self.optim.warmup_style,
            self.optim.min_lr_ratio,
        )


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
