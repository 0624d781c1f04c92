"""What it saves, as a policy gets better, to compute nothing that cannot count.

Ended episodes, groups that the reward filter left out and groups of equal returns need no inference
or no gradient. The same iteration is done twice: as the framework does it, and with every sub-env
running to the step limit and every sample in the update, masked.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from meter import Spent, spend, spread
from rlinf.algorithms.estimators import estimate
from rlinf.config.load import load
from rlinf.config.schema import Config
from rlinf.data.layout import concatenate, flatten
from rlinf.data.random import derive
from rlinf.data.types import Observation, TrainBatch, Trajectory
from rlinf.runners.samples import advantage_settings, make_samples
from rlinf.workers.actor import ActorWorker
from rlinf.workers.rollout import RolloutWorker

CONFIG = "maniskill_grpo_tiny"
SUCCESS = (0.1, 0.5, 0.9)  # share of episodes: early, half way, late in training
SEED = 5


def measure(rounds: int, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Both ways in turns, for each success rate."""
    config = load(CONFIG, [f"runner.logger.log_path={folder}", *overrides]).config
    rollout = RolloutWorker(config, 0, 1, str(folder))
    actor = ActorWorker(config, 0, 1, 1, 1000, lambda refs: refs, str(folder))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # workers leave it to their launcher
    cases = {f"{share:.0%}": _case(share, rounds, config, rollout, actor) for share in SUCCESS}
    return {"rounds": rounds, "seed": SEED, "success": cases}


def table(numbers: dict[str, Any]) -> Table:
    """CPU seconds both ways, and the share that is saved."""
    shown = Table(title="CPU seconds of one iteration, all of it / what counts (medians of rounds)")
    for column in ("success", "inference", "saved", "update", "saved", "samples", "trained on"):
        shown.add_column(column, justify="right")
    for share, case in numbers["success"].items():
        cells = []
        for part in ("inference", "update"):
            all_of_it, ours = (case[part][way]["median"] for way in ("everything", "what counts"))
            cells += [f"{all_of_it:.2f} / {ours:.2f}", f"{1 - ours / all_of_it:.0%}"]
        shown.add_row(share, *cells, str(case["samples"]), str(case["trained"]))
    return shown


@dataclass(frozen=True, slots=True)
class _Iteration:
    """Where the episodes of an iteration end."""

    valid: np.ndarray  # [T, B, C] bool
    ended: np.ndarray  # [T, B, C] bool
    solved: np.ndarray  # [B] bool


def _case(
    share: float, rounds: int, config: Config, rollout: RolloutWorker, actor: ActorWorker
) -> dict[str, Any]:
    episodes = _episodes(share, config)
    everyone = np.ones(episodes.valid.shape[:2], bool)
    acting: np.ndarray = np.any(episodes.valid, axis=-1)
    trajectory = _infer(everyone, episodes, config, rollout)
    batches = {
        "everything": _masked(trajectory, config),
        "what counts": make_samples([trajectory], config)[0],
    }
    spent: dict[str, dict[str, list[Spent]]] = {"inference": {}, "update": {}}
    for step in range(rounds + 1):
        for way, active in (("everything", everyone), ("what counts", acting)):
            infer = partial(_infer, active, episodes, config, rollout)
            inference = spend(infer)[1]
            update = spend(partial(actor.update, batches[way], step))[1]
            if step:  # the first round warms up
                spent["inference"].setdefault(way, []).append(inference)
                spent["update"].setdefault(way, []).append(update)
    ours = batches["what counts"]
    return {
        **{
            part: {way: spread([one.cpu_each_s for one in all_]) for way, all_ in ways.items()}
            for part, ways in spent.items()
        },
        "samples": len(batches["everything"]),
        "trained": int(ours.trained.sum()),
    }


def _episodes(share: float, config: Config) -> _Iteration:
    """Each episode is solved with probability `share`, in the middle third of its time."""
    rng = np.random.default_rng(SEED)
    chunk, limit = config.actor.model.num_action_chunks, config.env.train.max_episode_steps
    chunks = config.env.train.max_steps_per_rollout_epoch // chunk
    envs = config.env.train.total_num_envs * config.algorithm.rollout_epoch
    solved = rng.random(envs) < share
    lengths = np.where(solved, rng.integers(limit // 3, 2 * limit // 3 + 1, envs), limit)
    step = np.arange(chunks * chunk).reshape(chunks, 1, chunk)
    return _Iteration(step < lengths[:, None], step == lengths[:, None] - 1, solved)


def _infer(
    active: np.ndarray, episodes: _Iteration, config: Config, rollout: RolloutWorker
) -> Trajectory:
    """The policy's answers for the envs `active` ([T, B] bool), rollout epoch by rollout epoch."""
    size, chunks = config.env.train.total_num_envs, len(active)
    camera = config.env.train.init_params.spaces().image_size
    assert camera is not None, "a policy that sees images"
    rng = np.random.default_rng(SEED)
    images = rng.integers(0, 256, (size, 1, *camera, 3), np.uint8)
    shown = Observation(images, np.zeros((size, 0), np.float32), ("push the cube",) * size)
    arrays: dict[str, np.ndarray] = {}
    for first in range(0, active.shape[1], size):
        for t in range(chunks):
            rows = np.flatnonzero(active[t, first : first + size])
            if not len(rows):
                break
            keys = derive(SEED, t, first + rows)
            reply = rollout.act(shown.take(rows), keys, None, "train", rollout.policy.version)
            given = {"logprobs": reply.chunk.logprobs, "values": reply.chunk.values}
            for name, part in (given | reply.chunk.sampled).items():
                empty = np.zeros((*active.shape, *part.shape[1:]), part.dtype)
                arrays.setdefault(name, empty)[t, first + rows] = part
    solved = episodes.solved[:, None]
    return Trajectory(
        observation=shown,
        rows=np.tile(np.arange(size), (chunks, active.shape[1] // size)).astype(np.int32),
        rewards=(episodes.ended & solved).astype(np.float32),
        terminated=episodes.ended & solved,
        truncated=episodes.ended & ~solved,
        valid=episodes.valid,
        final_values=np.zeros(active.shape, np.float32),
        next_values=np.zeros(active.shape[1], np.float32),
        logprobs=arrays.pop("logprobs"),
        values=arrays.pop("values"),
        sampled=arrays,
    )


def _masked(trajectory: Trajectory, config: Config) -> TrainBatch:
    """Every chunk as a sample, those that cannot count with a mask of zeros."""
    together = concatenate([trajectory])
    found = estimate(together.steps, advantage_settings(config))
    everything = np.ones_like(found.mask)
    batch = flatten(
        together,
        found.advantages,
        found.returns,
        everything,
        found.weights,
        found.chunk_weights,
        trained=np.any(everything, axis=-1),
        planned=everything[..., 0].size,
    )
    return replace(batch, mask=found.mask.reshape(batch.mask.shape))
