"""GR00T-N1.5 with nothing left out and nothing saved: what ours is compared with.

The same weights and inputs, with what the original computes beside them: logits of the language
model over the whole vocabulary, which no action needs, and keys and values of what the action head
looks at anew in every denoising step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.nn import functional

from rlinf.data.types import Observation, Sampled
from rlinf.models.gr00t.policy import Gr00tPolicy


class PlainGr00t(Gr00tPolicy):
    """Acts and learns like the policy whose weights it uses, the plain way."""

    def __init__(self, policy: Gr00tPolicy) -> None:
        super().__init__(policy.config)
        self.network, self.value_head = policy.network, policy.value_head
        self.to(policy.device)
        self._begun = False

    def prepare(self, observation: Observation, sampled: Sampled | None) -> Any:
        """As the policy, and logits of every position."""
        found = super().prepare(observation, sampled)
        language: Any = self.network.backbone.eagle_model["language_model"]
        functional.linear(found.features, language["model"].embed_tokens.weight)
        self._begun = False
        return found

    def velocity(self, prepared: Any, x: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """As the policy, with keys and values of its own; `prepare` made those of the first."""
        if self._begun:
            memories = self.network.action_head.model.memories(prepared.looked.features)
            prepared = prepared._replace(looked=replace(prepared.looked, memories=memories))
        self._begun = True
        return super().velocity(prepared, x, times)
