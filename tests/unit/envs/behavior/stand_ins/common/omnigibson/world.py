"""What the three stand-ins have in common: an arm, a radio, cameras and one simulator for all.

The goal has two parts: the left hand is at the radio, and its gripper closes there. Hand and radio
are points in a plane, 0.3 m for a radian of the first two joints of the left arm.
"""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np

import omnigibson as og
from omnigibson.macros import gm

REACH = 0.3  # metres per radian
AT, CLOSED = 0.02, 0.02  # metres
PARTS = {
    "base": slice(0, 3),
    "torso": slice(3, 7),
    "left": slice(7, 14),
    "left_gripper": 14,
    "right": slice(15, 22),
    "right_gripper": 22,
}
PROPRIO = {
    "arm_left_qpos": (158, "left"),
    "arm_right_qpos": (197, "right"),
    "trunk_qpos": (236, "torso"),
    "base_qpos": (244, "base"),
    "base_qvel": (253, "velocity"),
    "gripper_left_qpos": (193, "left_fingers"),
    "gripper_right_qpos": (232, "right_fingers"),
}


class Tensor:
    """Memory of a GPU: NumPy cannot read it, and the simulator writes into it again."""

    def __init__(self, array):
        self._array = array

    def __array__(self, *_, **__):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return iter(self._array.tolist())

    def detach(self):
        return self

    def cpu(self):
        return _OnHost(self._array)


class _OnHost:
    def __init__(self, array):
        self._array = array

    def numpy(self):
        return self._array


def array(value):
    return value.cpu().numpy() if isinstance(value, Tensor) else np.array(value)


class Simulator:
    """One for the process; each step moves everything that there is."""

    def __init__(self):
        read = {name: getattr(gm, name) for name in vars(gm)["_values"]}
        assert read["HEADLESS"] and read["ENABLE_OBJECT_STATES"], read
        assert read["ENABLE_TRANSITION_RULES"] and read["ENABLE_FLATCACHE"], read
        assert read["USE_NUMPY_CONTROLLER_BACKEND"], read
        assert not read["USE_GPU_DYNAMICS"] and not read["RENDER_VIEWER_CAMERA"], read
        assert Path(read["APPDATA_PATH"]).is_dir(), read
        gc.disable()  # as Kit does
        self.scenes = []
        self.drawn = 0

    def step(self, render=True):
        assert gc.isenabled(), "cycles are not collected, memory grows"
        self.step_physics()
        if render:
            self.render()

    def step_physics(self):
        for scene in self.scenes:
            scene.advance()

    def render(self):
        self.drawn += 1
        for scene in self.scenes:
            for sensor in scene.robot.sensors.values():
                sensor.draw()


def launch(env):
    assert env["action_frequency"] == 30 and env["physics_frequency"] == 120
    if og.sim is None:
        og.sim = Simulator()


class Scene:
    """A robot and a radio."""

    def __init__(self, config):
        (robot,) = config["robots"]
        assert robot["name"] == "robot_r1" and not robot["action_normalize"]
        assert robot["obs_modalities"] == ["rgb", "proprio"] and len(robot["proprio_obs"]) == 35
        assert robot["grasping_mode"] == "assisted"
        scene, parts = config["scene"], robot["controller_config"]
        assert scene["type"] == "InteractiveTraversableScene"
        assert scene["scene_model"] == "house_double_floor_lower"
        for part in ("trunk", "arm_left", "arm_right"):  # radians as they are, absolute
            assert parts[part]["name"] == "JointController"
            assert parts[part]["motor_type"] == "position"
            assert parts[part]["use_delta_commands"] is False
            assert parts[part]["command_input_limits"] is None
            assert parts[part]["command_output_limits"] is None
        base = parts["base"]
        assert (base["name"], base["motor_type"]) == ("HolonomicBaseJointController", "velocity")
        assert base["command_input_limits"] == [[-1.0] * 3, [1.0] * 3]
        assert base["command_output_limits"] == [[-0.75, -0.75, -1.0], [0.75, 0.75, 1.0]]
        for part in ("gripper_left", "gripper_right"):
            assert parts[part]["name"] == "MultiFingerGripperController"
            assert parts[part]["mode"] == "smooth"
        self.robot = Robot(self)
        self.radio = Radio(self)
        self.state = {name: np.zeros(size) for name, size in self.sizes().items()}
        self.state["left_fingers"][:] = self.state["right_fingers"][:] = 0.05
        self.state["command"][:] = self.robot.stand()
        self.initial, self.metadata = self.dump_state(serialized=False), {}
        og.sim.scenes.append(self)

    @staticmethod
    def sizes():
        arms = {"left": 7, "right": 7, "left_fingers": 2, "right_fingers": 2}
        return {"base": 3, "velocity": 3, "torso": 4, **arms, "radio": 2, "rolls": 2, "command": 23}

    def dump_state(self, serialized):
        assert serialized is False
        return {name: Tensor(values.copy()) for name, values in self.state.items()}

    def load_state(self, state, serialized):
        assert serialized is False
        for name, values in state.items():
            self.state[name][:] = values.cpu().numpy()

    def update_initial_file(self):
        self.initial = self.dump_state(serialized=False)

    def reset(self):
        self.load_state(self.initial, serialized=False)

    def write_task_metadata(self, key, data):
        self.metadata[key] = data

    def advance(self):
        """Joints go towards their targets; the base keeps its velocity until it gets another."""
        state, command = self.state, self.state["command"]
        for part in ("torso", "left", "right"):
            state[part] += np.clip(command[PARTS[part]] - state[part], -0.1, 0.1)
        state["velocity"][:] = np.clip(command[PARTS["base"]], -1, 1) * (0.75, 0.75, 1.0)
        state["base"] += state["velocity"] / 30
        for side in ("left", "right"):
            target = (np.clip(command[PARTS[f"{side}_gripper"]], -1, 1) + 1) / 2 * 0.05
            state[f"{side}_fingers"] += np.clip(target - state[f"{side}_fingers"], -0.02, 0.02)
        state["radio"] += state["rolls"]

    def satisfied(self):
        """Each part of the goal."""
        hand = self.state["base"][:2] + REACH * self.state["left"][:2]
        there = np.abs(hand - self.state["radio"]).max() < AT
        return [bool(there), bool(there and self.state["left_fingers"].sum() < CLOSED)]


