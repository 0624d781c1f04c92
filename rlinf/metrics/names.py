"""Every metric that a run writes: name, meaning, how its parts are reduced, other spellings.

A name that ends in `*`, or has one between slashes, stands for a family.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

Reduction = Literal["mean", "sum", "max", "min", "moments"]
"""How parts become one number: mean is a quotient of two sums, moments a quotient of variances."""


class MetricName(NamedTuple):
    """One metric."""

    name: str
    meaning: str
    reduction: Reduction = "mean"
    aliases: tuple[str, ...] = ()


# "Entries" are tokens, actions or chunks: those of the level that the configuration sets for the
# quantity, and only the ones that are trained on. "Finished" episodes ended in this iteration.
METRICS: tuple[MetricName, ...] = (
    MetricName(
        "train/actor/approx_kl",
        "old log-prob minus new, over entries; an estimate of KL(old, new) that may be negative",
        aliases=("actor/approx_kl",),
    ),
    MetricName(
        "train/actor/approx_kl_k3",
        "ratio - 1 - ln(ratio), over entries; an estimate of KL(old, new) that is never negative",
    ),
    MetricName(
        "train/actor/clip_fraction",
        "share of entries whose clipped loss is the larger one",
        aliases=("actor/pg_clipfrac",),
    ),
    MetricName("train/actor/ratio", "new probability over old, over entries"),
    MetricName("train/actor/clipped_ratio", "the ratio after clipping, over entries"),
    MetricName(
        "train/actor/dual_clipped_ratio", "share of entries whose loss the dual clip bounds"
    ),
    MetricName(
        "train/actor/steps_without_noise",
        "flow policies: share of the stochastic denoising steps whose deviation is 0, so that they "
        "have no gradient, over chunks",
    ),
    MetricName("train/actor/kl_stops", "times that target_kl ended the update epochs early", "sum"),
    MetricName(
        "train/actor/idle_updates",
        "updates left out, as nothing could be learnt from their samples",
        "sum",
    ),
    MetricName(
        "train/actor/logprob_mismatch",
        "|log-prob of learner - of rollout| of the same weights, over tokens of some samples",
    ),
    MetricName("train/actor/logprob_mismatch_max", "the largest of these differences", "max"),
    MetricName("train/actor/kl", "KL(policy, reference policy), weighted as the policy loss"),
    MetricName(
        "train/actor/policy_loss",
        "clipped surrogate, weighted over entries",
        aliases=("actor/loss",),
    ),
    MetricName(
        "train/actor/grad_norm",
        "gradient norm before clipping, over updates",
        aliases=("actor/grad_norm",),
    ),
    MetricName("train/actor/lr", "learning rate of the policy, over updates"),
    MetricName(
        "train/critic/value_loss",
        "clipped Huber loss of the values, weighted over entries",
        aliases=("actor/value_loss",),
    ),
    MetricName(
        "train/critic/value_clip_ratio",
        "share of values that moved from the old value by more than the clip",
        aliases=("actor/value_clip_ratio",),
    ),
    MetricName(
        "train/critic/explained_variance",
        "1 - Var(return - value) / Var(return)",
        "moments",
    ),
    MetricName("train/critic/lr", "learning rate of the value head, over updates"),
    MetricName("train/entropy_loss", "entropy of the policy, over entries"),
    MetricName(
        "train/loss", "policy loss + value loss - bonus * entropy (+ kl_beta * KL), over updates"
    ),
    MetricName("rollout/advantages_mean", "advantage as trained on, over entries"),
    MetricName("rollout/advantages_max", "largest advantage as trained on", "max"),
    MetricName("rollout/advantages_min", "smallest advantage as trained on", "min"),
    MetricName("rollout/returns_mean", "what the critic is trained towards, over entries"),
    MetricName("rollout/returns_max", "largest target of the critic", "max"),
    MetricName("rollout/returns_min", "smallest target of the critic", "min"),
    MetricName("rollout/rewards", "the simulator's reward summed over a chunk, over valid chunks"),
    MetricName(
        "rollout/staleness", "iterations trained since the weights that acted, in asynchronous mode"
    ),
    MetricName("rollout/filtered_groups", "share of groups that the reward filter left out"),
    MetricName("rollout/equal_groups", "share of groups in which all returns are equal"),
    MetricName("rollout/refills", "extra rollouts that replaced filtered groups", "sum"),
    MetricName("env/success_once", "share of finished episodes with success at any step"),
    MetricName("env/success_at_end", "share of finished episodes with success at the last step"),
    MetricName(
        "env/fail_once", "share of finished episodes that the task itself ended without success"
    ),
    MetricName("env/episode_len", "simulator steps of finished episodes"),
    MetricName("env/return", "undiscounted sum of reward of finished episodes"),
    MetricName("env/reward", "return over length of finished episodes"),
    MetricName("env/num_episodes", "finished episodes", "sum"),
    MetricName(
        "env/task_*/success_once", "with env.train.mixture: success_once of one task, by its index"
    ),
    MetricName(
        "env/task_*/num_episodes", "with env.train.mixture: finished episodes of one task", "sum"
    ),
    MetricName(
        "env/task_*/share", "with env.train.mixture: how likely the task was when starts were drawn"
    ),
    MetricName("env/steps", "simulator steps of all sub-envs", "sum"),
    MetricName("eval/success_once", "share of episodes with success at any step"),
    MetricName("eval/success_once_low", "lower end of its 95 % Wilson interval"),
    MetricName("eval/success_once_high", "upper end of its 95 % Wilson interval"),
    MetricName("eval/success_at_end", "share of episodes with success at the last step"),
    MetricName("eval/fail_once", "share of episodes that the task itself ended without success"),
    MetricName("eval/episode_len", "simulator steps of an episode"),
    MetricName("eval/return", "undiscounted sum of reward of an episode"),
    MetricName("eval/reward", "return over length of an episode"),
    MetricName("eval/num_episodes", "episodes evaluated", "sum"),
    MetricName("eval/task_*/success_once", "success_once of one task, by its index"),
    MetricName("eval/libero_*/success_once", "success_once of one suite of LIBERO"),
    MetricName("sft/flow_loss", "squared error of the velocity from noise to demonstrated actions"),
    MetricName("sft/token_loss", "cross-entropy of the demonstrated action tokens"),
    MetricName("sft/value_loss", "squared error of the critic on demonstrated returns"),
    MetricName("sft/token_accuracy", "share of action tokens whose most likely bin is the label"),
    MetricName(
        "sft/action_error", "distance of the most likely from the demonstrated action, model units"
    ),
    MetricName("sft/grad_norm", "gradient norm before clipping, over steps"),
    MetricName("sft/lr", "learning rate, over steps"),
    MetricName(
        "sft/heldout_loss", "token_loss or flow_loss on held-out episodes, labels not smoothed"
    ),
    MetricName("sft/heldout_token_accuracy", "token_accuracy on held-out episodes"),
    MetricName("sft/heldout_action_error", "action_error on held-out episodes"),
    MetricName("time/samples_per_second", "demonstrated chunks learned from per second"),
    MetricName(
        "time/env_steps_per_second", "env/steps over seconds of sync, rollout, advantages, update"
    ),
    MetricName("time/idle_*", "share of the iteration in which workers of a component did no work"),
    MetricName("time/*", "seconds of a phase of the iteration; time/step is all of it"),
    MetricName("faults/*", "things that went wrong and were survived, by kind", "sum"),
)

_BY_NAME = {metric.name: metric for metric in METRICS}
_FAMILIES = tuple(metric for metric in METRICS if "*" in metric.name)


def lookup(name: str) -> MetricName | None:
    """The table's row of a metric, or of its family; None if there is none."""
    families = (family for family in _FAMILIES if fnmatchcase(name, family.name))
    return _BY_NAME.get(name) or next(families, None)


def aliases(name: str) -> tuple[str, ...]:
    """Other spellings under which a metric is written too."""
    row = _BY_NAME.get(name)
    return row.aliases if row else ()


def with_aliases(values: Mapping[str, float]) -> dict[str, float]:
    """The same numbers under their canonical names and all other spellings."""
    return {
        spelling: value for name, value in values.items() for spelling in (name, *aliases(name))
    }
