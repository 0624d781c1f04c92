"""Fine-tuning of the OpenVLA family on a data set, on the tiny recorded checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rlinf.config.load import load
from rlinf.config.schema import Config
from rlinf.imitation.lerobot.write import Writer
from rlinf.models.openvla.config import OpenVlaConfig
from rlinf.models.openvla_oft.config import OpenVlaOftConfig
from rlinf.workers.imitation import ImitationWorker
from tests.golden import GoldenSet, sets_with
from tests.unit.imitation.recorded import episode

Build = Callable[..., ImitationWorker]


@pytest.fixture
def start(tmp_path: Path) -> Build:
    """A worker for a model, with four episodes to learn from."""
    writer = Writer(tmp_path / "set", 20, "png")
    for index in range(4):
        writer.add(episode(index, 4))
    data = str(writer.close())

    def build(model: OpenVlaConfig | OpenVlaOftConfig, *overrides: str) -> ImitationWorker:
        given = ["imitation.batch_size=2", "imitation.lr=1e-3", "imitation.lr_warmup_steps=0"]
        folders = [f"runner.logger.log_path={tmp_path}/run", f"imitation.cache_dir={tmp_path}/c"]
        config = load("quickstart", [*given, *folders, *overrides]).config
        actor = config.actor.model_copy(update={"model": model})
        config = Config.model_construct(**{**dict(config), "actor": actor})
        return ImitationWorker(config, [data], 0, 1, threads=1, device="cpu")

    return build


def settings(golden: GoldenSet) -> dict[str, object]:
    name = golden.meta.get("unnorm_key_short") or golden.meta["unnorm_key"]
    return {
        "model_path": str(golden.checkpoint),
        "precision": "fp32",
        "unnorm_key": name,
        "value_type": "chunk",
    }


@pytest.mark.parametrize("golden", sets_with("single.npz"))
def test_adapters_learn_and_the_weights_below_them_stay(golden: GoldenSet, start: Build):
    model = OpenVlaConfig(
        model_type="openvla", num_action_chunks=1, is_lora=True, lora_rank=4, **settings(golden)
    )
    learner = start(model, "imitation.steps=8")
    frozen = {n: p.clone() for n, p in learner.policy.named_parameters() if not p.requires_grad}
    first = learner.train(0, 2).reduce()["sft/token_loss"]
    last = [learner.train(step, step + 2).reduce() for step in range(2, 8, 2)][-1]
    assert last["sft/token_loss"] < first
    for name, value in learner.policy.named_parameters():
        if name in frozen:
            assert torch.equal(value, frozen[name]), name
    # What it decodes with is now the range of the demonstrations, not that of the checkpoint.
    shown = learner.learned.action_statistics(1)
    assert learner.policy.scale.low.numpy() == pytest.approx(shown.q01)


@pytest.mark.parametrize("golden", sets_with("moojink_1img.npz"))
def test_parallel_decoding_learns_with_all_weights(golden: GoldenSet, start: Build):
    chunk = golden.meta["num_action_chunks"]
    model = OpenVlaOftConfig(model_type="openvla_oft", num_action_chunks=chunk, **settings(golden))
    learner = start(model, "imitation.steps=5")
    first = learner.train(0, 1).reduce()["sft/token_loss"]
    last = [learner.train(step, step + 1).reduce() for step in range(1, 5)][-1]
    assert last["sft/token_loss"] < first
