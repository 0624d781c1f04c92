"""The two versions of IsaacLab by their written contract; see `stand_ins.py` for what is faked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rlinf.data.types import Start
from rlinf.envs.episode import EpisodeBatch, EpisodeRules
from rlinf.envs.hosting import installed
from rlinf.envs.isaaclab import build
from rlinf.envs.isaaclab.adapter import BatchedEnv
from rlinf.errors import UserError
from tests.unit.envs.isaaclab.stand_ins import Machine, cameras

ALL = np.arange(3)
EVERYONE = np.ones(3, bool)


@pytest.fixture(params=["isaaclab2", "isaaclab3"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return _machine(monkeypatch, request.param, isaac_sim=True)


def _machine(monkeypatch: pytest.MonkeyPatch, backend: str, isaac_sim: bool) -> Machine:
    version = {"isaaclab2": "2.3.2", "isaaclab3": "3.0.0"}[backend]
    monkeypatch.setattr(installed, "version", lambda package: version)
    return Machine(monkeypatch, backend, isaac_sim)


def make(**changes: Any) -> BatchedEnv:
    settings: dict[str, Any] = {
        "id": "stack_cube",
        "cameras": None,
        "camera_size": (4, 6),
        "reward": "success",
        "physics": "isaacsim",
        "fast_physics": False,
        "instruction": None,
        "robot": None,
    }
    return build.make_isaaclab(3, **settings | changes)


def move(z: float) -> np.ndarray:
    """The hand of env 0 goes so far up."""
    actions = np.zeros((3, 7), np.float32)
    actions[0, 2] = 2 * z
    return actions


def test_views_state_and_quaternions_are_the_same_in_both_versions(machine: Machine):
    it = make()
    it.reset(ALL, [Start(0, -1, 1)] * 3)
    shown = it.observe(ALL)
    assert shown.images.shape == (3, 2, 4, 6, 3) and cameras(shown.images)
    np.testing.assert_allclose(
        shown.state[:, 3:], [[0, 0, math.pi / 2, 0.04, -0.04]] * 3, atol=1e-6
    )
    assert shown.state[0].tolist() == shown.state[2].tolist()  # one start, one state
    assert machine.asked[0]["device"] == "cpu"
    assert machine.asked[0]["task"].endswith("Franka-IK-Rel-Visuomotor-Cosmos-v0") is (
        machine.backend == "isaaclab2"
    )


@pytest.mark.parametrize(("up", "success"), [(2.0, True), (-3.0, False)])
def test_an_end_of_the_task_resets_nothing_and_a_lost_cube_is_no_success(
    machine: Machine, up: float, success: bool
):
    it = make()
    it.reset(ALL, [Start(0, -1, 1)] * 3)
    height, resets = it.observe(ALL).state[0, 2], machine.envs[0].resets
    result = it.step(move(up), EVERYONE)
    assert result.terminated.tolist() == [True, False, False]
    assert result.success.tolist() == [success, False, False]
    assert result.rewards.tolist() == [float(success), 0, 0]
    assert it.observe(ALL).state[0, 2] == pytest.approx(height + up)
    assert machine.envs[0].resets == resets


def test_the_clock_of_the_task_is_ours(machine: Machine):
    it = make()
    it.reset(ALL, [Start(0, -1, 1)] * 3)
    for _ in range(605):
        assert not it.step(move(0), EVERYONE).terminated.any()


def test_a_truncated_episode_shows_its_last_observation_and_the_next_its_first(machine: Machine):
    batch = EpisodeBatch(make(), EpisodeRules(max_episode_steps=2, final="truncated"))
    first = batch.start(ALL, [Start(0, -1, 1)] * 3).state[0]
    actions = np.repeat(move(0.1)[:, None], 3, axis=1)
    result = batch.run_chunk(actions, EVERYONE, [Start(0, -1, 1)] * 3)
    assert result.final.state[0, 2] == pytest.approx(first[2] + 0.2)
    np.testing.assert_allclose(result.observation.state[0], first)


def test_what_was_shown_stays_as_it_was(machine: Machine):
    it = make()
    it.reset(ALL, [Start(0, -1, 1)] * 3)
    shown, result = it.observe(ALL), it.step(move(2), EVERYONE)
    kept = [shown.state.copy(), result.terminated.copy(), result.rewards.copy()]
    it.step(move(-4), EVERYONE)
    for now, then in zip((shown.state, result.terminated, result.rewards), kept, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_reset_of_one_env_and_a_wait_leave_the_others_where_they_are(machine: Machine):
    it = make()
    it.reset(ALL, [Start(0, -1, seed) for seed in (1, 2, 3)])
    before = it.observe(ALL).state
    it.reset(np.array([1]), [Start(0, -1, 9)])
    np.testing.assert_array_equal(it.observe(ALL).state[[0, 2]], before[[0, 2]])
    it.step(move(1), np.array([False, True, True]))
    np.testing.assert_array_equal(it.observe(ALL).state[0], before[0])


def test_the_simulator_is_closed_once_however_often_it_is_asked(machine: Machine):
    it = make()
    it.close()
    it.close()
    assert (machine.envs[0].closed, machine.closed) == (1, 1)


@pytest.mark.parametrize("backend", ["isaaclab2", "isaaclab3"])
def test_a_launcher_that_ends_the_interpreter_becomes_an_error_with_a_fix(backend, monkeypatch):
    """Its SystemExit would end the process without a word."""
    _machine(monkeypatch, backend, isaac_sim=False)
    with pytest.raises(UserError, match="IsaacLab did not start") as caught:
        make()
    assert "GPU with ray tracing" in caught.value.fix


def test_a_file_that_nvidias_server_did_not_give_is_told_with_what_to_do(machine: Machine):
    machine.missing = "https://server/Props/table.usd"
    with pytest.raises(UserError, match=r"Stack-Cube.*https://server/Props/table\.usd") as caught:
        make()
    assert "usd_path" in caught.value.fix and "prepare" in caught.value.fix


def test_a_version_that_is_not_supported_is_reported(monkeypatch):
    monkeypatch.setattr(installed, "version", lambda package: "1.4.1")
    with pytest.raises(UserError, match=r"IsaacLab 1\.4\.1 .*: 2\.3 and 3\.0 are supported"):
        make()


def test_a_task_of_the_other_version_is_told(monkeypatch):
    _machine(monkeypatch, "isaaclab2", isaac_sim=True)
    with pytest.raises(UserError, match=r"id = reach: IsaacLab 2\.3\.2 does not have it") as caught:
        make(id="reach")
    assert "use the Python of IsaacLab 3: env.*.python" in caught.value.fix


def test_a_python_without_the_simulator_is_told():
    with pytest.raises(UserError, match="has no IsaacLab") as caught:
        make()
    assert "install.sh --env isaaclab" in caught.value.fix
