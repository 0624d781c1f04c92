"""Dialect B: a fork of 3.7 whose steps need not draw; observations have flat keys."""

from __future__ import annotations

import vector


class Environment(vector.Environment):
    def show(self, robot):
        flat = {"robot_r1::proprio": robot.pop("proprio")}
        for sensor, shown in robot.items():
            flat[f"robot_r1::{sensor}::rgb"] = shown["rgb"]
        return flat


class VectorEnvironment(vector.Vector):
    environment = Environment

    def step(self, actions, get_obs=True, render=True):
        assert not get_obs and not render, "a step inside a chunk neither draws nor looks"
        return self._move(actions, render, get_obs)

    def reset(self, get_obs=True, **keywords):
        return [env.reset(get_obs=get_obs) for env in self.envs], []
