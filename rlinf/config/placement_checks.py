"""Rules of node groups, beyond those that the placement parser has."""

from __future__ import annotations

from collections.abc import Iterator

from rlinf.cluster.environment import DEVICES, ranks_of
from rlinf.cluster.placement import parse_ranks
from rlinf.config.base import HIDDEN
from rlinf.config.derive import Placement
from rlinf.config.problems import Problem
from rlinf.config.schema import Config, NodeGroup


def check(config: Config, placement: Placement) -> Iterator[Problem]:
    """What is said of a group applies to somebody, and leaves the devices to the placement.

    Raises:
        UserError: node ranks that cannot be read.
    """
    used = {process.node_group for ranks in placement.values() for process in ranks}
    for group in config.cluster.node_groups:
        key = f"cluster.node_groups.{group.label}.env_configs"
        if group.env_configs and group.label not in used:
            yield Problem(
                f"{key}: no component is placed in this group, so nothing would run with it",
                f"place one there: {{node_group: {group.label}, placement: all}}",
            )
        yield from _environments(group, key)


def _environments(group: NodeGroup, key: str) -> Iterator[Problem]:
    members = parse_ranks(str(group.node_ranks), key)
    for told in group.env_configs:
        if told.node_ranks is not None:
            outside = sorted({*ranks_of(told, group.label)} - {*members})
            if outside:
                yield Problem(
                    f"{key}.node_ranks = {told.node_ranks}: node {outside[0]} is not in the group "
                    f"(node_ranks: {group.node_ranks})",
                    "name nodes of the group, or leave node_ranks out for all of them",
                )
        for name, value in told.env_vars.items():
            if value.get_secret_value() == HIDDEN:
                yield Problem(
                    f"{key}.env_vars.{name}: its value was hidden when the file was written",
                    f"give it again, for example as ${{oc.env:{name}}}",
                )
        if DEVICES in told.env_vars:
            yield Problem(
                f"{key}.env_vars.{DEVICES}: which devices a process sees is what its placement "
                "says",
                "remove it and set cluster.component_placement",
            )
