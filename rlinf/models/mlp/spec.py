"""What the rest has to know of the multi-layer perceptron."""

from __future__ import annotations

from rlinf.registry import ModelSpec

SPEC = ModelSpec(
    settings="rlinf.models.mlp.config:MlpConfig",
    policy="rlinf.models.mlp.policy:MlpPolicy",
)
