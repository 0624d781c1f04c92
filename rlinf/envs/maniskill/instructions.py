"""Task texts for ManiSkill tasks, which have none of their own."""

from __future__ import annotations

from rlinf.errors import UserError

INSTRUCTIONS: dict[str, str] = {
    "LiftPegUpright-v1": "stand the peg upright",
    "PickCube-v1": "pick up the cube and move it to the goal",
    "PullCube-v1": "pull the cube onto the target",
    "PushCube-v1": "push the cube onto the target",
    "StackCube-v1": "stack the red cube on the green cube",
}


def instruction_of(task: str) -> str:
    """The text of a task; raises UserError for a task that needs one from the configuration."""
    if task not in INSTRUCTIONS:
        raise UserError(
            f"env.*.init_params.instruction: the task {task} has no text for the policy",
            "say what is to be done: env.train.init_params.instruction='open the drawer'",
        )
    return INSTRUCTIONS[task]
