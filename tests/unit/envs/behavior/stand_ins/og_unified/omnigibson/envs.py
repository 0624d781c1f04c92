"""Dialect C: vector environments are part of Environment. Lists of dictionaries and tensors."""

from __future__ import annotations

import numpy as np
import omnigibson as og
from omnigibson.world import Scene, Task, Tensor, ended, launch


class Environment:
    def __init__(self, configs):
        assert "type" not in configs["robots"][0] and configs["robots"][0]["model"] == "r1pro"
        launch(configs["env"])
        self.num_envs = configs["env"].get("num_envs", 1)
        self._automatic_reset = configs["env"]["automatic_reset"]
        self.scenes = [Scene(configs) for _ in range(self.num_envs)]
        self.task = AllTasks([Task(configs["task"], scene) for scene in self.scenes])
        self.robots = [[scene.robot] for scene in self.scenes]
        self._rewards = np.zeros(self.num_envs, np.float32)
        self._terminated = np.zeros(self.num_envs, bool)
        self._truncated = np.zeros(self.num_envs, bool)

    def load_observation_space(self):
        for robots in self.robots:
            robots[0].load_observation_space()

    def reset(self, env_indices=None, get_obs=True):
        rows = range(self.num_envs) if env_indices is None else _rows(env_indices)
        for row in rows:
            self.task.tasks[row].reset()
        if get_obs:
            og.sim.step()
            for _ in range(3):
                og.sim.render()
            for row in rows:
                self.robots[row][0].check_observation_space()
            return [self._look(row) for row in rows], {"obs_info": [{} for _ in rows]}

    def get_obs(self, env_indices=None):
        rows = range(self.num_envs) if env_indices is None else _rows(env_indices)
        return [self._look(row) for row in rows], [{} for _ in rows]

    def step(self, action, n_render_iterations=1):
        for robots, each in zip(self.robots, np.array(action), strict=True):
            robots[0].apply_action(each)
        og.sim.step()
        infos = []
        for row, task in enumerate(self.task.tasks):
            self._rewards[row], info = task.step()
            self._terminated[row], self._truncated[row] = ended(info)
            infos.append(info)
        assert not self._automatic_reset
        parts = (self._rewards, self._terminated, self._truncated)
        return self.get_obs()[0], *map(Tensor, parts), infos

    def close(self):
        pass

    def _look(self, row):
        robot = self.robots[row][0]
        shown = {name: sensor.get_obs()[0] for name, sensor in robot.sensors.items()}
        return {"robot_r1": {**shown, "proprio": robot.get_proprioception()[0]}}


class AllTasks:
    """One task with a scope of objects for each env."""

    def __init__(self, tasks):
        self.tasks = tasks
        self.object_scope = [task.object_scope for task in tasks]


def _rows(indices):
    assert isinstance(indices, Tensor), "a tensor is expected"
    return [int(row) for row in indices]
