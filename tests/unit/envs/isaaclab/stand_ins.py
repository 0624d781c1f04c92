"""Stand-ins for IsaacLab 2.3 under Isaac Sim and IsaacLab 3.0, which no test machine can run.

They keep the written contract, with its traps: modules that cannot be imported before the
application runs, a launcher that ends the interpreter where there is no Isaac Sim, resets inside a
step, buffers that are written again, a partial reset that returns all rows, a task without reward
whose lost cube is a termination, and quaternions in two orders.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

QUARTER = {"isaaclab2": (0.70710678, 0, 0, 0.70710678), "isaaclab3": (0, 0, 0.70710678, 0.70710678)}
"""A quarter turn about z, as each version writes it."""


class Term(SimpleNamespace):
    """A configuration of a term: func, params, time_out."""

    def __init__(self, func: Any, params: Any = None, time_out: bool = False) -> None:
        super().__init__(func=func, params=params or {}, time_out=time_out)


class Group(SimpleNamespace):
    """A configuration of an observation group."""


def _camera() -> SimpleNamespace:
    return SimpleNamespace(height=200, width=200, data_types=["rgb", "depth"])


def configuration(backend: str) -> SimpleNamespace:
    """The stacking task, as it is registered."""
    image = Term(lambda env: env.fail("a camera was drawn as an observation"))
    names = ("table_cam", "wrist_cam", "table_cam_segmentation", "table_cam_normals")
    policy = Group(
        eef_pos=Term(lambda env: env.place),
        eef_quat=Term(lambda env: torch.tensor([QUARTER[backend]] * env.num_envs)),
        gripper_pos=Term(lambda env: torch.tensor([[0.04, -0.04]] * env.num_envs)),
        **dict.fromkeys((*names, "table_cam_depth"), image),
    )
    never = Term(lambda env: torch.zeros(env.num_envs, dtype=torch.bool))
    subtasks = Group(grasp_1=never, stack_1=never, grasp_2=never)
    return SimpleNamespace(
        episode_length_s=30.0,
        seed=None,
        scene=SimpleNamespace(num_envs=4096, table_cam=_camera(), wrist_cam=_camera()),
        observations=SimpleNamespace(policy=policy, subtask_terms=subtasks),
        events=SimpleNamespace(),
        rewards=None,
        terminations=SimpleNamespace(
            time_out=Term(lambda env: env.episode_length_buf >= 600, time_out=True),
            cube_1_dropping=Term(lambda env: env.place[:, 2] < -1),
            success=Term(lambda env: env.place[:, 2] > 1),
        ),
    )


class Env:
    """The hand moves by half of its action; its start is drawn from torch's global state."""

    def __init__(self, cfg: Any) -> None:
        self.cfg, self.num_envs, self.device = cfg, cfg.scene.num_envs, "cpu"
        self.unwrapped, self.closed = self, 0
        self.place = torch.zeros(self.num_envs, 3)
        self.episode_length_buf = torch.zeros(self.num_envs, dtype=torch.long)
        self.action_manager = SimpleNamespace(total_action_dim=7)
        self.observation_manager = SimpleNamespace(compute=self._observations)
        self.sim = SimpleNamespace(forward=lambda: None)
        self.scene = self
        self.sensors = dict.fromkeys(("table_cam", "wrist_cam"))
        self._rewards = torch.zeros(self.num_envs)
        self._terminated = torch.zeros(self.num_envs, dtype=torch.bool)
        self._extras: dict[str, Any] = {"log": {}}
        self._groups: dict[str, Any] = {}
        self.resets = 0

    def fail(self, why: str) -> Any:
        raise AssertionError(why)

    def reset(self, *, seed: int | None = None, env_ids: Any = None) -> Any:
        if seed is not None:
            self.seed(seed)
        self._reset_idx(torch.arange(self.num_envs) if env_ids is None else env_ids)
        return self._observations(), self._extras

    def seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def _reset_idx(self, env_ids: torch.Tensor) -> None:
        self._begin(env_ids.long())

    def step(self, action: torch.Tensor) -> Any:
        assert action.shape == (self.num_envs, 7)
        self.place += 0.5 * action[:, :3]
        self.episode_length_buf += 1
        ended = torch.zeros(self.num_envs, dtype=torch.bool)
        for term in vars(self.cfg.terminations).values():
            ended |= term.func(self, **term.params) if term is not None else False
        self._terminated[:] = ended
        self._rewards.zero_()
        if ended.any():  # at once: what the observation shows of these rows is the next episode
            self._begin(ended.nonzero()[:, 0])
        return self._observations(), self._rewards, self._terminated, ended, self._extras

    def close(self) -> None:
        self.closed += 1

    # --- as a scene -------------------------------------------------------------------------

    def get_state(self) -> Any:
        return {"articulation": {"robot": {"root_pose": self.place}}, "rigid_object": {}}

    def reset_to(self, state: Any, env_ids: Any) -> None:
        rows = state["articulation"]["robot"]["root_pose"]
        assert len(rows) == len(env_ids)
        self.place[env_ids.long()] = rows

    def update(self, dt: float) -> None:
        assert dt == 0

    def __getitem__(self, camera: str) -> Any:
        cfg = getattr(self.cfg.scene, camera)
        assert cfg.data_types == ["rgb"]
        picture = torch.full((self.num_envs, cfg.height, cfg.width, 4), 9, dtype=torch.uint8)
        return SimpleNamespace(data=SimpleNamespace(output={"rgb": picture}))

    # ----------------------------------------------------------------------------------------

    def _begin(self, rows: torch.Tensor) -> None:
        self.resets += 1
        self.place[rows] = torch.rand(len(rows), 3)
        self.episode_length_buf[rows] = 0

    def _observations(self) -> Any:
        """All rows, in the dictionaries of the last time."""
        for name, group in vars(self.cfg.observations).items():
            shown = self._groups.setdefault(name, {})
            for term, cfg in vars(group).items():
                if isinstance(cfg, Term):
                    shown[term] = cfg.func(self, **cfg.params)
        return self._groups


