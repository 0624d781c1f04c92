"""The end of a training: the exported policy, the report, and what the user reads last."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rlinf.config.schema import Config
from rlinf.data.disk import refusals_told
from rlinf.logging.report import write_report
from rlinf.runners import checkpoint
from rlinf.runners.evaluate import read_history
from rlinf.runners.run import Run
from rlinf.runners.workers import Workers


def close_run(config: Config, run: Run, workers: Workers) -> None:
    """Exports the policy of the last checkpoint, writes `report.html`, prints the comparison and
    where everything is.
    """
    newest = checkpoint.follow(run.checkpoints / checkpoint.LATEST)
    workers.export(newest, run.folder / "export")
    report = run.folder / "report.html"
    again = "the run is complete: make room, and runner.resume_dir=auto writes its report"
    with refusals_told("the report", report, again):
        write_report(report, config.runner.logger.run_name)
    names = {0: "before", checkpoint.number_of(newest): "after"}
    history = [
        replace(outcome, label=names.get(step, f"after step {step}"))
        for step, outcome in read_history(run.folder)
    ]
    if len(history) > 1:
        run.console.table(history[0], history[-1])
    run.console.paths({**results(config, run.folder), "report": report})


def results(config: Config, folder: Path) -> dict[str, Path]:
    """What a run left behind, by what a reader calls it."""
    videos = {
        f"{name} videos": Path(env.video_cfg.video_base_dir)
        for name, env in (("training", config.env.train), ("evaluation", config.env.eval))
        if env.video_cfg.save_video
    }
    return {"TensorBoard": folder / "tensorboard", **videos, "policy": folder / "export"}
