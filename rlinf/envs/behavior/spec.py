"""What the rest has to know of BEHAVIOR."""

from __future__ import annotations

from rlinf.envs.behavior.data import DATA, ISAAC
from rlinf.registry import Hosting, OwnPython, SimulatorSpec

OWN_PYTHON = OwnPython(
    name="behavior",
    version="3.10",
    variable="RLINF_BEHAVIOR_PYTHON",
    package="omnigibson",
    executable="isaac-python",  # with the variables of a standalone Isaac Sim
    oldest="3.7",
    also=("bddl", "isaacsim", "torch"),
    reads=(ISAAC, DATA, "OMNI_KIT_ACCEPT_EULA"),
    remains="add OmniGibson, Isaac Sim and the data sets (docs/source-en/benchmarks/behavior.md)",
    remarks="rlinf.envs.behavior.examine:remarks",
)
SPEC = SimulatorSpec(
    settings="rlinf.envs.behavior.config:BehaviorParams",
    build="rlinf.envs.behavior.build:make_behavior",
    hosting=Hosting(environment={"OMP_NUM_THREADS": "1"}),
    from_first_gpu=True,
    ray_tracing=True,
    assets="rlinf.envs.behavior.assets:assets",
    python=OWN_PYTHON,
)
