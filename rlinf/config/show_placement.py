"""Who sits where and when: a row per resource, a column for each phase of an iteration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table

from rlinf.config.derive import Placement, Plan
from rlinf.config.placement import Kind, ProcessPlacement
from rlinf.config.schema import COMPONENTS, Component, Config, NodeGroup

PHASES: tuple[tuple[str, tuple[Component, ...]], ...] = (
    ("collects", ("env", "rollout")),
    ("trains", ("actor",)),
)
"""What an iteration does, one after the other, and who works then."""
EVALUATION: tuple[tuple[str, tuple[Component, ...]], ...] = (("evaluates", ("env", "rollout")),)
_RESOURCE_NAMES: dict[Kind, str] = {"accelerator": "GPU", "cpu": "CPU slot", "node": "as a whole"}


@dataclass(frozen=True, slots=True)
class _Resource:
    node: int
    kind: Kind
    index: int
    owners: dict[Component, tuple[ProcessPlacement, ...]]

    @property
    def pattern(self) -> tuple[object, ...]:
        """Neighbours with the same pattern share a row."""
        shares = {
            name: (len(found), {len(process.resources) for process in found})
            for name, found in self.owners.items()
        }
        return self.node, self.kind, tuple(shares.items())


def render(config: Config, plan: Plan) -> RenderableType:
    """The placement of a run."""
    stages = config.rollout.pipeline_stage_num
    only_eval = config.runner.only_eval
    phases, doing = (EVALUATION, "evaluating") if only_eval else (PHASES, "collecting")
    names = [name for _, names in phases for name in names]
    title = f"[italic]placement: {layout(plan.placement, names)}[/italic]"
    table = Table(box=None, pad_edge=False)
    for header in ("", *(name for name, _ in phases)):
        table.add_column(header)
    for _, neighbours in groupby(_resources(plan), key=lambda resource: repr(resource.pattern)):
        row = list(neighbours)
        table.add_row(_span(row), *(_working(row, at_work) for _, at_work in phases))
    how = (
        f"{doing}, the {stages} stages of an env worker take turns: one simulates while the "
        "others wait for actions"
        if stages > 1
        else f"{doing}, env and rollout workers wait for each other; "
        "rollout.pipeline_stage_num=2 lets them work at the same time"
    )
    return Group(title, table, how, *(_group(group) for group in config.cluster.node_groups))


def layout(placement: Placement, components: Sequence[Component]) -> str:
    """`shared`, `separate`, or `hybrid` where only some of the components share resources."""
    owned = [
        {(p.node, p.kind, index) for p in placement[name] for index in p.resources or (-1,)}
        for name in components
    ]
    pairs = [(a, b) for i, a in enumerate(owned) for b in owned[:i]]
    if all(a == b for a, b in pairs):
        return "shared, all components on the same resources"
    if not any(a & b for a, b in pairs):
        return "separate, each component on resources of its own"
    return "hybrid, some resources are shared"


def _resources(plan: Plan) -> Iterator[_Resource]:
    """Every resource of the kinds that some process counts."""
    kinds = {process.kind for ranks in plan.placement.values() for process in ranks}
    for number, node in enumerate(plan.nodes):
        counts: dict[Kind, int] = {
            "accelerator": node.accelerators,
            "cpu": node.cpu_slots,
            "node": 1,
        }
        for kind, count in counts.items():
            for index in range(count if kind in kinds else 0):
                owners = {name: _owners(plan, name, number, kind, index) for name in COMPONENTS}
                yield _Resource(number, kind, index, owners)


def _owners(
    plan: Plan, name: Component, node: int, kind: Kind, index: int
) -> tuple[ProcessPlacement, ...]:
    return tuple(
        process
        for process in plan.placement[name]
        if (process.node, process.kind) == (node, kind)
        and (index in process.resources or kind == "node")
    )


def _span(row: Sequence[_Resource]) -> str:
    first, kind = row[0], _RESOURCE_NAMES[row[0].kind]
    if first.kind == "node":
        return f"node {first.node} {kind}"
    return f"node {first.node} {kind} {ranges([resource.index for resource in row])}"


def _working(row: Sequence[_Resource], names: Sequence[Component]) -> str:
    """`env 0-3, rollout 0-1 (2 GPUs each)`, or `idle`."""
    parts = []
    for name in names:
        processes = {p.rank: p for resource in row for p in resource.owners[name]}
        if not processes:
            continue
        each, here = len(next(iter(processes.values())).resources), len(row[0].owners[name])
        note = f" ({each} each)" if each > 1 else f" ({here} on each)" * (here > 1 and len(row) > 1)
        parts.append(f"{name} {ranges(sorted(processes))}{note}")
    return ", ".join(parts) or "[dim]idle[/dim]"


def _group(group: NodeGroup) -> str:
    """`node group sim: nodes 1-2, python /opt/sim/bin/python, sets OMNI_KIT_ACCEPT_EULA`."""
    lines = [
        ("" if part.node_ranks is None else f"on {part.node_ranks}: ")
        + ", ".join(
            [f"python {part.python_interpreter_path}"] * (part.python_interpreter_path is not None)
            + [f"sets {', '.join(part.env_vars)}"] * bool(part.env_vars)
        )
        for part in group.env_configs
    ]
    return "; ".join([f"node group {group.label}: nodes {group.node_ranks}", *lines])


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers in short: `0-3,7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
