"""Which trials are filmed, and that only whole ones are."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from rlinf.config.schema import Config
from rlinf.envs.episode import Frame
from rlinf.envs.factory import make_batch
from rlinf.envs.starts import evaluation_starts
from rlinf.metrics.evaluation import film_name
from rlinf.workers.evaluation import EvalStage
from rlinf.workers.films import Films, Reels
from rlinf.workers.rollout import RolloutWorker
from tests.unit.workers.conftest import LocalPolicy

Toy = Callable[..., Config]


def frame(env: int, step: int, ended: bool = False) -> Frame:
    return Frame(env, step, 0.0, False, ended, "reach", np.zeros((8, 8, 3), np.uint8))


def test_a_reel_is_an_episode_from_its_start_to_its_end():
    reels = Reels()
    assert reels.ended([frame(0, 0), frame(1, 0), frame(0, 1)]) == {}
    whole = reels.ended([frame(0, 2, ended=True), frame(0, 0), frame(1, 1)])
    assert [one.step for one in whole[0]] == [0, 1, 2]
    assert list(reels.ended([frame(1, 2, True), frame(0, 1, True)])) == [1, 0]


def test_an_episode_whose_simulator_was_replaced_has_no_reel():
    reels = Reels()
    reels.ended([frame(0, 0), frame(0, 1)])
    assert reels.ended([frame(0, 5), frame(0, 6, ended=True)]) == {}
    assert reels.ended([frame(1, 3, ended=True)]) == {}


@pytest.mark.parametrize("only", ["failures", "successes", "all"])
def test_the_trials_of_the_chosen_outcome_are_filmed_whole(toy: Toy, tmp_path: Path, only: str):
    video = f"env.eval.video_cfg={{save_video: true, only: {only}, video_base_dir: {tmp_path}}}"
    config = toy("algorithm.sampling_params.do_sample=true", "env.eval.total_num_envs=6", video)
    worker = RolloutWorker(config, rank=0, threads=1, log_dir=str(tmp_path))
    batch = make_batch(config.env.eval, 6, 0, "none", 0, tmp_path / "eval.log")
    stage = EvalStage(config, batch, LocalPolicy(worker), 0)
    with closing(Films(config.env.eval.video_cfg, 3, 10)) as films:
        found = stage.run(evaluation_starts(5, 1, 9), 1, 0, lambda episodes: None, films)
    assert {episode.repeat for episode in found} == {1}
    chosen = {"failures": [False], "successes": [True], "all": [False, True]}[only]
    wanted = {film_name(e): e.length for e in found if e.success_once in chosen}
    written = {path.name: path for path in (tmp_path / "step_00003").glob("*.mp4")}
    assert written.keys() == wanted.keys()
    for name, length in wanted.items():
        assert frames_of(written[name]) == length + 1


def test_nothing_is_recorded_once_there_are_enough(toy: Toy, tmp_path: Path):
    video = "env.eval.video_cfg={save_video: true, only: all, max_videos: 2, "
    config = toy("env.eval.total_num_envs=4", f"{video}video_base_dir: {tmp_path}}}")
    worker = RolloutWorker(config, rank=0, threads=1, log_dir=str(tmp_path))
    batch = make_batch(config.env.eval, 4, 0, "none", 0, tmp_path / "eval.log")
    stage = EvalStage(config, batch, LocalPolicy(worker), 0)
    with closing(Films(config.env.eval.video_cfg, 0, 10)) as films:
        stage.run(evaluation_starts(5, 1, 12), 0, 0, lambda episodes: None, films)
    assert len(list((tmp_path / "step_00000").glob("*.mp4"))) == 2
    assert batch.take_frames() == []


def frames_of(path: Path) -> int:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    told = subprocess.run(
        [program, "-v", "error", "-stats", "-i", path, "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(told.stderr.split("frame=")[-1].split()[0])
