"""What the rest has to know of GR00T-N1.5."""

from __future__ import annotations

from rlinf.registry import ModelSpec

SPEC = ModelSpec(
    settings="rlinf.models.gr00t.config:Gr00tConfig",
    policy="rlinf.models.gr00t.policy:Gr00tPolicy",
    extra="gr00t",
    owners={"RLinf-Gr00t": "RLinf", "GR00T-N1.5": "nvidia", "eagle2hg-processor": "lerobot"},
)
