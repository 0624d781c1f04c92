"""`rlinf sft`: a run that learns from demonstrations alone."""

from __future__ import annotations

import time
from pathlib import Path

from rlinf.config.derive import Plan
from rlinf.config.imitation import ImitationConfig
from rlinf.config.schema import Config
from rlinf.errors import UserError, WorkerFailed
from rlinf.runners import checkpoint
from rlinf.runners.branches import checkpoint_to_continue, leave_branch
from rlinf.runners.demonstrations import data_folders, decode_pictures
from rlinf.runners.learners import Learners
from rlinf.runners.resuming import compare_with_checkpoint
from rlinf.runners.run import Run, open_run
from rlinf.runners.saving import is_of_training, write_config
from rlinf.runners.schedules import settle_imitation
from rlinf.runners.shutdown import Stopped
from rlinf.runners.train import due
from rlinf.runners.warmup import given_weights
from rlinf.wording import plural


def sft(config: Config, plan: Plan) -> int:
    """Trains to the end, or until Ctrl-C or SIGTERM; returns the exit code."""
    settings = config.imitation
    if settings is None:
        raise UserError(
            "the configuration has no section imitation: there are no demonstrations",
            "add imitation=lerobot 'imitation.data=[FOLDER]' with the folder of a LeRobot data set",
        )
    config = given_weights(config)
    with open_run(config) as run, run.stop:
        try:
            compare_with_checkpoint(config, run, imitates=True)
            config = settle_imitation(config, settings, run)
            folders = data_folders(config, plan, settings, run)
            decode_pictures(folders, settings, run)
            with run.console.phase("start", once=True):
                learners = Learners(config, plan, folders, run)
            with learners:
                _run(config, settings, learners, run)
                export = run.folder / "export"
                learners.export(checkpoint.follow(run.checkpoints / checkpoint.LATEST), export)
            run.console.paths({"TensorBoard": run.folder / "tensorboard", "policy": export})
        except Stopped as stopped:
            run.console.note(f"stopped by {stopped}; runner.resume_dir=auto continues this run")
            return stopped.exit_code
        except WorkerFailed:
            if (run.checkpoints / checkpoint.LATEST).exists():
                run.console.note("runner.resume_dir=auto continues from the newest checkpoint")
            raise
    return 0


def _run(config: Config, settings: ImitationConfig, learners: Learners, run: Run) -> None:
    learned, held_out = learners.sizes()
    run.console.note(f"{plural(learned, 'sample')} to learn from, {held_out} held out")
    saver = _Saver(config, learners, run)
    first = saver.resume()
    run.open_writers(first or None)
    try:
        _loop(settings, learners, run, saver, first)
    except Stopped:
        saver.save()
        raise
    if not saver.save():
        raise UserError(
            f"the last checkpoint could not be written below {run.checkpoints}",
            "free some space and continue with runner.resume_dir=auto",
        )


def _loop(
    settings: ImitationConfig, learners: Learners, run: Run, saver: _Saver, first: int
) -> None:
    """Steps between two lines of metrics at a time; then what is due."""
    total, every = settings.steps, settings.log_interval
    for begin in range(first, total, every):
        run.stop.check()
        end = min(begin + every, total)
        began = time.perf_counter()
        with run.phase("update"):
            metrics = learners.train(begin, end).reduce()
        samples = (end - begin) * settings.batch_size
        metrics["time/samples_per_second"] = samples / (time.perf_counter() - began)
        saver.step = end
        if due(settings.eval_interval, end, total):
            with run.phase("eval"):
                metrics |= learners.held_out_metrics().reduce()
        run.log(end, total, metrics)
        if due(settings.save_interval, end, total):
            with run.phase("save"):
                saver.save()


class _Saver:
    """Checkpoints of the learners."""

    def __init__(self, config: Config, learners: Learners, run: Run) -> None:
        self.config, self.learners, self.run = config, learners, run
        self.step = 0  # steps completed
        self._saved = -1

    def resume(self) -> int:
        """Continues the newest good checkpoint, if one is asked for; returns its steps."""
        folder = checkpoint_to_continue(self.run, self.config.runner.resume_dir)
        if folder is None:
            return 0
        if is_of_training(folder):
            raise UserError(
                f"runner.resume_dir: {folder} is a checkpoint of `rlinf train`",
                "name one of `rlinf sft`, or start from this policy with runner.ckpt_path",
            )
        self.learners.load(folder)
        self.step = self._saved = checkpoint.step_of(folder)
        self.run.console.note(f"resumed from {folder}")
        aside = leave_branch(self.run.folder, folder, self.step)
        if aside is not None:
            self.run.console.note(f"what followed it before is now in {aside}")
        return self.step

    def save(self) -> bool:
        """Writes a checkpoint of the completed steps, once; whether they are on the disk.

        A full disk is reported, the older checkpoints stay, and the next save tries again.
        """
        if self.step in (self._saved, 0):
            return self.step == self._saved
        keep = self.config.runner.keep_checkpoints
        try:
            checkpoint.save(self.run.checkpoints, self.step, self._write, keep)
        except OSError as error:
            self.run.console.warn(
                f"checkpoint of step {self.step} not written, older ones are kept: {error}"
            )
            return False
        self._saved = self.step
        return True

    def _write(self, folder: Path) -> None:
        write_config(self.config, folder)
        self.learners.save(folder)
