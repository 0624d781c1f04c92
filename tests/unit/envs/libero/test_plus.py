"""LIBERO-Plus: what its names say, its table, and its tasks from a folder with its layout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from rlinf.assets import libero, libero_plus
from rlinf.config.load import load
from rlinf.data.types import Start
from rlinf.envs.episode import EpisodeRules
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.envs.libero import noise, plus
from rlinf.envs.libero.benchmark import plus as benchmark
from rlinf.envs.libero.benchmark import plus_offline
from rlinf.envs.libero.config import (
    CHANGED_TASKS,
    NEED_OWN_ASSETS,
    Category,
    LiberoParams,
    LiberoPlusParams,
)
from rlinf.envs.libero.suites import SuiteTask
from rlinf.errors import UserError
from rlinf.registry import simulator
from rlinf.runners.benchmark import configured
from tests.own_pythons import hosted

BOWL = "pick_up_the_black_bowl_from_table_center_and_place_it_on_the_plate"


def test_the_name_of_a_task_says_what_is_changed():
    usual = "_view_0_0_100_0_0_initstate_0"
    for end, category in {
        "_view_15_0_100_0_0_initstate_0": "camera",
        "_view_0_0_120_0_0_initstate_0": "camera",
        "_view_0_0_100_0_0_initstate_13": "robot",
        f"_language_4{usual}": "language",
        f"{usual}_noise_31": "noise",
        "_table_11": "background",
        "_tb_3": "background",
        "_light_7": "light",
        "_add_2": "layout_added",
        "_level2_sample1": "layout_moved",
    }.items():
        found = plus.changed(BOWL + end)
        assert (found.base, found.category) == (BOWL, category), end
        assert found.noise == (31 if category == "noise" else 0)
    assert plus.changed(f"{BOWL}_language_4{usual}").problem == f"{BOWL}_language_4"
    assert plus.changed(f"{BOWL}_view_15_0_100_0_0_initstate_0").problem == BOWL
    assert plus.changed(f"{BOWL}_add_2").problem == f"{BOWL}_add_2"


def test_the_numbers_of_tasks_give_the_published_totals_from_the_published_columns():
    """Total counts every task once, so it says how many tasks a category has."""
    of = {category: sum(suite[category] for suite in CHANGED_TASKS.values()) for category in _ALL}
    assert sum(of.values()) == 10_030
    tasks = [of[one] for one in ("camera", "robot", "language", "light", "background", "noise")]
    tasks.append(of["layout_added"] + of["layout_moved"])
    for columns, total in (
        ((0.8, 3.5, 23.0, 8.1, 34.8, 15.2, 28.5), 15.6),  # OpenVLA
        ((56.4, 31.9, 79.5, 88.7, 93.3, 75.8, 74.2), 69.6),  # OpenVLA-OFT
        ((13.8, 6.0, 58.8, 85.0, 81.4, 79.0, 68.9), 53.6),  # pi0
    ):
        assert np.average(columns, weights=tasks) == pytest.approx(total, abs=0.06)


_ALL = get_args(Category)


def test_the_table_has_the_published_columns_and_each_set_is_a_valid_evaluation(tmp_path: Path):
    assert benchmark().groups == [
        *("Camera", "Robot", "Language", "Light", "Background", "Noise", "Layout")
    ]
    assert benchmark().pooled and len(benchmark().sets) == 32
    offline = {part.init_params["category"] for part in plus_offline().sets}
    assert offline == set(_ALL) - set(NEED_OWN_ASSETS)
    config = load(
        "libero_10_grpo_openvlaoft",
        [
            f"runner.logger.log_path={tmp_path}",
            "env@env.eval=libero_plus",
            "env.eval.num_trials=1",
            "runner.only_eval=true",
        ],
    ).config
    parts = [configured(config, benchmark(), one).env.eval for one in benchmark().sets]
    assert len({part.init_params.task_id() for part in parts}) == 32
    assert sum(len(part.init_params.episode_steps()) for part in parts) == 10_030


def test_a_category_has_one_start_for_each_task_and_the_step_limits_of_its_suite():
    params = LiberoPlusParams(
        task_suite_name="libero_10", category="robot", protocol="openvla_oft", task_ids=(392, 0)
    )
    assert params.num_starts() == 1 and params.episode_steps() == (520, 520)
    plain = LiberoParams(task_suite_name="libero_10", protocol="openvla_oft")
    assert params.takes() == plain.takes() and params.spaces() == plain.spaces()
    for wrong, match in (
        ({"task_ids": (393,)}, "tasks 0 to 392"),
        ({"category": "noise", "camera_size": 128}, "made for 256"),
        ({"category": "layout"}, "layout_added"),
    ):
        with pytest.raises(ValidationError, match=match):
            LiberoPlusParams(**{"task_suite_name": "libero_10", "category": "robot"} | wrong)


def test_missing_assets_are_named_and_the_categories_that_run_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(libero_plus.VARIABLE, str(tmp_path / "plus"))
    monkeypatch.setenv(libero.VARIABLE, str(tmp_path / "plain"))

    def missing(category: str) -> tuple[str, str] | None:
        return LiberoPlusParams(task_suite_name="libero_goal", category=category).missing_assets()

    message, fix = missing("light") or ("", "")
    assert "category = light: files are missing" in message and "scenes/" in message
    for said in (
        "rlinf assets download libero_plus",
        "LIBERO_PLUS_ASSETS=",
        "camera, robot, language, noise, layout_moved",
        "--benchmark libero_plus_offline",
    ):
        assert said in fix
    assert missing("robot") == (
        missing("camera")[0].replace("camera", "robot"),
        "rlinf assets download libero",
    )
    for asset in (*libero.assets(), *libero_plus.assets()):
        for path in asset.missing():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        if asset.folder == tmp_path / "plain":
            assert missing("robot") is None and missing("layout_added") is not None
    assert missing("layout_added") is None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package's folder with four tasks of two categories."""
    usual = "_view_0_0_100_0_0_initstate_0"
    scene = "KITCHEN_SCENE10_turn_on_the_stove"
    names = {
        "libero_spatial": [
            f"{BOWL}_language_4{usual}",
            f"{BOWL}_level1_sample2",
            f"{BOWL}_language_5{usual}",
        ],
        "libero_10": [f"{scene}_view_0_0_100_0_0_initstate_7"],
    }
    monkeypatch.setitem(CHANGED_TASKS["libero_spatial"], "language", 2)
    monkeypatch.setitem(CHANGED_TASKS["libero_spatial"], "layout_moved", 1)
    monkeypatch.setitem(CHANGED_TASKS["libero_10"], "robot", 1)
    root = tmp_path / "liberoplus/liberoplus"
    for part in ("benchmark", "bddl_files/libero_spatial", "init_files/libero_spatial"):
        (root / part).mkdir(parents=True)
    (root / "benchmark/libero_suite_task_map.py").write_text(f"libero_task_map = {names}\n")
    for number, words in ((4, "Put it there"), (5, "Do so")):
        (root / f"bddl_files/libero_spatial/{BOWL}_language_{number}.bddl").write_text(
            f"(define (problem X)\n(:language {words})\n)"
        )
    torch.save(np.zeros((50, 9)), root / f"init_files/libero_spatial/{BOWL}.pruned_init")
    moved = root / f"init_files/libero_newobj/libero_spatial/{BOWL}_level1_sample2.pruned_init"
    moved.parent.mkdir(parents=True)
    torch.save(np.ones(9), moved)
    return root


