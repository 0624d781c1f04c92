"""What crosses a boundary between workers: one dataclass each, every field with its shape.

Letters: T chunk steps of a rollout, B envs, C actions per chunk, A action dimensions (tokens per
action), V camera views, S state size, N samples (chunks that are trained on).

Path of one observation::

    simulator --Observation[B]--> env worker --act--> rollout worker --ActionChunk[B,C,A]--+
        ^------------------------ envs/episode.py: run C actions <-------------------------+
                              after T chunks: Trajectory[T,B,...]
                                        v
    advantages -> data/layout.py -> TrainBatch[N,...] -> actor

Arrays that travel are NumPy (shared-memory reads without a copy); torch begins at the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

Purpose = Literal["train", "eval"]
Level = Literal["token", "action", "chunk"]
"""Of what there is one number: an action token [B,C,A], an action [B,C] or a whole chunk [B]."""

Sampled = dict[str, np.ndarray]
"""What a policy drew, as it needs it to evaluate the same actions again: arrays [B, ...] by name,
such as token ids or the states of a chain, which only the policy understands."""


def take_sampled(sampled: Sampled, rows: Any) -> Sampled:
    """The given rows, in their order; `rows` indexes the first dimension of an array."""
    return {name: array[rows] for name, array in sampled.items()}


@dataclass(frozen=True, slots=True)
class Observation:
    """What B envs show the policy at one moment.

    A part that an env does not have is an array of size zero, never None.

    Example: two arms, one camera, seven joints::

        Observation(
            images=np.zeros((2, 1, 224, 224, 3), np.uint8),
            state=np.zeros((2, 7), np.float32),
            instructions=("pick up the cup", "open the drawer"),
        )
    """

    images: np.ndarray  # [B, V, H, W, 3] uint8 RGB; [B, 0, 0, 0, 3] without cameras
    state: np.ndarray  # [B, S] float32, simulator units; [B, 0] without proprioception
    instructions: tuple[str, ...]  # [B] task text

    def __len__(self) -> int:
        return len(self.instructions)

    def take(self, rows: np.ndarray) -> Observation:
        """The given rows, in their order."""
        return Observation(
            self.images[rows], self.state[rows], tuple(self.instructions[int(r)] for r in rows)
        )

    def split(self, size: int) -> list[Observation]:
        """Views of at most `size` rows each, in order."""
        return [
            Observation(self.images[i : i + size], self.state[i : i + size], text)
            for i in range(0, len(self), size)
            if (text := self.instructions[i : i + size])
        ]

    @staticmethod
    def concatenate(parts: Sequence[Observation]) -> Observation:
        """Rows of several observations of one env kind, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return Observation(
            np.concatenate([p.images for p in parts]),
            np.concatenate([p.state for p in parts]),
            tuple(text for p in parts for text in p.instructions),
        )


@dataclass(frozen=True, slots=True)
class ActionChunk:
    """The policy's answer to an observation of B envs.

    Example: two envs, chunks of 8 actions of 7 numbers, drawn as tokens, a critic at chunk level::

        ActionChunk(
            actions=np.zeros((2, 8, 7), np.float32),
            sampled={"tokens": np.zeros((2, 8, 7), np.int64)},
            logprobs=np.full((2, 8, 7), -1.4, np.float32),
            values=np.array([[0.3], [0.8]], np.float32),
            version=12,
        )
    """

    actions: np.ndarray  # [B, C, A] float32, as the model emits them (`data/conventions.py`)
    sampled: Sampled  # [B, ...] each, what `Policy.evaluate` needs again
    logprobs: np.ndarray  # [B, C, A] float32, of `sampled` under the behaviour policy
    values: np.ndarray  # [B, C] (action level), [B, 1] (chunk level) or [B, 0] (no value head)
    version: int  # of the weights that acted: number of updates the actor had made


class ActReply(NamedTuple):
    """Answer to one request: actions for B rows, and values of the episodes that had ended.

    Example: one episode had ended before, and its last observation is worth 0.25::

        ActReply(chunk, final_values=np.array([0.25], np.float32))
    """

    chunk: ActionChunk
    final_values: np.ndarray  # [K] float32


