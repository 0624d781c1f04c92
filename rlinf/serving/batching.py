"""One thread that infers, and requests of several clients that share a forward pass."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from rlinf.data.types import Observation

Act = Callable[[Sequence[Observation], Sequence[int]], list[np.ndarray | Exception]]


class Actions(NamedTuple):
    """Actions, and how long the policy took for the batch they were computed in."""

    actions: np.ndarray  # [C, A] float32
    seconds: float


@dataclass(slots=True, eq=False)
class _Waiting:
    observation: Observation
    key: int
    answer: asyncio.Future[Actions]


@dataclass(slots=True)
class Batcher:
    """consumes: observations of one row; produces: actions; waits for: the policy's thread.

    What arrives while the policy computes is computed together next. A request that is given up,
    by its deadline or because its client left, is not computed.
    """

    act: Act
    thread: Executor
    most: int
    deadline_s: float
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _running: asyncio.Task[None] | None = None

    async def ask(self, observation: Observation, key: int) -> Actions:
        """The policy's answer.

        Raises:
            TimeoutError: the deadline passed.
        """
        answer: asyncio.Future[Actions] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(observation, key, answer))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await asyncio.wait_for(answer, self.deadline_s)

    async def _run(self) -> None:
        try:
            while batch := self._next():
                await self._answer(batch)
        finally:
            self._running = None

    def _next(self) -> list[_Waiting]:
        """The oldest request and those of its shape behind it."""
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self.most:
            first = self._waiting[0]
            if not first.answer.done():
                if batch and _shapes(first) != _shapes(batch[0]):
                    break
                batch.append(first)
            self._waiting.popleft()
        return batch

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        rows, keys = [one.observation for one in batch], [one.key for one in batch]
        loop = asyncio.get_running_loop()
        try:
            answers, seconds = await loop.run_in_executor(self.thread, self._timed, rows, keys)
        except Exception as error:  # noqa: BLE001 - raised to all whose rows were in the batch
            answers, seconds = [error] * len(batch), 0.0
        for one, answer in zip(batch, answers, strict=True):
            if one.answer.done():
                continue
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(Actions(answer, seconds))

    def _timed(
        self, rows: Sequence[Observation], keys: Sequence[int]
    ) -> tuple[list[np.ndarray | Exception], float]:
        begun = time.perf_counter()
        return self.act(rows, keys), time.perf_counter() - begun


def _shapes(one: _Waiting) -> tuple[tuple[int, ...], ...]:
    return one.observation.images.shape, one.observation.state.shape
