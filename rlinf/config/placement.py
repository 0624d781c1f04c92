"""Who runs where: from `cluster.component_placement` to one entry per process. Pure, no Ray.

The short form is `RES[:PROC],...`: RES is `a`, `a-b` (inclusive) or `all`, PROC is `a` or `a-b`.

- Without PROC there is one process per resource, ranks continuing from the segment before.
- With PROC the processes spread evenly over the resources; the larger count is a multiple of the
  smaller one. A process may own several resources, but only of one node.

`0-1:0-3,3-5,7-10:7-14` puts processes 0-3 on resources 0-1 (two on each), 4-6 on 3-5 and 7-14 on
7-10 (two on each).

A resource is an accelerator, or a CPU slot where a cluster or node group has no accelerator, and
ranks count over all nodes of the cluster or group. In the reserved group `node` a resource is a
whole node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from rlinf.config.schema import COMPONENTS, Component, GroupPlacement, NodeGroup
from rlinf.errors import UserError
from rlinf.wording import plural

Kind = Literal["accelerator", "cpu", "node"]
ComponentPlacement = str | int | Mapping[str, str | int | GroupPlacement]

CLUSTER_GROUP = "cluster"
NODE_GROUP = "node"
KEY = "cluster.component_placement"
_KIND_NAMES: dict[Kind, str] = {"accelerator": "accelerator", "cpu": "CPU slot", "node": "node"}
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True, slots=True)
class Node:
    """What one machine offers."""

    accelerators: int
    cpu_slots: int


@dataclass(frozen=True, slots=True)
class ProcessPlacement:
    """One process of a component."""

    rank: int  # within its component, 0..P-1
    node: int  # node rank
    resources: tuple[int, ...]  # indices on that node, of the given kind; () for whole nodes
    kind: Kind
    node_group: str  # label, `cluster` without one


@dataclass(frozen=True, slots=True)
class _Resource:
    node: int
    index: int  # on its node


@dataclass(frozen=True, slots=True)
class _Pool:
    """The resources one placement string counts through."""

    label: str
    kind: Kind
    resources: tuple[_Resource, ...]

    def describe(self) -> str:
        """For messages: `2 CPU slots (0-1) on 1 node`."""
        count, nodes = len(self.resources), len({r.node for r in self.resources})
        where = "" if self.label == CLUSTER_GROUP else f" in node group {self.label}"
        ranks = "0" if count == 1 else f"0-{count - 1}"
        return (
            f"{plural(count, _KIND_NAMES[self.kind])} ({ranks}) on {plural(nodes, 'node')}{where}"
        )


def parse(
    component_placement: ComponentPlacement,
    nodes: Sequence[Node],
    node_groups: Sequence[NodeGroup] = (),
) -> dict[Component, tuple[ProcessPlacement, ...]]:
    """Places every component.

    Args:
        component_placement: one value for all components, or a map from components to values.
        nodes: what each node of the cluster offers, by node rank.
        node_groups: named parts of the cluster.

    Returns:
        For each component its processes in rank order.
    """
    values = split_components(component_placement)
    pools = _pools(nodes, node_groups)
    return {name: _place(name, values[name], pools) for name in COMPONENTS}


def split_components(
    component_placement: ComponentPlacement,
) -> dict[Component, str | int | GroupPlacement]:
    """One placement value per component.

    `env,rollout: 0-3` counts for both. A key of one component wins over a key that joins several,
    so that `component_placement.env=0` on the command line changes `env,rollout,actor: all`.
    """
    if isinstance(component_placement, str | int):
        return dict.fromkeys(COMPONENTS, component_placement)
    alone: dict[Component, str | int | GroupPlacement] = {}
    joined: dict[Component, str | int | GroupPlacement] = {}
    for key, value in component_placement.items():
        parts = key.split(",")
        values = alone if len(parts) == 1 else joined
        for part in parts:
            name = _component(part.strip(), key)
            if name in values:
                raise UserError(
                    f"{KEY}: {name} is placed twice, again by the key '{key}'",
                    f"remove one; to place all components alike: {KEY}=all",
                )
            values[name] = value
    values = joined | alone
    missing = [name for name in COMPONENTS if name not in values]
    if missing:
        raise UserError(
            f"{KEY}: no placement for {', '.join(missing)}",
            f"add for example {KEY}.{missing[0]}=0",
        )
    return values


def _component(name: str, key: str) -> Component:
    for known in COMPONENTS:
        if name == known:
            return known
    near = get_close_matches(name, COMPONENTS, n=1)
    raise UserError(
        f"{KEY}: unknown component '{name}' in the key '{key}'; there are {', '.join(COMPONENTS)}",
        f"write {near[0]}" if near else "remove it",
    )


def _pools(nodes: Sequence[Node], node_groups: Sequence[NodeGroup]) -> dict[str, _Pool]:
    everywhere = range(len(nodes))
    pools = {
        CLUSTER_GROUP: _pool(CLUSTER_GROUP, nodes, everywhere),
        NODE_GROUP: _Pool(NODE_GROUP, "node", tuple(_Resource(n, 0) for n in everywhere)),
    }
    for group in node_groups:
        key = f"cluster.node_groups.{group.label}"
        if group.label in pools:
            raise UserError(
                f"{key}: the label is taken ({CLUSTER_GROUP} and {NODE_GROUP} are reserved)",
                "choose another label",
            )
        ranks = parse_ranks(str(group.node_ranks), f"{key}.node_ranks")
        outside = [rank for rank in ranks if rank >= len(nodes)]
        if outside:
            raise UserError(
                f"{key}.node_ranks = {group.node_ranks}: node {outside[0]} does not exist, "
                f"cluster.num_nodes is {len(nodes)}",
                "raise cluster.num_nodes or name other nodes",
            )
        pools[group.label] = _pool(group.label, nodes, ranks)
    return pools


def _pool(label: str, nodes: Sequence[Node], ranks: Sequence[int]) -> _Pool:
    has_accelerators = any(nodes[rank].accelerators for rank in ranks)
    kind: Kind = "accelerator" if has_accelerators else "cpu"
    counts = {
        rank: nodes[rank].accelerators if has_accelerators else nodes[rank].cpu_slots
        for rank in ranks
    }
    resources = tuple(_Resource(rank, i) for rank in ranks for i in range(counts[rank]))
    return _Pool(label, kind, resources)


def parse_ranks(text: str, key: str) -> list[int]:
    """`0-3,7` as [0, 1, 2, 3, 7]; `key` names the value in messages."""
    return [rank for part in text.split(",") for rank in _range(part, key, text)]


def _range(text: str, key: str, whole: str) -> range:
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise UserError(
            f"{key} = {whole}: cannot read '{text.strip()}'",
            "write ranks as 3, 0-3 or 0-1,4 and processes after a colon, in quotes: '0-1:0-3'",
        )
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise UserError(
            f"{key} = {whole}: the range {text.strip()} runs backwards", "swap its ends"
        )
    return range(first, last + 1)


def _place(
    component: Component, value: str | int | GroupPlacement, pools: Mapping[str, _Pool]
) -> tuple[ProcessPlacement, ...]:
    key = f"{KEY}.{component}"
    label, text = CLUSTER_GROUP, value
    if isinstance(value, GroupPlacement):
        label, text = value.node_group, value.placement
    if label not in pools:
        raise UserError(
            f"{key}.node_group = {label}: no such group; there are {', '.join(pools)}",
            "name one of them or add it to cluster.node_groups",
        )
    return _processes(str(text), pools[label], key)


def _processes(text: str, pool: _Pool, key: str) -> tuple[ProcessPlacement, ...]:
    placed: dict[int, ProcessPlacement] = {}
    used: set[int] = set()
    next_rank = 0
    for segment in text.split(","):
        resource_text, colon, process_text = segment.partition(":")
        resources = _resource_ranks(resource_text, pool, key, text)
        if used & set(resources):
            raise UserError(
                f"{key} = {text}: resource {min(used & set(resources))} is named twice",
                "several processes on one resource are written RES:PROC, for example '0:0-1'",
            )
        used.update(resources)
        processes = (
            _range(process_text, key, text)
            if colon
            else range(next_rank, next_rank + len(resources))
        )
        for rank, owned in _spread(processes, resources, segment, key).items():
            if rank in placed:
                raise UserError(
                    f"{key} = {text}: process {rank} is placed twice",
                    "number the processes 0, 1, 2, ... over all segments",
                )
            placed[rank] = _process(rank, [pool.resources[i] for i in owned], pool, key, text)
        next_rank = processes[-1] + 1
    if sorted(placed) != list(range(len(placed))):
        missing = next(rank for rank in range(len(placed)) if rank not in placed)
        raise UserError(
            f"{key} = {text}: there is no process {missing}, but one with rank {max(placed)}",
            f"number the {len(placed)} processes 0 to {len(placed) - 1}",
        )
    return tuple(placed[rank] for rank in range(len(placed)))


def _resource_ranks(text: str, pool: _Pool, key: str, whole: str) -> range:
    if text.strip() == "all":
        return range(len(pool.resources))
    ranks = _range(text, key, whole)
    if ranks[-1] >= len(pool.resources):
        raise UserError(
            f"{key} = {whole}: resource {max(ranks[0], len(pool.resources))} does not exist, "
            f"there are {pool.describe()}",
            f"place everything on what is there with {KEY}=all, "
            f"or this component alone with {key}=0",
        )
    return ranks


def _spread(processes: range, resources: range, segment: str, key: str) -> dict[int, list[int]]:
    """Resource ranks of each process, spread evenly in order."""
    many, few = max(len(processes), len(resources)), min(len(processes), len(resources))
    if many % few:
        raise UserError(
            f"{key}: '{segment.strip()}' spreads {plural(len(processes), 'process')} over "
            f"{plural(len(resources), 'resource')}; one count must be a multiple of the other",
            f"use {few * (many // few)} or {few * (many // few + 1)} instead of {many}",
        )
    share = many // few
    if len(processes) <= len(resources):
        return {p: list(resources[i * share : (i + 1) * share]) for i, p in enumerate(processes)}
    return {p: [resources[i // share]] for i, p in enumerate(processes)}


def _process(
    rank: int, owned: Sequence[_Resource], pool: _Pool, key: str, text: str
) -> ProcessPlacement:
    nodes = sorted({resource.node for resource in owned})
    if len(nodes) > 1:
        raise UserError(
            f"{key} = {text}: process {rank} would own resources of the nodes "
            f"{', '.join(map(str, nodes))}",
            f"a process stays on one node: {key}=all has one on each resource; or use ranges that "
            "end with a node",
        )
    resources = () if pool.kind == "node" else tuple(resource.index for resource in owned)
    return ProcessPlacement(rank, nodes[0], resources, pool.kind, pool.label)
