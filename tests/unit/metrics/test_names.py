"""All that the package computes is in the table of names, as the table describes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlinf.algorithms.estimators import Estimates, rollout_metrics
from rlinf.algorithms.losses import LossSettings, Samples, denominators, minibatch_loss
from rlinf.data.types import EpisodeResult, Start, TrainBatch, Trajectory
from rlinf.metrics.names import METRICS, aliases, lookup, with_aliases
from rlinf.metrics.results import episode_metrics, evaluation
from rlinf.metrics.types import Metrics

KINDS = {
    "Mean": "mean",
    "Total": "sum",
    "Maximum": "max",
    "Minimum": "min",
    "ExplainedVariance": "moments",
}
DOCUMENTED = {
    "train/actor/approx_kl",
    "train/actor/clip_fraction",
    "train/actor/clipped_ratio",
    "train/actor/grad_norm",
    "train/actor/lr",
    "train/actor/policy_loss",
    "train/critic/value_loss",
    "train/critic/value_clip_ratio",
    "train/critic/explained_variance",
    "train/entropy_loss",
    "train/loss",
    "rollout/advantages_max",
    "rollout/advantages_mean",
    "rollout/advantages_min",
    "rollout/returns_mean",
    "rollout/rewards",
    "env/episode_len",
    "env/return",
    "env/reward",
    "env/success_once",
}
OTHER_SPELLINGS = {
    "actor/approx_kl",
    "actor/pg_clipfrac",
    "actor/grad_norm",
    "actor/loss",
    "actor/value_loss",
    "actor/value_clip_ratio",
}


def test_every_documented_name_is_in_the_table_in_both_spellings():
    assert {row.name for row in METRICS} >= DOCUMENTED
    assert {alias for row in METRICS for alias in row.aliases} == OTHER_SPELLINGS


def test_no_name_or_alias_occurs_twice():
    names = [spelling for row in METRICS for spelling in (row.name, *row.aliases)]
    assert len(names) == len(set(names))


def test_writers_see_a_metric_under_all_its_names():
    assert aliases("train/actor/policy_loss") == ("actor/loss",)
    assert with_aliases({"train/actor/policy_loss": 0.5, "env/return": 1.0}) == {
        "train/actor/policy_loss": 0.5,
        "actor/loss": 0.5,
        "env/return": 1.0,
    }


@pytest.mark.parametrize(
    "name", ["time/rollout", "faults/skipped_updates", "eval/task_3/success_once"]
)
def test_families_describe_their_members(name):
    row = lookup(name)
    assert row is not None
    assert "*" in row.name


def test_unknown_names_have_no_row():
    assert lookup("train/actor/loss") is None


def emitted() -> Metrics:
    """One of everything that the package computes itself, with all options on."""
    episodes = [EpisodeResult(0, Start(task, 0, 0), 4, 1.0, True, True, True) for task in (0, 1)]
    ones, mask = np.ones((1, 1, 1), np.float32), np.ones((1, 1, 1), bool)
    steps = Trajectory(
        observation=None,
        rows=np.zeros((1, 1), np.int32),
        sampled={"tokens": ones[..., None]},
        logprobs=ones[..., None],
        values=ones,
        rewards=ones,
        terminated=mask,
        truncated=~mask,
        valid=mask,
        final_values=ones[..., 0],
        next_values=ones[0, 0],
    )
    estimates = Estimates(ones, ones, mask, ones, ones, mask[0, 0], mask[0, 0])
    batch = TrainBatch(
        observations=[],
        nodes=[],
        objects=np.zeros(1, np.int64),
        rows=np.zeros(1, np.int64),
        sampled={"tokens": ones[0][..., None]},
        logprobs=ones[0][..., None],
        advantages=ones[0],
        returns=ones[0],
        values=ones[0],
        mask=mask[0],
        weights=ones[0],
        chunk_weights=ones[0],
        trained=mask[0, 0],
        planned=1,
        version=0,
    )
    settings = LossSettings(
        loss_type="actor_critic",
        reward_type="action",
        logprob_type="token",
        entropy_type="token",
        clip_ratio_low=0.2,
        clip_ratio_high=0.2,
        clip_ratio_c=3.0,
        value_clip=0.2,
        huber_delta=10.0,
        entropy_bonus=0.1,
        kl_beta=0.1,
        kl_penalty="k3",
    )
    rows, live = np.zeros(1, np.int64), torch.ones(1, dtype=torch.bool)
    samples = Samples.take(batch, rows, "cpu")

    class Unchanged:
        logprobs, entropy, values = samples.logprobs, samples.logprobs, samples.values
        without_noise = torch.zeros(1)

    _, losses = minibatch_loss(
        Unchanged(),
        samples,
        live,
        settings,
        denominators(batch, rows, live, settings),
        reference_logprobs=samples.logprobs,
    )
    return Metrics.merge(
        [
            losses,
            rollout_metrics(steps, estimates),
            episode_metrics(episodes, "env"),
            evaluation("after", episodes, ["push", "pull"]).metrics,
        ]
    )


def test_everything_that_is_computed_is_in_the_table_with_its_reduction():
    metrics = emitted()
    assert len(metrics) > 30
    for name, metric in metrics.items():
        row = lookup(name)
        assert row is not None, name
        assert row.reduction == KINDS[type(metric).__name__], name
