"""What lies in the memory of each GPU in each phase of an iteration, and what makes it fit.

Pure: computed from the sizes of the model and of the batches, before anything starts. Bytes of
weights, gradients, optimizer and buffers follow from the tensors there are. Those marked as assumed
(contexts, simulators) are round numbers that no run of ours has measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from rlinf.config.base import Precision, Section
from rlinf.config.derive import EnvPlan, Placement, Plan, accumulates, needs_fsdp
from rlinf.config.problems import Problem
from rlinf.config.schema import Component, Config, EnvConfig

Phase = Literal["collects", "evaluates", "syncs", "trains"]
PHASES: tuple[Phase, ...] = ("collects", "evaluates", "syncs", "trains")
_ACTING: tuple[Phase, ...] = ("collects", "evaluates")

CONTEXT_BYTES = 600_000_000
"""CUDA context, kernels and cuBLAS workspace of a process that computes. Assumed."""
NCCL_BYTES = 400_000_000
"""Buffers of the process group of several actor ranks. Assumed."""
_BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2}


Way = tuple[str, bool | int]  # key and value
SectionT = TypeVar("SectionT", bound=Section)


def phases(config: Config) -> list[Phase]:
    """Those that a run has."""
    training: list[Phase] = [] if config.runner.only_eval else ["collects", "syncs", "trains"]
    return [p for p in PHASES if p in training or (p == "evaluates" and config.runner.evaluates)]


@dataclass(frozen=True, slots=True)
class Held:
    """Something that one process holds on its GPU."""

    owner: Component
    what: str
    size: int  # bytes
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU and what lies in its memory."""

    node: int
    index: int  # on its node
    held: tuple[Held, ...]

    def at(self, phase: Phase) -> int:
        """Bytes in a phase."""
        return sum(held.size for held in self.held if phase in held.phases)

    @property
    def most(self) -> int:
        """Bytes in the phase that has the most."""
        return max(map(self.at, PHASES))


def devices(config: Config, plan: Plan, shards: int | None = None) -> tuple[Device, ...]:
    """Every GPU that a process computes on.

    Args:
        shards: actor ranks that hold one copy of the weights together; None for those of the plan.
    """
    shards = shards or plan.shard_size
    of_a_process: dict[Component, list[Held]] = {
        "env": list(_env(config, plan)),
        "rollout": list(_rollout(config, plan)),
        "actor": [] if config.runner.only_eval else list(_actor(config, plan.placement, shards)),
    }
    found: dict[tuple[int, int], list[Held]] = {}
    for component, parts in of_a_process.items():
        for process in plan.placement[component]:
            if process.kind == "accelerator":  # it computes on the first that it owns
                held = found.setdefault((process.node, process.resources[0]), [])
                held += [part for part in parts if part.size]
    return tuple(Device(*where, tuple(held)) for where, held in sorted(found.items()))


def fullest(found: Sequence[Device]) -> Device | None:
    """The device with the most in its memory."""
    return max(found, key=lambda device: device.most, default=None)


def problem(config: Config, plan: Plan, size: int | None) -> Problem | None:
    """What does not fit, and the first settings that make it fit.

    Args:
        size: bytes of a GPU's memory; None where it is not known, and nothing is held against it.
    """
    full = fullest(devices(config, plan))
    if size is None or full is None or full.most <= size:
        return None
    phase = max(phases(config), key=full.at)
    parts = sorted((held for held in full.held if phase in held.phases), key=lambda h: -h.size)
    listed = ", ".join(f"{h.owner} {h.what} {h.size / 1e9:.1f}" for h in parts[:5])
    return Problem(
        f"GPU {full.index} of node {full.node} needs {full.most / 1e9:.1f} GB while the run "
        f"{phase} ({listed}), and has {size / 1e9:.1f} GB (cluster.accelerator_memory_gb)",
        fitting(config, plan, size),
    )


def fitting(config: Config, plan: Plan, size: int) -> str:
    """The settings after which it fits, as words: the first of `_ways` that do, without those that
    are not needed.
    """
    ways = list(_ways(config, plan))
    actors = len(plan.placement["actor"])
    for factor in (1, 2, 4, 8, 16, 32, 64):
        shards = plan.shard_size * factor

        def fits(chosen: Sequence[Way], shards: int = shards) -> bool:
            changed = config
            for key, value in chosen:
                changed = _with(changed, key, value)
            full = fullest(devices(changed, plan, shards))
            return full is not None and full.most <= size

        first = next((n for n in range(len(ways) + 1) if fits(ways[:n])), None)
        if first is None:
            continue
        chosen = ways[:first]
        for way in reversed(ways[:first]):  # what costs more time goes first
            without = [one for one in chosen if one is not way]
            chosen = without if fits(without) else chosen
        settings = " ".join(f"{key}={str(value).lower()}" for key, value in chosen)
        places = f"place actor on {factor * actors} GPUs" if factor > 1 else ""
        return " and ".join(part for part in (places, f"set {settings}" * bool(chosen)) if part)
    return "take GPUs with more memory, or place env, rollout and actor on GPUs of their own"


