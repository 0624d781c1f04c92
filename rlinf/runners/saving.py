"""What a checkpoint of a training holds, and when one is written.

policy/            the policy, see models/loading.py
optimizer.pt       optimizer and number of updates
episodes.npz       the running episodes of every env, see `pack_states`
config.json        the configuration
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rlinf.cluster.group import Pending
from rlinf.config.schema import Config
from rlinf.data.types import Start
from rlinf.envs.episode import EnvState
from rlinf.errors import UserError, WorkerDied
from rlinf.runners import checkpoint
from rlinf.runners.run import Run
from rlinf.runners.workers import Workers

StageState = tuple[list[EnvState], np.ndarray]  # of one stage: episodes, episodes begun per env
EPISODES_FILE = "episodes.npz"


class Saver:
    """Writes checkpoints of completed iterations, and brings a run back from one."""

    def __init__(self, config: Config, run: Run, workers: Workers) -> None:
        self.config, self.run, self.workers = config, run, workers
        self.step = 0  # iterations completed
        self._saved: int | None = None
        self._resumed_from: Path | None = None
        self._episodes: Pending | None = None  # of the envs when `step` was complete

    def resume(self) -> int:
        """Brings the workers to the newest good checkpoint, if one is asked for.

        Returns:
            The number of iterations that were complete: 0 for a new run.

        Raises:
            UserError: the folder holds a run that nobody asked to continue, or the checkpoint
                asked for is damaged.
        """
        asked = self.config.runner.resume_dir
        if asked is None:
            return 0
        folder, warnings = checkpoint.find(self.run.checkpoints, asked)
        for warning in warnings:
            self.run.console.warn(warning)
        if folder is None:
            self.run.console.note(f"nothing to resume in {self.run.checkpoints}: a new run")
            return 0
        self._load(folder)
        self.run.console.note(f"resumed from {folder}")
        return self.step

    def complete(self, step: int, episodes: Pending) -> None:
        """Iteration `step` is complete: from now on a checkpoint means this state.

        Args:
            episodes: that the envs ran when its trajectories had been collected.
        """
        self.step, self._episodes = step, episodes

    def rewind(self, actor_lost: bool) -> None:
        """Brings the workers, some of which may be new, to one completed iteration again.

        That is the last one, if the actor and the episodes the envs ran then are there; otherwise
        it is the newest checkpoint, or the start of the run.
        """
        if not actor_lost and self._restore_episodes():
            return
        found, _ = checkpoint.find(self.run.checkpoints, "auto")
        folder = found or self._resumed_from
        if folder is not None:
            self._load(folder)
            return
        if not actor_lost:
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
        except WorkerDied:  # before it could say
            return False
        self.workers.restore_episodes(states)
        return True

    def _load(self, folder: Path) -> None:
        """Brings the workers to a checkpoint."""
        self.workers.load_actor(folder)
        states = unpack_states(folder / EPISODES_FILE)
        if states:
            self.workers.restore_episodes(states)
        self.complete(checkpoint.step_of(folder), self.workers.request_episodes())
        self._saved, self._resumed_from = self.step, folder

    def save(self) -> bool:
        """Writes a checkpoint of the last complete iteration, once.

        A full disk is no reason to lose a run: it is reported, the older checkpoints stay, and the
        next save tries again.

        Returns:
            Whether the iteration is now on the disk.
        """
        if self._saved == self.step or self.workers.updating:
            return self._saved == self.step
        try:
            checkpoint.save(
                self.run.checkpoints, self.step, self._write, self.config.runner.keep_checkpoints
            )
        except OSError as error:
            self.run.console.warn(
                f"checkpoint of step {self.step} not written, older ones are kept: {error}"
            )
            return False
        self._saved = self.step
        return True

    def _write(self, folder: Path) -> None:
        self.workers.save_actor(folder)
        episodes = self._episodes.result() if self._episodes is not None else []
        pack_states(episodes, folder / EPISODES_FILE)
        described = json.dumps(self.config.model_dump(mode="json"), indent=2)
        (folder / "config.json").write_text(described + "\n")


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
        raise UserError(f"{path} is missing: this is no checkpoint of a training")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
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
