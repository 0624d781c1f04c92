"""Environment variables may hold keys: processes get them, nothing shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from rlinf.config import show
from rlinf.config.load import Loaded, load
from rlinf.config.placement import ProcessPlacement
from rlinf.config.process_environment import runtime_environment
from rlinf.config.schema import Config
from rlinf.envs.benchmarks import Benchmark, BenchmarkSet
from rlinf.errors import UserError
from rlinf.runners.benchmark import configured
from rlinf.runners.saving import write_config

Load = Callable[..., Loaded]
SECRET = "s3cr3t-9"
GROUP = (
    "cluster.node_groups=[{label: sim, node_ranks: 0, env_configs: "
    "[{env_vars: [{WANDB_API_KEY: '${oc.env:MYKEY}'}, {PORT: 8123}]}]}]"
)
IN_GROUP = "cluster.component_placement.env={node_group: sim, placement: 0}"


@pytest.fixture
def secret(load_toy: Load, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    monkeypatch.setenv("MYKEY", SECRET)
    return load_toy(GROUP, IN_GROUP)


def test_processes_get_the_values(secret: Loaded) -> None:
    (process,) = secret.plan.placement["env"][:1]
    assert isinstance(process, ProcessPlacement)
    given = runtime_environment(process, 1, secret.config.cluster.node_groups)["env_vars"]
    assert (given["WANDB_API_KEY"], given["PORT"]) == (SECRET, "8123")


def test_nothing_that_is_written_or_shown_has_them(secret: Loaded, tmp_path: Path) -> None:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(show.render(secret))
    write_config(secret.config, tmp_path)
    texts = {
        "config.yaml and report.html": secret.config.to_yaml(),
        "checkpoint": (tmp_path / "config.json").read_text(),
        "uploads": json.dumps(secret.config.model_dump(mode="json")),
        "terminal": shown.get(),
        "stack traces": repr(secret.config),
    }
    for where, text in texts.items():
        assert "WANDB_API_KEY" in text, where
        assert SECRET not in text and "8123" not in text, where


def test_the_sets_of_a_benchmark_run_with_them(secret: Loaded) -> None:
    part = BenchmarkSet("small", "Size", {"obs_dim": 8}, lambda episodes: [])
    changed = configured(secret.config, Benchmark("Toys", "toy_reach", (part,), "Size"), part)
    assert changed.cluster == secret.config.cluster


def test_a_checkpoint_with_hidden_values_is_read(secret: Loaded, tmp_path: Path) -> None:
    write_config(secret.config, tmp_path)
    found = Config.model_validate_json((tmp_path / "config.json").read_text())
    assert found.actor == secret.config.actor


def test_a_hidden_value_is_not_used_as_one(secret: Loaded, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(secret.config.to_yaml())
    with pytest.raises(UserError, match=r"WANDB_API_KEY: its value was hidden") as error:
        load(str(tmp_path / "config.yaml"))
    assert "${oc.env:WANDB_API_KEY}" in str(error.value)


@pytest.mark.parametrize("given", [f"{{KEY: [{SECRET}]}}", f"KEY={SECRET}", f"[KEY, {SECRET}]"])
def test_a_wrong_value_is_refused_without_showing_it(load_toy: Load, given: str) -> None:
    with pytest.raises(UserError, match="env_vars") as error:
        load_toy(
            GROUP.replace(
                "[{WANDB_API_KEY: '${oc.env:MYKEY}'}, {PORT: 8123}]",
                f'"{given}"' if "=" in given else given,
            )
        )
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("name", ["../elsewhere", "/tmp/elsewhere", "a/../../elsewhere"])
def test_an_experiment_stays_below_its_log_path(load_toy: Load, name: str) -> None:
    with pytest.raises(UserError, match=r"experiment_name = .*without \.\."):
        load_toy(f"runner.logger.experiment_name={name}")


def test_an_experiment_may_be_a_folder_in_a_folder(load_toy: Load) -> None:
    logger = load_toy("runner.logger.experiment_name=a/b..c").config.runner.logger
    assert logger.run_dir == Path(logger.log_path) / "a/b..c"
