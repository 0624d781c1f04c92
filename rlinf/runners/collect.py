"""`rlinf collect`: demonstrations of an expert or a policy, as a LeRobot data set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from rlinf.config.derive import Plan
from rlinf.config.process_environment import torch_device
from rlinf.config.schema import Config
from rlinf.data.disk import refusals_told
from rlinf.envs.factory import make_batch
from rlinf.envs.starts import training_starts
from rlinf.errors import UserError
from rlinf.imitation.episode import Episode
from rlinf.imitation.lerobot.write import Writer
from rlinf.imitation.rollouts import roll_out
from rlinf.models.loading import sampling_of, start_policy
from rlinf.runners.demonstrations import expert_episodes, write_episodes
from rlinf.runners.run import Run, open_run
from rlinf.runners.shutdown import Stopped
from rlinf.runners.warmup import given_weights
from rlinf.wording import plural
from rlinf.workers.process import prepare_torch

_COLLECT = 1 << 20  # stands where training has its iteration: these starts are no other's


def collect(config: Config, plan: Plan) -> int:
    """Writes the data set and returns the exit code; a signal keeps the episodes there are."""
    settings = config.collect
    count = settings.episodes or (config.imitation and config.imitation.num_demonstrations)
    if not count:
        raise UserError("collect.episodes is missing", "set collect.episodes=100")
    with open_run(config) as run, run.stop, ExitStack() as stack:
        folder = Path(settings.folder).expanduser() if settings.folder else run.folder / "dataset"
        stack.enter_context(
            refusals_told(
                "the data set", folder, "name a folder on a larger disk in collect.folder"
            )
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        writer = Writer(
            folder.absolute(), config.env.train.init_params.steps_per_second(), settings.images
        )
        code = 0
        try:
            write_episodes(writer, _kept(config, plan, count, run), count, run)
        except Stopped as stopped:
            run.console.note(
                f"stopped by {stopped}: {len(writer)} of {plural(count, 'episode')} kept"
            )
            code = stopped.exit_code
            if not len(writer):
                writer.discard()
                return code
        except BaseException:
            writer.discard()
            raise
        run.console.paths({"data set": writer.close()})
    return code


def _kept(config: Config, plan: Plan, count: int, run: Run) -> Iterator[Episode]:
    """`count` episodes of those that count; fewer, with a warning, if too many tries fail."""
    settings = config.collect
    by_policy = settings.source == "policy"
    only_successes = by_policy if settings.only_successes is None else settings.only_successes
    tries = round(count * settings.attempts) if only_successes else count
    source = _policy_episodes if by_policy else _expert_episodes
    kept = 0
    for number, episode in enumerate(source(config, plan, tries, run), start=1):
        if episode.success or not only_successes:
            kept += 1
            yield episode
        if kept == count:
            run.console.note(f"{kept} of {plural(number, 'episode')} kept")
            return
    run.console.warn(f"only {kept} of {plural(tries, 'episode')} succeeded; {count} were asked for")


def _expert_episodes(config: Config, plan: Plan, count: int, run: Run) -> Iterator[Episode]:
    settings = config.imitation
    if settings is None or settings.expert is None:
        raise UserError(
            "collect.source = expert: the configuration names no imitation.expert",
            "set collect.source=policy and runner.ckpt_path, or name an expert",
        )
    return expert_episodes(config, plan, settings, count, run)


def _policy_episodes(config: Config, plan: Plan, count: int, run: Run) -> Iterator[Episode]:
    """Episodes of the policy, from starts that neither training nor evaluation has."""
    env = config.env.train
    if config.runner.ckpt_path is None and config.actor.model.model_path is None:
        raise UserError(
            "collect.source = policy: there are no weights",
            "set runner.ckpt_path to a checkpoint or an exported policy",
        )
    # Simulators and policy take turns in here, on the first of the policy's devices.
    device = prepare_torch(plan.cores["env"], torch_device(plan.placement["rollout"][0]))
    policy = start_policy(given_weights(config)).to(device)
    policy.eval()
    sampling = sampling_of(config.algorithm.sampling_params, "eval")
    processes = plan.train.simulator_processes
    log_file = run.folder / "workers" / "collect.log"
    batch = make_batch(
        env,
        min(env.total_num_envs, count),
        0,
        "none",
        processes,
        log_file,
        config.runner.max_failures,
    )
    try:
        indices = np.arange(count)
        starts = training_starts(
            env.seed,
            _COLLECT,
            0,
            indices,
            np.zeros_like(indices),
            len(batch.tasks),
            batch.num_trials,
        )
        seed, between = config.actor.seed, plan.train.conversion
        for episode in roll_out(batch, policy, sampling, starts, seed, between):
            run.stop.check()  # also where nothing succeeds
            yield episode
    finally:
        batch.close()
