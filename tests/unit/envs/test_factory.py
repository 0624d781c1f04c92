from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from rlinf.config.load import load
from rlinf.config.schema import AnyEvalEnv, AnyTrainEnv, EnvConfig
from rlinf.data.types import Start
from rlinf.envs.episode import EpisodeBatch
from rlinf.envs.factory import make_batch, make_simulator
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.envs.toy.config import ToyReachParams
from rlinf.envs.toy.reach import ToyReach
from rlinf.registry import simulators


def toy(*overrides: str) -> EnvConfig:
    return load("toy_ppo_mlp", overrides).config.env.train


def test_a_simulator_is_built_with_its_own_parameters():
    config = toy().model_copy(update={"init_params": ToyReachParams(obs_dim=12)})
    simulator = make_simulator(config, num_envs=3)
    assert isinstance(simulator, ToyReach)
    assert simulator.num_envs == 3
    assert simulator.observe(np.arange(2)).state.shape == (2, 12)


def test_without_sub_processes_envs_live_here(tmp_path: Path):
    batch = make_batch(toy(), 4, 0, "none", processes=0, log_file=tmp_path / "log")
    assert isinstance(batch, EpisodeBatch)
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("processes", [0, 2])
def test_the_configuration_rules_the_episodes(processes: int, tmp_path: Path):
    config = toy(
        "env.train.max_episode_steps=2",
        "env.train.ignore_terminations=true",
        "env.train.reward_coef=10",
        "env.train.use_rel_reward=true",
    )
    batch = make_batch(config, 3, 5, "truncated", processes, tmp_path / "log")
    assert isinstance(batch, ProcessBatch if processes else EpisodeBatch)
    batch.start(np.arange(3), [Start(0, -1, seed) for seed in range(3)])
    result = batch.run_chunk(np.zeros((3, 4, batch.action_dim)), np.ones(3, bool), [None] * 3)
    batch.close()
    # Two steps each; standing still earns something at the first step and no change after it.
    np.testing.assert_array_equal(result.valid, [[True, True, False, False]] * 3)
    np.testing.assert_array_equal(result.rewards[:, 1], 0)
    plain = make_simulator(toy(), 3)
    plain.reset(np.arange(3), [Start(0, -1, seed) for seed in range(3)])
    reward = plain.step(np.zeros((3, batch.action_dim), np.float32), np.ones(3, bool)).rewards
    np.testing.assert_allclose(result.rewards[:, 0], 10 * reward, rtol=1e-6)
    np.testing.assert_array_equal(result.final_rows, [0, 1, 2])
    assert [episode.env for episode in result.episodes] == [5, 6, 7]


@pytest.mark.parametrize("section", [AnyTrainEnv, AnyEvalEnv])
def test_every_simulator_type_of_the_configuration_has_a_builder(section: object):
    schema = TypeAdapter(section).json_schema()
    assert set(schema["discriminator"]["mapping"]) == set(simulators())
