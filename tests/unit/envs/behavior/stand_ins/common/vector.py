"""What the two dialects with a vector environment have in common."""

from __future__ import annotations

from copy import deepcopy

import omnigibson as og
from omnigibson.world import Scene, Task, ended, launch


class Environment:
    """One scene."""

    def __init__(self, configs, in_vec_env=False):
        assert in_vec_env and configs["robots"][0]["type"] == "R1Pro"
        launch(configs["env"])
        self._automatic_reset = configs["env"]["automatic_reset"]
        self.scene = Scene(configs)
        self.task = Task(configs["task"], self.scene)
        self.robots = [self.scene.robot]

    def load_observation_space(self):
        self.robots[0].load_observation_space()

    def reset(self, get_obs=True):
        self.task.reset()
        if get_obs:
            og.sim.step()  # of all scenes
            for _ in range(3):
                og.sim.render()
            self.robots[0].check_observation_space()
            return self.get_obs()[0], {}

    def get_obs(self):
        robot = {name: sensor.get_obs()[0] for name, sensor in self.robots[0].sensors.items()}
        robot["proprio"] = self.robots[0].get_proprioception()[0]
        return self.show(robot), {}

    def show(self, robot):
        return {"robot_r1": robot}

    def _post_step(self, get_obs=True):
        observation = self.get_obs()[0] if get_obs else None
        reward, info = self.task.step()
        terminated, truncated = ended(info)
        if self._automatic_reset and (terminated or truncated):
            info["last_observation"] = observation
            observation = self.reset()  # the whole tuple
        return observation, reward, terminated, truncated, info


class Vector:
    environment = Environment

    def __init__(self, num_envs, config):
        for part in ("robots", "objects"):
            assert all("name" in each for each in config[part])
        self.num_envs = num_envs
        self.envs = [
            self.environment(configs=deepcopy(config), in_vec_env=True) for _ in range(num_envs)
        ]

    def close(self):
        pass

    def _move(self, actions, render, get_obs):
        for env, action in zip(self.envs, actions, strict=True):
            env.robots[0].apply_action(action)
        og.sim.step(render)
        results = [env._post_step(get_obs) for env in self.envs]
        return tuple(list(each) for each in zip(*results, strict=True))
