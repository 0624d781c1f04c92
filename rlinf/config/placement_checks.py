"""Rules of node groups, beyond those that the placement parser has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rlinf import devices
from rlinf.config.base import HIDDEN
from rlinf.config.derive import Placement
from rlinf.config.placement import KEY, parse_ranks
from rlinf.config.problems import Problem
from rlinf.config.process_environment import ranks_of
from rlinf.config.schema import Config, NodeGroup


def check(config: Config, placement: Placement) -> Iterator[Problem]:
    """What is set for a group has processes in it, and leaves the devices to the placement; no two
    ranks of one process group compute on one GPU.

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
    yield from _ranks_of_a_gpu(placement)


def _ranks_of_a_gpu(placement: Placement) -> Iterator[Problem]:
    """Actor ranks add their gradients up by NCCL, which refuses two ranks on one GPU."""
    actors = [process for process in placement["actor"] if process.kind == "accelerator"]
    owners = Counter((process.node, process.resources[0]) for process in actors)
    for (node, gpu), ranks in owners.items():
        if ranks > 1:
            yield Problem(
                f"{KEY}.actor: {ranks} ranks compute on GPU {gpu} of node {node}; NCCL, which adds "
                "their gradients up, takes one rank per GPU",
                "place one actor rank on each GPU, for example 0-3 instead of 0-3:0-7; "
                "actor.micro_batch_size decides how many samples it computes at once",
            )
            return


def _environments(group: NodeGroup, key: str) -> Iterator[Problem]:
    members = parse_ranks(str(group.node_ranks), key)
    for own in group.env_configs:
        if own.node_ranks is not None:
            outside = sorted({*ranks_of(own, group.label)} - {*members})
            if outside:
                yield Problem(
                    f"{key}.node_ranks = {own.node_ranks}: node {outside[0]} is not in the group "
                    f"(node_ranks: {group.node_ranks})",
                    "name nodes of the group, or leave node_ranks out for all of them",
                )
        for name, value in own.env_vars.items():
            if value.get_secret_value() == HIDDEN:
                yield Problem(
                    f"{key}.env_vars.{name}: its value was hidden when the file was written",
                    f"give it again, for example as ${{oc.env:{name}}}",
                )
        if devices.VARIABLE in own.env_vars:
            yield Problem(
                f"{key}.env_vars.{devices.VARIABLE}: which devices a process sees is what its "
                "placement says",
                "remove it and set cluster.component_placement",
            )
