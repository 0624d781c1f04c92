"""How OmniGibson is spoken to: it has three incompatible ways, found by what its functions take.

| | class | step gives | reset of some envs |
|---|---|---|---|
| A: 3.7 | `VectorEnvironment(num, config)` | five lists | of its envs, one by one |
| B: a fork of 3.7 | the same | the same, and need not draw | of its envs, one by one |
| C: one environment | `Environment` of several | lists and tensors | `env_indices` |

In all of them a step of physics moves every env of the process, closing does nothing, and pictures
are those of some draws ago.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from rlinf.envs.behavior import launch, settings
from rlinf.envs.behavior.data import Instances
from rlinf.errors import EnvironmentFailure

DRAWS = 3
"""Pictures are drawn in the background; after so many draws they show the present."""
_SETTLING_STEPS = 25  # of physics, once the objects of an instance were put to their places


class StepVerdict(NamedTuple):
    """What a step says of one env."""

    reward: float  # change of the satisfied part of the goal
    terminated: bool  # the task itself says the episode is over
    success: bool  # the goal is reached


class OmniGibsonDialect(Protocol):
    """An environment of B rows that runs one activity."""

    num_envs: int

    def load(self, activity: str, instances: Instances) -> None:
        """Builds the scenes of an activity, in place of those there are."""

    def begin(self, row: int, instance: Path) -> None:
        """Puts a row to the start of an instance. The other rows are moved by it."""

    def step(self, actions: np.ndarray) -> list[StepVerdict]:
        """One step of all rows with actions [B, 23]."""

    def keep(self, row: int) -> Any:
        """The state of a row, for `put_back`."""

    def put_back(self, row: int, state: Any) -> None:
        """A row goes back to a state that was kept."""

    def proprio(self, row: int) -> np.ndarray:
        """[256] float of a row, as of now."""

    def look(self, rows: Sequence[int]) -> list[Mapping[str, Any]]:
        """Draws, and returns the observation of each of the rows."""


def find(num_envs: int, size: Sequence[int], room_types: Sequence[str] | None) -> OmniGibsonDialect:
    """The dialect of the OmniGibson in this Python.

    Args:
        num_envs: B.
        size: height and width of the pictures.
        room_types: those that are loaded; None loads the whole scene.
    """
    og = launch.omnigibson()
    from omnigibson import envs

    if _takes(envs.Environment.reset, "env_indices"):
        return UnifiedDialect(og, num_envs, size, room_types)
    if not hasattr(envs, "VectorEnvironment"):
        raise EnvironmentFailure(
            "this OmniGibson has neither omnigibson.envs.VectorEnvironment nor an Environment "
            "whose reset takes env_indices"
        )
    if _takes(envs.VectorEnvironment.step, "get_obs", "render"):
        return QuietVectorDialect(og, num_envs, size, room_types)
    return VectorDialect(og, num_envs, size, room_types)


def verdict(reward: Any, info: Mapping[str, Any]) -> StepVerdict:
    """What a step says of one env; a condition named `timeout` is the clock, which is ours."""
    done = info["done"]
    ended = [name for name, each in done["termination_conditions"].items() if bool(each["done"])]
    over = any(name != "timeout" for name in ended)
    return StepVerdict(float(reward), over, bool(done["success"]))


def plain(value: Any) -> np.ndarray:
    """A copy of a tensor, wherever it lies: simulators write into the same memory every step."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.array(value)


def part(shown: Mapping[str, Any], *path: str) -> Any:
    """A part of an observation, whose keys are nested or joined with `::`, with or without the
    robot.

    Raises:
        EnvironmentFailure: it is not there.
    """
    for start in range(len(path) - 1):
        joined = "::".join(path[start:])
        if joined in shown:
            return shown[joined]
    node: Any = shown
    for name in path:
        if not isinstance(node, Mapping) or name not in node:
            had = ", ".join(sorted(map(str, node))) if isinstance(node, Mapping) else "a picture"
            raise EnvironmentFailure(
                f"an observation has no {' / '.join(path)}: beside {name} there is {had}"
            )
        node = node[name]
    return node


def _takes(function: Any, *names: str) -> bool:
    return set(names) <= set(inspect.signature(function).parameters)