def tasks(folder: Path, suite: str, category: str, **settings: object) -> tuple[SuiteTask, ...]:
    params = LiberoPlusParams(task_suite_name=suite, category=category, **settings)
    return plus.tasks_of(params, folder)


def test_tasks_are_read_from_the_package_in_its_order(folder: Path):
    words = tasks(folder, "libero_spatial", "language")
    assert [task.instruction for task in words] == ["Put it there", "Do so"]
    assert words[0].problem.name == f"{BOWL}_language_4_view_0_0_100_0_0_initstate_0.bddl"
    assert words[0].init_states().shape == (50, 9)
    (last,) = tasks(folder, "libero_spatial", "language", task_ids=(1,))
    assert last == words[1]
    (moved,) = tasks(folder, "libero_spatial", "layout_moved")
    assert (moved.init_states() == np.ones((1, 9))).all()
    assert moved.instruction == BOWL.replace("_", " ")


def test_the_instruction_has_no_end_of_a_name_unless_it_is_asked_for(folder: Path):
    (task,) = tasks(folder, "libero_10", "robot")
    assert task.instruction == "turn on the stove"
    (leaked,) = tasks(folder, "libero_10", "robot", leaked_names=True)
    assert leaked.instruction == "turn on the stove view 0 0 100 0 0 initstate 7"


