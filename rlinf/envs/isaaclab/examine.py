"""What `rlinf doctor` says of Isaac Sim without starting it: what is there, what could draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rlinf.envs import isaac_sim

INSTALL = (
    "install Isaac Sim there (isaacsim 6 for IsaacLab 3.0; 5.1, from NVIDIA's own index, for 2.3), "
    "export ACCEPT_EULA=Y PRIVACY_CONSENT=Y OMNI_KIT_ACCEPT_EULA=YES, and use a GPU with ray "
    "tracing (RTX): docs/source-en/benchmarks/isaaclab.md. IsaacLab 3.0 runs without it with "
    "env.*.init_params.physics=newton"
)
"""What to do where Isaac Sim is missing in the simulator's Python."""
_STUB = "isaacsim {} is a stub without isaacsim-kernel: it runs nothing"
_INDEX = "on the package index 5.1 and older are stubs that fetch from NVIDIA's own index"


def remarks(versions: Mapping[str, str | None]) -> Iterator[str]:
    """Findings in words.

    Args:
        versions: of packages in the simulator's Python; None: not installed.
    """
    installed = versions["isaacsim"]
    if installed is None:
        yield f"no Isaac Sim: Newton is used ({_INDEX})"
    elif versions["isaacsim-kernel"] is None:
        yield f"{_STUB.format(installed)} ({_INDEX})"
    else:
        yield f"isaacsim {installed} is no stub"
    yield from isaac_sim.remarks()
