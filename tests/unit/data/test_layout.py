"""Data that can be recognised again: every entry says which env and chunk it came from."""

from __future__ import annotations

import numpy as np
import pytest

from rlinf.algorithms.estimators import AdvantageSettings, estimate
from rlinf.data.layout import (
    ObservationTable,
    by_epoch,
    concatenate,
    deal,
    flatten,
    homes,
    micro_batches,
    minibatches,
)
from rlinf.data.types import EpisodeResult, Observation, Start, Trajectory


def episode(env: int) -> EpisodeResult:
    return EpisodeResult(env, Start(0, 0, 0), 3, 1.0, True, True, True)


def trajectory(name: int, rows: list[list[int]], valid: list[list[int]]) -> Trajectory:
    """C = 2 actions, A = 1; entry [t, b] is 100 * name + 10 * t + b.

    Args:
        rows: [T, B], row in the observation, -1 where the env did not act.
        valid: [T, B], number of valid actions of the chunk.
    """
    index = np.array(rows, np.int32)
    chunks, envs = index.shape
    marks = 100 * name + 10 * np.arange(chunks)[:, None] + np.arange(envs)
    mask = np.arange(2) < np.array(valid)[..., None]
    per_action = np.repeat(marks[..., None], 2, axis=2).astype(np.float32)
    return Trajectory(
        observation=f"trajectory {name}",
        rows=index,
        sampled={"tokens": per_action[..., None]},
        logprobs=per_action[..., None],
        values=per_action,
        rewards=per_action,
        terminated=np.zeros_like(mask),
        truncated=np.zeros_like(mask),
        valid=mask,
        final_values=marks.astype(np.float32),
        next_values=marks[-1].astype(np.float32),
        episodes=(episode(name),),
        version=4,
        node=name % 2,
    )


# Two trajectories of T = 3 chunks. The first has two envs, of which env 0 ends inside chunk 1; all
# have ended after chunk 1, so it has seen four rows. The second has one env.
FIRST = trajectory(1, [[0, 1], [2, 3], [-1, -1]], [[2, 2], [1, 2], [0, 0]])
SECOND = trajectory(2, [[0], [1], [2]], [[2], [2], [2]])


def test_trajectories_stand_side_by_side_with_their_observations():
    rollout = concatenate([FIRST, SECOND])
    assert rollout.steps.values.shape == (3, 3, 2)
    np.testing.assert_array_equal(
        rollout.steps.final_values, [[100, 101, 200], [110, 111, 210], [120, 121, 220]]
    )
    np.testing.assert_array_equal(rollout.steps.next_values, [120, 121, 220])
    np.testing.assert_array_equal(rollout.objects, [[0, 0, 1], [0, 0, 1], [-1, -1, 1]])
    assert rollout.observations == ["trajectory 1", "trajectory 2"]
    assert rollout.nodes == [1, 0]
    assert [e.env for e in rollout.steps.episodes] == [1, 2]
    assert rollout.steps.version == 4


def test_the_order_of_samples_does_not_depend_on_workers_and_stages():
    # Two rollout epochs of four envs; a trajectory's name is its epoch and its envs.
    def collected(*stages: str) -> list[str]:
        return by_epoch([f"{epoch}{envs}" for envs in stages for epoch in (0, 1)], epochs=2)

    assert collected("abcd") == ["0abcd", "1abcd"]
    assert collected("ab", "cd") == ["0ab", "0cd", "1ab", "1cd"]
    assert collected("a", "b", "c", "d")[3:5] == ["0d", "1a"]


def test_samples_keep_only_chunks_that_count_and_find_their_observation_again():
    rollout = concatenate([FIRST, SECOND])
    mask = rollout.steps.valid
    trained = rollout.steps.final_values != 200
    batch = flatten(
        rollout,
        rollout.steps.values,
        rollout.steps.rewards,
        mask,
        mask.astype(np.float32),
        mask.any(axis=-1, keepdims=True).astype(np.float32),
        trained=trained,
        planned=9,
    )
    assert len(batch) == 7
    assert (batch.planned, batch.version) == (9, 4)
    assert batch.trained.tolist() == [True, True, False, True, True, True, True]
    assert batch.sampled["tokens"][:, 0, 0].tolist() == [100, 101, 200, 110, 111, 210, 220]
    for name in ("advantages", "returns", "values"):
        np.testing.assert_array_equal(getattr(batch, name)[:, 0], batch.sampled["tokens"][:, 0, 0])
    np.testing.assert_array_equal(batch.mask.sum(axis=1), [2, 2, 2, 1, 2, 2, 2])
    np.testing.assert_array_equal(batch.weights, batch.mask)
    assert batch.rows.tolist() == [0, 1, 0, 2, 3, 1, 2]
    for mark, index in zip(batch.sampled["tokens"][:, 0, 0], batch.objects, strict=True):
        assert batch.observations[index] == f"trajectory {int(mark) // 100}"


