"""What the rest has to know of `toy_reach`."""

from __future__ import annotations

from rlinf.registry import SimulatorSpec

SPEC = SimulatorSpec(
    settings="rlinf.config.simulators:ToyReachParams",
    build="rlinf.envs.toy.reach:ToyReach",
)
