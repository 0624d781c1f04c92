"""A configuration to vary: the smallest shipped one, on a machine that is the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlinf.config.load import Loaded, load
from rlinf.config.machine import Machine
from rlinf.config.placement import Node
from rlinf.errors import UserError

LAPTOP = Machine(Node(accelerators=0, cpu_slots=2), 16_000_000_000)
GPU_MACHINE = Machine(Node(accelerators=8, cpu_slots=64), 512_000_000_000)


@pytest.fixture
def laptop() -> Machine:
    """Two cores, no accelerator."""
    return LAPTOP


@pytest.fixture
def gpu_machine() -> Machine:
    """Eight accelerators."""
    return GPU_MACHINE


@pytest.fixture
def load_toy(tmp_path: Path) -> Callable[..., Loaded]:
    """Loads `toy_ppo_mlp` with overrides, logs in a temporary folder."""

    def loader(*overrides: str, machine: Machine = LAPTOP, purpose: str = "") -> Loaded:
        log_path = f"runner.logger.log_path={tmp_path}/run"
        return load("toy_ppo_mlp", [log_path, *overrides], machine, purpose)

    return loader


@pytest.fixture
def errors_of(load_toy: Callable[..., Loaded]) -> Callable[..., str]:
    """The message that refuses `toy_ppo_mlp` with overrides."""

    def refuse(*overrides: str) -> str:
        with pytest.raises(UserError) as caught:
            load_toy(*overrides)
        return str(caught.value)

    return refuse
