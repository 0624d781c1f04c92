"""A flow policy gets better at what is rewarded, by the actor's own updates, whatever its noise is.

The task has one step: a picture says which of two places the action has to reach. All else is a
run's: the policy acts, advantages are those of its group, the actor updates by PPO's loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlinf.config.schema import Config
from rlinf.data.random import Noise, derive
from rlinf.data.types import Observation, TrainBatch
from rlinf.models.base import Sampling
from rlinf.models.tiny_flow.config import TinyFlowConfig
from rlinf.workers.actor import ActorWorker
from tests.unit.workers.conftest import GROUPS

N, ITERATIONS = 64, 12
TARGETS = np.where(np.arange(N) % 2, 0.5, -0.5).astype(np.float32)


def pictures() -> Observation:
    """Red where the place is on the left, blue where it is on the right."""
    images = np.zeros((N, 1, 16, 16, 3), np.uint8)
    images[TARGETS < 0, ..., 0] = images[TARGETS > 0, ..., 2] = 255
    return Observation(images, np.zeros((N, 0), np.float32), ("reach it",) * N)


def errors(actions: np.ndarray) -> np.ndarray:
    """[N] squared distances of actions [N, C, A] from their places."""
    return ((actions - TARGETS[:, None, None]) ** 2).mean(axis=(1, 2))


def samples(policy: Any, seen: Observation, step: int) -> TrainBatch:
    """What the policy does now, with the advantage over the others of the same place."""
    acted = policy.eval().act(seen, Sampling(), Noise(derive(step, np.arange(N))))
    reward = -errors(acted.actions)
    for place in (-0.5, 0.5):
        group = place == TARGETS
        reward[group] = (reward[group] - reward[group].mean()) / reward[group].std()
    mask = np.ones((N, policy.chunk), bool)
    return TrainBatch(
        observations=[seen],
        nodes=[0],
        objects=np.zeros(N, np.int64),
        rows=np.arange(N),
        sampled=acted.sampled,
        logprobs=acted.logprobs,
        advantages=np.repeat(reward[:, None], policy.chunk, axis=1).astype(np.float32),
        returns=np.zeros((N, 0), np.float32),
        values=acted.values,
        mask=mask,
        weights=mask.astype(np.float32),
        chunk_weights=np.ones((N, 1), np.float32),
        trained=np.ones(N, bool),
        planned=N,
        version=policy.version,
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"noise_method": "flow_sde"},
        {"noise_method": "flow_sde", "joint_logprob": True},
        {"noise_method": "flow_cps"},
        {"noise_method": "reinflow", "joint_logprob": True},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_what_is_rewarded_is_done_more(
    settings: dict[str, Any],
    toy: Callable[..., Config],
    actor_of: Callable[..., ActorWorker],
):
    config = toy(
        *GROUPS, "algorithm.update_epoch=2", "actor.optim.lr=3.0e-3", "actor.optim.clip_grad=1.0"
    )
    model = TinyFlowConfig(
        model_type="tiny_flow",
        image_size=16,
        width=16,
        num_heads=2,
        depth=2,
        action_dim=2,
        num_action_chunks=2,
        add_value_head=False,
        **settings,
    )
    sizes = {"model": model, "global_batch_size": N // 2, "micro_batch_size": N // 2}
    config = config.model_copy(update={"actor": config.actor.model_copy(update=sizes)})
    actor, seen = actor_of(config), pictures()

    def judged() -> float:
        greedy = actor.policy.eval().act(
            seen, Sampling(greedy=True), Noise(derive(999, np.arange(N)))
        )
        return float(errors(greedy.actions).mean())

    before = judged()
    for step in range(ITERATIONS):
        actor.update(samples(actor.policy, seen, step), step)
    after = judged()
    assert after < 0.85 * before
