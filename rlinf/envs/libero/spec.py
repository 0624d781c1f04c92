"""What the rest has to know of LIBERO."""

from __future__ import annotations

from rlinf.registry import ExpertSpec, Hosting, Renderer, SimulatorSpec

SPEC = SimulatorSpec(
    settings="rlinf.envs.libero.config:LiberoParams",
    build="rlinf.envs.libero.env:make_libero",
    hosting=Hosting(
        modules=("rlinf.envs.libero.libraries",),
        # Each process is meant for one core; OpenMP computes, llvmpipe draws.
        environment={"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "1"},
        import_environment={"MUJOCO_GL": "disable"},  # MuJoCo opens its renderer at its import
    ),
    extra="libero",
    package="libero",
    renderer=Renderer("rlinf.envs.libero.opengl:draw", ("egl", "osmesa")),
    assets="rlinf.assets.libero:assets",
    experts={
        "libero_pick_place": ExpertSpec("rlinf.envs.libero.experts:pick_place", "libero_spatial")
    },
)
