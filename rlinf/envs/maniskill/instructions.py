"""Task texts for ManiSkill tasks, which have none of their own."""

from __future__ import annotations

from rlinf.errors import UserError

INSTRUCTIONS: dict[str, str] = {
    "AssemblingKits-v1": "put the loose piece into its empty slot in the kit",
    "DrawSVG-v1": "draw along the outline",
    "DrawTriangle-v1": "draw along the outline of the triangle",
    "InsertFlower-v1": "put the flower into the vase",
    "LiftPegUpright-v1": "stand the peg upright",
    "OpenCabinetDoor-v1": "open the cabinet door",
    "OpenCabinetDrawer-v1": "open the cabinet drawer",
    "PegInsertionSide-v1": "insert the orange end of the peg into the hole of the box",
    "PickClutterYCB-v1": "pick up the marked object and move it to the goal",
    "PickCube-v1": "pick up the cube and move it to the goal",
    "PickCubeSO100-v1": "pick up the cube and move it to the goal",
    "PickCubeWidowXAI-v1": "pick up the cube and move it to the goal",
    "PickSingleYCB-v1": "pick up the object and move it to the goal",
    "PlaceSphere-v1": "place the sphere in the bin",
    "PlugCharger-v1": "plug the charger into the receptacle",
    "PokeCube-v1": "poke the cube with the peg and push it to the goal",
    "PullCube-v1": "pull the cube onto the target",
    "PullCubeTool-v1": "pull the cube closer with the L-shaped tool",
    "PushCube-v1": "push the cube onto the target",
    "PushT-v1": "push the T onto its target",
    "RollBall-v1": "roll the ball to the goal",
    "SO100GraspCube-v1": "grasp the cube and lift it",
    "StackCube-v1": "stack the red cube on the green cube",
    "StackPyramid-v1": "put the red cube next to the green cube and the blue cube on top of both",
    "TurnFaucet-v1": "turn the faucet",
    "UnitreeG1PlaceAppleInBowl-v1": "put the apple in the bowl",
    "UnitreeG1TransportBox-v1": "carry the box to the other table",
}


def instruction_of(task: str) -> str:
    """The text of a task; raises UserError for a task that needs one from the configuration."""
    if task not in INSTRUCTIONS:
        raise UserError(
            f"env.*.init_params.instruction: the task {task} has no text for the policy",
            "say what is to be done: env.train.init_params.instruction='open the drawer'",
        )
    return INSTRUCTIONS[task]
