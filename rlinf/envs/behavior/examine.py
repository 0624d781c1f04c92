"""What `rlinf doctor` reports of BEHAVIOR without starting it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rlinf.envs import isaac_sim
from rlinf.envs.behavior import data


def remarks(versions: Mapping[str, str | None]) -> Iterator[str]:
    """Findings in words.

    Args:
        versions: of packages in the simulator's Python; None: not installed.
    """
    yield "OmniGibson itself was not run by us: tests use stand-ins with its published interface"
    for message, _ in data.lacking(standalone=versions["isaacsim"] is None):
        yield message
    yield from isaac_sim.remarks()
