"""The picture of who sits where and when."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.console import Console

from rlinf.config.load import Loaded
from rlinf.config.machine import Machine
from rlinf.config.show_placement import ranges, render

Load = Callable[..., Loaded]

SIMULATORS = (
    "cluster.num_nodes=3",
    "cluster.component_placement.env={node_group: sim, placement: all}",
    "cluster.component_placement.rollout=0-1",
    "cluster.component_placement.actor=0-1",
    "cluster.node_groups=[{label: sim, node_ranks: 1-2, accelerators_per_node: 0, cpu_slots: 4, "
    "env_configs: [{python_interpreter_path: /opt/sim/bin/python, env_vars: [{A: 1}, {B: x}]}]}]",
)


def drawn(loaded: Loaded) -> list[str]:
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(render(loaded.config, loaded.plan))
    return [" ".join(line.split()) for line in capture.get().splitlines()]


@pytest.mark.parametrize(
    ("nodes", "placement", "expected"),
    [
        (
            2,
            "{env: 0-7, rollout: 8-15, actor: 0-15}",
            [
                "placement: hybrid, some resources are shared",
                "node 0 GPU 0-7 env 0-7 actor 0-7",
                "node 1 GPU 0-7 rollout 0-7 actor 8-15",
            ],
        ),
        (
            1,
            "all",
            [
                "placement: shared, all components on the same resources",
                "node 0 GPU 0-7 env 0-7, rollout 0-7 actor 0-7",
            ],
        ),
        (
            2,
            "{env: 0-3, rollout: 4-7, actor: 8-15}",
            [
                "placement: separate, each component on resources of its own",
                "node 0 GPU 0-3 env 0-3 idle",
                "node 0 GPU 4-7 rollout 0-3 idle",
                "node 1 GPU 0-7 idle actor 0-7",
            ],
        ),
        (
            1,
            "{env: '0-1:0-3', rollout: '2-5:0-1', actor: 7}",
            [
                "placement: separate, each component on resources of its own",
                "node 0 GPU 0-1 env 0-3 (2 on each) idle",
                "node 0 GPU 2-5 rollout 0-1 (2 each) idle",
                "node 0 GPU 6 idle idle",
                "node 0 GPU 7 idle actor 0",
            ],
        ),
    ],
    ids=["hybrid", "shared", "separate", "several"],
)
def test_each_layout_is_drawn_with_who_works_when(
    load_toy: Load, gpu_machine: Machine, nodes: int, placement: str, expected: list[str]
) -> None:
    loaded = load_toy(
        f"cluster.num_nodes={nodes}",
        f"cluster.component_placement={placement}",
        "actor.micro_batch_size=100",
        machine=gpu_machine,
    )
    title, header, *rows = drawn(loaded)
    assert header == "collects trains"
    assert [title, *rows[: len(expected) - 1]] == expected
    assert rows[len(expected) - 1].startswith("collecting, ")


def test_an_evaluation_has_no_training_and_no_trainer(load_toy: Load, gpu_machine: Machine) -> None:
    loaded = load_toy(
        "runner.only_eval=true",
        "cluster.component_placement={env: 0-3, rollout: 4-7, actor: 0-7}",
        "actor.micro_batch_size=100",
        machine=gpu_machine,
    )
    title, header, first, second, how = drawn(loaded)
    assert title == "placement: separate, each component on resources of its own"
    assert header == "evaluates"
    assert [first, second] == ["node 0 GPU 0-3 env 0-3", "node 0 GPU 4-7 rollout 0-3"]
    assert how.startswith("evaluating, ")


def test_a_node_group_has_resources_interpreter_and_variables_of_its_own(
    load_toy: Load, gpu_machine: Machine
) -> None:
    loaded = load_toy(*SIMULATORS, "actor.micro_batch_size=100", machine=gpu_machine)
    lines = drawn(loaded)
    assert "node 0 GPU 0-1 rollout 0-1 actor 0-1" in lines
    assert "node 1 CPU slot 0-3 env 0-3 idle" in lines
    assert "node 2 CPU slot 0-3 env 4-7 idle" in lines
    assert lines[-1] == "node group sim: nodes 1-2; python /opt/sim/bin/python, sets A, B"


def test_ranges_are_short() -> None:
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
