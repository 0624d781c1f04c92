"""What the rest has to know of ManiSkill3."""

from __future__ import annotations

from rlinf.registry import ExpertSpec, Hosting, Renderer, SimulatorSpec

SPEC = SimulatorSpec(
    settings="rlinf.envs.maniskill.config:ManiskillParams",
    build="rlinf.envs.maniskill.backends:make_maniskill",
    hosting=Hosting(
        modules=("rlinf.envs.maniskill.backends",),
        environment={
            # Each process is meant for one core; OpenMP computes, llvmpipe draws.
            "OMP_NUM_THREADS": "1",
            "LP_NUM_THREADS": "1",
            "MS_SKIP_ASSET_DOWNLOAD_PROMPT": "1",  # a process without input cannot answer
        },
        # A package that ManiSkill imports brings MuJoCo, which opens its renderer at its import.
        import_environment={"MUJOCO_GL": "disable"},
    ),
    extra="maniskill",
    package="mani_skill",
    renderer=Renderer("rlinf.envs.maniskill.drawing:draw", ("gpu",)),
    assets="rlinf.assets.maniskill:assets",
    experts={
        "push_cube": ExpertSpec("rlinf.envs.maniskill.demonstrators:push_cube", "PushCube-v1")
    },
    benchmarks={"maniskill_ood": "rlinf.envs.maniskill.put_on_plate.benchmark:ood"},
)
