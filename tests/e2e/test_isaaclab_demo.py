"""The configuration of the specification, with a tiny GR00T, through both of its scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.assets import GOLDEN
from tests.e2e import runs
from tests.own_pythons import hosted

REPO = Path(__file__).parents[2]
DEMO = "isaaclab_ppo_gr00t_demo"
GR00T = GOLDEN / "gr00t_n1_5"
TINY_DEMO = (
    f"actor.model.model_path={GR00T / 'checkpoint'}",
    f"actor.model.processor_path={GR00T / 'eagle_processor'}",
    "actor.model.precision=fp32",
    "runner.val_check_interval=-1",
    "runner.max_steps=2",
    "runner.save_interval=2",
    "env.train.init_params.fast_physics=true",
    "env.train.init_params.camera_size=[64,64]",
    "env.train.total_num_envs=2",
    "env.train.max_steps_per_rollout_epoch=10",
    "env.train.max_episode_steps=10",
    "env.eval.total_num_envs=2",
    "env.eval.num_trials=2",
    "env.eval.max_episode_steps=10",
    "actor.micro_batch_size=2",
    "actor.global_batch_size=4",
)


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a user types; nothing may be left to install."""
    stamp = Path(sys.prefix, ".rlinf-installed")
    if not stamp.is_file() or "gr00t" not in stamp.read_text().split():
        pytest.skip("needs the extra gr00t: bash requirements/install.sh --extra gr00t")
    path = REPO / "examples/embodiment" / f"{name}_embodiment.sh"
    return subprocess.run(
        ["bash", path, DEMO, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["run", "eval"])
def test_the_demo_says_what_is_missing_before_anything_starts(name: str, tmp_path: Path):
    python = hosted("isaaclab").interpreter
    done = script(
        *(name, "env.train.init_params.physics=isaacsim"),
        f"runner.logger.log_path={tmp_path / 'run'}",
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{python} (requirements/install.sh --env isaaclab) has no isaacsim" in done.stderr
    assert "fix: install Isaac Sim there" in done.stderr and "ACCEPT_EULA=Y" in done.stderr
    assert "RLinf-Gr00t-SFT-Spatial: there is no such file or folder" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.skipif(not GR00T.is_dir(), reason=f"needs {GR00T}")
def test_the_demo_trains_and_evaluates_on_its_own_task_through_both_scripts(tmp_path: Path):
    hosted("isaaclab")
    done = script("run", f"runner.logger.log_path={tmp_path / 'run'}", *TINY_DEMO)
    assert done.returncode == 0, done.stdout + done.stderr
    trained = runs.metrics(tmp_path / "run")
    assert len(trained) == 2
    assert all(numbers["train/actor/grad_norm"] > 0 for numbers in trained)
    weights = f"runner.ckpt_path={tmp_path / 'run' / 'checkpoints' / 'latest'}"
    done = script("eval", f"runner.logger.log_path={tmp_path / 'eval'}", weights, *TINY_DEMO)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "eval" / "eval" / "step_0.json").read_text())
    assert found["overall"]["episodes"] == 2
