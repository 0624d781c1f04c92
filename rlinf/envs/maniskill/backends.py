"""Which ManiSkill adapter a process uses."""

from __future__ import annotations

from typing import Any

from rlinf.devices import device_of_process
from rlinf.envs.base import Simulator
from rlinf.envs.maniskill.config import ManiskillParams
from rlinf.envs.maniskill.env import ManiSkillCpu
from rlinf.envs.maniskill.gpu import ManiSkillGpu


def make_maniskill(num_envs: int, **settings: Any) -> Simulator:
    """The simulator that `env.*.simulator_type: maniskill` stands for.

    `sim_backend: auto` means the GPU in a process that has been given one.

    Raises:
        UserError: it means the GPU, and CUDA does not come up.
    """
    params = ManiskillParams(**settings)
    asked = {"auto": None, "cpu": "cpu", "gpu": "cuda:0"}[params.sim_backend]
    if device_of_process(asked) != "cpu":
        return ManiSkillGpu(num_envs, params)
    return ManiSkillCpu(num_envs, params)
