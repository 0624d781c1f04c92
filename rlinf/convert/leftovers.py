"""Keys of the published RLinf that decide nothing here, and why."""

from __future__ import annotations

from fnmatch import fnmatchcase

from rlinf.config import tree
from rlinf.config.refused import REFUSED
from rlinf.convert.draft import Draft

_DEAD = "it had no reader there"
_EVALUATION = "an evaluation runs every trial once, from its own start"

REASONS: dict[str, str] = {
    "algorithm.clip_ratio_c": "it reached no loss of these models there: the dual clip was off",
    "algorithm.normalize_advantages": f"{_DEAD}: GAE always normalised, as here",
    "algorithm.kl_beta": f"{_DEAD}: the loss had no KL term",
    "algorithm.kl_penalty": f"{_DEAD}: the loss had no KL term",
    "algorithm.reward_coef": "env.train.reward_coef says it",
    "algorithm.sampling_params.use_greedy": f"{_DEAD}; do_sample decides",
    "algorithm.n_eval_chunk_steps": _EVALUATION,
    "env.eval.auto_reset": _EVALUATION,
    "env.eval.group_size": _EVALUATION,
    "env.eval.use_fixed_reset_state_ids": _EVALUATION,
    "env.*.reset_gripper_open": "the gripper is open while things settle, as there",
    "env.*.use_rel_reward": "reward_mode: raw took no difference",
    "env.*.init_params.render_mode": "what is drawn follows from obs_mode and video_cfg",
    "env.*.init_params.sensor_configs": "only its shader pack decides something",
    "env.*.init_params.num_envs": "env.*.total_num_envs says it",
    "actor.model.attn_implementation": "sdpa computes the same and needs no flash-attn",
    "actor.model.value_type": "it is that of algorithm.reward_type",
    "actor.model.image_size": "config.json in the model's folder says it",
    "actor.model.is_lora": "false is the default",
    "actor.model.lora_alpha": "it was lora_rank there, as here",
    "actor.model.use_film": "false is the default",
    "actor.model.use_proprio": "the model reads pictures and text alone",
    "actor.model.num_images_in_input": "the model reads one picture",
    "env.train.video_cfg": "films of training draw every frame; env.train.video_cfg.save_video",
    "env.*.video_cfg": "films go into the run's folder",
    "rollout.model": "the rollout acts with a copy of the actor's policy",
    "rollout.sampling_params": "algorithm.sampling_params says it",
    "runner.weight_sync_interval": "the rollout gets new weights after every update",
}
"""Pattern of a key -> why it is not in our file; what is refused here has its reason there."""

_PATTERNS = {pattern: reason for pattern, (reason, _) in REFUSED.items()} | REASONS


def leave_the_rest(draft: Draft) -> None:
    """Leaves out what nothing took: with its reason, or as not known."""
    is_mlp = tree.get(draft.ours, "actor.model.model_type") == "mlp"
    patterns = _PATTERNS | ({"actor.model.*": "an MLP has no such part"} if is_mlp else {})
    for key in list(tree.keys(draft.theirs)):
        reason = next((r for p, r in patterns.items() if fnmatchcase(key, p)), None)
        if reason is not None:
            draft.leave(key, reason)
        elif not isinstance(draft.look(key), dict):
            draft.ignore(key)