def test_a_rollout_whose_groups_were_all_filtered_gives_an_empty_batch_and_no_update():
    rollout = concatenate([FIRST])
    settings = AdvantageSettings(
        adv_type="grpo",
        reward_type="action",
        gamma=1.0,
        gae_lambda=1.0,
        bootstrap="truncated",
        normalize_advantages=True,
        group_size=2,
        filter_rewards=True,
        rewards_lower_bound=-2.0,
        rewards_upper_bound=-1.0,
        wanted_groups=1,
        length_normalization=True,
        max_episode_steps=6,
    )
    result = estimate(rollout.steps, settings)
    batch = flatten(
        rollout,
        result.advantages,
        result.returns,
        result.mask,
        result.weights,
        result.chunk_weights,
        trained=result.mask.any(axis=-1),
        planned=6,
    )
    assert len(batch) == 0
    assert batch.planned == 6
    assert minibatches(batch.planned, len(batch), 3, 0, 0, 0) == []


def test_trajectories_of_different_weights_are_refused():
    other = Trajectory(**{n: getattr(SECOND, n) for n in Trajectory.__slots__} | {"version": 5})
    with pytest.raises(AssertionError, match=r"weights \[4, 5\]"):
        concatenate([FIRST, other])


def test_minibatches_partition_the_samples():
    parts = minibatches(12, 12, 4, 7, 0, 0)
    assert [len(part) for part in parts] == [4, 4, 4]
    assert sorted(np.concatenate(parts).tolist()) == list(range(12))


def test_the_number_of_updates_is_the_planned_one_although_samples_were_dropped():
    assert [len(part) for part in minibatches(12, 7, 4, 7, 0, 0)] == [3, 2, 2]


def test_no_update_is_empty_when_fewer_samples_are_left_than_updates():
    assert [len(part) for part in minibatches(12, 2, 4, 7, 0, 0)] == [1, 1]


def test_a_rollout_smaller_than_a_global_batch_is_one_update():
    assert [len(part) for part in minibatches(3, 3, 4, 7, 0, 0)] == [3]


def test_the_order_is_a_function_of_seed_step_and_epoch():
    def order(*parts: int) -> list[int]:
        return np.concatenate(minibatches(50, 50, 10, *parts)).tolist()

    assert order(7, 1, 0) == order(7, 1, 0)
    different = {tuple(order(*parts)) for parts in [(7, 1, 0), (7, 1, 1), (7, 2, 0), (8, 1, 0)]}
    assert len(different) == 4


