"""Trainings through Ray on simulators with a Python of their own, where it is installed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e import runs
from tests.own_pythons import hosted

ONE_ITERATION = ("runner.max_steps=1", "runner.val_check_interval=-1", "runner.save_interval=-1")
FEW = (
    "env.train.total_num_envs=4",
    "env.train.max_steps_per_rollout_epoch=10",
    "env.train.max_episode_steps=10",
    "actor.micro_batch_size=40",
    "actor.global_batch_size=40",
)
SMALLER = (
    "env.train.total_num_envs=2",
    "env.train.max_steps_per_rollout_epoch=16",
    "env.train.max_episode_steps=16",
    "actor.micro_batch_size=4",
    "actor.global_batch_size=4",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "name", "overrides"),
    [
        ("isaaclab_ppo_mlp", "isaaclab", FEW),
        ("isaaclab_stack_cube_tiny", "isaaclab", SMALLER),
        ("mjlab_ppo_mlp", "mjlab", FEW),
    ],
)
def test_an_iteration_learns_from_whole_episodes(
    config: str, name: str, overrides: tuple[str, ...], tmp_path: Path
):
    hosted(name)
    runs.run("train", config, tmp_path, *ONE_ITERATION, *overrides)
    (numbers,) = runs.metrics(tmp_path)
    assert numbers["env/num_episodes"] >= int(overrides[0].rpartition("=")[2])
    assert numbers["train/actor/grad_norm"] > 0


DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("source-en/benchmarks/isaaclab.md", "source-zh/benchmarks/isaaclab.md")
SWING_UP = """
import sys
sys.path[:0] = sys.argv[1:]
import numpy as np
from rlinf.data.types import Start
from rlinf.envs import isaaclab
isaaclab.TASKS["swing_up"] = "swing_up:TASK"
from rlinf.envs.isaaclab.build import make_mjlab
env = make_mjlab(2, "swing_up", None, (32, 32), "success", None)
env.reset(np.arange(2), [Start(0, -1, 1)] * 2)
shown, result = env.observe(np.arange(2)), env.step(np.zeros((2, 1)), np.ones(2, bool))
print(shown.images.shape, shown.state.shape, shown.instructions[0], result.success.tolist())
"""


def code(page: str) -> str:
    (block,) = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.M | re.S)
    return block


def test_the_task_of_the_documentation_runs_in_the_simulator_itself(tmp_path: Path):
    python = hosted("mjlab").interpreter
    assert python is not None
    (tmp_path / "swing_up.py").write_text(code(PAGES[0]))
    done = subprocess.run(
        [python, "-c", SWING_UP, str(DOCS.parent), str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = "(2, 1, 32, 32, 3) (2, 5) swing the pole up [False, False]"
    assert done.stdout.splitlines()[-1] == told


def test_both_languages_show_the_same_task():
    assert code(PAGES[0]) == code(PAGES[1])
