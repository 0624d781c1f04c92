"""An episode in a process that has just begun equals one after a long history, bit for bit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rlinf.data.types import Start
from rlinf.envs.episode import EpisodeBatch, EpisodeRules
from rlinf.envs.vector import ProcessBatch
from tests.contract.conftest import NUM_ENVS, PUSH_IMAGE, Case


@pytest.mark.slow
@pytest.mark.parametrize("case", ["maniskill_image"], indirect=True)
def test_sub_processes_show_and_report_what_this_process_does(case: Case, tmp_path: Path) -> None:
    from rlinf.envs.maniskill.env import ManiSkillCpu

    rules = EpisodeRules(max_episode_steps=10, final="always")
    here = EpisodeBatch(case.simulator, rules)
    build = partial(ManiSkillCpu, params=PUSH_IMAGE)
    there = ProcessBatch(build, NUM_ENVS, rules, 1, tmp_path / "simulators.log", 120.0)
    everyone, ids = np.ones(NUM_ENVS, bool), np.arange(NUM_ENVS)
    starts = [Start(0, -1, seed) for seed in (4, 6, 8)]
    rng = np.random.default_rng(0)
    try:
        for batch in (here, there):
            batch.start(ids, starts)
        for _ in range(3):  # the third chunk truncates all and begins anew
            actions = rng.uniform(-1, 1, (NUM_ENVS, 4, 7)).astype(np.float32)
            a, b = (batch.run_chunk(actions, everyone, starts) for batch in (here, there))
            np.testing.assert_array_equal(a.rewards, b.rewards)
            for x, y in ((a.observation, b.observation), (a.final, b.final)):
                np.testing.assert_array_equal(x.images, y.images)
                np.testing.assert_array_equal(x.state, y.state)
            assert a.episodes == b.episodes
        assert len(a.episodes) == NUM_ENVS
    finally:
        there.close()
