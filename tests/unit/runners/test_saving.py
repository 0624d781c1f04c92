from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rlinf.config.load import load
from rlinf.data.types import Start
from rlinf.envs.episode import EnvState
from rlinf.errors import UserError, WorkerFailed
from rlinf.runners import checkpoint
from rlinf.runners.mixture import TaskMixture
from rlinf.runners.saving import Saver, pack_states, regroup, unpack_states

RNG = np.random.default_rng(0)


def state(length: int, running: bool = True) -> EnvState:
    actions = RNG.normal(size=(length, 7)).astype(np.float32)
    return EnvState(Start(0, -1, int(RNG.integers(2**31))), actions, running)


def test_running_episodes_survive_a_checkpoint_bit_for_bit(tmp_path: Path):
    # Two workers with two stages each, of 2 envs; episodes of all lengths, none among them.
    workers = [
        [([state(3), state(0)], np.array([1, 4])), ([state(5), state(2, False)], np.array([2, 2]))],
        [([state(0), state(0)], np.array([9, 1])), ([state(1), state(7)], np.array([3, 5]))],
    ]
    pack_states(workers, tmp_path / "episodes.npz")
    again = unpack_states(tmp_path / "episodes.npz")
    assert [len(worker) for worker in again] == [2, 2]
    for ours, theirs in zip(chain(*workers), chain(*again), strict=True):
        assert np.array_equal(ours[1], theirs[1])
        for a, b in zip(ours[0], theirs[0], strict=True):
            assert a.start == b.start and a.running == b.running
            assert np.array_equal(a.actions, b.actions) and a.actions.dtype == b.actions.dtype


def test_no_episodes_are_a_valid_checkpoint(tmp_path: Path):
    pack_states([], tmp_path / "episodes.npz")
    assert unpack_states(tmp_path / "episodes.npz") == []


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"episodes\.npz is missing"):
        unpack_states(tmp_path / "episodes.npz")


def test_episodes_are_dealt_out_to_other_numbers_of_workers_and_stages():
    # Four envs that have begun 1, 2, 3 and 4 episodes, on one worker with two stages of two.
    envs = [state(n) for n in range(4)]
    one = [[(envs[:2], np.array([1, 2])), (envs[2:], np.array([3, 4]))]]
    four = regroup(one, workers=4, stages=1, per_stage=1)
    assert [[(s[0].actions.shape[0], b.tolist()) for s, b in worker] for worker in four] == [
        [(0, [1])],
        [(1, [2])],
        [(2, [3])],
        [(3, [4])],
    ]
    again = regroup(four, workers=1, stages=2, per_stage=2)
    for (theirs, counts), (ours, expected) in zip(again[0], one[0], strict=True):
        assert theirs == ours and np.array_equal(counts, expected)


def test_episodes_of_other_sub_envs_are_given_up():
    assert regroup([[([state(1)], np.array([1]))]], workers=1, stages=1, per_stage=2) is None


class Answer:
    """Stands in for an answer that is under way."""

    def __init__(self, value: Any = None, error: Exception | None = None) -> None:
        self.value, self.error = value, error

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


class Copy:
    """Stands in for the host copy of the actor's state, which needs Ray."""

    def __init__(self, done: list[str]) -> None:
        self.done, self.exists = done, False

    def write(self) -> None:
        self.exists = True

    def take_over(self) -> None:
        self.done.append("take over")


class Workers:
    """Stands in for the worker processes, which need Ray, and notes what is asked of them."""

    def __init__(self, copied: bool = True, there: bool = True) -> None:
        """
        Args:
            copied: the actor's state is copied after each iteration.
            there: and the copy is complete.
        """
        self.done, self.updating, self.there = [], True, there
        self.host_copy = Copy(self.done) if copied else None
        self.ray_failed = self.actor_is_new = False

    def unstoppable(self) -> AbstractContextManager[None]:
        return nullcontext()

    def restore_actor(self) -> bool:
        if self.host_copy is None or not (self.host_copy.exists and self.there):
            return False
        self.restored()
        return True

    def restored(self) -> None:
        self.done.append("restore_actor")

    def request_episodes(self) -> Answer:
        return Answer([])

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self.done.append(name)