class Machine:
    """One of the two versions, with or without Isaac Sim, as modules that can be imported."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, backend: str, isaac_sim: bool) -> None:
        self.backend, self.isaac_sim, self.launched = backend, isaac_sim, False
        self.closed = 0
        self.missing = ""  # file of the task
        self.envs: list[Env] = []
        self.asked: list[dict[str, Any]] = []
        self._put(monkeypatch, "isaaclab", __path__=[])
        self._put(monkeypatch, "isaaclab.app", **self._launchers())
        self._put(
            monkeypatch, "isaaclab.managers", ObservationGroupCfg=Group, ObservationTermCfg=Term
        )
        self._put(monkeypatch, "isaaclab_tasks", __path__=[])
        self._put(monkeypatch, "isaaclab_tasks.utils", parse_env_cfg=self._parse)
        self._put(monkeypatch, "gymnasium", make=self._make)

    def _launchers(self) -> dict[str, Any]:
        if self.backend == "isaaclab3":
            return {"launch_simulation": self._launch}

        def launcher(headless: bool, enable_cameras: bool, device: str) -> Any:
            if not self.isaac_sim:
                raise SystemExit(1)
            assert headless and enable_cameras
            self.launched = True
            return SimpleNamespace(app=SimpleNamespace(close=self._close))

        return {"AppLauncher": launcher}

    @contextmanager
    def _launch(self, cfg: Any, arguments: dict[str, Any]) -> Any:
        if not self.isaac_sim:
            raise SystemExit(1)
        self.launched = True
        yield
        self._close()

    def _close(self) -> None:
        self.closed += 1

    def _parse(self, task: str, device: str, num_envs: int, **more: Any) -> Any:
        if self.backend == "isaaclab2":
            assert self.launched, "imported before the application ran"
            assert not more
        self.asked.append({"task": task, "device": device, **more})
        cfg = configuration(self.backend)
        cfg.scene.num_envs = num_envs
        return cfg

    def _make(self, task: str, cfg: Any) -> Env:
        assert self.launched
        if self.missing:
            raise FileNotFoundError(f"Unable to find the file: {self.missing}")
        self.envs.append(Env(cfg))
        return self.envs[-1]

    @staticmethod
    def _put(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)


def cameras(shown: np.ndarray) -> bool:
    """Whether pictures are those of the stand-in, without its fourth channel."""
    return shown.shape[-1] == 3 and bool((shown == 9).all())