class Radio:
    def __init__(self, scene):
        self._scene = scene

    def load_state(self, state, serialized):
        assert serialized is False
        self._scene.state["radio"][:] = array(state["root_link"]["pos"])[:2]
        self._scene.state["rolls"][:] = 0.001  # until it is held still

    def keep_still(self):
        self._scene.state["rolls"][:] = 0


class Water:
    """A fluid is no object: it cannot be held still."""


class Sensor:
    """A camera whose pictures are those of two draws ago.

    Its place in the observation space keeps its size until that is loaded again.
    """

    def __init__(self, scene, shift, size):
        self._scene, self._shift = scene, shift
        self.image_height = self.image_width = size
        self.horizontal_aperture = 15.0
        self.load_observation_space()
        self._waiting, self._shown = [], None

    def draw(self):
        self._waiting = [*self._waiting, self._picture()][-3:]
        shape = self._waiting[0].shape
        if self._shown is None or self._shown.shape != shape:
            self._shown = np.zeros(shape, np.uint8)
        self._shown[:] = self._waiting[0]

    def load_observation_space(self):
        self.space = self.image_height, self.image_width

    def get_obs(self):
        return {"rgb": Tensor(self._shown)}, {}

    def _picture(self):
        """Two bright spots, red the hand and green the radio, RGBA."""
        height, width = self.image_height, self.image_width
        rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
        hand = self._scene.state["base"][:2] + REACH * self._scene.state["left"][:2]
        picture = np.full((height, width, 4), 40, np.uint8)
        for channel, (x, y) in enumerate((hand, self._scene.state["radio"])):
            away = (columns - 0.5 - x - self._shift) ** 2 + (rows - 0.5 - y) ** 2
            picture[..., channel] += (200 * np.exp(-away / 0.01)).astype(np.uint8)
        return picture


class Robot:
    model = "r1pro"

    def __init__(self, scene):
        self._scene = scene
        links = {
            "zed_link": (0.0, 720),
            "left_realsense_link": (0.1, 480),
            "right_realsense_link": (-0.1, 480),
        }
        self.sensors = {
            f"robot_r1:{link}:Camera:0": Sensor(scene, *each) for link, each in links.items()
        }

    def load_observation_space(self):
        assert self.sensors["robot_r1:zed_link:Camera:0"].horizontal_aperture == 40.0
        for sensor in self.sensors.values():
            sensor.load_observation_space()

    def check_observation_space(self):
        """As a reset does once the environment is loaded."""
        for sensor in self.sensors.values():
            if sensor.space != (sensor.image_height, sensor.image_width):
                raise ValueError("Observation space does not match returned observations!")

    def stand(self):
        """A command under which nothing moves."""
        command = np.zeros(23)
        command[PARTS["left_gripper"]] = command[PARTS["right_gripper"]] = 1
        return command

    def apply_action(self, action):
        action = array(action)
        assert action.shape == (23,), action.shape
        self._scene.state["command"][:] = action

    def set_position_orientation(self, position, orientation, frame="world"):
        assert frame == "scene", "poses of instances are those in the scene"
        self._scene.state["base"][:2] = array(position)[:2]

    def get_proprioception(self):
        numbers = np.zeros(256, np.float32)
        for first, part in PROPRIO.values():
            values = self._scene.state[part]
            numbers[first : first + len(values)] = values
        return Tensor(numbers), {"joint_qpos": None}


class Task:
    """The activity in one scene."""

    def __init__(self, config, scene):
        assert config["type"] == "BehaviorTask" and not config["online_object_sampling"]
        assert config["reward_config"] == {"r_potential": 1.0} and not config["include_obs"]
        assert config["use_presampled_robot_pose"]
        assert config["activity_definition_id"] == config["activity_instance_id"] == 0
        self.activity_name = config["activity_name"]
        self._limit, self._scene = config["termination_config"]["max_steps"], scene
        self.object_scope = {
            "radio.n.01_1": scene.radio,
            "agent.n.01_1": scene.robot,
            "water.n.06_1": Water(),
        }
        self.steps, self._potential = 0, 0.0

    def reset(self):
        self._scene.reset()
        self.steps, self._potential = 0, self._unsatisfied()

    def step(self):
        """Reward, whether it is over, and info, in which there is no `success` of its own."""
        self.steps += 1
        before, self._potential = self._potential, self._unsatisfied()
        success = all(self._scene.satisfied())
        conditions = {
            "timeout": {"done": self.steps + 1 >= self._limit, "success": False},
            "predicate": {"done": success, "success": success},
        }
        done = {"success": success, "termination_conditions": conditions}
        info = {"done": done, "reward": {"potential": {}}, "episode_length": self.steps}
        return before - self._potential, info

    def _unsatisfied(self):
        parts = self._scene.satisfied()
        return parts.count(False) / len(parts)


def ended(info):
    """Whether it ended by the task, and by the clock."""
    conditions = info["done"]["termination_conditions"]
    return conditions["predicate"]["done"], conditions["timeout"]["done"]