def test_another_version_of_the_package_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(CHANGED_TASKS["libero_spatial"], "language", 390)
    with pytest.raises(UserError, match="has 2 tasks of libero_spatial, language, instead of 390"):
        tasks(folder, "libero_spatial", "language")


def test_the_package_is_linked_with_the_assets_inside(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RLINF_CACHE", str(tmp_path / "cache"))
    assets = tmp_path / "assets"
    assets.mkdir()
    tree = plus._tree(folder, assets)
    assert plus._tree(folder, assets) == tree
    assert (tree / "liberoplus/liberoplus/assets").resolve() == assets
    assert (tree / "liberoplus/liberoplus/benchmark/libero_suite_task_map.py").is_file()
    (tmp_path / "others").mkdir()
    assert plus._tree(folder, tmp_path / "others") != tree


def test_only_blur_by_motion_needs_magick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert noise.chosen(1) == ("motion_blur", 1) and noise.chosen(10) == ("motion_blur", 10)
    assert noise.chosen(11) == ("gaussian_blur", 1) and noise.chosen(50) == ("glass_blur", 10)
    for name in ("wand", "wand.image", "wand.api"):
        monkeypatch.setitem(sys.modules, name, None)  # its import fails

    def task(number: int) -> SuiteTask:
        return SuiteTask("libero_goal", "", tmp_path, tmp_path, noise=number)

    with pytest.raises(UserError, match="MagickWand"):
        plus._stand_in_for_magick([task(0), task(10)])
    plus._stand_in_for_magick([task(0), task(11)])
    assert sys.modules["wand.api"].library.MagickMotionBlurImage


@pytest.mark.slow
def test_a_changed_task_runs_under_its_own_python(tmp_path: Path):
    """The fog of category noise is another at each step, and the same when played again."""
    settings = LiberoPlusParams(
        task_suite_name="libero_spatial",
        category="noise",
        task_ids=(20,),
        settle_steps=1,
        fast_rendering=True,
    )
    batch = ProcessBatch(
        simulator("libero_plus").build,
        settings.model_dump(mode="json"),
        1,
        EpisodeRules(max_episode_steps=4, final="none"),
        1,
        tmp_path / "log",
        600.0,
        hosting=hosted("libero_plus"),
    )
    try:
        assert batch.num_trials == 1
        first = batch.start(np.array([0]), [Start(0, 0, 5)]).images.copy()
        assert first.shape == (1, 1, 256, 256, 3) and first.std() > 10
        again = batch.start(np.array([0]), [Start(0, 0, 5)]).images.copy()
        other = batch.start(np.array([0]), [Start(0, 0, 7)]).images
        assert (first == again).all() and (first != other).any()
        result = batch.run_chunk(np.zeros((1, 4, 7), np.float32), np.array([True]), [None])
        (episode,) = result.episodes
        assert (episode.length, episode.success_once) == (4, False)
    finally:
        batch.close()
