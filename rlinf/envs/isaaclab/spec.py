"""What the rest has to know of IsaacLab and mjlab."""

from __future__ import annotations

from rlinf.registry import ExpertSpec, Hosting, OwnPython, SimulatorSpec

# One process steps all sub-envs of a stage; Warp compiles for the machine and keeps the result.
_HOSTING = Hosting(environment={"OMP_NUM_THREADS": "1"})

ISAACLAB = SimulatorSpec(
    settings="rlinf.envs.isaaclab.config:IsaacLabParams",
    build="rlinf.envs.isaaclab.build:make_isaaclab",
    hosting=_HOSTING,
    from_first_gpu=True,
    python=OwnPython(
        name="isaaclab",
        version="3.12",
        variable="RLINF_ISAACLAB_PYTHON",
        package="isaaclab",
        also=("isaacsim", "isaacsim-kernel", "newton", "torch"),
        reads=("ISAAC_PATH", "ACCEPT_EULA", "OMNI_KIT_ACCEPT_EULA", "PRIVACY_CONSENT"),
        remarks="rlinf.envs.isaaclab.examine:remarks",
    ),
    experts={
        "isaaclab_stack_cube": ExpertSpec("rlinf.envs.isaaclab.experts:stack_cube", "stack_cube")
    },
)
MJLAB = SimulatorSpec(
    settings="rlinf.envs.isaaclab.config:MjlabParams",
    build="rlinf.envs.isaaclab.build:make_mjlab",
    hosting=_HOSTING,
    python=OwnPython(
        name="mjlab",
        version="3.11",
        variable="RLINF_MJLAB_PYTHON",
        package="mjlab",
        also=("mujoco-warp", "torch"),
    ),
)
