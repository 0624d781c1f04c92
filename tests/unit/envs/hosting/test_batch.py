"""Envs in real sub-processes: the same results as in one process, and every way to fail."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from rlinf.data.types import ChunkResult, Observation, Start
from rlinf.envs.episode import EnvBatch, EpisodeBatch, EpisodeRules
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.envs.hosting.fork_server import obtain, release
from rlinf.envs.toy.reach import ToyReach
from rlinf.errors import EnvironmentFailure, UserError, WorkerFailed
from rlinf.registry import Hosting
from tests.unit.envs.hosting import faulty

HANGS_S = 120.0  # what works takes less, however busy the machine is
SIZE = 5  # B; two processes get 3 and 2
RULES = EpisodeRules(max_episode_steps=7, final="always", env_offset=10, record=14)
POINTS = "rlinf.envs.toy.reach:ToyReach"
SETTINGS = {"obs_dim": 4, "action_dim": 2, "image_size": 8}
FAULTY = f"{faulty.__name__}:Faulty"
HOSTING = Hosting(modules=("tests.unit.envs.hosting.faulty",))


@pytest.fixture(scope="module", autouse=True)
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kept while these tests run, so that they import once."""
    held = obtain(HOSTING, tmp_path_factory.mktemp("forks") / "log")
    yield
    release(held)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Callable[..., ProcessBatch]]:
    """Makes batches of two processes, and closes them."""
    made = []

    def make(build: str = POINTS, retries: int = 0, **settings: object) -> ProcessBatch:
        log = tmp_path / "logs/out.log"
        settings = SETTINGS if build == POINTS else settings
        batch = ProcessBatch(build, settings, SIZE, RULES, 2, log, HANGS_S, retries, HOSTING)
        made.append(batch)
        return batch

    yield make
    for batch in made:
        batch.close()


def starts(first: int, count: int = SIZE) -> list[Start]:
    return [Start(0, -1, seed) for seed in range(first, first + count)]


def run(batch: EnvBatch, chunks: int, seed: int) -> Iterator[ChunkResult]:
    """Chunks of three actions; now and then an env that could move does not."""
    rng = np.random.default_rng(seed)
    for chunk in range(chunks):
        actions = rng.uniform(-1, 1, (SIZE, 3, 2)).astype(np.float32)
        following = [None, *starts(100 * chunk, SIZE - 1)]  # env 0 waits once it has ended
        yield batch.run_chunk(actions, rng.random(SIZE) < 0.8, following)


def assert_equal(one: object, other: object) -> None:
    """Equal to the last bit, through all dataclasses and tuples."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    elif isinstance(one, (Observation, ChunkResult)):
        for name in type(one).__slots__:
            assert_equal(getattr(one, name), getattr(other, name))
    else:
        assert one == other


def children() -> list[psutil.Process]:
    """Living simulator processes of this process."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and child.name() == "rlinf-simulator"
    ]


# --- the same as in one process ------------------------------------------------------------------


def test_sub_processes_give_what_one_process_gives(processes):
    here, there = EpisodeBatch(ToyReach(SIZE, **SETTINGS), RULES), processes()
    assert (there.num_envs, there.action_dim, there.tasks) == (SIZE, 2, here.tasks)
    assert there.num_trials == here.num_trials
    ids = np.arange(SIZE)
    assert_equal(there.start(ids, starts(0)), here.start(ids, starts(0)))
    episodes = 0
    for mine, theirs in zip(run(here, 8, 1), run(there, 8, 1), strict=True):
        assert_equal(theirs, mine)
        episodes += len(mine.episodes)
    assert episodes >= SIZE  # so that resets, ends and final observations were compared as well
    assert_equal(there.state(), here.state())
    mine, theirs = here.take_frames(), there.take_frames()
    assert {frame.env for frame in mine} == {10, 11, 12, 13}
    assert_equal(sorted(theirs, key=frame_key), sorted(mine, key=frame_key))
    assert there.take_frames() == []


def frame_key(frame) -> tuple[int, bytes]:
    return frame.env, frame.picture.tobytes() + bytes([frame.step])


def test_envs_start_in_any_order_and_only_those_that_are_named(processes):
    here, there = EpisodeBatch(ToyReach(SIZE, **SETTINGS), RULES), processes()
    ids = np.array([4, 0, 2])
    assert_equal(there.start(ids, starts(0, 3)), here.start(ids, starts(0, 3)))
    assert [state.running for state in there.state()] == [True, False, True, False, True]
    none = there.start(np.zeros(0, np.int64), [])
    assert len(none) == 0


