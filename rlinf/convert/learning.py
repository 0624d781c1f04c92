"""`algorithm`, batches and optimizer of the published RLinf."""

from __future__ import annotations

from rlinf.algorithms.estimators import ESTIMATORS
from rlinf.config import aliases, tree
from rlinf.convert.draft import Draft
from rlinf.convert.tasks import chunk_size
from rlinf.wording import plural

_SAMPLING = ("temperature_train", "temperature_eval", "top_k", "top_p", "do_sample")
_TOP_K = "as there; a bin left out now may be one of them later, 0 leaves none out"
_CRITIC = ("gamma", "gae_lambda", "value_clip", "huber_delta")
_SCHEDULE = ("warmup_style", "lr_warmup_steps_ratio", "min_lr_ratio")


def convert_learning(draft: Draft) -> None:
    """Carries over how data become updates."""
    _fill_evaluation_file(draft)
    for key in ("adv_type", "loss_type", "reward_type", "logprob_type", "entropy_type"):
        name = f"algorithm.{key}"
        draft.put(name, aliases.canonical(name, draft.take(name)))
    method = tree.get(draft.ours, "algorithm.adv_type")
    if method not in ESTIMATORS:
        draft.lose(
            f"algorithm.adv_type = {method}: not part of this version",
            f"choose one of {', '.join(ESTIMATORS)}",
        )
        return
    critic = ESTIMATORS[method].critic
    for key in ("clip_ratio_low", "clip_ratio_high", "entropy_bonus", "update_epoch"):
        draft.carry(f"algorithm.{key}")
    for key in _CRITIC:
        if critic:
            draft.carry(f"algorithm.{key}")
        draft.leave(f"algorithm.{key}", "there is no critic")
    _convert_bootstrap(draft, critic)
    _convert_filter(draft)
    _convert_epochs(draft)
    _convert_sampling(draft)
    draft.put("actor.model.add_value_head", critic)
    draft.take("actor.model.add_value_head")
    if critic:
        draft.put("actor.model.value_type", tree.get(draft.ours, "algorithm.reward_type"))
    for key in ("seed", "micro_batch_size", "global_batch_size", "training_backend"):
        draft.carry(f"actor.{key}")
    _convert_optimizer(draft, critic)


def _fill_evaluation_file(draft: Draft) -> None:
    """A file for evaluation alone says nothing of training; a method without critic needs least."""
    if draft.look("runner.only_eval") and not draft.look("algorithm.adv_type"):
        said = "not in the file, which evaluates only"
        draft.put("algorithm.loss_type", "actor", said)
        tree.put(draft.theirs, "algorithm.adv_type", "reinforce_plus_plus")
        for key in ("actor.micro_batch_size", "actor.global_batch_size"):
            if draft.look(key) is None:
                draft.put(key, 1, said)


def _convert_bootstrap(draft: Draft, critic: bool) -> None:
    """v0.1 added V at every end of an episode, a success included; v0.3 has a key for it."""
    given = draft.take("algorithm.bootstrap_type")
    if not critic:
        return
    if not tree.get(draft.ours, "env.train.auto_reset"):
        draft.remarks["env.train.auto_reset"] = (
            "a time limit adds V(last observation) here; there nothing did without auto_reset"
        )
    elif (given or ("standard" if draft.dialect == "v0.3" else "always")) == "always":
        draft.put("algorithm.bootstrap", "always", "an end adds V there, also one by success")


def _convert_filter(draft: Draft) -> None:
    bounds = ("algorithm.rewards_lower_bound", "algorithm.rewards_upper_bound")
    if draft.look("algorithm.filter_rewards"):
        for key in ("algorithm.filter_rewards", *bounds):
            draft.carry(key)
        return
    draft.take("algorithm.filter_rewards")
    for key in bounds:
        draft.leave(key, "filter_rewards is false")


def _convert_epochs(draft: Draft) -> None:
    draft.put(
        "algorithm.rollout_epoch",
        draft.take("env.train.rollout_epoch", "algorithm.rollout_epoch"),
    )
    draft.put(
        "algorithm.eval_rollout_epoch",
        draft.take("env.eval.rollout_epoch", "algorithm.eval_rollout_epoch"),
    )


def _convert_sampling(draft: Draft) -> None:
    ours = "algorithm.sampling_params"
    is_mlp = tree.get(draft.ours, "actor.model.model_type") == "mlp"
    for key in _SAMPLING:
        value = draft.take(f"{ours}.{key}", f"rollout.sampling_params.{key}")
        if key == "top_k" and value is not None:
            value = max(value, 0)
        if key == "do_sample" and value is None:
            value = True
        if not is_mlp:
            chosen = key == "top_k" and value
            draft.put(f"{ours}.{key}", value, _TOP_K if chosen else "")
        elif value is not None:
            draft.left_out.append((f"{ours}.{key} = {value}", "the policy has no tokens to draw"))
    if is_mlp:
        draft.put(f"{ours}.do_sample", False, "evaluates the mean action, as maniskill_ppo_mlp")


def _convert_optimizer(draft: Draft, critic: bool) -> None:
    optim = "actor.optim"
    for key in ("lr", "adam_beta1", "adam_beta2", "clip_grad"):
        draft.carry(f"{optim}.{key}")
    for key in ("adam_eps", "weight_decay"):
        if draft.dialect == "v0.3":
            draft.carry(f"{optim}.{key}")
        draft.leave(f"{optim}.{key}", "it reached no optimizer there: eps 1e-8, decay 0.01")
    for key in ("value_lr", "critic_warmup_steps"):
        if critic:
            draft.put(f"{optim}.{key}", draft.take(f"{optim}.{key}") or None)
        draft.leave(f"{optim}.{key}", "there is no critic")
    for key in _SCHEDULE:
        draft.carry(f"{optim}.{key}")
    updates = _updates(draft)
    for key in ("lr_warmup_steps", "total_training_steps"):
        steps = draft.take(f"{optim}.{key}")
        if steps is not None and steps > 0:
            draft.put(
                f"{optim}.{key}",
                steps * updates,
                f"{plural(steps, 'iteration')} there, of {plural(updates, 'update')} each",
            )
    if draft.look(f"{optim}.num_cycles") not in (None, 0.5):
        draft.lose(
            f"{optim}.num_cycles = {draft.take(f'{optim}.num_cycles')}: the cosine here is half a "
            "wave",
            f"set {optim}.num_cycles: 0.5",
        )


def _updates(draft: Draft) -> int:
    """Optimizer steps of an iteration."""

    def ours(key: str) -> int:
        return int(tree.get(draft.ours, key) or 1)

    chunks = ours("env.train.max_steps_per_rollout_epoch") // chunk_size(draft)
    samples = chunks * ours("env.train.total_num_envs") * ours("algorithm.rollout_epoch")
    passes = ours("algorithm.update_epoch") * samples
    return max(1, passes // ours("actor.global_batch_size"))