class _OmniGibson:
    """What the dialects have in common; see `OmniGibsonDialect` for its methods."""

    robot_key = "type"

    def __init__(
        self, og: Any, num_envs: int, size: Sequence[int], room_types: Sequence[str] | None
    ) -> None:
        self.num_envs = num_envs
        self._og, self._size, self._room_types = og, size, room_types
        self._env: Any = None
        self._instance: list[Path | None] = [None] * num_envs
        self._stale = True  # pictures are of an earlier state

    def load(self, activity: str, instances: Instances) -> None:
        config = settings.environment(activity, instances.scene, self._room_types, self.robot_key)
        if self._env is not None:
            self._env = None
            self._og.clear()
        self._env = launch.started(lambda: self._make(config))
        self._instance = [None] * self.num_envs
        for row in range(self.num_envs):
            for view, name in settings.CAMERAS.items():
                sensor = self._robot(row).sensors[name]
                if view == "main":
                    sensor.horizontal_aperture = settings.HEAD_APERTURE
                sensor.image_height, sensor.image_width = self._size
        for each in self._environments():
            each.load_observation_space()

    def begin(self, row: int, instance: Path) -> None:
        self._stale = True
        if self._instance[row] != instance:
            self._reset(row)  # else the robot goes on to its old targets while things settle
            self._put_instance(row, instance)
            self._instance[row] = instance
        self._reset(row)

    def step(self, actions: np.ndarray) -> list[StepVerdict]:
        self._stale = True
        _, rewards, _, _, infos = self._step(actions)
        return [verdict(r, info) for r, info in zip(plain(rewards), infos, strict=True)]

    def keep(self, row: int) -> Any:
        return self._scene(row).dump_state(serialized=False)

    def put_back(self, row: int, state: Any) -> None:
        self._stale = True
        self._scene(row).load_state(state, serialized=False)

    def proprio(self, row: int) -> np.ndarray:
        numbers = self._robot(row).get_proprioception()
        return plain(numbers[0] if isinstance(numbers, tuple) else numbers)

    def look(self, rows: Sequence[int]) -> list[Mapping[str, Any]]:
        if self._stale:
            for _ in range(DRAWS):
                self._og.sim.render()
            self._stale = False
        return self._observations(rows)

    def _put_instance(self, row: int, instance: Path) -> None:
        """Objects and robot of a row go where the file says, and come to rest there."""
        from omnigibson.utils.python_utils import recursively_convert_to_torch

        content = recursively_convert_to_torch(json.loads(instance.read_text()))
        objects, scene, agent = self._objects(row), self._scene(row), self._robot(row)
        for name, state in content.items():
            if name == "robot_poses":
                poses = {model.lower(): each for model, each in state.items()}
                pose = poses.get("robot", poses.get("r1pro"))
                if not pose:
                    raise EnvironmentFailure(f"{instance} has no pose of the robot R1Pro")
                agent.set_position_orientation(
                    pose[0]["position"], pose[0]["orientation"], frame="scene"
                )
                scene.write_task_metadata(key=name, data=state)
            else:
                objects[name].load_state(state, serialized=False)
        for _ in range(_SETTLING_STEPS):
            self._og.sim.step_physics()
            for thing in objects.values():
                if thing is not agent and hasattr(thing, "keep_still"):  # a fluid has not
                    thing.keep_still()
        scene.update_initial_file()
        scene.reset()

    def _make(self, config: Mapping[str, Any]) -> Any:
        raise NotImplementedError

    def _environments(self) -> Iterable[Any]:
        raise NotImplementedError

    def _reset(self, row: int) -> None:
        raise NotImplementedError

    def _step(self, actions: np.ndarray) -> tuple[Any, ...]:
        raise NotImplementedError

    def _observations(self, rows: Sequence[int]) -> list[Mapping[str, Any]]:
        raise NotImplementedError

    def _robot(self, row: int) -> Any:
        raise NotImplementedError

    def _scene(self, row: int) -> Any:
        raise NotImplementedError

    def _objects(self, row: int) -> Mapping[str, Any]:
        """The objects of the task, by their names in the activity."""
        raise NotImplementedError


class VectorDialect(_OmniGibson):
    """A: OmniGibson 3.7."""

    def _make(self, config: Mapping[str, Any]) -> Any:
        from omnigibson.envs import VectorEnvironment

        return VectorEnvironment(self.num_envs, config)

    def _environments(self) -> Iterable[Any]:
        return list(self._env.envs)

    def _reset(self, row: int) -> None:
        # The vector's own reset begins an episode in every row, and in 1.1 returns nothing.
        self._env.envs[row].reset()

    def _step(self, actions: np.ndarray) -> tuple[Any, ...]:
        return tuple(self._env.step(list(actions)))

    def _observations(self, rows: Sequence[int]) -> list[Mapping[str, Any]]:
        return [self._env.envs[row].get_obs()[0] for row in rows]

    def _robot(self, row: int) -> Any:
        return self._env.envs[row].robots[0]

    def _scene(self, row: int) -> Any:
        return self._env.envs[row].scene

    def _objects(self, row: int) -> Mapping[str, Any]:
        objects: Mapping[str, Any] = self._env.envs[row].task.object_scope
        return objects


class QuietVectorDialect(VectorDialect):
    """B: a fork of 3.7 whose steps need not draw."""

    def _step(self, actions: np.ndarray) -> tuple[Any, ...]:
        return tuple(self._env.step(list(actions), get_obs=False, render=False))


class UnifiedDialect(_OmniGibson):
    """C: OmniGibson after vector environments became part of `Environment`."""

    robot_key = "model"

    def _make(self, config: Mapping[str, Any]) -> Any:
        from omnigibson.envs import Environment

        whole = {**config, "env": {**config["env"], "num_envs": self.num_envs}}
        return Environment(configs=whole)

    def _environments(self) -> Iterable[Any]:
        return [self._env]

    def _reset(self, row: int) -> None:
        self._env.reset(env_indices=self._rows([row]))

    def _step(self, actions: np.ndarray) -> tuple[Any, ...]:
        return tuple(self._env.step(actions))

    def _observations(self, rows: Sequence[int]) -> list[Mapping[str, Any]]:
        return list(self._env.get_obs(env_indices=self._rows(rows))[0])

    def _robot(self, row: int) -> Any:
        return self._env.robots[row][0]

    def _scene(self, row: int) -> Any:
        return self._env.scenes[row]

    def _objects(self, row: int) -> Mapping[str, Any]:
        objects: Mapping[str, Any] = self._env.task.object_scope[row]
        return objects

    def _rows(self, rows: Sequence[int]) -> Any:
        import torch

        return torch.as_tensor(list(rows))
