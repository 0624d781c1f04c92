"""Which ManiSkill adapter a process uses."""

from __future__ import annotations

from typing import Any

import torch

from rlinf.config.simulators import ManiskillParams
from rlinf.envs.base import Simulator
from rlinf.envs.maniskill.env import ManiSkillCpu
from rlinf.envs.maniskill.gpu import ManiSkillGpu


def make_maniskill(num_envs: int, **settings: Any) -> Simulator:
    """The simulator that `env.*.simulator_type: maniskill` stands for.

    `sim_backend: auto` means the GPU in a process that has been given one.
    """
    params = ManiskillParams(**settings)
    if params.sim_backend == "gpu" or (params.sim_backend == "auto" and torch.cuda.is_available()):
        return ManiSkillGpu(num_envs, params)
    return ManiSkillCpu(num_envs, params)
