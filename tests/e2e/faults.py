"""A simulator with a Python of its own that fails in the middle of its episodes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from rlinf.data.types import Start
from rlinf.envs.episode import EpisodeRules
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.registry import imported, simulator
from tests.own_pythons import hosted

NUM_ENVS = 2
IDS, EVERYONE = np.arange(NUM_ENVS), np.ones(NUM_ENVS, bool)
STARTS = [Start(0, -1, 1), Start(0, -1, 2)]


def replaced(name: str, settings: dict[str, Any], fault: signal.Signals, log: Path) -> None:
    """Sends a signal to its process: episodes end as dropped, and another process goes on.

    A start of these simulators is most of what this takes, so each of them gets one fault; both
    faults for one simulator are in tests/unit/envs/hosting.
    """
    how, spec = hosted(name), simulator(name)
    params = imported(spec.settings)(**settings)
    rules = EpisodeRules(max_episode_steps=50, final="none")
    batch = ProcessBatch(
        *(spec.build, params.model_dump(mode="json"), NUM_ENVS, rules, 1, log, 600.0),
        retries=1,
        hosting=how,
    )
    still = np.zeros((NUM_ENVS, 2, len(params.takes().dimensions)), np.float32)
    try:
        batch.start(IDS, STARTS)
        batch.run_chunk(still, EVERYONE, STARTS)  # compiles, where nothing was compiled before
        if fault is signal.SIGSTOP:
            batch.step_timeout_s = 30.0  # a first chunk takes a second, others much less
        (process,) = (
            child
            for child in psutil.Process().children(recursive=True)
            if child.status() != psutil.STATUS_ZOMBIE and str(log) in child.cmdline()
        )
        process.send_signal(fault)
        result = batch.run_chunk(still, EVERYONE, STARTS)
        assert [(e.dropped, e.length) for e in result.episodes] == [(True, 2)] * NUM_ENVS
        assert np.isnan(result.rewards[:, 0]).all() and result.active.all()
        after = batch.run_chunk(still, EVERYONE, STARTS)
        assert not after.episodes and np.isfinite(after.rewards).all()
        assert batch.restarts == 1
    finally:
        batch.close()
