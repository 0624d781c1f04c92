"""Which sets of a benchmark are run, and with what."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rlinf.config.load import load
from rlinf.config.schema import Config
from rlinf.data.types import EpisodeResult, Start
from rlinf.envs.benchmarks import Benchmark, BenchmarkSet
from rlinf.envs.maniskill.put_on_plate.benchmark import ood
from rlinf.errors import UserError
from rlinf.runners.benchmark import (
    Settings,
    _read,
    _settings,
    _write,
    _write_table,
    configured,
    run_benchmark,
    was_begun,
)
from rlinf.runners.identity import policy_of
from rlinf.runners.run import open_run
from rlinf.runners.warmup import given_weights

SMALL = BenchmarkSet("small", "Size", {"obs_dim": 8}, lambda episodes: [f"{len(episodes)} seen"])
TOYS = Benchmark("Toys", "toy_reach", (SMALL,), within="Size")


def toy(folder: Path, *overrides: str) -> Config:
    return load("toy_ppo_mlp", [f"runner.logger.log_path={folder}", *overrides]).config


def settings_of(folder: Path, *overrides: str) -> Settings:
    config = toy(folder, *overrides)
    policy = policy_of(given_weights(config))
    return {SMALL.name: _settings(configured(config, TOYS, SMALL), policy)}


def episode(trial: int, once: bool, at_end: bool) -> EpisodeResult:
    return EpisodeResult(0, Start(0, trial, 1), 80, 0.0, once, at_end, False)


def test_a_set_changes_what_it_names_and_gets_its_own_folder_of_videos(tmp_path: Path) -> None:
    config = toy(tmp_path)
    changed = configured(config, TOYS, SMALL)
    assert changed.env.eval.init_params.obs_dim == 8
    assert changed.env.train == config.env.train
    assert changed.env.eval.video_cfg.video_base_dir.endswith("/video/eval/small")
    assert config.env.eval.init_params.obs_dim == 42


def test_a_benchmark_of_another_simulator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="toy_reach: PutOnPlateInScene25"):
        configured(toy(tmp_path), ood(), ood().sets[0])


def test_an_interrupted_benchmark_goes_on_in_its_folder(tmp_path: Path) -> None:
    config = toy(tmp_path, "runner.only_eval=true")
    with open_run(config) as run:
        assert not was_begun(run.folder)
        run.open_writers(None)
    with open_run(config) as run:
        assert was_begun(run.folder)
        run.open_writers(-1)  # what `continues` of `open_evaluation` stands for


def test_a_set_that_is_through_is_kept_until_policy_or_settings_are_others(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert _read(tmp_path / "eval", SMALL, settings) is None
    episodes = [episode(0, True, False), episode(1, True, True), episode(2, False, False)]
    _write(tmp_path, SMALL, settings, ["reach"], episodes)
    kept = _read(tmp_path / "eval", SMALL, settings)
    assert kept is not None
    assert (kept.once.success, kept.once.episodes) == (2 / 3, 3)
    assert kept.at_end.success == 1 / 3
    assert kept.remarks == ("3 seen",)
    for override in ("env.eval.num_trials=7", "actor.seed=5"):
        assert _read(tmp_path / "eval", SMALL, settings_of(tmp_path, override)) is None
    more_processes = settings_of(tmp_path, "env.eval.num_processes=2")
    assert _read(tmp_path / "eval", SMALL, more_processes) == kept


def test_a_benchmark_is_not_cut_into_shards(tmp_path: Path) -> None:
    loaded = load(
        "toy_ppo_mlp",
        [f"runner.logger.log_path={tmp_path}", "runner.only_eval=true", "env.eval.num_shards=2"],
    )
    with pytest.raises(UserError, match="num_shards = 2"):
        run_benchmark(loaded.config, loaded.plan, TOYS)


def test_results_are_those_of_the_weights_and_not_of_their_folder(tmp_path: Path) -> None:
    weights = tmp_path / "policy" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"first weights")
    weighed = settings_of(tmp_path, f"runner.ckpt_path={weights.parent}")
    _write(tmp_path, SMALL, weighed, ["reach"], [])
    moved = weights.parent.rename(tmp_path / "moved")
    settings = settings_of(tmp_path, f"runner.ckpt_path={moved}")
    assert _read(tmp_path / "eval", SMALL, settings) is not None
    written = (moved / weights.name).stat()
    (moved / weights.name).write_bytes(b"other weights")  # as long, and no younger
    os.utime(moved / weights.name, ns=(written.st_atime_ns, written.st_mtime_ns))
    settings = settings_of(tmp_path, f"runner.ckpt_path={moved}")
    assert _read(tmp_path / "eval", SMALL, settings) is None


def test_the_table_has_counts_and_intervals_and_says_what_was_not_run(tmp_path: Path) -> None:
    far = BenchmarkSet("far", "Distance", {"obs_dim": 8}, lambda episodes: [])
    two = Benchmark("Toys", "toy_reach", (SMALL, far), within="Size")
    config = toy(tmp_path, "runner.only_eval=true")
    solved = [episode(trial, once=trial < 3, at_end=trial < 1) for trial in range(4)]
    with open_run(config) as run:
        settings = {part.name: settings_of(tmp_path)["small"] for part in two.sets}
        _write(run.folder, SMALL, settings, ["reach"], solved)
        _write_table(run, two, settings)
    numbers = json.loads((tmp_path / "eval/table.json").read_text())["table"]
    cell = numbers["success_once"]["Size"]
    assert (cell["success"], cell["episodes"]) == (0.75, 4)
    # Wilson's interval of 3 in 4.
    assert (round(cell["low"], 3), round(cell["high"], 3)) == (0.301, 0.954)
    assert numbers["success_once"]["Distance"] is None
    page = (tmp_path / "eval/table.md").read_text()
    assert "- Interrupted: the means are of 1 of 2 sets alone." in page
    assert "| success at some step | 75.00% (30.1% to 95.4%, n 4) | not run |" in page
    assert "| small | Size | 75.00% (30.1% to 95.4%, n 4) | 25.00%" in page
