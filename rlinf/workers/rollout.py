"""The rollout worker: answers observations with action chunks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from rlinf.config.schema import Config
from rlinf.data.random import Noise
from rlinf.data.shared import Handle, SharedMemory
from rlinf.data.types import ActionChunk, ActReply, DeviceHandle, Observation, Purpose, Weights
from rlinf.metrics.timeline import Span, Spans
from rlinf.models.base import Policy
from rlinf.models.loading import sampling_of, start_policy
from rlinf.models.weights import Layout, as_tensor, copy, join, move
from rlinf.workers import device_memory
from rlinf.workers.memory import BatchSizeLimit, bytes_on, memory_table
from rlinf.workers.offload import allocated, note_memory
from rlinf.workers.process import prepare_process, prepare_torch

T = TypeVar("T")
DROPPED = -2  # version of a policy without its trained weights


@dataclass(slots=True)
class _Request:
    """A question to the policy, and its answer once it is computed."""

    observation: Observation
    keys: np.ndarray
    final: Observation | None
    purpose: Purpose
    answer: ActReply | Exception | None = None


class RolloutWorker:
    """consumes: observations; produces: action chunks and values; waits for: weights of the step.

    Requests are answered in the order they come. Every random number comes with the request, so
    the answer does not depend on which rank gives it, or on what it was asked before.

    With `rollout.max_batch_size`, requests that wait for each other are computed together. What a
    row draws stays the same; its log-probs may differ in the last bits, as matrix products of
    another size do.
    """

    def __init__(self, config: Config, rank: int, threads: int, log_dir: str) -> None:
        prepare_process(f"rollout{rank}", log_dir)
        self.device = prepare_torch(threads)
        self.policy: Policy = start_policy(config)
        self.policy.eval()
        self.layout = Layout(self.policy)
        joined = join(self.policy, self.layout)
        assert joined is not None, "the layout is this very policy's"
        self.joined = joined
        self._move(self.device)
        self.how = config.rollout.compile
        self._compile()
        self.sampling = {
            "train": sampling_of(config.algorithm.sampling_params, "train"),
            "eval": sampling_of(config.algorithm.sampling_params, "eval"),
        }
        self._shared: tuple[Handle, SharedMemory] | None = None  # what an actor writes weights to
        self.limit = BatchSizeLimit("rollout.max_batch_size", config.rollout.max_batch_size)
        self.waiting: deque[_Request] = deque()
        self.lock = threading.Lock()  # held while the policy computes or changes
        self.address: Any = None
        self.spans = Spans(f"rollout{rank}")

    def _compile(self) -> None:
        """Compiles what the policy acts with, where it is asked for, anew."""
        if self.how is not None:
            self.policy.compile_act(self.how)

    def ready(self) -> None:
        """Answers once the constructor has returned."""

    def open_service(self, serve: Callable[[RolloutWorker], Any]) -> Any:
        """Where `act` and `value` can be asked directly; `serve` opens it at the first call."""
        with self.lock:
            self.address = self.address or serve(self)
        return self.address

    def try_device_memory(self, handle: Any) -> bool:
        """Whether weights can come from an actor rank within the GPU."""
        return device_memory.works(handle)

    def load_weights(self, weights: Weights) -> int:
        """Takes over the weights of an update and answers with their version."""
        if weights.digest != self.layout.digest:
            raise RuntimeError("weights of another architecture arrived: actor and rollout differ")
        with self.lock, self.spans.span("load weights"):
            self._be_on(self.device)
            copy(self._arrived(weights.data), self.joined)
            if isinstance(weights.data, DeviceHandle):
                torch.cuda.synchronize()  # the writer frees its memory next
            self.policy.version = weights.version
        return weights.version

    def offload(self) -> None:
        """Frees the GPU until the next weights come; until then the policy cannot act.

        The trained weights are dropped. Frozen ones wait in host memory.
        """
        with self.lock:
            if self.device.type != "cpu":
                self._be_on(torch.device("cpu"))
                self.policy.version = DROPPED

    def act(
        self,
        observation: Observation,
        keys: np.ndarray,
        final: Observation | None,
        purpose: Purpose,
        version: int,
    ) -> ActReply:
        """Chooses actions for B rows, and values the last observations of ended episodes.

        Threads may ask at the same time; the one that holds the lock answers those that wait.

        Args:
            keys: [B] uint64, one noise key per row.
            final: K last observations whose values the bootstrap needs; None where K = 0.
            version: that the caller expects; acting with stale weights is an error, not a delay.
        """
        if version != self.policy.version:
            raise RuntimeError(f"asked for weights {version}, have {self.policy.version}")
        request = _Request(observation, keys, final, purpose)
        self.waiting.append(request)
        with self.lock:
            while request.answer is None:
                self._answer(self._next_batch())
        if isinstance(request.answer, Exception):
            raise request.answer
        return request.answer

    def value(self, observation: Observation) -> np.ndarray:
        """V of each row: [B] float32."""
        with self.lock, self.spans.span("value"):
            return self._with_enough_memory(lambda: self._values(observation), len(observation))

    def timeline(self) -> list[Span]:
        """What the worker did since the last call."""
        return self.spans.take()

    def _next_batch(self) -> list[_Request]:
        """The oldest request, and those after it that fit into one batch with it."""
        batch = [self.waiting.popleft()]
        rows = len(batch[0].observation)
        while (
            self.limit.most is not None
            and self.waiting
            and self.waiting[0].purpose == batch[0].purpose
            and rows + len(self.waiting[0].observation) <= self.limit.most
        ):
            batch.append(self.waiting.popleft())
            rows += len(batch[-1].observation)
        return batch

    def _answer(self, batch: Sequence[_Request]) -> None:
        try:
            with self.spans.span("act"):
                answers: Sequence[ActReply | Exception] = self._with_enough_memory(
                    lambda: self._forward(batch), sum(len(r.observation) for r in batch)
                )
        except Exception as error:  # noqa: BLE001 - raised to all whose rows were in the batch
            answers = [error] * len(batch)
        for request, answer in zip(batch, answers, strict=True):
            request.answer = answer

    def _with_enough_memory(self, work: Callable[[], T], rows: int) -> T:
        """Does `work` on so many rows; once in halves, from then on, if memory does not suffice."""
        while True:
            try:
                return work()
            except torch.OutOfMemoryError:
                weights = bytes_on(self.policy.device, self.policy.parameters())
                table = memory_table(self.policy.device, {"weights": weights})
            self._compile()  # drops what was recorded of larger batches
            self.limit.halve(rows, table, _LESS_MEMORY)

    def _forward(self, batch: Sequence[_Request]) -> list[ActReply]:
        observation = Observation.concatenate([request.observation for request in batch])
        keys = np.concatenate([request.keys for request in batch])
        finals = [request.final for request in batch if request.final is not None]
        size = self.limit.most or len(observation)
        sampling = self.sampling[batch[0].purpose]
        chunks = [
            self.policy.act(part, sampling, Noise(keys[i * size : (i + 1) * size]))
            for i, part in enumerate(observation.split(size))
        ]
        values = self._values(Observation.concatenate(finals)) if finals else _NO_VALUES
        return _deal(batch, _concatenate(chunks), values)

    def _values(self, observation: Observation) -> np.ndarray:
        parts = observation.split(self.limit.most or len(observation))
        return np.concatenate([self.policy.value(part) for part in parts])

    def _be_on(self, device: torch.device) -> None:
        """Moves the policy to the GPU or off it, where it is not there yet.

        The trained weights are not copied: their memory there is new, and empty.
        """
        if self.policy.device.type != device.type:
            before = allocated(self.device)
            self.joined = torch.empty(self.layout.size, dtype=torch.uint8, device=device)
            self._move(device)
            note_memory(f"rollout to {device}", self.device, before)

    def _move(self, device: torch.device) -> None:
        moved = move(self.policy, self.layout, self.joined, device)
        assert moved is not None
        self.joined = moved  # the trainable weights in one piece, to which new ones are copied

    def _arrived(self, data: np.ndarray | Handle | DeviceHandle) -> Tensor:
        """The bytes of the weights: [bytes] uint8, read-only."""
        if isinstance(data, DeviceHandle):
            return device_memory.attach(data.handle)
        if not isinstance(data, Handle):
            return as_tensor(data)
        if self._shared is None or self._shared[0] != data:
            self._shared = data, SharedMemory.open(data)
        return as_tensor(self._shared[1].array)


_LESS_MEMORY = ("actor.enable_offload=true and env.enable_offload=true where they share the GPU",)
_NO_VALUES = np.zeros(0, np.float32)


def _deal(batch: Sequence[_Request], chunk: ActionChunk, values: np.ndarray) -> list[ActReply]:
    """Each request's rows of what was computed for all."""
    if len(batch) == 1:
        return [ActReply(chunk, values)]
    rows = np.cumsum([len(request.observation) for request in batch])[:-1]
    finals = np.cumsum([len(request.final or ()) for request in batch])[:-1]
    names, drawn = zip(*chunk.sampled.items(), strict=True)
    columns = (chunk.actions, chunk.logprobs, chunk.values, *drawn)
    parts = zip(*(np.split(column, rows) for column in columns), strict=True)
    return [
        ActReply(
            ActionChunk(
                actions, dict(zip(names, sampled, strict=True)), logprobs, value, chunk.version
            ),
            final,
        )
        for (actions, logprobs, value, *sampled), final in zip(
            parts, np.split(values, finals), strict=True
        )
    ]


def _concatenate(chunks: Sequence[ActionChunk]) -> ActionChunk:
    if len(chunks) == 1:
        return chunks[0]
    return ActionChunk(
        actions=np.concatenate([c.actions for c in chunks]),
        sampled={
            name: np.concatenate([c.sampled[name] for c in chunks]) for name in chunks[0].sampled
        },
        logprobs=np.concatenate([c.logprobs for c in chunks]),
        values=np.concatenate([c.values for c in chunks]),
        version=chunks[0].version,
    )
