"""Derived numbers, worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from rlinf import registry
from rlinf.config.derive import answering, shard_size, sharding, weight_sources
from rlinf.config.load import Loaded, load
from rlinf.config.machine import Machine
from rlinf.config.placement import Node, ProcessPlacement
from rlinf.config.show import render
from rlinf.models.mlp.config import MlpConfig
from rlinf.models.tiny_vla.config import TinyVlaConfig
from rlinf.registry import imported

Load = Callable[..., Loaded]


def test_batch_arithmetic_of_a_large_recipe(load_toy: Load, gpu_machine: Machine) -> None:
    """128 sub-envs, 160 steps in chunks of 8, on 4 env, 4 rollout and 8 actor GPUs."""
    loaded = load_toy(
        "env.train.total_num_envs=128",
        "env.train.max_steps_per_rollout_epoch=160",
        "actor.model.num_action_chunks=8",
        "actor.micro_batch_size=40",
        "actor.global_batch_size=640",
        "algorithm.update_epoch=1",
        "rollout.pipeline_stage_num=2",
        "cluster.component_placement={env: 0-3,rollout: 4-7,actor: 0-7}",
        machine=gpu_machine,
    )
    batch, train = loaded.plan.batch, loaded.plan.train
    assert batch.chunk_steps == 160 // 8
    assert batch.samples == 20 * 128
    assert batch.samples_per_rank == 2560 // 8
    assert batch.accumulation == 640 // (40 * 8)
    assert batch.updates == 2560 // 640
    assert (train.per_worker, train.per_stage) == (32, 16)
    assert loaded.plan.on_accelerators


def test_rollout_and_update_epochs_multiply(load_toy: Load) -> None:
    """50 chunk steps x 256 sub-envs x 2 rollout epochs = 25600; 3 passes / 3200 = 24 updates."""
    batch = load_toy("algorithm.rollout_epoch=2", "algorithm.update_epoch=3").plan.batch
    assert (batch.samples, batch.updates) == (25600, 24)


@pytest.mark.parametrize(
    ("epochs", "steps", "expected"), [(7, -1, 7), (-1, 9, 9), (7, 9, 7), (9, 7, 7)]
)
def test_the_smaller_limit_that_is_set_counts(
    load_toy: Load, epochs: int, steps: int, expected: int
) -> None:
    loaded = load_toy(f"runner.max_epochs={epochs}", f"runner.max_steps={steps}")
    assert loaded.plan.iterations == expected


IMAGES = (
    "env@env.train=maniskill_push_cube",
    "env@env.eval=maniskill_push_cube",
    "model@actor.model=tiny_vla",
    "env.train.max_steps_per_rollout_epoch=192",
    "env.train.total_num_envs=16",
    "env.eval.total_num_envs=16",
    "actor.micro_batch_size=128",
    "actor.global_batch_size=128",
)


def test_cpu_simulators_share_the_cores_of_their_worker(load_toy: Load, laptop: Machine) -> None:
    two_workers = load_toy(*IMAGES, "cluster.component_placement.env=all")
    assert (two_workers.plan.train.simulator_processes, two_workers.plan.cores["env"]) == (1, 1)
    one_worker = load_toy(*IMAGES, "cluster.component_placement='all:0'")
    assert (one_worker.plan.train.simulator_processes, one_worker.plan.cores["env"]) == (2, 2)
    many_cores = Machine(replace(laptop.node, cpu_slots=64), laptop.memory_bytes)
    # Never more processes than sub-envs.
    capped = load_toy(*IMAGES, "cluster.component_placement='all:0'", machine=many_cores)
    assert capped.plan.train.simulator_processes == 16
    told = load_toy(*IMAGES, "env.train.num_processes=3")
    assert told.plan.train.simulator_processes == 3
    auto = ("env.train.init_params.sim_backend=auto", "env.train.init_params.light_visuals=false")
    on_gpus = load_toy(*IMAGES, *auto, machine=Machine(Node(1, 8), 10**11))
    assert on_gpus.plan.train.simulator_processes == 0


@pytest.mark.parametrize(
    ("overrides", "processes", "threads"),
    [
        # The first stage waits for the policy while the two processes of the second simulate.
        (["rollout.pipeline_stage_num=2", "env.train.num_processes=4"], 4, 4 - 2),
        # With one stage nothing else works while the policy does.
        (["rollout.pipeline_stage_num=1", "env.train.num_processes=4"], 4, 4),
        # Equally many processes of each stage; never less than one thread.
        (["rollout.pipeline_stage_num=4", "env.train.num_processes=5"], 8, 1),
        # The policy has cores of its own.
        (
            [
                "rollout.pipeline_stage_num=2",
                "cluster.component_placement={env: '0-1:0', rollout: '2-3:0', actor: 'all:0'}",
            ],
            2,
            2,
        ),
    ],
)
def test_the_policy_leaves_cores_to_simulators_that_work_meanwhile(
    load_toy: Load, laptop: Machine, overrides: list[str], processes: int, threads: int
) -> None:
    machine = Machine(replace(laptop.node, cpu_slots=4), laptop.memory_bytes)
    placement = "cluster.component_placement='all:0'"
    plan = load_toy(*IMAGES, placement, *overrides, machine=machine).plan
    assert (plan.train.simulator_processes, plan.cores["rollout"]) == (processes, threads)


def test_processes_of_a_component_share_the_cores_of_a_gpu_node(
    load_toy: Load, gpu_machine: Machine
) -> None:
    loaded = load_toy("cluster.component_placement.env=0-3", machine=gpu_machine)
    assert dict(loaded.plan.cores) == {"env": 64 // 4, "rollout": 64, "actor": 64}


def test_the_nodes_of_a_cluster_are_like_this_machine_unless_told(load_toy: Load) -> None:
    loaded = load_toy("cluster.num_nodes=2", "cluster.accelerators_per_node=4")
    assert loaded.plan.nodes == (Node(4, 2), Node(4, 2))


@pytest.mark.parametrize("name", ["train", "eval"])
def test_memory_counts_simulators_and_observations(load_toy: Load, name: str) -> None:
    plan = load_toy().plan
    memory = {m.owner: dict(m.parts) for m in plan.memory}
    # 12800 observations of 42 float32.
    assert memory["object store"]["observations of one iteration"] == 12800 * 42 * 4
    assert memory["actor"]["Adam"] == 2 * memory["actor"]["parameters"]
    assert memory["env"][f"simulators of {name}"] == 0


def test_what_forked_simulators_share_counts_once(tmp_path: Path) -> None:
    sixteen = Machine(Node(accelerators=0, cpu_slots=16), 24 * 2**30)
    plan = load("quickstart", [f"runner.logger.log_path={tmp_path}"], sixteen).plan
    parts = {m.owner: dict(m.parts) for m in plan.memory}["env"]
    assert plan.train.simulator_processes == plan.eval.simulator_processes == 16
    # Each has 0.44 GB of its own; 0.36 GB are those of the process they are forks of.
    assert parts["simulators of train"] == parts["simulators of eval"] == 16 * 0.44e9 + 0.36e9
    assert plan.host_bytes < 0.9 * 24 * 2**30


def test_an_evaluation_holds_nothing_that_only_training_needs(load_toy: Load) -> None:
    loaded = load_toy("runner.only_eval=true")
    memory = {m.owner: dict(m.parts) for m in loaded.plan.memory}
    assert memory["object store"]["observations of one iteration"] == 0
    assert memory["actor"]["Adam"] == memory["actor"]["gradients"] == 0
    assert "simulators of train" not in memory["env"]
    assert "recovery copy" not in memory
    console = Console(width=100, record=True, file=StringIO())
    console.print(render(loaded))
    page = console.export_text()
    assert "is evaluated on toy_reach\n" in page
    assert "learns" not in page and "iteration" not in page


@pytest.mark.parametrize(
    "model",
    [
        MlpConfig(model_type="mlp", obs_dim=42, action_dim=8, num_action_chunks=1),
        MlpConfig(model_type="mlp", obs_dim=5, action_dim=2, num_action_chunks=4, num_layers=2),
        TinyVlaConfig(model_type="tiny_vla", action_dim=7, num_action_chunks=4),
        TinyVlaConfig(
            model_type="tiny_vla",
            action_dim=7,
            num_action_chunks=8,
            width=256,
            depth=5,
            image_size=128,
            num_views=2,
        ),
    ],
    ids=["mlp", "mlp-chunks", "tiny", "tiny-large"],
)
def test_the_parameter_count_is_that_of_the_policy(model: MlpConfig | TinyVlaConfig) -> None:
    policy = imported(registry.model(model.model_type).policy)(model)
    count = sum(parameter.numel() for parameter in policy.parameters())
    assert model.num_parameters() == count


def on(*nodes: int) -> tuple[ProcessPlacement, ...]:
    """Processes with a GPU each, on these nodes."""
    return tuple(
        ProcessPlacement(rank, node, (rank,), "accelerator", "cluster")
        for rank, node in enumerate(nodes)
    )


@pytest.mark.parametrize(
    ("rank", "askers", "policies", "asked"),
    [
        (0, on(0, 0, 1, 1), on(0, 0, 1, 1), [0, 1]),
        (3, on(0, 0, 1, 1), on(0, 0, 1, 1), [2, 3]),
        (0, on(0, 0), on(1, 1), [0, 1]),  # none is here
        (0, on(0, 0, 0, 1), on(0, 1, 1, 1), [0, 1, 2, 3]),  # one would answer three workers
        (3, on(0, 0, 0, 1), on(0, 1, 1, 1), [1, 2, 3]),
        (1, on(0, 0), on(0, 0), [0, 1]),
    ],
)
def test_an_env_worker_asks_the_policies_of_its_node_where_they_can_bear_it(
    rank: int,
    askers: tuple[ProcessPlacement, ...],
    policies: tuple[ProcessPlacement, ...],
    asked: list[int],
) -> None:
    assert answering(rank, askers, policies) == asked


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ((0, 0), ("full_shard", 2)),
        ((0, 0, 1, 1), ("hybrid_shard", 2)),
        ((0, 1), ("full_shard", 2)),  # a node has no ranks to share with
        ((0, 0, 1), ("full_shard", 3)),  # no groups of equal size
        ((0, 1, 0, 1), ("full_shard", 4)),  # groups of neighbours would cross nodes
    ],
)
def test_weights_are_sharded_within_a_node_where_several_have_equally_many_ranks(
    load_toy: Load, nodes: tuple[int, ...], expected: tuple[str, int]
) -> None:
    config, placement = load_toy().config, {"actor": on(*nodes)}
    assert (sharding(config, placement), shard_size(config, placement)) == expected
    told = load_toy("actor.fsdp_config.sharding_strategy=full_shard").config
    assert shard_size(told, placement) == len(nodes)


@pytest.mark.parametrize(
    ("actors", "policies", "sources"),
    [
        (on(0, 0), on(0, 0), [0, 0]),
        (on(0, 0, 1, 1), on(0, 0, 1, 1), [0, 0, 2, 2]),  # a copy on each node
        (on(1, 1), on(0, 1), [None, 0]),  # node 0 has no actor
    ],
)
def test_a_rollout_rank_reads_the_weights_of_the_first_actor_rank_of_its_node(
    actors: tuple[ProcessPlacement, ...],
    policies: tuple[ProcessPlacement, ...],
    sources: list[int | None],
) -> None:
    assert weight_sources(actors, policies) == sources