def saver_of(workers: Any, folder: Path) -> Saver:
    config = load("toy_ppo_mlp", [f"runner.logger.log_path={folder}"]).config
    run: Any = SimpleNamespace(checkpoints=folder / "checkpoints", folder=folder)
    saver = Saver(config, run, workers, TaskMixture(config))
    updating = workers.updating
    saver.complete(7, workers.request_episodes())
    workers.updating = updating  # the next update has begun, or not
    return saver


def test_a_new_actor_takes_the_host_copy_and_no_iteration_is_lost(tmp_path: Path):
    workers = Workers()
    saver = saver_of(workers, tmp_path)
    saver.rewind(actor_lost=True)
    assert workers.done == ["restore_actor", "restore_episodes"]
    assert saver.step == 7


@pytest.mark.parametrize(("copied", "there"), [(False, False), (True, False)])
def test_without_a_host_copy_and_a_checkpoint_the_run_begins_again(
    tmp_path: Path, copied: bool, there: bool
):
    workers = Workers(copied, there)
    saver = saver_of(workers, tmp_path)
    saver.rewind(actor_lost=True)
    assert workers.done == ["forget_episodes"]
    assert saver.step == 0


@pytest.mark.parametrize("new_ranks", [False, True])
def test_a_run_that_ends_during_an_update_saves_the_iteration_before_it(
    tmp_path: Path, new_ranks: bool
):
    workers = Workers()

    def restore() -> None:
        assert workers.done == ["replace_actor"] * new_ranks
        workers.updating = False

    workers.restored = restore
    saver, notes = saver_of(workers, tmp_path), []
    saver.run.console = SimpleNamespace(note=notes.append)
    saver.save()
    assert not (tmp_path / "checkpoints").exists()  # the update was under way
    newest = saver.rescue(new_ranks)
    assert notes == ["the update of iteration 8 was dropped"]
    assert newest == tmp_path / "checkpoints" / "global_step_7"
    assert checkpoint.step_of(newest) == 7 and checkpoint.verify(newest) is None


def test_a_run_that_ends_with_ray_starts_it_again_to_save_the_last_iteration(tmp_path: Path):
    workers = Workers()
    workers.ray_failed, workers.updating = True, False

    def restart() -> None:
        workers.done.append("restart")
        workers.ray_failed, workers.updating = False, True

    def restore() -> None:
        workers.done.append("restore")
        workers.updating = False

    workers.restart_ray, workers.restored = restart, restore
    saver, notes = saver_of(workers, tmp_path), []
    saver._episodes = None
    saver.run.console = SimpleNamespace(note=notes.append)
    assert saver.rescue(new_ranks=True) == tmp_path / "checkpoints" / "global_step_7"
    assert workers.done[:3] == ["take over", "restart", "restore"] and notes == []


def test_actor_ranks_that_were_replaced_and_have_no_state_yet_are_not_saved(tmp_path: Path):
    """A request to stop came while they started."""
    workers = Workers()
    workers.actor_is_new = True

    def restore() -> None:
        assert workers.done == ["replace_actor"]
        workers.updating = False

    workers.restored = restore
    saver = saver_of(workers, tmp_path)
    saver.run.console = SimpleNamespace(note=lambda text: None)
    assert saver.rescue(new_ranks=False) == tmp_path / "checkpoints" / "global_step_7"


def test_a_rank_that_dies_while_it_takes_its_state_back_is_not_taken_for_a_new_one(tmp_path: Path):
    workers = Workers()

    def die() -> None:
        raise WorkerFailed("actor[1] exited during restore()")

    workers.restored = die
    saver = saver_of(workers, tmp_path)
    with pytest.raises(WorkerFailed):  # so that the ranks are replaced once more
        saver.rewind(actor_lost=True)
    assert saver.step == 7