def _ways(config: Config, plan: Plan) -> Iterator[Way]:
    """Settings that need less memory, those that cost the least time first."""
    beside = neighbours(plan.placement, "actor")
    model, evaluates = config.actor.model, config.runner.evaluates
    if "rollout" in beside:
        yield "rollout.enable_offload", True
    if beside:
        yield "actor.enable_offload", True
    if "env" in beside or evaluates:
        yield "env.enable_offload", True
    yield "actor.fsdp_config.enable_gradient_accumulation", False
    if model.recomputes:
        yield "actor.model.gradient_checkpointing", True
    size = config.actor.micro_batch_size
    while size % 2 == 0:
        size //= 2
        yield "actor.micro_batch_size", size
    rows = config.rollout.max_batch_size or max(plan.train.per_stage, plan.eval.per_stage)
    while rows > 1:
        rows //= 2
        yield "rollout.max_batch_size", rows
    if "is_lora" in type(model).model_fields:
        yield "actor.model.is_lora", True


def _with(config: SectionT, key: str, value: object) -> SectionT:
    """A section with another value of a dotted key."""
    name, _, below = key.partition(".")
    changed = _with(getattr(config, name), below, value) if below else value
    return config.model_copy(update={name: changed})


def neighbours(placement: Placement, component: Component) -> set[Component]:
    """The other components of which a process computes on a GPU of this one."""
    owned = {
        name: {(p.node, p.resources[0]) for p in ranks if p.kind == "accelerator"}
        for name, ranks in placement.items()
    }
    mine = owned[component]
    return {name for name, gpus in owned.items() if name != component and gpus & mine}


def _env(config: Config, plan: Plan) -> Iterator[Held]:
    """Simulators and their renderers; those of training and of evaluation live side by side."""
    stages = config.rollout.pipeline_stage_num
    parts: tuple[tuple[EnvConfig, int, int, Phase, bool], ...] = (
        (
            config.env.train,
            plan.train.per_stage,
            plan.train.simulator_processes,
            "collects",
            not config.runner.only_eval,
        ),
        (
            config.env.eval,
            plan.eval.per_stage,
            plan.eval.simulator_processes,
            "evaluates",
            config.runner.evaluates,
        ),
    )
    for env, rows, processes, phase, used in parts:
        if used:
            size = env.init_params.device_bytes(rows) * (processes or stages)
            away = config.env.enable_offload and not processes  # sub-processes keep their renderer
            name = "simulators" if phase == "collects" else "simulators of evaluation"
            yield Held("env", f"{name} (assumed)", size, (phase,) if away else PHASES)


def _rollout(config: Config, plan: Plan) -> Iterator[Held]:
    model, away = config.actor.model, config.rollout.enable_offload
    yield Held("rollout", "context (assumed)", CONTEXT_BYTES, PHASES)
    weights = model.num_parameters() * _BYTES[model.precision]
    yield Held("rollout", "weights", weights, (*_ACTING, "syncs") if away else PHASES)
    passes = model.footprint()
    if passes is None:
        return
    parts: tuple[tuple[EnvPlan, Phase], ...] = (
        (plan.train, "collects"),
        (plan.eval, "evaluates"),
    )
    for part, phase in parts:
        if phase not in phases(config):
            continue
        rows = min(part.per_stage, config.rollout.max_batch_size or part.per_stage)
        recorded = config.rollout.compile in ("cuda_graphs", "both")  # in memory that stays
        yield Held("rollout", "KV cache", rows * passes.cache, PHASES if recorded else (phase,))
        yield Held("rollout", "forward pass", rows * passes.acting, (phase,))


def _actor(config: Config, placement: Placement, shards: int) -> Iterator[Held]:
    actor, model, world = config.actor, config.actor.model, len(placement["actor"])
    fsdp, trained = actor.fsdp_config, model.num_trainable()
    form, summed = _BYTES[model.precision], _BYTES[fsdp.mixed_precision.reduce_dtype]
    frozen = (model.num_parameters() - trained) * form
    sharded = needs_fsdp(actor, shards)
    updating: tuple[Phase, ...] = ("trains",)
    stays: tuple[Phase, ...] = ("trains",) if actor.enable_offload else PHASES
    yield Held("actor", "context (assumed)", CONTEXT_BYTES + NCCL_BYTES * (world > 1), PHASES)
    if not fsdp.cpu_offload:
        yield Held("actor", "weights", -(-(4 * trained + frozen) // shards), stays)
        yield Held("actor", "Adam", -(-8 * trained // shards), stays)
        yield Held("actor", "gradients", -(-4 * trained // shards), updating)
    if sharded and accumulates(fsdp, shards):
        yield Held("actor", "unsharded gradients", trained * summed, updating)
    if not sharded and world > 1:
        yield Held("actor", "gradients in one message", 4 * trained, updating)
    passes = model.footprint()
    if passes is None:
        return
    if sharded:
        # The layer that computes, the next one, and what is no layer; then their gradients.
        gathered = passes.outside + 2 * passes.layer
        learning = min(gathered, trained)
        yield Held("actor", "gathered weights", gathered * form, updating)
        yield Held("actor", "gradients to be summed", learning * (form + summed), updating)
    rows = actor.micro_batch_size
    yield Held("actor", "activations", rows * (passes.kept + passes.live), updating)
    largest = passes.outside // 2  # a tensor at a time, in both formats
    if not actor.enable_offload:
        yield Held("actor", "weights under way", largest * (4 + form), ("syncs",))
