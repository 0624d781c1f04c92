"""Resets after which an episode depends on its seed alone, not on the episodes before.

A plain reset puts every body where the seed says and yet is not enough: PhysX keeps its own record
of a scene (in which order contacts are solved, how long bodies have been at rest), and with several
contacts at once, as when a gripper presses a cube onto the table, the same seed and actions then
end in visibly different states. PhysX's "enhanced determinism" flag does not change that.

So each reset moves all bodies into a new, empty physics scene. That takes about 1 ms; ManiSkill's
own `reconfigure` has the same effect and takes about 150 ms, since it loads everything again.
The renderer and the Python objects stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sapien
from mani_skill.envs.tasks.digital_twins.bridge_dataset_eval.base_env import BaseBridgeEnv

from rlinf.data.types import Start
from rlinf.envs.maniskill.building import reset_options
from rlinf.envs.maniskill.partial_reset import GLOBAL_RANDOM
from rlinf.envs.maniskill.shader import choose_shader

if TYPE_CHECKING:
    from mani_skill.envs.sapien_env import BaseEnv


def reset_exactly(env: BaseEnv, start: Start) -> dict[str, Any]:
    """Resets a CPU env so that equal starts and actions give equal bits, in whatever process.

    Returns:
        What ManiSkill says about the first state.
    """
    if isinstance(env, BaseBridgeEnv):
        _rest_the_arm(env, start)
    for body in _moving_bodies(env):
        body.put_to_sleep()  # also forgets for how long it has been at rest
    _move_to_new_scene(env)
    info: dict[str, Any]
    with GLOBAL_RANDOM:
        _, info = env.reset(seed=start.seed, options=reset_options([start]))
    for body in _moving_bodies(env):
        body.wake_up()
    return info


def _rest_the_arm(env: BaseBridgeEnv, start: Start) -> None:
    """Brings the arm to where episodes begin, and lets its motors hold it there.

    The Bridge tasks let things settle inside a reset, while the arm is still where the episode
    before has left it and follows that episode's last action.
    """
    with GLOBAL_RANDOM:
        env.reset(seed=start.seed, options=reset_options([start]))
    robot = env.agent.robot
    robot.set_joint_drive_targets(robot.get_qpos(), robot.active_joints)


def _moving_bodies(env: BaseEnv) -> list[sapien.physx.PhysxRigidBodyComponent]:
    """What can sleep: free bodies, and the root of each articulation for all its links."""
    system = env.scene.px
    free = [body for body in system.rigid_dynamic_components if not body.kinematic]
    roots = [link for link in system.articulation_link_components if link.is_root]
    return free + roots


def _move_to_new_scene(env: BaseEnv) -> None:
    (old,) = env.scene.sub_scenes  # a CPU env has one
    physics = sapien.physx.PhysxCpuSystem()
    physics.timestep = old.physx_system.timestep
    new = sapien.Scene([physics, old.render_system])
    # A camera that comes into a scene is made anew, with the shader that was chosen last, which may
    # be that of another env in this process.
    for sensor in env.scene.sensors.values():
        choose_shader(sensor.config.shader_config)
    entities = list(old.entities)
    for entity in entities:  # all, before the first is added: an articulation moves as a whole
        old.remove_entity(entity)
    for entity in entities:
        new.add_entity(entity)
    env.scene.sub_scenes[0] = new
    env.scene.px = physics