def test_what_was_lost_with_a_node_is_not_taken_back(tmp_path: Path):
    workers = Workers()
    saver = saver_of(workers, tmp_path)
    workers.host_copy.exists = False
    saver.rewind(actor_lost=True)
    assert "restore_actor" not in workers.done and saver.step == 0


@pytest.mark.parametrize(("copied", "there"), [(False, False), (True, False)])
def test_an_iteration_that_cannot_be_saved_is_reported(tmp_path: Path, copied: bool, there: bool):
    workers, warnings = Workers(copied, there), []
    saver = saver_of(workers, tmp_path)
    saver.run.console = SimpleNamespace(warn=warnings.append)
    assert saver.rescue(new_ranks=False) is None
    assert warnings[-1] == (
        "step 7 is not saved: the update after it is not complete, and there is no copy to go back "
        "to; the newest checkpoint is none"
    )


def test_an_actor_that_dies_when_a_checkpoint_begins_leaves_the_older_ones(tmp_path: Path):
    workers = Workers()
    workers.updating, warnings = False, []

    def die(_: Path, with_reference: bool) -> None:
        raise WorkerFailed("actor[1] exited during save()")

    workers.begin_to_save_actor = die
    saver = saver_of(workers, tmp_path)
    saver.run.console = SimpleNamespace(warn=warnings.append)
    saver.save()
    assert not saver.finish()
    assert "checkpoint of step 7 not written" in warnings[0]
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_an_evaluation_of_an_abandoned_branch_gives_no_checkpoint_a_score(tmp_path: Path):
    workers, notes = Workers(copied=False), []
    workers.updating = False
    saver = saver_of(workers, tmp_path)
    saver.save()
    assert saver.finish()
    overall = {"label": "", "success": 0.9, "low": 0.0, "high": 1.0, "episodes": 8}
    (tmp_path / "eval").mkdir()
    later = json.dumps({"step": 9, "overall": overall})
    (tmp_path / "eval" / "step_9.json").write_text(later)
    runner = saver.config.runner.model_copy(update={"resume_dir": "auto"})
    saver.config = saver.config.model_copy(update={"runner": runner})
    saver.run.console = SimpleNamespace(note=notes.append)
    assert saver.resume() == 7
    assert notes[-1] == f"what followed it before is now in {tmp_path}/abandoned/1"
    saver.complete(9, workers.request_episodes())
    saver.save()
    assert saver.finish()
    manifest = tmp_path / "checkpoints" / "global_step_9" / "manifest.json"
    assert json.loads(manifest.read_text())["score"] is None
    assert not (tmp_path / "checkpoints" / "best").exists()


def test_the_reference_policy_is_written_once_and_part_of_every_checkpoint(tmp_path: Path):
    workers, asked = Workers(), []
    workers.updating = False

    def save(folder: Path, with_reference: bool) -> None:
        asked.append(with_reference)
        if with_reference:
            (folder / "reference").mkdir()
            (folder / "reference" / "shard").write_text("where training started")

    workers.begin_to_save_actor = save
    saver = saver_of(workers, tmp_path)
    for step in (7, 8, 9):
        saver.complete(step, workers.request_episodes())
        saver.save()
        assert saver.finish()
    assert asked == [True, False, False]
    newest, before = checkpoint.folders(tmp_path / "checkpoints")  # two are kept
    assert checkpoint.verify(newest) is None
    shard = newest / "reference" / "shard"
    assert shard.read_text() == "where training started"
    assert shard.samefile(before / "reference" / "shard")
    # New ranks started where their configuration says, which may be elsewhere after a resume.
    saver.rewind(actor_lost=True)
    assert workers.done[-3:] == ["restore_actor", "load_reference", "restore_episodes"]
