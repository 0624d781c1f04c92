"""`rlinf reproduce`: the table, what a row needs, and what became of it."""

from __future__ import annotations

import io
import json
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from rlinf.cli import main
from rlinf.config.load import load
from rlinf.config.machine import Machine
from rlinf.config.placement import Node
from rlinf.errors import NotReproduced, UserError
from rlinf.results.registry import ExpectedRate, row_of, rows
from rlinf.runners.evaluate import write_result
from rlinf.runners.reproduce import (
    conclude,
    describe,
    measured,
    needs,
    overrides_of,
    show_rows,
)
from tests.unit.metrics.evaluations import file_of, outcomes

ROW = row_of("quickstart")
GPUS = Machine(Node(accelerators=8, cpu_slots=64), 512_000_000_000, None, 80_000_000_000)


def test_without_a_row_all_are_printed(capsys):
    assert main(["reproduce"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in rows())


def test_numbers_have_the_decimals_of_their_source_and_say_what_they_are_of():
    console = Console(file=io.StringIO(), width=300)
    show_rows([row_of("maniskill_openvla_ppo"), ROW], console)
    said = console.file.getvalue()
    assert "Semantic 78.35, Execution 85.42, Average of OOD 81.93" in said
    assert re.search(r"quickstart +train +89\.06 ", said)
    describe(row_of("maniskill_openvla_ppo"), [], console)
    assert "Semantic 78.35% (n 1792)" in console.file.getvalue()


def test_what_a_row_runs_is_a_command_with_its_weights(tmp_path):
    row, console = row_of("libero_openvlaoft_grpo"), Console(file=io.StringIO(), width=2000)
    weights = tmp_path / "my models"
    describe(row, overrides_of(row, weights, ["runner.logger.log_path=x"]), console)
    line = next(ln for ln in console.file.getvalue().splitlines() if ln.startswith("runs"))
    words = shlex.split(line)[1:]
    assert words[:3] == ["rlinf", "eval", "libero_130_grpo_openvlaoft"]
    assert words[-1] == "runner.logger.log_path=x"
    loaded = load(words[2], ["runner.only_eval=true", *words[3:]], GPUS)
    assert loaded.config.actor.model.model_path == str(weights / "RLinf-OpenVLAOFT-LIBERO-130")


def test_what_a_row_lacks_is_listed_with_the_commands_that_bring_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main(["reproduce", "maniskill_openvlaoft_base", "--weights", "models"]) == 2
    said = capsys.readouterr().err
    assert (
        "rlinf download RLinf/RLinf-OpenVLAOFT-ManiSkill-Base-Lora "
        "--to models/RLinf-OpenVLAOFT-ManiSkill-Base-Lora" in said
    )
    assert "rlinf download Haozhan72/Openvla-oft-SFT-libero10-trajall --to models/" in said
    assert "needs 1 GPU, this machine has 0" in said
    assert list(tmp_path.iterdir()) == []  # nothing was started


def test_a_folder_without_a_model_is_no_folder_of_weights(tmp_path):
    row = row_of("maniskill_openvlaoft_base")
    model, adapter = (tmp_path / one.folder for one in row.weights)
    model.mkdir()
    adapter.mkdir()
    told = [problem.message for problem in needs(row, tmp_path) if "weights of" in problem.message]
    assert len(told) == 2 and "it has no config.json and no adapter_config.json" in told[0]
    (model / "config.json").touch()
    (adapter / "adapter_config.json").touch()
    assert not any("weights of" in problem.message for problem in needs(row, tmp_path))


def test_an_override_of_the_experiment_is_refused():
    for word in ("actor.optim.lr=1", "runner.max_steps=1", "env.eval.num_trials=3", "+x=1"):
        with pytest.raises(UserError, match="another experiment than quickstart"):
            overrides_of(ROW, Path(), [word])
    free = ["runner.logger.log_path=x", "cluster.num_nodes=2", "env.eval.video_cfg.save_video=true"]
    assert overrides_of(ROW, Path(), free) == [*ROW.overrides, *free]


def test_weights_are_the_folders_that_a_download_makes():
    found = overrides_of(row_of("maniskill_openvlaoft_base"), Path("models"), [])
    assert found[-1] == "actor.model.lora_path=models/RLinf-OpenVLAOFT-ManiSkill-Base-Lora"


def test_measured_numbers_are_those_of_the_last_evaluation_by_group(tmp_path):
    for step, letters in ((0, "...."), (3, "xxx.")):
        episodes = [*outcomes(0, letters), *outcomes(1, "xx")]
        write_result(tmp_path, file_of(episodes, ["easy", "hard"], step=step))
    found = measured(ROW, tmp_path)
    assert {name: one.success for name, one in found.items()} == {
        "easy": 0.75,
        "hard": 1.0,
        "all": 5 / 6,
    }


def test_those_of_a_benchmark_are_the_columns_of_its_table(tmp_path):
    cell = {"success": 0.5, "low": 0.4, "high": 0.6, "episodes": 100}
    mean = {"success": 0.5, "episodes": 100}
    table = {"success_once": {"Vision": cell, "Semantic": None, "Average of groups": mean}}
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "table.json").write_text(json.dumps({"table": table}))
    found = measured(row_of("maniskill_openvla_ppo"), tmp_path)
    assert list(found) == ["Vision"] and found["Vision"].episodes == 100


@pytest.mark.parametrize(("letters", "reproduced"), [("xxxxxxx.", True), ("x.......", False)])
def test_a_row_ends_with_measured_against_expected(tmp_path, letters, reproduced):
    write_result(tmp_path, file_of(outcomes(0, letters)))
    expected = ExpectedRate(of="all", success=0.9, episodes=8, interval=(0.8, 1.0))
    row = ROW.model_copy(update={"expected": (expected,)})
    console = Console(file=io.StringIO(), width=200)
    if reproduced:
        conclude(row, tmp_path, console)
    else:
        with pytest.raises(NotReproduced, match="quickstart is not reproduced, outside: all"):
            conclude(row, tmp_path, console)
    said = console.file.getvalue()
    assert ("inside" in said) is reproduced and ("outside" in said) is not reproduced
    written = json.loads((tmp_path / "reproduce.json").read_text())
    assert written["row"]["name"] == "quickstart"
    assert written["verdicts"][0]["inside"] is reproduced
