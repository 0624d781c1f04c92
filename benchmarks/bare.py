"""The simulators' own loops with one env, as their documentation has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from rlinf.config.schema import AnyEvalEnv, EnvConfig
from rlinf.data.types import Start
from rlinf.envs.libero.config import LiberoParams
from rlinf.envs.maniskill.config import ManiskillParams

START = Start(task=0, trial=0, seed=2)


class Loop(NamedTuple):
    """One env."""

    step: Callable[[np.ndarray], object]  # [A], without images
    look: Callable[[], object]  # the images and states that the policy gets, rendered now
    reset: Callable[[], object]
    close: Callable[[], object]


def read(content: dict[str, Any]) -> EnvConfig:
    """An evaluation environment of plain values, as a file of the configurations has it."""
    env: EnvConfig = TypeAdapter(AnyEvalEnv).validate_python({**content, "total_num_envs": 1})
    return env


class Chunks:
    """A loop in a process of its own."""

    def __init__(self, content: dict[str, Any]) -> None:
        env = read(content)
        self._loop = LOOPS[env.simulator_type](env)
        self._loop.reset()

    def run(self, actions: np.ndarray) -> None:
        """Executes the actions [C, A] and looks."""
        for action in actions:
            self._loop.step(action)
        self._loop.look()

    def close(self) -> None:
        self._loop.close()


def libero(env: EnvConfig) -> Loop:
    """LIBERO's wrapper with a hard reset; images are rendered at the end of a step, not in each."""
    from rlinf.envs.libero.package import prepare
    from rlinf.envs.libero.suites import tasks_of

    params = env.init_params
    assert isinstance(params, LiberoParams)
    prepare(params.renderer)
    from libero.libero.envs import OffScreenRenderEnv

    from rlinf.envs.libero.scene import draw_fast

    size = params.resolved().camera_size
    task = tasks_of(params)[0]
    states = task.init_states()
    made = OffScreenRenderEnv(
        bddl_file_name=str(task.problem),
        camera_names=list(params.cameras),
        camera_heights=size,
        camera_widths=size,
        ignore_done=True,
    )
    inner = made.env

    def draw() -> list[np.ndarray]:
        inner.sim._render_context_offscreen.gl_ctx.make_current()
        return [inner.sim.render(camera_name=c, width=size, height=size) for c in params.cameras]

    def reset() -> None:
        inner.sim._render_context_offscreen.gl_ctx.make_current()
        made.seed(0)
        inner.reset()
        if params.fast_rendering:
            draw_fast(inner)
        made.set_init_state(states[START.trial])
        for name, observable in inner._observables.items():
            if name.endswith("_image"):
                observable._enabled = False
        for _ in range(params.resolved().settle_steps):
            made.step([0, 0, 0, 0, 0, 0, -1])

    return Loop(made.step, draw, reset, inner.close)


def maniskill(env: EnvConfig) -> Loop:
    """`gymnasium.make` and the env's own methods; a look is its `get_obs`."""
    from rlinf.envs.maniskill.building import (
        make_env,
        observation_mode,
        reset_options,
        set_observation_mode,
    )
    from rlinf.envs.maniskill.light_visuals import use_collision_hulls_as_visuals

    params = env.init_params
    assert isinstance(params, ManiskillParams)
    made = make_env(params, 1, "cpu")
    if params.light_visuals:
        use_collision_hulls_as_visuals(made)
    info: dict[str, Any] = {}

    def step(action: np.ndarray) -> None:
        info.update(made.step(action)[-1])

    def look() -> object:
        set_observation_mode(made, observation_mode(params))
        shown: object = made.get_obs(info)
        set_observation_mode(made, "none")
        return shown

    return Loop(
        step, look, lambda: made.reset(seed=START.seed, options=reset_options([START])), made.close
    )


LOOPS: dict[str, Callable[[EnvConfig], Loop]] = {
    "libero": libero,
    "maniskill": maniskill,
}
"""`simulator_type` -> its own loop; the toy has none."""
