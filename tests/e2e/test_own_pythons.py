"""Trainings through Ray on simulators with a Python of their own, where it is installed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from rlinf.data.types import Start
from rlinf.envs.episode import EpisodeRules
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.registry import imported, simulator
from tests.assets import GOLDEN
from tests.e2e import runs
from tests.own_pythons import hosted

REPO = Path(__file__).parents[2]
DOCS = REPO / "docs"
NO_EVALUATION = ("runner.val_check_interval=-1",)
STACKING = (
    *NO_EVALUATION,
    "runner.max_steps=1",
    "runner.save_interval=-1",
    "imitation.num_demonstrations=1",  # of as many steps as an episode has
    "imitation.steps=2",
    "env.train.init_params.fast_physics=true",
    "env.train.total_num_envs=2",
    "env.train.max_steps_per_rollout_epoch=16",
    "env.train.max_episode_steps=16",
    "actor.micro_batch_size=4",
    "actor.global_batch_size=4",
)


@pytest.mark.slow
def test_the_arm_learns_to_reach(tmp_path: Path):
    hosted("isaaclab")
    runs.run(
        *("train", "isaaclab_ppo_mlp", tmp_path, *NO_EVALUATION),
        *("runner.max_steps=12", "runner.save_interval=-1"),
    )
    success = [numbers["env/success_once"] for numbers in runs.metrics(tmp_path)]
    assert max(success[:2]) < 0.2 < success[-1] - success[0]


@pytest.mark.slow
def test_the_pole_is_balanced_also_over_a_resume_which_drops_running_episodes(
    tmp_path: Path,
):
    """After 6 iterations all episodes are at half of their 200 steps."""
    hosted("mjlab")
    settings = ("train", "mjlab_ppo_mlp", tmp_path, *NO_EVALUATION, "runner.save_interval=6")
    runs.run(*settings, "runner.max_steps=6")
    output = runs.run(*settings, "runner.max_steps=11", "runner.resume_dir=auto")
    assert "dropped 64 running episodes" in output
    found = {numbers["step"]: numbers for numbers in runs.metrics(tmp_path)}
    assert found[7]["faults/dropped_episodes"] == 64
    assert sum(numbers.get("faults/dropped_episodes", 0) for numbers in found.values()) == 64
    episodes = [step for step in found if found[step]["env/num_episodes"]]
    assert (episodes[0], episodes[-1]) == (4, 11)


@pytest.mark.slow
def test_the_tiny_policy_imitates_the_expert_of_the_stacking_task_and_is_updated(tmp_path: Path):
    hosted("isaaclab")
    runs.run(
        *("train", "isaaclab_stack_cube_tiny", tmp_path / "run", *STACKING),
        f"imitation.cache_dir={tmp_path / 'cache'}",
    )
    (numbers,) = runs.metrics(tmp_path / "run")
    assert numbers["env/num_episodes"] >= 2
    assert numbers["train/actor/grad_norm"] > 0


DEMO = "isaaclab_ppo_gr00t_demo"
GR00T = GOLDEN / "gr00t_n1_5"
TINY_DEMO = (
    f"actor.model.model_path={GR00T / 'checkpoint'}",
    f"actor.model.processor_path={GR00T / 'eagle_processor'}",
    "actor.model.precision=fp32",
    *NO_EVALUATION,
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


REACH = {"id": "reach", "cameras": (), "fast_physics": True}
POLE = {"id": "cartpole", "cameras": ()}
NUM_ENVS = 2
IDS, EVERYONE = np.arange(NUM_ENVS), np.ones(NUM_ENVS, bool)
STARTS = [Start(0, -1, 1), Start(0, -1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings", "actions"), [("isaaclab", REACH, 3), ("mjlab", POLE, 1)]
)
def test_a_simulator_that_is_killed_or_hangs_is_replaced_and_its_episodes_are_dropped(
    name: str, settings: dict[str, Any], actions: int, tmp_path: Path
):
    how, spec = hosted(name), simulator(name)
    plain = imported(spec.settings)(**settings).model_dump(mode="json")
    rules = EpisodeRules(max_episode_steps=50, final="none")
    batch = ProcessBatch(
        *(spec.build, plain, NUM_ENVS, rules, 1, tmp_path / "log", 600.0),
        **{"retries": 1, "hosting": how},
    )
    still = np.zeros((NUM_ENVS, 2, actions), np.float32)
    try:
        batch.start(IDS, STARTS)
        batch.run_chunk(still, EVERYONE, STARTS)  # compiles, where nothing was compiled before
        for fault, timeout_s in ((signal.SIGKILL, 600.0), (signal.SIGSTOP, 30.0)):
            batch.step_timeout_s = timeout_s  # a first chunk takes a second, others much less
            (process,) = (
                child
                for child in psutil.Process().children(recursive=True)
                if child.status() != psutil.STATUS_ZOMBIE
                and str(tmp_path / "log") in child.cmdline()
            )
            process.send_signal(fault)
            result = batch.run_chunk(still, EVERYONE, STARTS)
            assert [(e.dropped, e.length) for e in result.episodes] == [(True, 2)] * NUM_ENVS
            assert np.isnan(result.rewards[:, 0]).all() and result.active.all()
            after = batch.run_chunk(still, EVERYONE, STARTS)
            assert not after.episodes and np.isfinite(after.rewards).all()
        assert batch.restarts == 2
    finally:
        batch.close()


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
