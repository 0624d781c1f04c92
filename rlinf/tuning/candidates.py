"""Which settings may change, and the sizes at which each choice of them is measured.

What a policy learns from stays as it is: samples per iteration, global batch, update epochs, group
size. W_e env workers, P stages, G group size, W_a actor ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rlinf.config.load import Loaded, load
from rlinf.config.schema import COMPONENTS, Config
from rlinf.errors import UserError
from rlinf.tuning.throughput import Size

Choice = Mapping[str, str | int | bool]
"""Dotted keys and their values."""

STAGES = "rollout.pipeline_stage_num"
ENVS = "env.train.total_num_envs"
STEPS = "env.train.max_steps_per_rollout_epoch"
LIMIT = "env.train.max_episode_steps"
EPOCHS = "algorithm.rollout_epoch"
MICRO = "actor.micro_batch_size"
GLOBAL = "actor.global_batch_size"
OFFLOADS = tuple(f"{component}.enable_offload" for component in COMPONENTS)
PLACES = "cluster.component_placement"


def overrides(settings: Choice) -> list[str]:
    """As on the command line."""
    return [f"{key}={str(value).lower()}" for key, value in settings.items()]


def loaded_with(name: str, given: Sequence[str], settings: Choice) -> Loaded | None:
    """The configuration with these settings; None where its rules or the memory refuse them."""
    try:
        return load(name, [*given, *overrides(settings)])
    except UserError:
        return None


def variants(loaded: Loaded) -> Iterator[Choice]:
    """Choices that have to be measured: stages, placement and offload. The present one is first."""
    config, plan = loaded.config, loaded.plan
    present = config.rollout.pipeline_stage_num
    offloads: list[Choice] = [{}]
    places: list[Choice] = [{}]
    if plan.on_accelerators:
        offloads.append(dict.fromkeys(OFFLOADS, False))
        places += _placements(plan.nodes[0].accelerators * len(plan.nodes))
    for place in places:
        for offload in offloads:
            for stages in dict.fromkeys((present, 1, 2)):
                changed = {} if stages == present else {STAGES: stages}
                yield {**place, **offload, **changed}


def _placements(gpus: int) -> Iterator[Choice]:
    """Everything on every GPU; simulators and policy on halves of them."""
    yield {f"{PLACES}.{component}": "all" for component in COMPONENTS}
    if gpus > 1:
        half = gpus // 2
        yield {
            f"{PLACES}.env": f"0-{half - 1}" if half > 1 else "0",
            f"{PLACES}.rollout": f"{half}-{gpus - 1}" if gpus - half > 1 else f"{half}",
            f"{PLACES}.actor": "all",
        }


def sizes(loaded: Loaded) -> Iterator[Choice]:
    """Numbers of sub-envs and micro-batches with the same samples and updates."""
    config, batch = loaded.config, loaded.plan.batch
    ranks = len(loaded.plan.placement["actor"])
    micros = [m for m in _around(config.actor.micro_batch_size) if batch.samples % (m * ranks) == 0]
    for envs in _around(config.env.train.total_num_envs):
        spread = _with_envs(config, envs)
        if spread is None:
            continue
        for micro in micros:
            if config.actor.global_batch_size % (micro * ranks) == 0:
                yield spread if micro == config.actor.micro_batch_size else {**spread, MICRO: micro}


def _around(number: int) -> list[int]:
    """The number first, then its double and its half."""
    return [number, 2 * number, *([number // 2] if number % 2 == 0 else [])]


def _with_envs(config: Config, envs: int) -> Choice | None:
    """`envs` sub-envs that collect as many samples as now: with partial reset each does fewer or
    more steps, with fixed episodes there are fewer or more rollout epochs. None if it does not
    divide.
    """
    train, chunk = config.env.train, config.actor.model.num_action_chunks
    if envs == train.total_num_envs:
        return {}
    if train.auto_reset:
        steps, rest = divmod(train.max_steps_per_rollout_epoch * train.total_num_envs, envs)
        return None if rest or steps % chunk else {ENVS: envs, STEPS: steps}
    epochs, rest = divmod(config.algorithm.rollout_epoch * train.total_num_envs, envs)
    return None if rest or not epochs else {ENVS: envs, EPOCHS: epochs}


def probe_sizes(loaded: Loaded) -> list[Choice]:
    """Two small iterations from which the speed of all others follows."""
    config, plan = loaded.config, loaded.plan
    actor, train, chunk = config.actor, config.env.train, config.actor.model.num_action_chunks
    unit = len(plan.placement["env"]) * config.rollout.pipeline_stage_num * train.group_size
    ranks, chunk_steps = len(plan.placement["actor"]), max(1, plan.batch.chunk_steps // 2)
    found: list[Choice] = []
    for part in (2, 1):
        envs = max(unit, train.total_num_envs // part // unit * unit)
        per_rank, rest = divmod(chunk_steps * envs, ranks)
        if rest:
            continue
        micro = _divisor(per_rank, max(1, actor.micro_batch_size // part))
        accumulation = _divisor(per_rank // micro, plan.batch.accumulation)
        steps = chunk_steps * chunk
        limit = {} if train.auto_reset else {LIMIT: steps}
        settings = {
            ENVS: envs,
            STEPS: steps,
            **limit,
            EPOCHS: 1,
            MICRO: micro,
            GLOBAL: micro * accumulation * ranks,
        }
        if settings not in found:
            found.append(settings)
    return found


def _divisor(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`."""
    return next(d for d in range(min(number, most), 0, -1) if number % d == 0)


def size_of(loaded: Loaded) -> Size:
    """What an iteration does."""
    config, batch = loaded.config, loaded.plan.batch
    samples = batch.samples_per_rank * config.algorithm.update_epoch
    return Size(
        chunk_steps=batch.chunk_steps * config.algorithm.rollout_epoch,
        envs=config.env.train.total_num_envs,
        micro_batches=samples // config.actor.micro_batch_size,
        samples=samples,
    )
