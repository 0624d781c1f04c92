"""A tiny model folder, an observation for it, and policies of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rlinf.data.random import Noise, derive
from rlinf.data.types import Observation
from rlinf.models.loading import build_policy
from rlinf.models.openvla.config import OpenVlaConfig
from rlinf.models.openvla_oft.config import OpenVlaOftConfig
from rlinf.models.prismatic.policy import PrismaticPolicy
from tests.tiny_openvla import UNNORM_KEY, write_folder

B = 3
NOISE = Noise(derive(1, np.arange(B)))
Build = Callable[..., PrismaticPolicy]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("tiny_openvla"))


@pytest.fixture(scope="session")
def observation() -> Observation:
    rng = np.random.default_rng(0)
    return Observation(
        rng.integers(0, 256, (B, 2, 40, 40, 3), dtype=np.uint8),
        rng.normal(size=(B, 6)).astype(np.float32),
        ("push the cube to the goal", "lift the peg", "push the peg"),
    )


def config_of(folder: Path, model: str = "openvla_oft", **settings: object):
    kind = OpenVlaConfig if model == "openvla" else OpenVlaOftConfig
    given = {"precision": "fp32", "unnorm_key": UNNORM_KEY, **settings}
    if model == "openvla_oft":
        given = {"num_action_chunks": 2, **given}
    return kind(model_type=model, model_path=str(folder), **given)


@pytest.fixture
def build(folder: Path) -> Build:
    """A policy of the tiny folder: build("openvla", is_lora=True)."""

    def make(model: str = "openvla_oft", **settings: object) -> PrismaticPolicy:
        at = Path(str(settings.pop("model_path", folder)))
        policy = build_policy(config_of(at, model, **settings), seed=1)
        assert isinstance(policy, PrismaticPolicy)
        return policy

    return make
