"""The imitation worker: trains the policy on demonstrations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import torch

from rlinf.config.machine import cache_folder
from rlinf.config.schedule import optim_of
from rlinf.config.schema import Config
from rlinf.data.conventions import conversion
from rlinf.data.random import Noise, derive
from rlinf.errors import UserError
from rlinf.imitation.demonstrations import Demonstrations
from rlinf.metrics.types import Mean, Metrics
from rlinf.models.base import ImitablePolicy, Imitation, Policy
from rlinf.models.loading import start_policy
from rlinf.workers.memory import BatchSizeLimit
from rlinf.workers.micro_batches import MicroBatch
from rlinf.workers.process import prepare_process, prepare_torch
from rlinf.workers.process_group import ProcessGroup
from rlinf.workers.training import Schedule, TrainingWorker

_LEARN, _HELD_OUT = 7, 8  # keep the noise of training and held-out samples apart from other noise
MAX_HELD_OUT = 1024  # held-out samples that are looked at


class ImitationWorker(TrainingWorker):
    """consumes: demonstrations; produces: weights, metrics; waits for: gradients of other ranks.

    Every rank reads the same data sets and takes its slice of each batch.
    """

    policy: ImitablePolicy

    def __init__(
        self,
        config: Config,
        folders: Sequence[str],
        rank: int,
        world: int,
        threads: int,
        log_dir: str | None = None,
        device: str | None = None,
        shard_size: int = 1,
    ) -> None:
        """Reads the data sets and builds the policy; with several ranks `connect` makes it ready.

        Args:
            folders: LeRobot data sets.
            log_dir: of the log file of a process of its own; None inside the launcher.
            device: where it computes; None takes the GPU of the process, or the CPU.
            shard_size: ranks that hold one copy of the weights together.

        Raises:
            UserError: a data set is missing or incomplete, or does not fit the policy.
        """
        if log_dir is not None:
            prepare_process(f"imitation{rank}", log_dir)
        computing = prepare_torch(threads, device)
        assert config.imitation is not None, "checked by the launcher"
        self.settings = settings = config.imitation
        self.chunk = config.actor.model.num_action_chunks
        self.horizon = config.actor.model.horizon
        cache = cache_folder(settings.cache_dir)
        data = Demonstrations.load(folders, settings.image_keys, cache, lambda *_: None)
        check_fit(data, config, ", ".join(folders))
        # Demonstrations have the simulator's actions; the policy learns what it will emit.
        to_policy = conversion(config.env.train.init_params.takes(), config.actor.model.emits())
        data = replace(data, actions=to_policy(data.actions))
        self.learned, self.held_out = data.split(settings.holdout, settings.seed)
        policy = imitable(start_policy(config), config)
        policy.imitate_with(settings)
        if settings.statistics == "data":
            policy.set_action_statistics(self.learned.action_statistics(self.horizon))
            policy.set_state_statistics(self.learned.state_statistics())
        super().__init__(
            config,
            policy,
            Schedule(optim_of(settings), settings.steps),
            BatchSizeLimit(
                "imitation.micro_batch_size", settings.micro_batch_size or settings.batch_size
            ),
            ProcessGroup(rank, world),
            computing,
            shard_size,
        )

    def sizes(self) -> tuple[int, int]:
        """Samples to learn from, samples held out."""
        return len(self.learned), len(self.held_out)

    def train(self, first: int, end: int) -> Metrics:
        """Makes the steps first..end-1; returns this rank's part of their metrics.

        Raises:
            NumericsError: several steps in a row had a gradient that is not finite.
        """
        self.policy.train()
        with self._at_work():
            steps = [self._train_step(step).on_host() for step in range(first, end)]
            return Metrics.merge([*steps, self._lack_of_memory()])

    def held_out_metrics(self) -> Metrics:
        """This rank's part of the metrics on held-out samples, as they are without smoothing."""
        self.policy.eval()
        count = min(len(self.held_out), MAX_HELD_OUT)
        rows = np.linspace(0, len(self.held_out) - 1, count).round().astype(np.int64)
        with torch.no_grad(), self._at_work():
            return Metrics.merge(self.micro_batches.run(rows, self._compare_held_out))

    def _compare_held_out(self, micro_batches: Sequence[MicroBatch]) -> list[Metrics]:
        parts: list[Metrics] = []
        for micro_batch, count in micro_batches:
            keys = derive(self.settings.seed, _HELD_OUT, micro_batch)
            seen = self._compare(self.held_out, micro_batch, keys)
            if count:
                loss, *_ = seen.losses.values()
                found = {"sft/heldout_loss": _mean(loss)}
                found |= {f"sft/heldout_{name}": _mean(v) for name, v in seen.metrics.items()}
                parts.append(Metrics(found).on_host())
        return parts

    def _train_step(self, step: int) -> Metrics:
        settings = self.settings
        rows = batch_rows(step, settings.batch_size, len(self.learned), settings.seed)
        parts = self.micro_batches.run(rows, partial(self._find_gradients, step))
        self.parallel.all_reduce(self.optimizer.gradients())
        moved = self._step(
            {"sft/lr": self.optimizer.rates()[0]},
            "sft/grad_norm",
            lambda: "look at sft/token_loss and lower imitation.lr",
        )
        return Metrics.merge([*parts, moved])

    def _find_gradients(self, step: int, micro_batches: Sequence[MicroBatch]) -> list[Metrics]:
        """The gradients of this rank's micro-batches, and the metrics of each."""
        parts: list[Metrics] = []
        batch = self.settings.batch_size
        for micro_batch, count in self._gradients_of(micro_batches):
            keys = derive(self.settings.seed, _LEARN, step, micro_batch)
            seen = self._compare(self.learned, micro_batch, keys)
            losses = [
                one.sum() / (batch * math.prod(one.shape[1:])) for one in seen.losses.values()
            ]
            loss = torch.stack(losses).sum()
            (loss if count else 0.0 * loss).backward()
            if count:
                named = seen.losses | seen.metrics
                parts.append(Metrics({f"sft/{name}": _mean(v) for name, v in named.items()}))
        return parts

    def _compare(self, data: Demonstrations, rows: np.ndarray, keys: np.ndarray) -> Imitation:
        """`keys`: [n] of the random numbers of each row."""
        return self.policy.imitate(
            data.observation(rows),
            data.chunks(rows, self.horizon),
            data.values(rows, self.chunk, self.settings.gamma),
            Noise(keys),
        )


