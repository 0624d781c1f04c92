"""Rules of `imitation`: there are demonstrations, and the policy can learn from them."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from rlinf.config.imitation import ImitationConfig
from rlinf.config.problems import Problem
from rlinf.config.schema import Config
from rlinf.registry import experts


def check(config: Config) -> Iterator[Problem]:
    """All problems of the section, if there is one."""
    settings = config.imitation
    if settings is None:
        return
    yield from _source(settings)
    yield from _policy(settings, config)
    yield from _intervals(settings)
    if settings.expert is not None:
        yield from _expert(settings, settings.expert, config)


def _source(settings: ImitationConfig) -> Iterator[Problem]:
    if not settings.data and settings.expert is None:
        yield Problem(
            "imitation.data is empty and there is no imitation.expert: there are no demonstrations",
            "set imitation.data=[FOLDER] to a LeRobot data set, or name an expert",
        )
    if settings.expert is not None and settings.num_demonstrations is None:
        yield Problem(
            f"imitation.num_demonstrations is missing, imitation.expert is {settings.expert}",
            "set imitation.num_demonstrations=500",
        )


def _policy(settings: ImitationConfig, config: Config) -> Iterator[Problem]:
    model = config.actor.model
    if not model.imitates:
        yield Problem(
            f"imitation with actor.model.model_type = {model.model_type}: this policy learns by "
            "reinforcement alone",
            "leave the section imitation out, or use model@actor.model=tiny_vla",
        )
    elif settings.label_smoothing_bins and not model.draws_tokens:
        yield Problem(
            f"imitation.label_smoothing_bins = {settings.label_smoothing_bins}: the actions of "
            f"{model.model_type} are not tokens of bins",
            "set imitation.label_smoothing_bins=0",
        )
    if settings.statistics == "model" and not (model.model_path or config.runner.ckpt_path):
        yield Problem(
            "imitation.statistics = model: without actor.model.model_path the policy starts from "
            "random weights and has no statistics of actions",
            "set imitation.statistics=data, or actor.model.model_path to a trained policy",
        )


def _intervals(settings: ImitationConfig) -> Iterator[Problem]:
    every = settings.log_interval
    for name in ("eval_interval", "save_interval"):
        value = getattr(settings, name)
        if value > 0 and value % every:
            yield Problem(
                f"imitation.{name} = {value}: must be a multiple of imitation.log_interval = "
                f"{every}",
                f"try {max(1, round(value / every)) * every}",
            )


def _expert(settings: ImitationConfig, expert: str, config: Config) -> Iterator[Problem]:
    """The expert can do the task."""
    model, env, known = config.actor.model, config.env.train, experts()
    task = env.init_params.task_id()
    if expert not in known:
        near = get_close_matches(expert, known, n=1)
        yield Problem(
            f"imitation.expert = {expert}: no such expert; there are {', '.join(known)}",
            f"write {near[0]}" if near else "choose one of them",
        )
    elif (env.simulator_type, task) != (known[expert][0], known[expert][1].task):
        simulator, able = known[expert]
        yield Problem(
            f"imitation.expert = {expert}: it can do {able.task} of {simulator}, "
            f"env.train is {task or 'another task'} of {env.simulator_type}",
            "leave the section imitation out, or train on the expert's task",
        )
    if settings.disturb_every < model.num_action_chunks:
        yield Problem(
            f"imitation.disturb_every = {settings.disturb_every}: no chunk of "
            f"{model.num_action_chunks} undisturbed actions would fit in",
            f"set imitation.disturb_every={model.num_action_chunks + 3}",
        )
