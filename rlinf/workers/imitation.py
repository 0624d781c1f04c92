"""The imitation worker: trains the policy on demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from rlinf.algorithms.schedule import learning_rate_factor
from rlinf.config.imitation import ImitationConfig
from rlinf.config.schema import Config
from rlinf.data.layout import micro_batches
from rlinf.data.random import derive
from rlinf.errors import NumericsError, UserError
from rlinf.imitation.demonstrations import Demonstrations
from rlinf.logging.metrics import Mean, Metrics, Total
from rlinf.models.base import ImitablePolicy, Imitation
from rlinf.models.loading import build_policy, load_policy, save_policy
from rlinf.workers.process import prepare_process, prepare_torch
from rlinf.workers.ranks import Ranks

MAX_SKIPPED = 3  # steps in a row whose gradient is not finite
MAX_JUDGED = 1024  # held-out samples that are looked at
STATE_FILE = "imitation.pt"


class ImitationWorker:
    """consumes: demonstrations; produces: weights, metrics; waits for: gradients of other ranks.

    Every rank reads the same data sets and takes its slice of each batch. Losses are divided by
    the numbers of the whole batch, so gradients just add up over micro-batches and ranks.
    """

    def __init__(
        self,
        config: Config,
        folders: Sequence[str],
        rank: int,
        world: int,
        threads: int,
        log_dir: str | None = None,
        device: str | None = None,
    ) -> None:
        """Reads the data sets, builds policy and optimizer.

        Args:
            folders: LeRobot data sets.
            log_dir: of the log file of a process of its own; None inside the launcher.
            device: where it computes; None takes the GPU of the process, or the CPU.

        Raises:
            UserError: a data set is missing or incomplete, or does not fit the policy.
        """
        if log_dir is not None:
            prepare_process(f"imitation{rank}", log_dir)
        found = prepare_torch(threads)
        assert config.imitation is not None, "checked by the launcher"
        self.config, self.settings, self.ranks = config, config.imitation, Ranks(rank, world)
        self.chunk = config.actor.model.num_action_chunks
        cache = Path(self.settings.cache_dir).expanduser()
        data = Demonstrations.load(folders, self.settings.image_keys, cache, lambda *_: None)
        check_fit(data, config, ", ".join(folders))
        self.learned, self.held_out = data.split(self.settings.holdout, self.settings.seed)
        self.policy = self._build().to(torch.device(device or found))
        self.parameters = [p for p in self.policy.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=self.settings.lr, weight_decay=self.settings.weight_decay
        )
        self.skipped = 0  # steps in a row

    def ready(self) -> None:
        """Answers once the constructor is through."""

    def open_meeting_point(self, host: str) -> str:
        """Opens the address on this machine, `host`, where the ranks meet (rank 0 only)."""
        return self.ranks.open_meeting_point(host)

    def connect(self, address: str) -> None:
        """Joins the other ranks at the address that rank 0 opened."""
        self.ranks.connect(address, self.config.runner.worker_timeout_s)

    def sizes(self) -> tuple[int, int]:
        """Samples to learn from, samples held out."""
        return len(self.learned), len(self.held_out)

    def train(self, first: int, end: int) -> Metrics:
        """Makes the steps first..end-1; returns this rank's part of their metrics.

        Raises:
            NumericsError: several steps in a row had a gradient that is not finite.
        """
        self.policy.train()
        return Metrics.merge([self._train_step(step).on_host() for step in range(first, end)])

    def judge(self) -> Metrics:
        """This rank's part of the metrics on held-out samples, as they are without smoothing."""
        self.policy.eval()
        count = min(len(self.held_out), MAX_JUDGED)
        rows = np.linspace(0, len(self.held_out) - 1, count).round().astype(np.int64)
        parts: list[Metrics] = []
        with torch.no_grad():
            for piece in filter(len, self._pieces(rows)):
                seen = self._compare(self.held_out, piece, smoothing=0.0)
                parts.append(
                    Metrics(
                        {
                            "sft/heldout_loss": _mean(seen.token_loss),
                            "sft/heldout_token_accuracy": _mean(seen.correct),
                            "sft/heldout_action_error": _mean(seen.error),
                        }
                    ).on_host()
                )
        return Metrics.merge(parts)

    def save(self, folder: str) -> None:
        """Writes policy and optimizer."""
        self.export(str(Path(folder) / "policy"))
        torch.save({"optimizer": self.optimizer.state_dict()}, Path(folder) / STATE_FILE)

    def export(self, folder: str) -> None:
        """Writes the policy alone."""
        save_policy(self.policy, self.config.actor.model, Path(folder))

    def load(self, folder: str) -> None:
        """Continues from what `save` wrote."""
        path = Path(folder) / STATE_FILE
        if not path.is_file():
            raise UserError(
                f"runner.resume_dir: {folder} is no checkpoint of `rlinf sft`",
                "name one of its checkpoints, or start from this policy with "
                "actor.model.model_path",
            )
        load_policy(self.policy, Path(folder))
        state = torch.load(path, weights_only=True, map_location="cpu")
        self.optimizer.load_state_dict(state["optimizer"])

    def _build(self) -> ImitablePolicy:
        model = self.config.actor.model
        policy = build_policy(model, seed=self.config.actor.seed)
        if not isinstance(policy, ImitablePolicy):
            raise UserError(
                f"actor.model.model_type = {model.model_type}: it cannot learn by imitation",
                "choose a policy of action tokens, such as tiny_vla",
            )
        if self.settings.statistics == "data":
            policy.set_action_statistics(self.learned.action_statistics(self.chunk))
        return policy

    def _train_step(self, step: int) -> Metrics:
        settings, batch = self.settings, self.settings.batch_size
        rows = batch_rows(step, batch, len(self.learned), settings.seed)
        parts: list[Metrics] = []
        self.optimizer.zero_grad(set_to_none=True)
        for piece in filter(len, self._pieces(rows)):
            seen = self._compare(self.learned, piece, settings.label_smoothing_bins)
            loss = seen.token_loss.sum() / (batch * seen.token_loss.shape[1])
            if seen.value_loss.shape[1]:
                loss = loss + seen.value_loss.sum() / (batch * seen.value_loss.shape[1])
            loss.backward()
            parts.append(_metrics(seen))
        self.ranks.add_up([_gradient(parameter) for parameter in self.parameters])
        return Metrics.merge([*parts, self._move(step)])

    def _move(self, step: int) -> Metrics:
        """Clips the gradient and moves the weights, or skips a step that is not finite."""
        rate = learning_rate(self.settings, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_grad)
        finite = bool(torch.isfinite(norm))
        self.skipped = 0 if finite else self.skipped + 1
        if self.skipped >= MAX_SKIPPED:
            raise NumericsError(
                f"the gradient of {self.skipped} steps in a row is not finite (norm {norm}); "
                "look at sft/token_loss and lower imitation.lr"
            )
        if finite:
            self.optimizer.step()
        share = self.ranks.share  # ranks know the same numbers: together they count once
        seen = {"sft/lr": rate} | ({"sft/grad_norm": float(norm)} if finite else {})
        means = {name: Mean(value * share, share) for name, value in seen.items()}
        return Metrics({**means, "faults/skipped_updates": Total(share * (not finite))})

    def _compare(self, data: Demonstrations, rows: np.ndarray, smoothing: float) -> Imitation:
        return self.policy.imitate(
            data.observation(rows),
            data.chunks(rows, self.chunk),
            data.values(rows, self.chunk, self.settings.gamma),
            smoothing,
        )

    def _pieces(self, rows: np.ndarray) -> list[np.ndarray]:
        """This rank's share of the samples `rows`, in forward passes."""
        whole = max(1, -(-len(rows) // self.ranks.world))
        size = min(self.settings.micro_batch_size or self.settings.batch_size, whole)
        return micro_batches(rows, self.ranks.rank, self.ranks.world, size)


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


def learning_rate(settings: ImitationConfig, step: int) -> float:
    """Of the step with this number, from 0."""
    factor = learning_rate_factor(
        step, settings.lr_warmup_steps, settings.steps, settings.lr_schedule, 0.0
    )
    return settings.lr * factor


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
    expected = getattr(model, "num_views", views)
    if views != expected:
        raise UserError(
            f"imitation.data: {where} shows {views} views, actor.model.num_views is {expected}",
            "name the features that are the views in imitation.image_keys, or set "
            f"actor.model.num_views={views}",
        )
    if spaces.obs_dim is not None and data.state.shape[1] != spaces.obs_dim:
        raise UserError(
            f"imitation.data: the state of {where} has {data.state.shape[1]} numbers, "
            f"{model.model_type} needs {spaces.obs_dim}",
            "use another data set",
        )
    if not len(data):
        raise UserError(f"imitation.data: {where} has no step that a sample begins at", "")


def _metrics(seen: Imitation) -> Metrics:
    """Of one micro-batch."""
    found: dict[str, Mean | Total] = {
        "sft/token_loss": _mean(seen.token_loss),
        "sft/token_accuracy": _mean(seen.correct),
        "sft/action_error": _mean(seen.error),
    }
    if seen.value_loss.shape[1]:
        found["sft/value_loss"] = _mean(seen.value_loss)
    return Metrics(found)


def _mean(values: torch.Tensor) -> Mean:
    return Mean(values.detach().sum(), values.numel())


def _gradient(parameter: torch.Tensor) -> torch.Tensor:
    """Zero where a parameter was not reached, as other ranks may have reached it."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