def test_a_restored_batch_continues_like_the_first(processes):
    first, second = processes(), processes()
    first.start(np.arange(SIZE), starts(0))
    for result in run(first, 5, 2):
        last = result
    assert_equal(second.restore(first.state()), first.restore(first.state()))
    assert len(last.observation) < SIZE  # not all envs were running
    for mine, theirs in zip(run(first, 4, 3), run(second, 4, 3), strict=True):
        assert_equal(theirs, mine)


def test_nothing_is_recorded_when_nothing_shall_be(processes):
    batch = processes()
    batch.set_record(0)
    batch.start(np.arange(SIZE), starts(0))
    list(run(batch, 2, 1))
    assert batch.take_frames() == []


def test_later_chunks_do_not_write_into_earlier_results(processes):
    batch = processes()
    observation = batch.start(np.arange(SIZE), starts(0))
    before = observation.images.copy()
    assert before.any()
    list(run(batch, 3, 1))
    np.testing.assert_array_equal(observation.images, before)


def test_more_processes_than_envs_are_not_started(tmp_path):
    before = len(children())
    batch = ProcessBatch(POINTS, SETTINGS, 2, RULES, 8, tmp_path / "log", 30.0, hosting=HOSTING)
    assert len(children()) - before == 2
    batch.close()


