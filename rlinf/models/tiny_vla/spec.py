"""What the rest has to know of the tiny VLA."""

from __future__ import annotations

from rlinf.registry import ModelSpec

SPEC = ModelSpec(
    settings="rlinf.models.tiny_vla.config:TinyVlaConfig",
    policy="rlinf.models.tiny_vla.policy:TinyVlaPolicy",
)
