"""Dialect A: OmniGibson 3.7. Lists; a reset of all that returns nothing."""

from __future__ import annotations

from vector import Environment, Vector

__all__ = ["Environment", "VectorEnvironment"]


class VectorEnvironment(Vector):
    def step(self, actions):
        return self._move(actions, render=True, get_obs=True)

    def reset(self):
        for env in self.envs:
            env.reset()