def test_threads_drive_batches_of_their_own(processes):
    batches = [processes() for _ in range(2)]
    results: list[list[ChunkResult]] = [[], []]

    def drive(index: int) -> None:
        batches[index].start(np.arange(SIZE), starts(0))
        results[index].extend(run(batches[index], 20, 1))

    threads = [threading.Thread(target=drive, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results[0]) == 20
    assert_equal(results[0], results[1])


# --- failures ------------------------------------------------------------------------------------


def fail(batch: ProcessBatch, within_s: float = HANGS_S) -> None:
    batch.start(np.arange(SIZE), starts(5))
    batch.step_timeout_s = within_s
    actions = np.full((SIZE, 3, 2), 0.25, np.float32)
    batch.run_chunk(actions, np.ones(SIZE, bool), [None] * SIZE)


def test_an_env_that_raises_is_named_with_start_and_action_and_traceback(processes):
    batch = processes(FAULTY, fault="env error")
    with pytest.raises(EnvironmentFailure) as caught:
        fail(batch)
    times, message = str(caught.value).split("\n", 1)
    assert re.match(r"envs 1[03] to 1[24] failed 1 times in a row:", times)
    # One env of each sub-process fails; which is noticed first is chance.
    start = (
        r"(11 failed at step 2 from Start\(.*seed=6\)|14 failed at step 2 from Start\(.*seed=9\))"
    )
    action = r"with action \[0.25, 0.25\]: ArithmeticError\('contact solver diverged'\)"
    assert re.match(f"env {start} {action}", message)
    assert "in _broken_contact" in message
    assert not children()


def test_an_env_that_raises_at_reset_is_named_with_its_start(processes):
    batch = processes(FAULTY, fault="env error")
    with pytest.raises(EnvironmentFailure, match=r"env 11 failed to reset to Start.*seed=8"):
        batch.start(np.array([0, 1]), [Start(0, -1, 7), Start(0, faulty.UNLUCKY, 8)])


@pytest.mark.parametrize(
    ("fault", "ending", "words"),
    [
        ("bug", "exit code 1", "ArithmeticError: contact solver diverged"),
        ("exit", "exit code 7", "It left no traceback."),
        ("kill", "signal SIGKILL", "It left no traceback."),
        ("crash", "signal SIGSEGV", "in _crash"),
    ],
)
def test_a_process_that_ends_is_reported_with_its_last_words(processes, fault, ending, words):
    batch = processes(FAULTY, fault=fault)
    with pytest.raises(EnvironmentFailure) as caught:
        fail(batch)
    message = str(caught.value)
    # Both sub-processes fail; which is noticed first is chance.
    where = "simulator process of envs 1[03] to 1[24]"
    assert re.search(f"{where} ended with {ending} during run_chunk", message)
    assert words in message
    assert "logs/out.log" in message
    assert not children()


@pytest.mark.parametrize("fault", ["hang", "native hang"])
def test_a_process_that_hangs_ends_with_the_stack_of_where_it_hung(processes, fault):
    batch = processes(FAULTY, fault=fault)
    with pytest.raises(EnvironmentFailure, match=r"(?s)Timeout \(0:00:01\).*in hang"):
        fail(batch, within_s=1.0)
    assert not children()


def test_a_scene_that_takes_long_to_build_is_no_hang(processes):
    """At the first reset and at that to another task; after them the usual limit holds again."""
    batch = processes(f"{faulty.__name__}:SlowToBuild", seconds=1.0)
    batch.step_timeout_s = 0.5
    ids, still = np.arange(SIZE), np.zeros((SIZE, 8, 2), np.float32)
    batch.start(ids, starts(5))
    other = [Start(1, -1, seed) for seed in range(SIZE)]
    assert len(batch.run_chunk(still, np.ones(SIZE, bool), other).episodes) == SIZE
    assert batch.restarts == 0
    assert batch._reset_limit([other, other]) == 0.5
    assert batch._reset_limit([[None], [Start(2, -1, 0)]]) > 0.5


def test_the_key_to_raise_is_named_where_a_simulator_is_slower_than_its_limit(processes):
    batch = processes(f"{faulty.__name__}:SlowToBuild", seconds=60.0)
    batch.step_timeout_s = batch._start_timeout_s = 0.5
    with pytest.raises(
        WorkerFailed, match=r"during start, .* raise env\.\*\.step_timeout_s\nTimeout"
    ):
        batch.start(np.arange(SIZE), starts(5))


def test_a_process_that_is_stopped_is_killed_when_its_time_is_up(processes, monkeypatch):
    monkeypatch.setattr("rlinf.envs.hosting.process.GRACE_S", 0.2)
    batch = processes(FAULTY, fault="stop")
    with pytest.raises(EnvironmentFailure, match=r"timed out: run_chunk took longer than 0\.5 s"):
        fail(batch, within_s=0.5)
    assert not children()


def test_a_process_that_dies_while_idle_is_noticed_at_the_next_call(processes):
    batch = processes()
    children()[0].kill()
    with pytest.raises(WorkerFailed, match="SIGKILL"):
        fail(batch)


def test_a_batch_that_failed_refuses_to_go_on(processes):
    batch = processes(FAULTY, fault="exit")
    with pytest.raises(EnvironmentFailure, match="exit code 7"):
        fail(batch)
    with pytest.raises(WorkerFailed, match="have ended"):
        batch.take_frames()
    batch.close()


def test_a_wrong_configuration_arrives_as_the_users_error(processes):
    with pytest.raises(UserError, match="NoTask") as caught:
        processes(f"{faulty.__name__}:Unbuildable")
    assert caught.value.fix == "name another"
    assert not children()


# --- recovery ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["env error", "bug", "kill", "crash", "hang"])
def test_a_replaced_process_goes_on_as_if_nothing_had_happened(processes, tmp_path, fault):
    here = EpisodeBatch(ToyReach(SIZE, **SETTINGS), RULES)
    there = processes(
        f"{faulty.__name__}:FaultyOnce",
        retries=1,
        fault=fault,
        marker=str(tmp_path / "failed"),
    )
    there.set_record(0)
    here.set_record(0)
    ids = np.arange(SIZE)
    everybody = np.ones(SIZE, bool)
    for batch in (here, there):
        batch.start(ids, starts(5))
    if fault == "hang":
        there.step_timeout_s = 2.0
    for chunk in range(5):
        actions = np.random.default_rng(chunk).uniform(-1, 1, (SIZE, 3, 2)).astype(np.float32)
        following = [None, *starts(100 * chunk, SIZE - 1)]
        mine, theirs = (b.run_chunk(actions, everybody, following) for b in (here, there))
        for name in ("rewards", "terminated", "truncated", "valid", "active", "final_rows"):
            assert_equal(getattr(theirs, name), getattr(mine, name))
        assert_equal(theirs.observation.state, mine.observation.state)
        assert_equal(theirs.episodes, mine.episodes)
    assert_equal(there.state(), here.state())
    assert there.restarts == 2  # both processes failed at their second step
    assert len(children()) == 2


def test_a_replaced_process_that_cannot_replay_drops_its_episodes_and_begins_the_next(
    processes, tmp_path
):
    batch = processes(
        f"{faulty.__name__}:Drifter", retries=1, fault="kill", marker=str(tmp_path / "failed")
    )
    batch.start(np.arange(SIZE), starts(5))
    everyone, actions = np.ones(SIZE, bool), np.zeros((SIZE, 1, 2), np.float32)
    batch.run_chunk(actions, everyone, [None] * SIZE)
    following = starts(50)
    result = batch.run_chunk(actions, everyone, following)  # the second step kills both
    assert batch.restarts == 2
    assert [episode.dropped for episode in result.episodes] == [True] * SIZE
    assert np.isnan(result.rewards).all() and result.truncated.all() and result.active.all()
    assert [state.start for state in batch.state()] == following
    result = batch.run_chunk(actions, everyone, [None] * SIZE)
    assert not result.episodes and np.isfinite(result.rewards).all()


def test_a_process_killed_between_calls_is_replaced(processes):
    batch = processes(retries=1)
    batch.start(np.arange(SIZE), starts(5))
    before = batch.state()
    children()[0].kill()
    batch.run_chunk(np.zeros((SIZE, 1, 2), np.float32), np.zeros(SIZE, bool), [None] * SIZE)
    assert batch.restarts == 1
    assert_equal(batch.state(), before)


def test_a_simulator_that_always_fails_ends_with_env_start_and_action_after_the_retries(processes):
    batch = processes(FAULTY, fault="env error", retries=2)
    with pytest.raises(EnvironmentFailure, match="failed 3 times in a row") as caught:
        fail(batch)
    assert re.search(r"env 1[14] failed at step 2 from Start.* with action", str(caught.value))
    assert batch.restarts == 4
    assert not children()


def test_a_simulator_that_never_worked_is_not_started_again(processes):
    batch = processes(FAULTY, fault="exit", retries=3)
    with pytest.raises(WorkerFailed, match="exit code 7 during start"):
        batch.start(np.array([0]), [Start(0, faulty.UNLUCKY, 8)])
    assert batch.restarts == 0


# --- processes -----------------------------------------------------------------------------------


def test_what_sub_processes_print_goes_to_the_log(processes, tmp_path, capfd):
    fail(processes(FAULTY, fault="print"))
    log = (tmp_path / "logs/out.log").read_text()
    assert log.count("from Python") == log.count("from native code") == 2
    assert capfd.readouterr() == ("", "")


def test_close_leaves_no_process_and_no_open_file(tmp_path):
    me = psutil.Process()
    before = me.num_fds()
    batch = ProcessBatch(POINTS, SETTINGS, SIZE, RULES, 2, tmp_path / "log", 30.0)
    batch.close()
    batch.close()
    del batch
    assert not children()
    assert me.num_fds() == before


@pytest.mark.parametrize("fault", ["hang", "native hang", "leave", "crash"])
def test_a_simulator_that_fails_to_close_is_gone_all_the_same(processes, monkeypatch, fault):
    monkeypatch.setattr("rlinf.envs.hosting.batch.GRACE_S", 0.2)
    batch = processes(f"{faulty.__name__}:FaultyAtItsEnd", fault=fault)
    assert len(children()) == 2
    batch.close()
    assert not children()


def test_ctrl_c_does_not_end_sub_processes(processes):
    batch = processes()
    before = {child.pid for child in children()}
    for child in children():
        child.send_signal(signal.SIGINT)
    fail(batch)
    assert {child.pid for child in children()} == before


OWNER = """
import sys
import threading
from pathlib import Path
import numpy as np
from rlinf.data.types import Start
from rlinf.envs.episode import EpisodeRules
from rlinf.envs.hosting.batch import ProcessBatch

made = []
build, settings = "tests.unit.envs.hosting.faulty:Faulty", {"fault": sys.argv[1]}
thread = threading.Thread(
    target=lambda: made.append(
        ProcessBatch(build, settings, 2, EpisodeRules(9), 2, Path(sys.argv[2]), 600.0)
    )
)
thread.start()
thread.join()  # the sub-processes must outlive the thread that started them
batch = made[0]
batch.start(np.arange(2), [Start(0, -1, 1)] * 2)
print("hangs now", flush=True)
batch.run_chunk(np.zeros((2, 3, 2), np.float32), np.ones(2, bool), [None] * 2)
print("came through", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("doing", ["print", "native hang"])
def test_sub_processes_die_with_their_owner(tmp_path, doing):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, doing, str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with owner:
        assert owner.stdout.readline() == b"hangs now\n"
        if doing == "print":
            assert owner.stdout.readline() == b"came through\n"
        orphans = psutil.Process(owner.pid).children(recursive=True)
        assert len(orphans) == 3  # the fork server as well
        owner.kill()
    _, alive = psutil.wait_procs(orphans, timeout=60)
    assert not alive
