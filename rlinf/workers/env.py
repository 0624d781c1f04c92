"""The env worker: steps simulators, asks the policy service for actions, hands out trajectories."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import TypeVar

import numpy as np

from rlinf.config.derive import EnvPlan, Plan
from rlinf.config.schema import Config, EnvConfig, EvalEnv
from rlinf.data.types import EpisodeResult, Purpose, Start, Trajectory
from rlinf.envs.episode import EnvBatch, EnvState
from rlinf.envs.factory import make_batch
from rlinf.envs.video import first_episodes, write_video
from rlinf.metrics.journal import Journal
from rlinf.metrics.timeline import Span, Spans
from rlinf.metrics.types import Metrics, Total
from rlinf.workers.evaluation import EvalStage
from rlinf.workers.films import Films
from rlinf.workers.fixed_episodes import FixedEpisodesStage
from rlinf.workers.partial_reset import PartialResetStage
from rlinf.workers.process import prepare_process
from rlinf.workers.stage import PolicyService, Stage, TrainStage

T = TypeVar("T")
VIDEO_FPS = 10  # half the speed of most tasks: easier to follow


class EnvWorker:
    """consumes: actions; produces: observations, trajectories, episodes; waits for: the policy.

    The sub-envs are split into stages. Each has a thread that alternates between simulating and
    waiting for actions, so that one stage simulates while another waits.
    """

    def __init__(
        self,
        config: Config,
        rank: int,
        world: int,
        plan: Plan,
        policy: PolicyService,
        log_dir: str,
    ) -> None:
        """Builds nothing yet: simulators start with `start` and `start_evaluation`."""
        prepare_process(f"env{rank}", log_dir)
        self.config, self.rank, self.world, self.plan = config, rank, world, plan
        self.policy, self.log_dir = policy, Path(log_dir)
        self.stages = config.rollout.pipeline_stage_num
        self.threads = ThreadPoolExecutor(self.stages, thread_name_prefix="stage")
        self.training: list[TrainStage] = []
        self.evaluating: list[EvalStage] = []
        self.restarts = 0  # simulator processes replaced, as far as reported
        self.interrupted = Event()
        self.spans = Spans(f"env{rank}")

    def ready(self) -> None:
        """Answers once the constructor has returned, also while the stages work."""

    def start(self) -> list[str]:
        """Builds the training simulators (seconds to minutes); returns the tasks."""
        kind = train_stage(self.config)
        self.training = [
            kind(
                self.config,
                batch,
                self.policy,
                first,
                self.interrupted,
                self.spans,
                self.plan.train.conversion,
            )
            for first, batch in self._batches("train")
        ]
        return list(self.training[0].batch.tasks)

    def start_evaluation(self) -> tuple[list[str], int]:
        """Builds the evaluation simulators, if they are not there.

        Returns:
            The tasks, and the starts that each has (`Simulator.num_trials`).
        """
        if not self.evaluating:
            self.evaluating = [
                EvalStage(
                    self.config,
                    batch,
                    self.policy,
                    first,
                    self.interrupted,
                    self.spans,
                    self.plan.eval.conversion,
                )
                for first, batch in self._batches("eval")
            ]
        batch = self.evaluating[0].batch
        return list(batch.tasks), batch.num_trials

    def use_evaluation(self, env: EvalEnv) -> None:
        """Ends the evaluation simulators; the next are those of `env`, spread in the same way."""
        for stage in self.evaluating:
            stage.batch.close()
        self.evaluating = []
        self.config = self.config.with_evaluation(env)

    def rollout(
        self, step: int, version: int, epochs: Sequence[int], shares: np.ndarray | None = None
    ) -> tuple[list[Trajectory], Metrics]:
        """Rollout epochs of T chunks in every stage, a trajectory for each.

        Args:
            shares: [tasks] float64, how likely each task is; None: all alike.

        The metrics count what went wrong on the way and was repaired.
        """
        with self._onloaded(self.training):
            for stage in self.training:
                stage.draw_by(shares)
            collected = self._together(
                [partial(stage.collect, step, version, epochs) for stage in self.training]
            )
        trajectories = [trajectory for of_stage in collected for trajectory in of_stage]
        self._write_video("train", step if 0 in epochs else None, self.training)
        return trajectories, Metrics({"faults/env_restarts": Total(self._new_restarts())})

    def evaluate(
        self, starts: Sequence[Start], repeat: int, version: int, step: int, journal: str | None
    ) -> list[EpisodeResult]:
        """One episode from each of this worker's starts, each exactly once.

        A video shows the first episodes, or single trials have one each, see `VideoConfig`. Each
        finished episode is kept in the folder `journal`.
        """
        with self._onloaded(self.evaluating), self._films(step) as films:
            finished = self._together(
                [
                    partial(
                        stage.run,
                        starts[index :: self.stages],
                        repeat,
                        version,
                        self._keep(journal, index),
                        films,
                    )
                    for index, stage in enumerate(self.evaluating)
                ]
            )
        episodes = [episode for of_stage in finished for episode in of_stage]
        self._write_video("eval", step, self.evaluating)
        return episodes

    @contextmanager
    def _films(self, step: int) -> Iterator[Films | None]:
        """What writes the videos of single trials, if there are to be any."""
        video = self.config.env.eval.video_cfg
        if not video.save_video or video.only is None:
            yield None
            return
        with closing(Films(video, step, VIDEO_FPS)) as films:
            yield films

    def _keep(self, journal: str | None, stage: int) -> Callable[[Sequence[EpisodeResult]], None]:
        """What a stage does with finished episodes."""
        if journal is None:
            return lambda episodes: None
        return Journal(Path(journal) / f"env{self.rank}-{stage}.jsonl").append

    def state(self) -> list[tuple[list[EnvState], np.ndarray]]:
        """What `restore` needs to continue the running episodes, per stage."""
        return [stage.state() for stage in self.training]

    def restore(self, states: Sequence[tuple[list[EnvState], np.ndarray]]) -> None:
        """Continues the episodes of `state` by simulating them again, without rendering."""
        with self._onloaded(self.training):
            for stage, (envs, begun) in zip(self.training, states, strict=True):
                stage.restore(envs, begun)

    def timeline(self) -> list[Span]:
        """What the stages did since the last call."""
        return self.spans.take()

    def forget(self) -> None:
        """Drops the running episodes: the next ones are the first of a run."""
        for stage in self.training:
            stage.forget()

    def interrupt(self) -> None:
        """Gives up what the stages are doing, from another thread; `go_on` allows it again."""
        self.interrupted.set()

    def go_on(self, policy: PolicyService) -> None:
        """From now on the stages work again, and ask `policy`."""
        self.interrupted.clear()
        self.policy = policy
        for stage in [*self.training, *self.evaluating]:
            stage.policy = policy

    def close(self) -> None:
        """Ends the simulators and their processes."""
        for stage in [*self.training, *self.evaluating]:
            stage.batch.close()
        self.threads.shutdown()

    @contextmanager
    def _onloaded(self, stages: Sequence[Stage]) -> Iterator[None]:
        """With `env.enable_offload`: the simulators are on their GPU here, and nowhere else."""
        if not self.config.env.enable_offload:
            yield
            return
        for stage in stages:
            if stage.offloaded:
                stage.batch.onload()
                stage.offloaded = False
        yield
        for stage in stages:
            stage.batch.offload()
            stage.offloaded = True

    def _together(self, work: Sequence[Callable[[], T]]) -> list[T]:
        """Does something in every stage at the same time.

        If one stage fails the others are interrupted, so that none works on when this raises.
        """
        running = [self.threads.submit(one) for one in work]
        done, others = wait(running, return_when=FIRST_EXCEPTION)
        failed = [error for future in done if (error := future.exception()) is not None]
        if failed:
            self.interrupted.set()
            wait(others)
            self.interrupted.clear()
            raise failed[0]
        return [future.result() for future in running]

    def _new_restarts(self) -> int:
        """Simulator processes replaced since the last call."""
        total = sum(stage.batch.restarts for stage in [*self.training, *self.evaluating])
        new, self.restarts = total - self.restarts, total
        return new

    def _batches(self, purpose: Purpose) -> Iterator[tuple[int, EnvBatch]]:
        """This worker's sub-envs, one batch per stage, each with the global index of its first."""
        env, plan = self._section(purpose)
        valued = purpose == "train" and self.config.algorithm.critic
        for stage in range(self.stages):
            first = (self.rank * self.stages + stage) * plan.per_stage
            batch = make_batch(
                env,
                plan.per_stage,
                env_offset=first,
                final=self.config.algorithm.bootstrap if valued else "none",
                processes=plan.simulator_processes // self.stages,
                log_file=self.log_dir / f"env{self.rank}-{purpose}{stage}.log",
                retries=self.config.runner.max_failures,
            )
            if env.video_cfg.save_video:
                batch.set_record(env.video_cfg.num_envs_shown)
            yield first, batch

    def _section(self, purpose: Purpose) -> tuple[EnvConfig, EnvPlan]:
        if purpose == "train":
            return self.config.env.train, self.plan.train
        return self.config.env.eval, self.plan.eval

    def _write_video(self, purpose: Purpose, step: int | None, stages: Sequence[Stage]) -> None:
        """Writes what this worker's sub-envs recorded, if anything; without a step it is lost."""
        frames = [frame for stage in stages for frame in stage.batch.take_frames()]
        if purpose == "eval":
            frames = first_episodes(frames)
        if frames and step is not None:
            video = self._section(purpose)[0].video_cfg
            name = f"step_{step:05d}-worker_{self.rank}.mp4"
            write_video(frames, video, Path(video.video_base_dir) / name, VIDEO_FPS)


def train_stage(config: Config) -> type[TrainStage]:
    """The stage of the rollout mode: `env.train.auto_reset` chooses it."""
    return PartialResetStage if config.env.train.auto_reset else FixedEpisodesStage
