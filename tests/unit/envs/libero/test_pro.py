"""LIBERO-Pro: its suites, its table, and how its files are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from rlinf.config.load import load
from rlinf.data.types import Start
from rlinf.envs.episode import EpisodeRules
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.envs.libero.benchmark import pro
from rlinf.envs.libero.config import LiberoParams, LiberoProParams
from rlinf.envs.libero.suites import SuiteTask, instruction_in
from rlinf.errors import UserError
from rlinf.registry import simulator
from rlinf.runners.benchmark import configured
from tests.own_pythons import hosted


def test_a_changed_suite_has_ten_tasks_with_the_step_limits_of_the_suite_it_is_made_from():
    for suite, steps in (("libero_spatial_swap", 220), ("libero_10_lan", 520)):
        params = LiberoProParams(task_suite_name=suite, protocol="openvla_oft")
        plain = LiberoParams(task_suite_name=suite.rpartition("_")[0], protocol="openvla_oft")
        assert params.suites() == (suite,) * 10
        assert params.episode_steps() == plain.episode_steps() == (steps,) * 10
        assert params.missing_assets() is None  # they are in its packages
        assert (params.num_starts(), params.takes()) == (plain.num_starts(), plain.takes())
    chosen = LiberoProParams(task_suite_name="libero_goal_task", task_ids=(9, 2))
    assert chosen.chosen() == (9, 2) and len(chosen.episode_steps()) == 2
    with pytest.raises(ValidationError, match="tasks 0 to 9"):
        LiberoProParams(task_suite_name="libero_goal_task", task_ids=(10,))
    with pytest.raises(ValidationError):
        LiberoProParams(task_suite_name="libero_goal_env")  # its tasks are in no package


def test_the_table_has_the_published_columns_for_each_suite():
    groups = pro().groups
    assert groups[:5] == ["Spatial Obj", "Spatial Pos", "Spatial Sem", "Spatial Task", "Object Obj"]
    assert len(groups) == len(pro().sets) == 16
    assert pro().sets[1].init_params == {"task_suite_name": "libero_spatial_swap"}


def test_every_set_configures_an_evaluation_of_any_libero_configuration(tmp_path: Path):
    config = load(
        "libero_10_grpo_openvlaoft",
        [f"runner.logger.log_path={tmp_path}", "env@env.eval=libero_pro", "runner.only_eval=true"],
    ).config
    suites = {configured(config, pro(), one).env.eval.init_params.task_id() for one in pro().sets}
    assert len(suites) == 16
    # What the main file says of an evaluation holds as well.
    assert config.env.eval.init_params.resolved().settle_gripper == "half_open"


def test_the_words_of_a_task_are_read_from_its_problem_file(tmp_path: Path):
    problem = tmp_path / "a.bddl"
    problem.write_text("(define (problem X)\n  (:language  open the cabinet’s\n middle drawer)\n)")
    assert instruction_in(problem) == "open the cabinet’s middle drawer"


def test_start_states_are_read_as_arrays_and_their_number_is_checked(tmp_path: Path):
    states = np.arange(100.0).reshape(50, 2)
    np.savez(tmp_path / "a.npz", states=states)
    np.savez(tmp_path / "b.npz", states=states[:7])
    np.savez(tmp_path / "c.npz", states=np.array([{"no": "numbers"}], dtype=object))

    def task(name: str) -> SuiteTask:
        return SuiteTask("libero_goal_lan", "", tmp_path / "a.bddl", tmp_path / name)

    assert (task("a.npz").init_states() == states).all()
    with pytest.raises(UserError, match="7 start states instead of 50"):
        task("b.npz").init_states()
    with pytest.raises(UserError, match="more than numbers"):
        task("c.npz").init_states()


@pytest.mark.slow
def test_a_changed_task_runs_under_its_own_python(tmp_path: Path):
    """The instruction of a suite about words is another than that of the task's name."""
    settings = LiberoProParams(
        task_suite_name="libero_spatial_lan",
        task_ids=(0,),
        camera_size=32,
        settle_steps=1,
        fast_rendering=True,
    )
    batch = ProcessBatch(
        simulator("libero_pro").build,
        settings.model_dump(mode="json"),
        1,
        EpisodeRules(max_episode_steps=4, final="none"),
        1,
        tmp_path / "log",
        600.0,
        hosting=hosted("libero_pro"),
    )
    try:
        assert batch.num_trials == 50
        assert batch.tasks == (
            "lift the black bowl between the plate and ramekin and set it on the plate",
        )
        seen = batch.start(np.array([0]), [Start(0, 3, 5)])
        assert seen.images.shape == (1, 1, 32, 32, 3) and seen.images.std() > 10
        actions = np.zeros((1, 4, 7), np.float32)
        result = batch.run_chunk(actions, np.array([True]), [None])
        (episode,) = result.episodes
        assert (episode.length, episode.success_once) == (4, False)
    finally:
        batch.close()
