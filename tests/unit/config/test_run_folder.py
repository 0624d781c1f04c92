"""Every run has a folder of its own, found again by resume and by TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from rlinf.config.compose import CONFIG_DIR
from rlinf.config.load import Loaded, load
from rlinf.config.machine import Machine
from rlinf.config.run_folder import Reservation
from rlinf.logging.events import EventFile

Start = Callable[..., Loaded]


@pytest.fixture
def start(tmp_path: Path, laptop: Machine, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Loads `toy_ppo_mlp` below `tmp_path/here` and leaves what a run leaves."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*overrides: str, purpose: str = "") -> Loaded:
        loaded = load("toy_ppo_mlp", overrides, laptop, purpose)
        folder = loaded.config.runner.logger.run_dir
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.jsonl").touch()
        return loaded

    return run


def folder(loaded: Loaded) -> Path:
    return loaded.config.runner.logger.run_dir


def test_without_a_log_path_every_run_gets_its_own_folder(start: Start, tmp_path: Path):
    first, second = folder(start()), folder(start())  # in the same second, too
    assert first.parent == second.parent == tmp_path / "here" / "logs"
    assert first.name.endswith("-toy_ppo_mlp") and second.name.endswith("-toy_ppo_mlp")
    assert first != second


def test_tensorboard_finds_the_runs_below_logs(start: Start):
    for loss in (0.5, 0.25):
        writer = EventFile(folder(start()) / "tensorboard")
        writer.write(1, {"train/loss": loss})
        writer.close()
    found = EventMultiplexer().AddRunsFromDirectory("./logs").Reload()
    scalars = [found.Scalars(run, "train/loss") for run in found.Runs()]
    assert sorted(events[0].value for events in scalars) == [0.25, 0.5]


@pytest.mark.parametrize("experiment", [[], ["runner.logger.experiment_name=mine"]])
def test_a_second_run_in_one_log_path_gets_a_sub_folder(
    start: Start, tmp_path: Path, experiment: list[str]
):
    given = ["runner.logger.log_path=../results", *experiment]
    video = "env.eval.video_cfg.video_base_dir=${runner.logger.log_path}/video/eval"
    first, second = (start(*given, video) for _ in range(2))
    inside = "mine" if experiment else ""
    assert folder(first) == tmp_path / "results" / inside
    assert first.notes == ()
    own = Path(second.config.runner.logger.log_path)
    assert (own.parent, own / inside) == (tmp_path / "results", folder(second))
    used = "../results/mine" if experiment else "../results"
    assert f"{used} holds a run already, so this one goes to ../results/" in second.notes[0]
    videos = {loaded.config.env.eval.video_cfg.video_base_dir for loaded in (first, second)}
    assert videos == {str(tmp_path / "results/video/eval"), str(own / "video/eval")}
    assert folder(start(*given)) not in (folder(first), folder(second))


def test_resuming_takes_the_newest_run_of_the_log_path(start: Start, tmp_path: Path):
    given = "runner.logger.log_path=../results"
    first = folder(start(given))
    assert folder(start(given, "runner.resume_dir=auto")) == first
    second = folder(start(given))
    assert second != first
    assert folder(start(given, "runner.resume_dir=auto")) == second
    for run in (first, second):
        (run / "checkpoints/global_step_1").mkdir(parents=True)
        checkpoint = f"runner.resume_dir={run}/checkpoints/global_step_1"
        assert folder(start(given, checkpoint)) == run
    elsewhere = folder(start("runner.logger.log_path=../other"))
    (elsewhere / "checkpoints/global_step_1").mkdir(parents=True)
    checkpoint = f"runner.resume_dir={elsewhere}/checkpoints/global_step_1"
    assert folder(start(given, checkpoint)) not in (first, second, elsewhere)


def test_an_evaluation_stays_in_the_folder_it_is_given(start: Start):
    given = "runner.logger.log_path=../results"
    assert folder(start(given)) == folder(start(given, "runner.only_eval=true"))


def test_resuming_without_a_log_path_takes_the_newest_run_of_the_same_name(
    start: Start, tmp_path: Path
):
    for name in (
        "20260101-000000-toy_ppo_mlp",
        "20260202-000000-toy_ppo_mlp",
        "20260303-000000-toy_ppo_mlp-eval",
        "20260404-000000-quickstart",
    ):
        (tmp_path / "here" / "logs" / name).mkdir(parents=True)
    assert folder(start("runner.resume_dir=auto")).name == "20260202-000000-toy_ppo_mlp"


def note(run: Path, began: float, has_checkpoint: bool) -> None:
    """What a run leaves that matters to resume."""
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"began": began}))
    (run / "metrics.jsonl").touch()
    if has_checkpoint:
        (run / "checkpoints/global_step_3").mkdir(parents=True)
        (run / "checkpoints/global_step_3/manifest.json").touch()


@pytest.mark.parametrize("given", [[], ["runner.logger.log_path=logs"]])
def test_resuming_goes_by_the_runs_own_records_and_takes_one_with_a_checkpoint(
    start: Start, tmp_path: Path, given: list[str]
):
    """The clock of the folders' names is another in each time zone."""
    logs = tmp_path / "here" / "logs"
    names = [f"2026010{day}-000000-toy_ppo_mlp" for day in (3, 2, 1)]
    note(logs / names[0], 1000, has_checkpoint=True)
    note(logs / names[1], 2000, has_checkpoint=True)
    note(logs / names[2], 3000, has_checkpoint=False)
    loaded = start(*given, "runner.resume_dir=auto")
    assert folder(loaded).name == names[1]
    assert f"{names[2]} has no checkpoint, so logs/{names[1]} is continued" in loaded.notes[0]
    (logs / names[2] / "checkpoints/global_step_1").mkdir(parents=True)
    (logs / names[2] / "checkpoints/global_step_1/manifest.json").touch()
    loaded = start(*given, "runner.resume_dir=auto")
    assert folder(loaded).name == names[2] and loaded.notes == ()


def test_a_configuration_whose_name_is_a_pattern_finds_its_own_runs(
    tmp_path: Path, laptop: Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("a[1].yaml").write_text((CONFIG_DIR / "toy_ppo_mlp.yaml").read_text())
    note(Path("logs/20260101-000000-a[1]"), 1000, has_checkpoint=True)
    note(Path("logs/20260101-000000-a1"), 2000, has_checkpoint=True)
    loaded = load("a[1].yaml", ["runner.resume_dir=auto"], laptop)
    assert folder(loaded).name == "20260101-000000-a[1]"


def test_runs_that_begin_in_the_same_moment_get_a_folder_each(
    tmp_path: Path, laptop: Machine, monkeypatch: pytest.MonkeyPatch
):
    """Each has its folder before it looks at anything else; one that is refused gives it back."""
    monkeypatch.chdir(tmp_path)
    reservations = [Reservation() for _ in range(3)]
    chosen = [folder(load("toy_ppo_mlp", [], laptop, take=r.take)) for r in reservations]
    assert len({*chosen}) == 3 and all(path.is_dir() for path in chosen)
    assert not reservations[0].take(chosen[2])  # as where another was faster
    for reservation in (*reservations[1:], reservations[0]):  # that one has made `logs`, too
        reservation.give_up()
    assert list(tmp_path.iterdir()) == []