@pytest.mark.parametrize("count", [1, 5, 12, 13])
@pytest.mark.parametrize(("ranks", "size"), [(1, 5), (2, 3), (4, 2)])
def test_micro_batches_cover_a_minibatch_once_and_keep_ranks_in_step(count, ranks, size):
    minibatch = np.random.default_rng(0).permutation(count)
    shares = deal(minibatch, [0] * ranks)
    pieces = [micro_batches(share, -(-count // ranks), size) for share in shares]
    assert len({len(of_rank) for of_rank in pieces}) == 1
    assert all(len(piece) <= size for of_rank in pieces for piece in of_rank)
    together = np.concatenate([piece for of_rank in pieces for piece in of_rank])
    np.testing.assert_array_equal(together, minibatch)


def test_one_rank_has_no_empty_micro_batch():
    assert [len(piece) for piece in micro_batches(np.arange(7), 7, 3)] == [3, 2, 2]


def test_on_one_node_the_homes_of_samples_change_nothing():
    minibatch = np.random.default_rng(0).permutation(10)
    dealt = deal(minibatch, [0, 0, 0], np.zeros(10, np.int64))
    assert [part.tolist() for part in dealt] == [p.tolist() for p in np.array_split(minibatch, 3)]


def test_samples_are_dealt_to_their_node_as_far_as_the_balance_allows():
    # Seven samples, five of them at node 0, which has room for four with its two ranks.
    samples, at = np.arange(10, 17), np.array([0, 1, 0, 0, 1, 0, 0])
    dealt = [part.tolist() for part in deal(samples, [0, 1, 0], at)]
    assert dealt == [[10, 12, 13], [11, 14], [15, 16]]
    # With ranks of equal size on two nodes, two of each: the fifth goes where there is room.
    dealt = [part.tolist() for part in deal(samples, [0, 0, 1, 1], at)]
    assert dealt == [[10, 12], [13, 15], [11, 14], [16]]


def test_samples_of_a_node_without_ranks_fill_what_is_free():
    samples, at = np.arange(6), np.array([2, 1, 2, 0, 2, 2])
    assert [part.tolist() for part in deal(samples, [0, 1], at)] == [[0, 2, 3], [1, 4, 5]]


@pytest.mark.parametrize("count", [0, 1, 7, 64])
@pytest.mark.parametrize("ranks", [[0], [0, 1], [0, 0, 1, 1], [3, 1, 1, 3, 2]])
def test_every_sample_is_dealt_once_in_equal_shares(count: int, ranks: list[int]):
    random = np.random.default_rng(count)
    samples = random.permutation(count)
    dealt = deal(samples, ranks, random.integers(4, size=count))
    assert [len(p) for p in dealt] == [len(p) for p in np.array_split(samples, len(ranks))]
    assert sorted(np.concatenate(dealt).tolist()) == list(range(count))


def test_an_observation_is_read_where_it_lies_unless_its_node_has_too_much():
    counts = np.array([10, 10, 10, 10])
    assert homes([0, 0, 1, 1], counts, [0, 1]).tolist() == [0, 0, 1, 1]
    # Node 0 has 30 samples and ranks for 20: one of the three goes, whole.
    assert homes([0, 0, 0, 1], counts, [0, 1]).tolist() == [1, 0, 0, 1]
    # It has five too many, fewer than an observation: single samples go, by minibatch.
    assert homes([0, 0, 1], np.array([10, 15, 15]), [0, 1]).tolist() == [0, 0, 1]


def test_the_observations_of_a_node_without_ranks_are_spread_over_the_others():
    counts = np.array([10, 10, 10, 10])
    assert homes([2, 2, 2, 2], counts, [0, 1]).tolist() == [0, 1, 0, 1]
    assert homes([2, 0, 2, 2], counts, [0, 1]).tolist() == [1, 0, 0, 1]


def observation(name: int, size: int) -> Observation:
    """Row i is recognisable by 10 * name + i in every part."""
    marks = 10 * name + np.arange(size)
    return Observation(
        images=np.broadcast_to(marks[:, None, None, None, None], (size, 1, 2, 2, 3)).astype(
            np.uint8
        ),
        state=np.repeat(marks[:, None], 4, axis=1).astype(np.float32),
        instructions=tuple(f"task {mark}" for mark in marks),
    )


def test_the_observation_table_gathers_rows_in_the_order_asked_for():
    table = ObservationTable([observation(0, 3), observation(1, 2), observation(2, 4)])
    objects, rows = np.array([2, 0, 2, 1, 0]), np.array([3, 1, 0, 1, 1])
    expected = [23, 1, 20, 11, 1]
    taken = table.take(objects, rows)
    assert taken.state[:, 0].tolist() == expected
    assert taken.images[:, 0, 1, 1, 2].tolist() == expected
    assert taken.instructions == tuple(f"task {mark}" for mark in expected)
    assert taken.images.dtype == np.uint8
    assert taken.state.dtype == np.float32


def test_parts_that_an_env_does_not_have_stay_empty():
    bare = Observation(
        np.zeros((2, 0, 0, 0, 3), np.uint8), np.zeros((2, 0), np.float32), ("a", "b")
    )
    taken = ObservationTable([bare]).take(np.zeros(3, int), np.array([1, 1, 0]))
    assert taken.images.shape == (3, 0, 0, 0, 3)
    assert taken.state.shape == (3, 0)
    assert taken.instructions == ("b", "b", "a")


def test_the_observation_table_answers_an_empty_question():
    taken = ObservationTable([observation(0, 3)]).take(np.zeros(0, int), np.zeros(0, int))
    assert len(taken) == 0
    assert taken.images.shape == (0, 1, 2, 2, 3)
