"""What the rest has to know of OpenVLA."""

from __future__ import annotations

from rlinf.registry import ModelSpec

SPEC = ModelSpec(
    settings="rlinf.models.openvla.config:OpenVlaConfig",
    policy="rlinf.models.openvla.policy:OpenVlaPolicy",
    extra="openvla",
    owners={"openvla-7b-rlvla": "gen-robot", "openvla-7b": "openvla"},
)
