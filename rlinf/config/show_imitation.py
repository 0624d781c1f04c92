"""The plans of `rlinf sft` and `rlinf collect` as a person reads them."""

from __future__ import annotations

from rich.console import Group, RenderableType

from rlinf.config.load import Loaded
from rlinf.config.show import facts, messages
from rlinf.wording import plural


def render_sft(loaded: Loaded) -> RenderableType:
    """What is learned from, and how."""
    config, settings = loaded.config, loaded.config.imitation
    model = config.actor.model
    parameters = f"{model.model_type} ({model.num_parameters() / 1e6:.1f} M parameters)"
    head = f"[bold]{loaded.name}[/bold]: {parameters} imitates demonstrations"
    where = f"logs: {config.runner.logger.run_dir}"
    if settings is None:  # the command itself says what is missing
        return Group(head, where, *messages(loaded))
    ranks = len(loaded.plan.placement["actor"])
    share = -(-settings.batch_size // ranks)
    micro = min(settings.micro_batch_size or share, share)
    shown = plural(settings.num_demonstrations or 0, "demonstration")
    source = ", ".join(settings.data) or f"{shown} of the expert {settings.expert}"
    rows = [
        ("data", "", source),
        ("start", "", config.runner.ckpt_path or model.model_path or "random weights"),
        ("steps", f"{settings.steps}", f"learning rate {settings.lr:g}, {settings.lr_schedule}"),
        (
            "batch",
            f"{settings.batch_size}",
            f"samples on {plural(ranks, 'rank')}, {plural(-(-share // micro), 'micro-batch')} of "
            f"at most {micro} each",
        ),
        ("held out", f"{settings.holdout:.0%}", "of the episodes"),
    ]
    return Group(head, where, "", facts("imitation", rows), *messages(loaded))


def render_collect(loaded: Loaded) -> RenderableType:
    """Who demonstrates, how often, and where it goes."""
    config, settings = loaded.config, loaded.config.collect
    env, imitation = config.env.train, config.imitation
    who = config.runner.ckpt_path or config.actor.model.model_path or "no weights"
    if settings.source == "expert":
        who = imitation.expert if imitation and imitation.expert else "no expert"
    count = settings.episodes or (imitation and imitation.num_demonstrations)
    rows = [
        (settings.source, "", who),
        ("task", "", env.init_params.task_id() or env.simulator_type),
        ("episodes", f"{count or '-'}", ""),
        ("pictures", settings.images, ""),
        ("data set", "", settings.folder or f"{config.runner.logger.run_dir}/dataset"),
    ]
    head = f"[bold]{loaded.name}[/bold]: demonstrations as a LeRobot data set"
    return Group(head, "", facts("collect", rows), *messages(loaded))
