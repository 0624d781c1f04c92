"""Requests that wait for each other are computed together where that is allowed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from rlinf.data.types import ActReply, Observation
from rlinf.errors import OutOfMemory
from rlinf.workers.rollout import RolloutWorker


def observation(first: int, rows: int) -> Observation:
    state = np.random.default_rng(first).normal(size=(rows, 42)).astype(np.float32)
    return Observation(np.zeros((rows, 0, 0, 0, 3), np.uint8), state, ("reach",) * rows)


def ask_at_once(worker: RolloutWorker, purposes: list[str]) -> list[ActReply]:
    """Requests of 3 rows and 1 ended episode each, all waiting before the first is answered."""
    replies: list[ActReply | None] = [None] * len(purposes)

    def ask(index: int) -> None:
        keys = np.arange(3, dtype=np.uint64) + 3 * index
        final = observation(100 + index, 1) if index % 2 else None
        replies[index] = worker.act(observation(index, 3), keys, final, purposes[index], 0)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(purposes))]
    with worker.lock:
        for index, thread in enumerate(threads):
            thread.start()
            while len(worker.waiting) <= index:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    return [reply for reply in replies if reply is not None]


@pytest.fixture
def calls(monkeypatch) -> list[int]:
    """Rows of each forward pass."""
    rows: list[int] = []
    from rlinf.models.mlp.policy import MlpPolicy

    act = MlpPolicy.act

    def counted(self, observation, sampling, noise):
        rows.append(len(observation))
        return act(self, observation, sampling, noise)

    monkeypatch.setattr(MlpPolicy, "act", counted)
    return rows


def test_merged_requests_get_what_each_would_get_alone(toy, tmp_path: Path, calls):
    alone = RolloutWorker(toy(), 0, 1, str(tmp_path))
    together = RolloutWorker(toy("rollout.max_batch_size=8"), 0, 1, str(tmp_path))
    expected = ask_at_once(alone, ["train"] * 3)
    assert calls == [3, 3, 3]
    calls.clear()
    got = ask_at_once(together, ["train"] * 3)
    assert calls == [6, 3]  # a third would not fit
    for mine, theirs in zip(expected, got, strict=True):
        np.testing.assert_allclose(theirs.chunk.actions, mine.chunk.actions, atol=1e-5)
        np.testing.assert_allclose(theirs.chunk.logprobs, mine.chunk.logprobs, atol=1e-5)
        np.testing.assert_allclose(theirs.final_values, mine.final_values, atol=1e-5)
    assert [len(reply.final_values) for reply in got] == [0, 1, 0]


def test_training_and_evaluation_are_not_mixed(toy, tmp_path: Path, calls):
    worker = RolloutWorker(toy("rollout.max_batch_size=100"), 0, 1, str(tmp_path))
    ask_at_once(worker, ["train", "eval", "eval"])
    assert calls == [3, 6]


def test_large_requests_are_split(toy, tmp_path: Path, calls):
    worker = RolloutWorker(toy("rollout.max_batch_size=2"), 0, 1, str(tmp_path))
    (reply,) = ask_at_once(worker, ["train"])
    assert calls == [2, 1]
    assert reply.chunk.actions.shape[0] == 3


def test_an_error_reaches_everybody_whose_rows_were_in_the_batch(toy, tmp_path: Path):
    worker = RolloutWorker(toy("rollout.max_batch_size=8"), 0, 1, str(tmp_path))
    worker.policy.mean[0].weight.data = worker.policy.mean[0].weight.data[:, :3]  # type: ignore
    errors = []

    def ask(index: int) -> None:
        try:
            worker.act(observation(index, 3), np.arange(3, dtype=np.uint64), None, "train", 0)
        except RuntimeError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(2)]
    with worker.lock:
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 2
    with pytest.raises(RuntimeError, match="asked for weights 7"):
        worker.act(observation(0, 3), np.arange(3, dtype=np.uint64), None, "train", 7)


def test_a_batch_that_does_not_fit_into_memory_is_computed_in_halves(toy, tmp_path, monkeypatch):
    from rlinf.models.mlp.policy import MlpPolicy

    worker = RolloutWorker(toy(), 0, 1, str(tmp_path))
    expected = worker.act(observation(0, 8), np.arange(8, dtype=np.uint64), None, "train", 0)
    act, rows = MlpPolicy.act, []

    def small(self, observation, sampling, noise):
        rows.append(len(observation))
        if len(observation) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return act(self, observation, sampling, noise)

    monkeypatch.setattr(MlpPolicy, "act", small)
    for _ in range(2):  # the second time it is known
        reply = worker.act(observation(0, 8), np.arange(8, dtype=np.uint64), None, "train", 0)
        np.testing.assert_allclose(reply.chunk.actions, expected.chunk.actions, atol=1e-6)
    assert rows == [8, 4, 4, 4, 4]


def test_a_policy_that_does_not_fit_at_all_is_an_error(toy, tmp_path, monkeypatch):
    from rlinf.models.mlp.policy import MlpPolicy

    def never(self, observation, sampling, noise):
        raise torch.OutOfMemoryError("CUDA out of memory")

    worker = RolloutWorker(toy(), 0, 1, str(tmp_path))
    monkeypatch.setattr(MlpPolicy, "act", never)
    with pytest.raises(OutOfMemory, match=r"for 2 samples at a time(.|\n)*max_batch_size=1"):
        worker.act(observation(0, 3), np.arange(3, dtype=np.uint64), None, "train", 0)
