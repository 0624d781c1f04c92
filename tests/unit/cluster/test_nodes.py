"""Which machine gets which rank, and what is found wrong with one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import ray

from rlinf.cluster import nodes
from rlinf.cluster.nodes import Cluster, Member, assign, examine
from rlinf.config.load import load
from rlinf.config.placement import Node
from rlinf.errors import NodeLost

CPU, GPUS = Node(0, 4), Node(8, 64)


def member(number: int, accelerators: int = 0, asked: int | None = None) -> Member:
    return Member(f"id{number}", f"10.0.0.{number}", accelerators, asked)


LAUNCHER = member(1, asked=0)


@pytest.mark.parametrize(
    ("wanted", "spares", "expected"),
    [
        ([CPU, CPU, CPU], [LAUNCHER, member(2), member(3)], {0: 1, 1: 2, 2: 3}),
        ([CPU, CPU, CPU], [LAUNCHER, member(2, asked=2), member(3)], {0: 1, 1: 3, 2: 2}),
        ([CPU, CPU], [member(1, asked=1), member(2), member(3)], {0: 2, 1: 1}),
        # A node with GPUs is not spent on a rank that needs none.
        ([CPU, CPU, GPUS], [LAUNCHER, member(2, 8), member(3)], {0: 1, 1: 3, 2: 2}),
        # The launcher has no GPU: it is not one of the nodes.
        ([GPUS], [LAUNCHER, member(2, 8)], {0: 2}),
        ([CPU, CPU], [LAUNCHER], {0: 1}),
        ([CPU, GPUS], [LAUNCHER, member(2, 4)], {0: 1}),
    ],
    ids=["by-address", "label", "label-of-launcher", "mixed", "login-node", "too-few", "unfit"],
)
def test_every_rank_gets_a_node_that_fits(
    wanted: list[Node], spares: list[Member], expected: dict[int, int]
) -> None:
    chosen = assign(range(len(wanted)), spares, wanted)
    assert {rank: int(node.id[2:]) for rank, node in chosen.items()} == expected


def test_the_place_of_a_lost_node_goes_to_any_spare_one_that_fits() -> None:
    wanted = [CPU, GPUS, GPUS]
    assert assign([1], [member(4), member(5, 8, asked=2)], wanted)[1].id == "id5"
    assert assign([1], [member(4)], wanted) == {}


def test_a_node_that_runs_the_same_versions_is_fine(tmp_path: Path) -> None:
    assert examine({sys.executable: {}}, str(tmp_path), ray.__version__) is None


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("echo '[\"1.0.0\", [2, 7]]'", ["has Ray 1.0.0 and Python 2.7, the run has Ray"]),
        ("echo \"No module named 'rlinf'\" >&2; exit 1", ["No module named 'rlinf'"]),
        ('echo "$WORD" >&2; exit 1', ["python_interpreter_path", "from-the-configuration"]),
    ],
    ids=["versions", "package", "variables"],
)
def test_an_interpreter_that_cannot_run_workers_is_named(
    tmp_path: Path, lines: str, words: list[str]
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{lines}\n")
    python.chmod(0o755)
    asked = {str(python): {"WORD": "from-the-configuration"}}
    problem = examine(asked, str(tmp_path), ray.__version__)
    assert problem is not None
    for word in [str(python), *words]:
        assert word in problem[0]


def test_a_missing_interpreter_and_a_folder_of_its_own_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = examine({"/no/python": {}}, str(tmp_path), ray.__version__)
    assert problem is not None and "No such file" in problem[0] and "/no/python" in problem[0]
    monkeypatch.setattr(nodes, "SHARED_FOLDER_S", 0.0)
    problem = examine({}, str(tmp_path / "mark"), ray.__version__)
    assert problem is not None and f"does not see the run's folder {tmp_path}" in problem[0]


def test_a_lost_node_ends_the_run_unless_another_one_joins_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    joined, polls = [LAUNCHER, member(2)], []
    monkeypatch.setattr(nodes, "alive", lambda: list(joined))
    monkeypatch.setattr(Cluster, "_examine", lambda self, ranks: True)
    monkeypatch.setattr(nodes, "POLL_S", 0.01)
    placed = "cluster.component_placement={env: 0-1, rollout: 0-1, actor: 0}"
    sizes = ("cluster.num_nodes=2", "cluster.cpu_slots=1", "cluster.node_timeout_s=0.1")
    loaded = load("toy_ppo_mlp", [placed, *sizes])
    cluster = Cluster(loaded.config, loaded.plan.nodes)
    assert cluster.replace_lost(lambda: polls.append(1)) == []
    joined.pop()
    with pytest.raises(NodeLost, match=r"(?s)node 1 \(10\.0\.0\.2\) was lost.*resume_dir=auto"):
        cluster.replace_lost(lambda: polls.append(1))
    assert polls  # the wait can be stopped
    joined.append(member(3))
    assert cluster.replace_lost(lambda: None) == [1]
    assert cluster.addresses == ["10.0.0.1", "10.0.0.3"]
