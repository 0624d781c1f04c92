"""Values that were set although nothing reads them with the other settings: reported, never silent.

A value counts as set where it is not the default.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rlinf.algorithms.estimators import ESTIMATORS
from rlinf.config.derive import Placement, stage_processes
from rlinf.config.schema import Config

Rules = Iterator[tuple[Any, str, bool, str]]
"""Section, keys of it, whether they have an effect, and what takes it from them."""


def warnings(config: Config, placement: Placement) -> list[str]:
    """One for each value without an effect on a training."""
    found = []
    for rules in (_algorithm, _optimizer, _model, _imitation, _elsewhere):
        for section, keys, has_effect, because in rules(config):
            found += [] if has_effect else list(_told(section, keys, because))
    for part in ("train", "eval"):
        for section, keys, has_effect, because in _env(config, part, placement):
            found += [] if has_effect else list(_told(section, keys, because))
    return found


def notes(config: Config) -> list[str]:
    """Values that change what is reported and nothing else, where that is hardly meant."""
    algorithm = config.algorithm
    if algorithm.entropy_bonus or algorithm.entropy_type in ("token", algorithm.logprob_type):
        return []
    return [
        f"algorithm.entropy_type = {algorithm.entropy_type} changes the entropy that is reported "
        "and nothing else, with entropy_bonus = 0"
    ]


def _told(section: Any, keys: str, because: str) -> Iterator[str]:
    """A sentence for each of the keys that is set; `keys` is `above: name name`."""
    above, _, names = keys.partition(": ")
    for name in names.split():
        value, default = getattr(section, name), type(section).model_fields[name].default
        if value != default:
            shown = str(value).lower() if isinstance(value, bool) else value
            yield f"{above}.{name} = {shown} has no effect with {because}"


def _algorithm(config: Config) -> Rules:
    algorithm = config.algorithm
    title, critic = ESTIMATORS[algorithm.adv_type].title, algorithm.critic
    discounts = critic or algorithm.adv_type == "reinforce_plus_plus"
    yield algorithm, "algorithm: gamma", discounts, title
    yield algorithm, "algorithm: gae_lambda bootstrap value_clip huber_delta", critic, title
    yield algorithm, "algorithm: kl_penalty", algorithm.kl_beta > 0, "kl_beta = 0"
    bounds = "algorithm: rewards_lower_bound rewards_upper_bound"
    yield algorithm, bounds, algorithm.filter_rewards, "filter_rewards = false"
    sampling = algorithm.sampling_params
    keys = "algorithm.sampling_params: temperature_eval"
    yield sampling, keys, sampling.do_sample, "do_sample = false"


def _optimizer(config: Config) -> Rules:
    optim, above = config.actor.optim, "actor.optim"
    yield optim, f"{above}: value_lr", config.algorithm.critic, "no critic"
    by_share = optim.lr_warmup_steps == -1
    because = f"lr_warmup_steps = {optim.lr_warmup_steps}"
    yield optim, f"{above}: lr_warmup_steps_ratio", by_share, because
    cosine = optim.warmup_style == "cosine"
    yield optim, f"{above}: min_lr_ratio", cosine, "warmup_style = constant"
    whole = cosine or (by_share and optim.lr_warmup_steps_ratio > 0)
    yield optim, f"{above}: total_training_steps", whole, "a constant rate and no share of warm-up"


def _model(config: Config) -> Rules:
    model = config.actor.model
    for names, because in model.without_effect():
        yield model, f"actor.model: {names}", False, because


def _imitation(config: Config) -> Rules:
    settings = config.imitation
    if settings is None:
        return
    names = "num_demonstrations sound_share flaw disturbance disturb_every"
    yield settings, f"imitation: {names}", settings.expert is not None, "no imitation.expert"
    yield settings, "imitation: gamma", config.actor.model.add_value_head, "no critic"


def _env(config: Config, part: str, placement: Placement) -> Rules:
    env, above = getattr(config.env, part), f"env.{part}"
    video = env.video_cfg
    keys = f"{above}.video_cfg: info_on_video num_envs_shown max_videos"
    yield video, keys, video.save_video, "save_video = false"
    if part == "eval":
        yield video, f"{above}.video_cfg: only", video.save_video, "save_video = false"
        tiled = not video.save_video or video.only is None
        because = f"only = {video.only}, which shows all of them"
        yield video, f"{above}.video_cfg: num_envs_shown", tiled, because
    several = stage_processes(env, 2, placement) > 1
    yield env, f"{above}: num_processes", several, "sub-envs that share one simulator"
    if part == "train":
        keys, grouped = f"{above}: use_fixed_reset_state_ids", env.group_size > 1
        yield env, keys, grouped, "group_size = 1"
    for names, because in env.init_params.without_effect():
        yield env.init_params, f"{above}.init_params: {names}", False, because


def _elsewhere(config: Config) -> Rules:
    runner, logger, cluster = config.runner, config.runner.logger, config.cluster
    smaller = runner.max_epochs if 0 < runner.max_epochs < runner.max_steps else None
    because = f"runner.max_epochs = {smaller}, which is smaller; -1 there lifts it"
    yield runner, "runner: max_steps", smaller is None, because
    smaller = runner.max_steps if 0 < runner.max_steps < runner.max_epochs else None
    because = f"runner.max_steps = {smaller}, which is smaller; -1 there lifts it"
    yield runner, "runner: max_epochs", smaller is None, because
    uploads = any(name in ("wandb", "swanlab") for name in logger.logger_backends)
    because = "neither wandb nor swanlab in logger_backends"
    yield logger, "runner.logger: project_name", uploads, because
    own = cluster.ray_address is None
    yield cluster, "cluster: ray_port", own, f"cluster.ray_address = {cluster.ray_address}"
