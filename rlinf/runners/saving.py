"""What a checkpoint of a training holds, and when one is written.

actor/             trained weights, optimizer and number of updates, see models/shards.py
reference/         the policy that training started from, where the loss has a KL term
episodes.npz       the running episodes of every env, see `pack_states`
mixture.npz        what a curriculum knows of each task, where there is one
config.json        the configuration
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from rlinf.cluster.group import Pending
from rlinf.config.schema import Config
from rlinf.data.types import Start
from rlinf.envs.episode import EnvState
from rlinf.errors import UserError, WorkerFailed
from rlinf.models.shards import CONFIG_FILE, REFERENCE, has_reference
from rlinf.runners import checkpoint
from rlinf.runners.branches import checkpoint_to_continue, leave_branch
from rlinf.runners.evaluate import read_history
from rlinf.runners.mixture import TaskMixture
from rlinf.runners.run import Run
from rlinf.runners.workers import Workers

StageState = tuple[list[EnvState], np.ndarray]  # of one stage: episodes, episodes begun per env
EPISODES_FILE = "episodes.npz"


class Saver:
    """Writes checkpoints of completed iterations, and brings a run back from one.

    A checkpoint is copied when it is due and written while the run goes on.
    """

    def __init__(self, config: Config, run: Run, workers: Workers, mixture: TaskMixture) -> None:
        self.config, self.run, self.workers, self.mixture = config, run, workers, mixture
        self.step = 0  # iterations completed
        self._saved: int | None = None  # the newest step on the disk
        self._resumed_from: Path | None = None
        self._reference: Path | None = None  # the newest checkpoint that holds the reference policy
        self._episodes: Pending | None = None  # of the envs when `step` was complete
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: tuple[int, Future[Path]] | None = None  # step

    def resume(self) -> int:
        """Brings the workers to the newest good checkpoint, if one is asked for.

        Returns:
            The number of iterations that were complete: 0 for a new run.

        Raises:
            UserError: the folder holds a run and `resume_dir` is not set, or the checkpoint
                asked for is damaged.
        """
        folder = checkpoint_to_continue(self.run, self.config.runner.resume_dir)
        if folder is None:
            return 0
        self._load(folder)
        self.run.console.note(f"resumed from {folder}")
        aside = leave_branch(self.run.folder, folder, self.step)
        if aside is not None:
            self.run.console.note(f"what followed it before is now in {aside}")
        return self.step

    def complete(self, step: int, episodes: Pending) -> None:
        """Iteration `step` is complete: from now on a checkpoint means this state.

        Args:
            episodes: that the envs ran when its trajectories had been collected.
        """
        self.step, self._episodes = step, episodes
        self.workers.updating = False
        if self.workers.host_copy is not None:
            self.workers.host_copy.write()

    def take_over(self) -> None:
        """Before a Ray that ended is started again: holds what only its objects hold."""
        self.finish()
        if self._episodes is not None:
            self._episodes.take_over()
        if self.workers.host_copy is not None:
            self.workers.host_copy.take_over()

    def rewind(self, actor_lost: bool) -> None:
        """Brings the workers, some of which may be new, to one completed iteration again.

        That is the last one, if the actor's state and the episodes the envs ran then are there;
        otherwise it is the newest checkpoint, or the start of the run.
        """
        whole = not actor_lost or self.workers.restore_actor()
        if whole and actor_lost and self._reference is not None:
            self.workers.load_reference(self._reference)
        if whole and self._restore_episodes():
            return
        self.finish()
        found, _ = checkpoint.find(self.run.checkpoints, "auto")
        folder = found or self._resumed_from
        if folder is not None:
            self._load(folder)
            return
        if whole:  # otherwise it is new
            self.workers.replace_actor()
        self.workers.forget_episodes()
        self.complete(0, self.workers.request_episodes())

    def _restore_episodes(self) -> bool:
        """Whether the episodes of the last complete iteration were known, and run again."""
        if self._episodes is None:
            self.workers.forget_episodes()
            return True
        try:
            states = self._episodes.result()
        except WorkerFailed:  # before it could say
            return False
        self.workers.restore_episodes(states)
        return True

    def _load(self, folder: Path) -> None:
        """Brings the workers to a checkpoint."""
        self.workers.load_actor(folder)
        self._deal_out(unpack_states(folder / EPISODES_FILE))
        self.mixture.load(checkpoint.step_of(folder), folder)
        self.complete(checkpoint.step_of(folder), self.workers.request_episodes())
        self._saved, self._resumed_from = self.step, folder
        self._reference = folder if has_reference(folder) else None

    def save(self) -> None:
        """Begins a checkpoint of the last complete iteration, if there is none yet.

        A full disk is no reason to lose a run: it is reported, the older checkpoints stay, and the
        next save tries again. So it is with a dead worker, which the next iteration replaces.
        """
        if self.finish() or self.workers.updating:
            return
        try:
            building = checkpoint.begin(self.run.checkpoints, self.step)
        except OSError as error:
            self._warn(self.step, error)
            return
        reference = self._reference
        if reference is not None and not has_reference(reference):
            reference = None  # of another run, which has removed it meanwhile
        try:
            self.mixture.save(self.step, building)
            self.workers.begin_to_save_actor(building, with_reference=reference is None)
        except (OSError, WorkerFailed) as error:
            checkpoint.abandon(building)
            self._warn(self.step, error)
            return
        result = self._thread.submit(self._write, building, self.step, self._episodes, reference)
        self._writing = self.step, result

    def rescue(self, new_ranks: bool) -> Path | None:
        """Writes the last complete iteration where the run ends early.

        If an update was under way the actor is brought back to where it began.

        Args:
            new_ranks: the present ones may be dead or wait for each other, so others do that.

        Returns:
            The newest checkpoint there is then; it is an older one, and a warning says so, where
            there is no host copy or it could not be written.
        """
        with self.workers.unstoppable():
            copy = self.workers.host_copy
            lost = self.workers.updating or self.workers.ray_failed
            if lost and copy is not None and copy.exists:
                try:
                    self._bring_back(new_ranks)
                except (WorkerFailed, UserError, OSError) as error:
                    self._warn(self.step, error)
        self.save()
        whole = self.finish()
        newest = next(iter(checkpoint.folders(self.run.checkpoints)), None)
        if not whole and self.step > 0:
            why = ""
            if self.workers.updating:
                why = ": the update after it is not complete, and there is no copy to go back to"
            self.run.console.warn(
                f"step {self.step} is not saved{why}; the newest checkpoint is {newest or 'none'}"
            )
        return newest

    def _bring_back(self, new_ranks: bool) -> None:
        """Gives the actor the host copy of the last complete iteration, if it is complete."""
        dropped = self.workers.updating
        if self.workers.ray_failed:
            self.take_over()
            self.workers.restart_ray()
        elif new_ranks or self.workers.actor_is_new:
            self.workers.replace_actor()
        if self.workers.restore_actor() and dropped:
            self.run.console.note(f"the update of iteration {self.step + 1} was dropped")

    def finish(self) -> bool:
        """Waits for the checkpoint being written.

        Returns:
            Whether the last complete iteration is on the disk.
        """
        if self._writing is not None:
            step, result = self._writing
            self._writing = None
            try:
                written = result.result()
                self._saved = step
                self._reference = written if has_reference(written) else None
            except (OSError, WorkerFailed) as error:
                self._warn(step, error)
        return self._saved == self.step

    def _write(
        self, building: Path, step: int, episodes: Pending | None, reference: Path | None
    ) -> Path:
        """Runs in a thread of its own, so that the next iteration need not wait."""
        try:
            pack_states(episodes.result() if episodes else [], building / EPISODES_FILE)
            write_config(self.config, building)
            self.workers.wait_for_saved_actor(building)
            if reference is not None:
                share_files(reference / REFERENCE, building / REFERENCE)
            score = dict(read_history(self.run.folder)).get(step)
            return checkpoint.commit(
                building,
                step,
                self.config.runner.keep_checkpoints,
                score.success if score and self.config.runner.keep_best else None,
            )
        except BaseException:
            checkpoint.abandon(building)
            raise

    def _warn(self, step: int, error: Exception) -> None:
        self.run.console.warn(
            f"checkpoint of step {step} not written, older ones are kept: {error}"
        )

    def _deal_out(self, states: Sequence[Sequence[StageState]]) -> None:
        """Continues the episodes, on however many workers and stages there are now."""
        if not states:
            return
        plan, stages = self.workers.plan, self.config.rollout.pipeline_stage_num
        regrouped = regroup(states, len(plan.placement["env"]), stages, plan.train.per_stage)
        if regrouped is None:
            self.run.console.note("the number of sub-envs has changed: all episodes begin anew")
        else:
            self.workers.restore_episodes(regrouped)


_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def share_files(source: Path, target: Path) -> None:
    """Makes a folder with the files of another, which never change: they lie on the disk once.

    Where the file system has no hard links, they are copied.
    """
    target.mkdir()
    for file in source.iterdir():
        try:
            os.link(file, target / file.name)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copyfile(file, target / file.name)


def write_config(config: Config, folder: Path) -> None:
    """Keeps the configuration in a checkpoint."""
    described = json.dumps(config.model_dump(mode="json"), indent=2)
    (folder / CONFIG_FILE).write_text(described + "\n")


def is_of_training(folder: Path) -> bool:
    """Whether a checkpoint is one of reinforcement learning, not of imitation."""
    return (folder / EPISODES_FILE).is_file()


def regroup(
    states: Sequence[Sequence[StageState]], workers: int, stages: int, per_stage: int
) -> list[list[StageState]] | None:
    """The episodes of the same sub-envs over other numbers of workers and stages.

    None if there are not as many sub-envs as there were.
    """
    episodes = [episode for worker in states for stage, _ in worker for episode in stage]
    begun = _joined([counts for worker in states for _, counts in worker], np.int64)
    if len(episodes) != workers * stages * per_stage:
        return None
    cut = [
        (episodes[i : i + per_stage], begun[i : i + per_stage])
        for i in range(0, len(episodes), per_stage)
    ]
    return [cut[i : i + stages] for i in range(0, len(cut), stages)]


def pack_states(workers: Sequence[Sequence[StageState]], path: Path) -> None:
    """Writes the running episodes of every stage of every env worker as flat arrays."""
    stages = [stage for worker in workers for stage in worker]
    states = [state for episodes, _ in stages for state in episodes]
    np.savez(
        path,
        stages=np.array([len(worker) for worker in workers], np.int64),
        envs=np.array([len(episodes) for episodes, _ in stages], np.int64),
        begun=_joined([begun for _, begun in stages], np.int64),
        starts=np.array([state.start for state in states], np.int64).reshape(-1, 3),
        running=np.array([state.running for state in states], bool),
        lengths=np.array([len(state.actions) for state in states], np.int64),
        actions=_joined([state.actions for state in states], np.float32),
    )


def unpack_states(path: Path) -> list[list[StageState]]:
    """What `pack_states` wrote; raises UserError where the file is none of ours."""
    if not path.is_file():
        raise UserError(
            f"{path} is missing: this is no checkpoint of `rlinf train`",
            "to start from its policy set runner.ckpt_path",
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            return _cut({name: file[name] for name in file.files})
    except (OSError, ValueError, TypeError, LookupError, BadZipFile) as error:
        raise UserError(
            f"{path} cannot be read: {error}",
            "the checkpoint is damaged, or was changed after it was written: name another one",
        ) from error


def _cut(arrays: Mapping[str, np.ndarray]) -> list[list[StageState]]:
    """The flat arrays of `pack_states`, by worker and stage."""
    actions = np.split(arrays["actions"], np.cumsum(arrays["lengths"])[:-1])
    states = [
        EnvState(Start(*map(int, start)), executed, bool(running))
        for start, executed, running in zip(
            arrays["starts"], actions, arrays["running"], strict=False
        )
    ]
    cuts = np.cumsum(arrays["envs"])
    begun = np.split(arrays["begun"], cuts[:-1])
    stages = [
        (states[end - count : end], counts)
        for end, count, counts in zip(cuts, arrays["envs"], begun, strict=False)
    ]
    ends = np.cumsum(arrays["stages"])
    return [stages[end - n : end] for end, n in zip(ends, arrays["stages"], strict=True)]


def _joined(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
