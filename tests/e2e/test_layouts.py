"""Who sits where, and who waits for whom, on one Ray: the layouts of the documentation, and
asynchronous runs, on CPU slots."""

from __future__ import annotations

import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from rlinf.cluster import cluster
from rlinf.cluster.nodes import Cluster
from rlinf.config.load import load
from rlinf.runners.run import open_run
from rlinf.runners.train import Training, iterate, training_loop
from rlinf.runners.workers import Workers
from tests.e2e import runs

GRPO = (
    "algorithm.adv_type=grpo",
    "algorithm.loss_type=actor",
    "algorithm.gamma=0.99",
    "algorithm.gae_lambda=0.95",
    "actor.model.add_value_head=false",
    "actor.model.hidden_dim=32",
    "actor.micro_batch_size=40",
    "actor.global_batch_size=160",
    "actor.fsdp_config.sharding_strategy=no_shard",  # test_nodes shards the weights
    "env.train.auto_reset=false",
    "env.train.group_size=4",
    "env.train.use_fixed_reset_state_ids=true",
    "env.train.total_num_envs=16",
    "env.train.max_episode_steps=20",
    "env.train.max_steps_per_rollout_epoch=20",
    "cluster.cpu_slots=5",
)
STEPS = 2
# Two actor ranks each, and four stages in all: sums have one order, requests one size.
LAYOUTS = {
    "shared": ("{env: 0-1, rollout: 0-1, actor: 0-1}", 2),
    "separate, fewer rollout than env workers": ("{env: 0-1, rollout: 2, actor: 3-4}", 2),
    "hybrid, fewer env than rollout workers": ("{env: 0, rollout: 1-2, actor: 0-1}", 4),
}


@pytest.fixture(scope="module")
def own_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second environment of Python that finds the packages of this one."""
    folder = tmp_path_factory.mktemp("own")
    venv.create(folder, symlinks=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", vars=paths))
    found = [path for path in sys.path if path.endswith("site-packages")]
    (site / "packages.pth").write_text(f"import site; site.addsitedir({found[0]!r})\n")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def machines(own_python: Path) -> Iterator[Cluster]:
    """A Ray for all runs of this file."""
    loaded = load("toy_ppo_mlp", [*GRPO, *in_group(own_python)])
    with cluster.start(loaded.config, loaded.plan.nodes) as machines:
        yield machines


@contextmanager
def training(folder: Path, machines: Cluster, steps: int, *overrides: str) -> Iterator[Training]:
    """A run in this process."""
    loaded = load("toy_ppo_mlp", [*overrides, f"runner.logger.log_path={folder}"])
    with open_run(loaded.config) as run:
        workers = Workers(loaded.config, loaded.plan, machines, run)
        try:
            workers.start()
            run.open_writers(None)
            yield Training.of(loaded.config, loaded.plan, steps, run, workers)
        finally:
            workers.close()


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, own_python: Path, machines: Cluster
) -> dict[str, Path]:
    """The policy after two iterations in each layout."""
    found = {}
    for name, (placement, stages) in LAYOUTS.items():
        folder = tmp_path_factory.mktemp("layout")
        overrides = [
            f"cluster.component_placement={placement}",
            f"rollout.pipeline_stage_num={stages}",
            *(in_group(own_python) if name == "shared" else ()),
        ]
        with training(folder / "run", machines, STEPS, *GRPO, *overrides) as run:
            for _ in range(STEPS):
                assert iterate(run)["train/actor/grad_norm"] > 0
            run.saver.save()
            assert run.saver.finish()
            if name == "shared":
                (folder / "environment").write_text("\n".join(environments()))
        found[name] = folder
    return found


def in_group(python: Path) -> Iterator[str]:
    """Overrides that put the env workers into a group with an interpreter of its own."""
    yield "cluster.component_placement.env={node_group: sim, placement: 0-1}"
    yield (
        f"cluster.node_groups=[{{label: sim, node_ranks: 0, env_configs: [{{"
        f"python_interpreter_path: {python}, env_vars: {{SIM_LICENCE: accepted}}}}]}}]"
    )


def environments() -> Iterator[str]:
    """`EnvWorker accepted` and the like for every worker of this process."""
    for process in psutil.Process().children(recursive=True):
        title = " ".join(process.cmdline())
        for worker in ("EnvWorker", "RolloutWorker", "ActorWorker"):
            if worker in title:
                yield f"{worker} {process.environ().get('SIM_LICENCE', '-')}"


@pytest.mark.parametrize("name", list(LAYOUTS)[1:])
def test_grpo_learns_the_same_in_every_layout(trained: dict[str, Path], name: str):
    expected, found = (runs.policy(trained[layout] / "run", STEPS) for layout in ("shared", name))
    for weights in expected:
        assert np.array_equal(expected[weights], found[weights]), weights


def test_a_node_group_runs_its_own_interpreter_with_its_own_variables(
    trained: dict[str, Path], own_python: Path
):
    folder = trained["shared"]
    logs = {file.stem: file.read_text() for file in (folder / "run" / "workers").glob("*.log")}
    assert f"env1 starts in {own_python}" in logs["env1"]
    assert f"rollout1 starts in {sys.executable}" in logs["rollout1"]
    told = set((folder / "environment").read_text().splitlines())
    assert told == {"EnvWorker accepted", "RolloutWorker -", "ActorWorker -"}


def test_asynchronous_runs_are_one_iteration_behind_and_equal_each_other(
    tmp_path: Path, machines: Cluster
):
    settings = (*runs.SMALL, "runner.mode=async", "runner.val_check_interval=2")
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        with training(folder, machines, 6, *settings, "runner.save_interval=3") as run:
            training_loop(run)
            assert run.saver.finish()
    records = [record for record in runs.metrics(first) if "rollout/staleness" in record]
    assert [record["rollout/staleness"] for record in records] == [0, 1, 1, 1, 1, 1]
    ratios = [record["train/actor/ratio"] for record in records]
    assert all(abs(ratio - 1) < 0.5 for ratio in ratios)
    assert runs.without_times(runs.metrics(first)) == runs.without_times(runs.metrics(second))
    for name, weights in runs.policy(first, 6).items():
        assert np.array_equal(weights, runs.policy(second, 6)[name]), name
