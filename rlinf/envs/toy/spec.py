"""What the rest has to know of `toy_reach`."""

from __future__ import annotations

from rlinf.registry import SimulatorSpec

SPEC = SimulatorSpec(
    settings="rlinf.envs.toy.config:ToyReachParams",
    build="rlinf.envs.toy.reach:ToyReach",
)
