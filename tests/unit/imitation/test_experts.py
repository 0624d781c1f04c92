from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from rlinf.config.imitation import ImitationConfig
from rlinf.config.load import load
from rlinf.data.types import Start
from rlinf.envs.experts import Demonstrating
from rlinf.envs.toy.reach import STEP, ToyReach
from rlinf.imitation import experts
from rlinf.imitation.demonstrations import Demonstrations
from rlinf.imitation.episode import Episode
from rlinf.imitation.record import record_episode
from rlinf.registry import ExpertSpec, SimulatorSpec
from tests.unit.imitation import straight
from tests.unit.imitation.straight import StraightToGoal

A, C, LIMIT = 3, 2, 30


def rules(**changes: Any) -> Demonstrating:
    return Demonstrating(chunk=C, limit=LIMIT, **changes)


def record(**changes: Any) -> tuple[Episode, ToyReach]:
    simulator = ToyReach(1, obs_dim=3 * A, action_dim=A)
    simulator.reset(np.zeros(1, np.int64), [Start(0, -1, 7)])
    rng = np.random.default_rng(0)
    expert = StraightToGoal(simulator)
    return record_episode(simulator, expert, rules(**changes), rng), simulator


def test_a_sample_is_what_was_seen_and_the_actions_that_followed():
    recorded, _ = record(disturb_every=100)
    assert recorded.success
    samples = Demonstrations.of_episodes([recorded])
    chunks = samples.chunks(np.arange(len(samples)), C)
    # The state holds goal - point first: two steps later it has shrunk by both actions.
    for now, later in zip(range(len(samples) - 2), range(2, len(samples)), strict=True):
        moved = samples.state[now, :A] - samples.state[later, :A]
        assert moved == pytest.approx(STEP * chunks[now].sum(axis=0), abs=1e-5)


def test_no_sample_holds_a_disturbed_action():
    recorded, _ = record(disturb_every=3, disturbance=1.0)
    samples = Demonstrations.of_episodes([recorded])
    assert 0 < len(samples) < len(recorded)
    # Every action is the expert's own: straight to the goal from where it was executed.
    rows = np.arange(len(samples))
    states = samples.state[samples.starts]
    for state, actions in zip(states, samples.chunks(rows, C), strict=True):
        way = state[:A].copy()
        for action in actions:
            assert action == pytest.approx(np.clip(way / STEP, -1, 1), abs=1e-4)
            way -= STEP * action


def test_an_expert_that_does_nothing_gives_a_failed_episode():
    simulator = ToyReach(1, obs_dim=3 * A, action_dim=A)
    simulator.reset(np.zeros(1, np.int64), [Start(0, -1, 7)])
    rng = np.random.default_rng(0)
    failure = record_episode(simulator, _Idle(), rules(), rng)
    assert not failure.success
    assert np.array_equal(failure.actions, np.zeros((2 * C, A)))  # two chunks of standing still


class _Idle:
    def act(self) -> np.ndarray:
        return np.zeros(A, np.float32)

    def is_done(self) -> bool:
        return True


def test_an_expert_acts_beside_its_simulator_under_another_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    where = straight.__name__
    spec = SimulatorSpec(settings="", build=f"{where}:ToyReach")
    known = {"straight": ("toy_reach", ExpertSpec(f"{where}:make", "reach"))}
    monkeypatch.setattr(experts, "simulator", lambda name: spec)
    monkeypatch.setattr(experts, "experts", lambda: known)
    settings = ImitationConfig(
        expert="straight", num_demonstrations=1, steps=1, disturb_every=3, disturbance=1.0
    )
    env = load("toy_ppo_mlp").config.env.train
    elsewhere = env.model_copy(update={"python": sys.executable})
    recorded = []
    for each in (env, elsewhere):
        job = {"settings": settings, "env": each, "chunk": C, "log_file": tmp_path / "log"}
        for name, value in job.items():
            monkeypatch.setattr(experts._Job, name, value, raising=False)
        experts._record.cache_clear()
        recorded += experts._run_job([0])
    experts._record.cache_clear()
    assert recorded[0].success
    for name in Episode.__slots__:
        np.testing.assert_array_equal(*(getattr(episode, name) for episode in recorded))


KILLED = """
import multiprocessing, os, signal, sys, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from rlinf.config.load import load
from rlinf.imitation.experts import _start_process
if __name__ == "__main__":
    env = load("toy_ppo_mlp").config.env.train
    context = multiprocessing.get_context("spawn")
    needed, need = context.Pipe(duplex=False)
    arguments = (None, env, 1, Path(sys.argv[1]), needed)
    pool = ProcessPoolExecutor(1, context, _start_process, arguments)
    worker = pool.submit(os.getpid).result()
    os.kill(worker, signal.SIGTERM)
    print(worker, pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600)
    os._exit(0)
"""


def test_who_collects_leaves_a_signal_to_the_launcher_and_does_not_outlive_it(tmp_path: Path):
    (tmp_path / "launcher.py").write_text(KILLED)
    command = [sys.executable, str(tmp_path / "launcher.py"), str(tmp_path / "log")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=120
    )
    worker, after_the_signal = map(int, done.stdout.split())
    assert after_the_signal == worker
    with suppress(psutil.NoSuchProcess):
        psutil.Process(worker).wait(timeout=30)  # raises where it lives on


class _Stopped(Exception):
    """As a request to stop raises it."""


def test_a_request_to_stop_is_heard_within_an_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(experts, "_run_job", straight.run_without_end)
    log = tmp_path / "log"

    def check() -> None:
        if straight.began(log):
            raise _Stopped

    settings = ImitationConfig(expert="straight", num_demonstrations=4, steps=1)
    env = load("toy_ppo_mlp").config.env.train
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(_Stopped):
        list(experts.demonstrate(settings, 4, env, C, 2, log, check))
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [
        process for process in left if "multiprocessing.spawn" in " ".join(process.cmdline())
    ]