class Start(NamedTuple):
    """Which start an episode has. Equal starts give equal episodes under equal actions.

    Example: ``Start(task=3, trial=17, seed=0)`` is the 18th recorded start of the fourth task.
    """

    task: int  # index into the simulator's task list
    trial: int  # index of the start within the task; -1 where the task does not number them
    seed: int  # of everything else the simulator draws at reset


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """One finished episode, as the simulator gave it.

    Example: solved at the 40th step, which ended it::

        EpisodeResult(
            env=5,
            start=Start(task=0, trial=-1, seed=81),
            length=40,
            episode_return=1.0,
            success_once=True,
            success_at_end=True,
            terminated=True,
        )
    """

    env: int  # global index of the env
    start: Start
    length: int  # env steps until it ended
    episode_return: float  # undiscounted sum of rewards
    success_once: bool  # the task was solved at some step
    success_at_end: bool  # ... at the last step
    terminated: bool  # the task itself ended; False: only the clock ran out
    dropped: bool = False  # its simulator was replaced and could not replay it; it counts nowhere
    repeat: int = 0  # of an evaluation: which of the episodes from this start


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """What one chunk of C actions did to B envs. Rows outside `active` are zero / False.

    An env that ends inside the chunk executes no further action of it; those entries have
    `valid` False. With auto-reset, `observation` already shows its next episode.

    Example: C = 3, two envs, the second one is solved by its second action and has no reset::

        ChunkResult(
            rewards=np.array([[0, 0, 0], [0, 1, 0]], np.float32),
            terminated=np.array([[False] * 3, [False, True, False]]),
            truncated=np.zeros((2, 3), bool),
            valid=np.array([[True] * 3, [True, True, False]]),
            active=np.array([True, False]),
            observation=shown,  # 1 row: of env 0
            final=nothing,  # 0 rows: a task that ended has no value after its end
            final_rows=np.zeros(0, np.int64),
            episodes=(result,),  # of env 1
        )
    """

    rewards: np.ndarray  # [B, C] float32, as the simulator gave them
    terminated: np.ndarray  # [B, C] bool, the task itself ended at this step
    truncated: np.ndarray  # [B, C] bool, only the clock ran out at this step
    valid: np.ndarray  # [B, C] bool, the action was executed in a live episode
    active: np.ndarray  # [B] bool, envs that go on (all, with auto-reset)
    observation: Observation  # [active.sum()] rows of the active envs, in env order
    final: Observation  # [K] last observation before the reset of the envs in `final_rows`
    final_rows: np.ndarray  # [K] int64, rows whose bootstrap needs V(final observation)
    episodes: tuple[EpisodeResult, ...]  # that ended in this chunk


@dataclass(frozen=True, slots=True)
class Trajectory:
    """T chunks of B envs: what a rollout hands to training. `observation` is a reference.

    Example: T = 2, B = 3; env 1 ended in the first chunk and did not act in the second, so the
    observation has five rows::

        rows = np.array([[0, 1, 2], [3, -1, 4]], np.int32)
    """

    observation: Any  # reference to one Observation, with a row for each chunk of each env
    rows: np.ndarray  # [T, B] int32, the row that env b saw in chunk t; -1 where it did not act
    sampled: Sampled  # [T, B, ...] each
    logprobs: np.ndarray  # [T, B, C, A] float32
    values: np.ndarray  # [T, B, C or 1 or 0] float32
    rewards: np.ndarray  # [T, B, C] float32, as the simulator gave them
    terminated: np.ndarray  # [T, B, C] bool
    truncated: np.ndarray  # [T, B, C] bool
    valid: np.ndarray  # [T, B, C] bool
    final_values: np.ndarray  # [T, B] float32, V(last observation before a reset); 0 elsewhere
    next_values: np.ndarray  # [B] float32, V(observation after the last chunk); 0 if ended
    episodes: tuple[EpisodeResult, ...] = field(default=())
    version: int = 0
    node: int = 0  # where the observation lies


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """N samples (chunks with at least one valid action), flat; see `data/layout.py`.

    K is C at token and action level and 1 at chunk level.

    Example: the trajectory above gives N = 5 samples, the fifth of which is env 2 in chunk 1::

        objects = np.array([0, 0, 0, 0, 0])
        rows = np.array([0, 1, 2, 3, 4])
    """

    observations: list[Any]  # [K] references, one of each trajectory
    nodes: list[int]  # [K], the node on which each of them lies
    objects: np.ndarray  # [N] int64, index into `observations`
    rows: np.ndarray  # [N] int64, row within that observation
    sampled: Sampled  # [N, ...] each
    logprobs: np.ndarray  # [N, C, A] float32, behaviour policy
    advantages: np.ndarray  # [N, K] float32, normalised
    returns: np.ndarray  # [N, K] float32; [N, 0] without a critic
    values: np.ndarray  # [N, K] float32, at rollout time; [N, 0] without a critic
    mask: np.ndarray  # [N, C] bool, actions that count
    weights: np.ndarray  # [N, C] float32, 1, or L/T_i with length normalisation; 0 outside mask
    chunk_weights: np.ndarray  # [N, 1] float32, the same of the chunk as one entry, lengths in such
    trained: np.ndarray  # [N] bool, has a gradient; the others count in denominators alone
    planned: int  # samples the plan counts on: fixes the number of updates
    version: int  # of the weights that acted

    def __len__(self) -> int:
        return len(self.rows)


class DeviceHandle(NamedTuple):
    """Memory of a GPU that another process on it has written.

    Example: ``DeviceHandle(device_memory.export(tensor))``.
    """

    handle: Any  # see `workers/device_memory.py`


class Wanted(NamedTuple):
    """Rows of observations that a rank of another node reads in place.

    Example: the second and the fourth row of one observation::

        Wanted(1, [None], objects=np.array([0, 0]), rows=np.array([1, 3]))
    """

    node: int
    references: list[Any]  # [K]
    objects: np.ndarray  # [n] int64, index into `references`
    rows: np.ndarray  # [n] int64, row within that observation


@dataclass(frozen=True, slots=True)
class Weights:
    """The trainable weights of a policy on their way to the rollout workers.

    Example: ``Weights(version=12, digest=layout.digest, data=memory.handle)`` after 12 updates.
    """

    version: int  # updates the actor had made
    digest: str  # of the layout: architectures that differ are refused
    data: Any  # [bytes] uint8, or the handle of memory that holds them
