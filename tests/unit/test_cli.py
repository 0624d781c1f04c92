"""The command line: exit codes, what it prints, and what it does not import."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rlinf
from rlinf.cli import main
from rlinf.cli.begin import run_folder
from rlinf.config.load import load
from tests.full_disk import largest_file


def test_check_prints_the_plan_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", "toy_ppo_mlp", "cluster.cpu_slots=2"]) == 0
    printed = capsys.readouterr().out
    assert "samples N      12800" in printed
    assert "node 0 CPU slot 0  env 0, rollout 0  actor 0" in printed
    assert "The configuration is valid." in printed
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_user_ends_with_code_2_and_without_a_stack_trace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "toy_ppo_mlp", "actor.sed=1"]) == 2
    printed = capsys.readouterr().err
    assert printed == "error: actor.sed: unknown key\n  fix: did you mean actor.seed?\n"


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"rlinf {rlinf.__version__}\n"


def test_check_without_a_name_says_what_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert "rlinf check quickstart" in capsys.readouterr().err


def test_the_schema_describes_every_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) >= {"cluster", "runner", "env", "algorithm", "actor"}
    optim = schema["$defs"]["OptimConfig"]["properties"]
    assert optim["lr"]["description"] == "Learning rate of the policy."


def test_help_and_check_stay_light() -> None:
    """Neither torch nor Ray nor a simulator is imported to check a configuration."""
    code = (
        "import sys\n"
        "from rlinf.cli import main\n"
        "assert 'hydra' not in sys.modules and 'pydantic' not in sys.modules\n"
        "main(['check', 'quickstart'])\n"
        "sys.exit(len({'torch', 'ray', 'mani_skill', 'gymnasium'} & set(sys.modules)))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_the_launcher_of_a_run_and_what_starts_its_workers_do_without_torch() -> None:
    """It takes seconds to import, and hundreds of megabytes in every process that does."""
    code = (
        "import sys\n"
        "import rlinf.runners.evaluate, rlinf.runners.train, rlinf.cluster.group\n"
        "import rlinf.workers.env, rlinf.data.types\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_two_runs_never_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["train", "toy_ppo_mlp", f"runner.logger.log_path={tmp_path}"]) == 2
    assert "another run is writing" in capsys.readouterr().err
    assert not (tmp_path / "config.yaml").exists()


def test_a_file_system_without_locks_is_good_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    config = load("toy_ppo_mlp", [f"runner.logger.log_path={tmp_path}"]).config
    with run_folder(config):
        assert (tmp_path / "config.yaml").exists()
    assert "a second run in the same folder is not noticed" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_an_error_of_the_user(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "toy_ppo_mlp", "runner.logger.log_path=/proc/no/run"]) == 2
    assert "runner.logger.log_path" in capsys.readouterr().err


def test_a_full_disk_is_an_error_of_the_user_wherever_a_run_meets_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with largest_file(100):
        assert main(["train", "toy_ppo_mlp", f"runner.logger.log_path={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert f"what the run writes cannot be written to {tmp_path}: File too large; " in said


def test_a_start_that_is_refused_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "toy_ppo_mlp", "actor.model.model_path=nowhere"]) == 2
    assert "nowhere: there is no such file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_resume_that_is_refused_leaves_the_folder_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "checkpoints" / "global_step_2"
    checkpoint.mkdir(parents=True)
    own = [f"runner.logger.log_path={tmp_path}", "runner.resume_dir=auto"]
    config = load("toy_ppo_mlp", [*own, "actor.model.hidden_dim=32"]).config
    (checkpoint / "config.json").write_text(json.dumps(config.model_dump(mode="json")))
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    (tmp_path / "run.log").write_text("what was said\n")
    (tmp_path / ".lock").touch()
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert main(["train", "toy_ppo_mlp", *own, "actor.model.hidden_dim=16"]) == 2
    assert "its weights do not fit" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_python_that_leaves_assertions_out_is_started_again_with_them():
    """Hydra's parser does a part of its work inside them; dictionaries end in an error without."""
    code = "import sys; from rlinf.cli import main; sys.exit(main())"
    override = "cluster.component_placement={env: 0, rollout: 0, actor: 0}"
    done = subprocess.run(
        [sys.executable, "-c", code, "check", "toy_ppo_mlp", override],
        env={**os.environ, "PYTHONOPTIMIZE": "2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "The configuration is valid" in done.stdout
