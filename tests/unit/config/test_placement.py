"""Placement strings become processes; the layouts are those of the documentation."""

from __future__ import annotations

import pytest

from rlinf.config.placement import Node, ProcessPlacement, parse, plural
from rlinf.config.schema import COMPONENTS, GroupPlacement, NodeGroup
from rlinf.errors import UserError

GPU_NODE = Node(accelerators=8, cpu_slots=64)
LAPTOP = Node(accelerators=0, cpu_slots=2)


def where(processes: tuple[ProcessPlacement, ...]) -> list[tuple[int, tuple[int, ...]]]:
    """(node, resources) of each process in rank order."""
    assert [p.rank for p in processes] == list(range(len(processes)))
    return [(p.node, p.resources) for p in processes]


def one_each(first: int, last: int) -> list[tuple[int, tuple[int, ...]]]:
    """One process per GPU, eight GPUs per node."""
    return [(gpu // 8, (gpu % 8,)) for gpu in range(first, last + 1)]


@pytest.mark.parametrize(
    ("nodes", "placement", "expected"),
    [
        (2, {"env": "0-7", "rollout": "8-15", "actor": "0-15"}, [(0, 7), (8, 15), (0, 15)]),
        (1, {"env,rollout,actor": "all"}, [(0, 7), (0, 7), (0, 7)]),
        (2, {"env": "0-3", "rollout": "4-7", "actor": "8-15"}, [(0, 3), (4, 7), (8, 15)]),
        (1, {"env": "0-3", "rollout": "4-7", "actor": "0-7"}, [(0, 3), (4, 7), (0, 7)]),
        (1, {"env": "0-1", "rollout": "2-5", "actor": "6-7"}, [(0, 1), (2, 5), (6, 7)]),
        (1, {"env": 0, "rollout": 1, "actor": 2}, [(0, 0), (1, 1), (2, 2)]),
        (1, "all", [(0, 7), (0, 7), (0, 7)]),
    ],
    ids=["hybrid-2", "shared", "separate-2", "hybrid", "separate", "one-each", "plain-value"],
)
def test_documented_layouts_place_one_process_on_each_named_gpu(
    nodes: int, placement: str | dict[str, str | int], expected: list[tuple[int, int]]
) -> None:
    placed = parse(placement, [GPU_NODE] * nodes)
    for component, (first, last) in zip(COMPONENTS, expected, strict=True):
        assert where(placed[component]) == one_each(first, last)
        assert {p.kind for p in placed[component]} == {"accelerator"}


def test_segments_with_and_without_process_ranks_mix() -> None:
    env = parse({"env": "0-1:0-3,3-5,7-10:7-14", "rollout,actor": 0}, [GPU_NODE] * 2)["env"]
    gpus = [node * 8 + resources[0] for node, resources in where(env)]
    assert gpus == [0, 0, 1, 1, 3, 4, 5, 7, 7, 8, 8, 9, 9, 10, 10]


def test_one_process_may_own_several_gpus() -> None:
    rollout = parse({"rollout": "0-7:0-3", "env,actor": 0}, [GPU_NODE])["rollout"]
    assert where(rollout) == [(0, (0, 1)), (0, (2, 3)), (0, (4, 5)), (0, (6, 7))]


def test_segments_may_name_processes_in_any_order() -> None:
    env = parse({"env": "0:1,1:0", "rollout,actor": 0}, [GPU_NODE])["env"]
    assert where(env) == [(0, (1,)), (0, (0,))]


def test_without_accelerators_ranks_are_cpu_slots() -> None:
    placed = parse("all", [LAPTOP])
    assert where(placed["env"]) == [(0, (0,)), (0, (1,))]
    assert placed["env"][0].kind == "cpu"


def test_nodes_without_accelerators_have_no_ranks_in_a_mixed_cluster() -> None:
    env = parse("all", [LAPTOP, Node(2, 8)])["env"]
    assert where(env) == [(1, (0,)), (1, (1,))]


def test_a_single_component_wins_over_a_joined_key() -> None:
    placed = parse({"env,rollout,actor": "all", "actor": 1}, [LAPTOP])
    assert [len(placed[name]) for name in COMPONENTS] == [2, 2, 1]
    assert where(placed["actor"]) == [(0, (1,))]


def test_ranks_of_a_node_group_count_inside_the_group() -> None:
    groups = [NodeGroup(label="fast", node_ranks="1-2")]
    env = GroupPlacement(node_group="fast", placement="7-8")
    placed = parse({"env": env, "rollout,actor": 0}, [GPU_NODE] * 3, groups)["env"]
    assert where(placed) == [(1, (7,)), (2, (0,))]
    assert placed[0].node_group == "fast"


def test_a_group_of_cpu_nodes_counts_cpu_slots_beside_gpu_nodes() -> None:
    groups = [NodeGroup(label="simulators", node_ranks="1")]
    env = GroupPlacement(node_group="simulators", placement="all")
    placed = parse({"env": env, "rollout,actor": "all"}, [GPU_NODE, LAPTOP], groups)
    assert [p.kind for p in placed["env"]] == ["cpu", "cpu"]
    assert {p.kind for p in placed["actor"]} == {"accelerator"}


def test_the_group_node_counts_whole_nodes() -> None:
    env = GroupPlacement(node_group="node", placement="0-1:0-3")
    placed = parse({"env": env, "rollout,actor": 0}, [GPU_NODE] * 2)["env"]
    assert where(placed) == [(0, ()), (0, ()), (1, ()), (1, ())]


@pytest.mark.parametrize(
    ("placement", "words"),
    [
        ({"env": "0-7", "rollout,actor": 0}, ["env = 0-7", "resource 2", "2 CPU slots (0-1)"]),
        ({"envs": 0, "rollout,actor": 0}, ["unknown component 'envs'", "write env"]),
        ({"env,rollout": 0, "rollout,actor": 0}, ["rollout is placed twice"]),
        ({"env": 0, "rollout": 0}, ["no placement for actor"]),
        ({"env": "one", "rollout,actor": 0}, ["cannot read 'one'"]),
        ({"env": "", "rollout,actor": 0}, ["cannot read ''"]),
        ({"env": "1-0", "rollout,actor": 0}, ["backwards"]),
        ({"env": "0,0", "rollout,actor": 0}, ["resource 0 is named twice", "'0:0-1'"]),
        ({"env": "0-1:0-2", "rollout,actor": 0}, ["3 processes over 2 resources", "2 or 4"]),
        ({"env": "0:1-2", "rollout,actor": 0}, ["no process 0", "0 to 1"]),
        ({"env": "0:0,1:0", "rollout,actor": 0}, ["process 0 is placed twice"]),
    ],
)
def test_a_wrong_placement_names_key_value_and_fix(
    placement: dict[str, str | int], words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        parse(placement, [LAPTOP])
    for word in ["cluster.component_placement", *words]:
        assert word in str(caught.value)


def test_a_process_never_spans_nodes() -> None:
    with pytest.raises(UserError, match="nodes 0, 1"):
        parse({"env": "6-9:0", "rollout,actor": 0}, [GPU_NODE] * 2)


def test_a_group_needs_a_free_label_and_existing_nodes() -> None:
    with pytest.raises(UserError, match="reserved"):
        parse("all", [LAPTOP], [NodeGroup(label="node", node_ranks="0")])
    with pytest.raises(UserError, match="node 1 does not exist"):
        parse("all", [LAPTOP], [NodeGroup(label="fast", node_ranks="0-1")])
    with pytest.raises(UserError, match="no such group"):
        parse({"env": GroupPlacement(node_group="fast", placement=0), "rollout,actor": 0}, [LAPTOP])


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "batch", "1 batch"),
        (2, "batch", "2 batches"),
        (2, "process", "2 processes"),
        (3, "epoch", "3 epochs"),
        (0, "node", "0 nodes"),
    ],
)
def test_nouns_follow_their_number(count: int, noun: str, text: str) -> None:
    assert plural(count, noun) == text
