"""What the rest has to know of OpenVLA-OFT."""

from __future__ import annotations

from rlinf.registry import ModelSpec

SPEC = ModelSpec(
    settings="rlinf.models.openvla_oft.config:OpenVlaOftConfig",
    policy="rlinf.models.openvla_oft.policy:OpenVlaOftPolicy",
    extra="openvla",
    owners={"Openvla-oft-SFT-": "Haozhan72", "RLinf-": "RLinf"},
)