def imitable(policy: Policy, config: Config) -> ImitablePolicy:
    """The policy as one that can imitate; raises UserError where it cannot."""
    if not isinstance(policy, ImitablePolicy):
        raise UserError(
            f"actor.model.model_type = {config.actor.model.model_type}: it cannot learn by "
            "imitation",
            "choose a policy of action tokens, such as tiny_vla",
        )
    return policy


def batch_rows(step: int, size: int, samples: int, seed: int) -> np.ndarray:
    """Rows of batch `step` ([size] int64): every pass over the samples has an order of its own."""
    positions = np.arange(step * size, (step + 1) * size)
    passes, places = np.divmod(positions, samples)
    rows = np.empty(size, np.int64)
    for index in np.unique(passes):
        here = passes == index
        rows[here] = _order(int(index), samples, seed)[places[here]]
    return rows


@lru_cache(maxsize=2)
def _order(index: int, samples: int, seed: int) -> np.ndarray:
    """The samples in the order of pass `index`."""
    return np.argsort(derive(seed, index, np.arange(samples)), kind="stable")


def check_fit(data: Demonstrations, config: Config, where: str) -> None:
    """Raises UserError where the demonstrations do not fit the policy."""
    model = config.actor.model
    spaces = model.spaces()
    views, height, width = data.images.shape[1:4]
    dims = data.actions.shape[1]
    if dims != model.action_dim:
        raise UserError(
            f"imitation.data: the actions of {where} have {dims} dimensions, "
            f"actor.model.action_dim is {model.action_dim}",
            f"set actor.model.action_dim={dims} if the simulator takes such actions, or use "
            "another data set",
        )
    if spaces.shows == "images" and not views:
        raise UserError(
            f"imitation.data: {where} has no pictures, {model.model_type} needs some",
            "use another data set",
        )
    if spaces.image_size is not None and views and (height, width) != spaces.image_size:
        wanted = "{} x {}".format(*spaces.image_size)
        raise UserError(
            f"imitation.data: the pictures of {where} have {height} x {width} pixels, "
            f"{model.model_type} needs {wanted}",
            "use another data set, or a model that takes these pictures",
        )
    # Models that take a number of views from their folder check it when they see the first one.
    expected = views if spaces.num_views is None else spaces.num_views
    if views != expected:
        raise UserError(
            f"imitation.data: {where} shows {views} views, actor.model.{model.views_key} is "
            f"{expected}",
            "name the features that are the views in imitation.image_keys, or set "
            f"actor.model.{model.views_key}={views}",
        )
    if spaces.obs_dim is not None and data.state.shape[1] != spaces.obs_dim:
        raise UserError(
            f"imitation.data: the state of {where} has {data.state.shape[1]} numbers, "
            f"{model.model_type} needs {spaces.obs_dim}",
            "use another data set",
        )
    if not len(data):
        raise UserError(f"imitation.data: {where} has no step that a sample begins at", "")


def _mean(values: torch.Tensor) -> Mean:
    return Mean(values.detach().sum(), values.numel())
