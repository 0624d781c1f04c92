"""IsaacLab and mjlab. A task is a file in `tasks` and a line here.

A package outside registers its own tasks through the entry-point group `rlinf.isaaclab_tasks`; it
has to be installed in our environment and in the simulator's, as both read the description.
"""

from __future__ import annotations

TASKS: dict[str, str] = {
    "stack_cube": "rlinf.envs.isaaclab.tasks.stack_cube:TASK",
    "reach": "rlinf.envs.isaaclab.tasks.reach:TASK",
    "cartpole": "rlinf.envs.isaaclab.tasks.cartpole:TASK",
    "lift_cube": "rlinf.envs.isaaclab.tasks.lift_cube:TASK",
}
"""Our name of a task -> its description; `init_params.id` may also be a simulator's name."""
