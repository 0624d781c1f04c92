"""What the rest has to know of the tiny flow policy."""

from __future__ import annotations

from rlinf.registry import ModelSpec

SPEC = ModelSpec(
    settings="rlinf.models.tiny_flow.config:TinyFlowConfig",
    policy="rlinf.models.tiny_flow.policy:TinyFlowPolicy",
)
