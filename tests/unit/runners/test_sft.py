"""`rlinf sft` and `rlinf collect` from the command line, in one process and without a simulator
where none is needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rlinf.cli import main
from rlinf.config.load import load
from rlinf.data.random import Noise, derive
from rlinf.data.types import Observation
from rlinf.errors import WorkerFailed
from rlinf.imitation.lerobot.write import Writer
from rlinf.metrics.types import Metrics
from rlinf.models.base import Policy, Sampling
from rlinf.models.loading import start_policy
from rlinf.runners.learners import Learners
from rlinf.runners.warmup import given_weights
from tests.tiny_openvla import UNNORM_KEY, write_folder
from tests.unit.imitation.recorded import episode

SMALL = (
    "cluster.cpu_slots=1",
    "actor.model.width=16",
    "actor.model.num_heads=2",
    "imitation.batch_size=4",
)
NOISE = Noise(derive(1, np.arange(2)))
STEPS = ("imitation.log_interval=2", "imitation.eval_interval=4", "imitation.save_interval=4")


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Four episodes of the quickstart's pictures and actions."""
    writer = Writer(tmp_path / "set", 20, "png")
    for index in range(4):
        writer.add(episode(index, 6))
    return str(writer.close())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


def sft(tmp_path: Path, data: str, *overrides: str, run: str = "run") -> int:
    given = [f"imitation.data=[{data}]", f"imitation.cache_dir={tmp_path}/cache"]
    log = f"runner.logger.log_path={tmp_path / run}"
    split = ("imitation.holdout=0.25", "imitation.steps=10")
    return main(["sft", "quickstart", log, *given, *SMALL, *STEPS, *split, *overrides])


def test_a_run_leaves_metrics_checkpoints_and_a_policy_that_training_accepts(tmp_path, data):
    assert sft(tmp_path, data) == 0
    run = tmp_path / "run"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10]
    for name in ("sft/token_loss", "sft/token_accuracy", "sft/action_error", "sft/lr"):
        assert all(name in line for line in lines), name
    judged = [line["step"] for line in lines if "sft/heldout_loss" in line]
    assert judged == [4, 8, 10]
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"latest", "global_step_8", "global_step_10"}
    log = f"runner.logger.log_path={tmp_path}/next"
    path = f"actor.model.model_path={run}/export"
    rollout = f"rollout.model.model_path={run}/export"
    assert main(["check", "quickstart", log, path, rollout, *SMALL]) == 0
    exported = started(*SMALL, f"actor.model.model_path={run}/export")
    saved = started(*SMALL, f"runner.ckpt_path={run}/checkpoints/latest")
    for name, value in exported.state_dict().items():
        assert torch.equal(value, saved.state_dict()[name]), name


def test_a_run_whose_workers_end_says_how_it_goes_on(tmp_path, data, capsys, monkeypatch):
    train = Learners.train

    def fail(learners: Learners, first: int, end: int) -> Metrics:
        if first == 4:
            raise WorkerFailed("a worker ended")
        return train(learners, first, end)

    monkeypatch.setattr(Learners, "train", fail)
    assert sft(tmp_path, data) == 1
    assert "a worker ended" in capsys.readouterr().err
    assert "resume_dir=auto continues from the newest" in (tmp_path / "run/run.log").read_text()


def started(*overrides: str) -> Policy:
    """The policy that `rlinf train` and `rlinf eval` begin with."""
    return start_policy(given_weights(load("quickstart", overrides).config))


def test_what_adapters_learned_is_what_training_starts_from(tmp_path, data):
    model = (
        "model@actor.model=openvla_oft",
        f"actor.model.model_path={write_folder(tmp_path / 'model')}",
        f"actor.model.unnorm_key={UNNORM_KEY}",
        "actor.model.precision=fp32",
        "actor.model.num_action_chunks=2",
        "actor.model.is_lora=true",
        "actor.model.lora_rank=2",
        "cluster.cpu_slots=1",
    )
    given = [f"imitation.data=[{data}]", f"imitation.cache_dir={tmp_path}/cache"]
    run = tmp_path / "run"
    log, learn = f"runner.logger.log_path={run}", ("imitation.steps=4", "imitation.lr=0.02")
    small = ("imitation.batch_size=4", *STEPS)
    assert (
        main(["sft", "quickstart", "imitation=lerobot", log, *model, *given, *learn, *small]) == 0
    )
    main(["export", f"{run}/checkpoints/latest", str(tmp_path / "adapter"), "--adapter"])

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, 1, 64, 64, 3), dtype=np.uint8)
    seen = Observation(images, np.zeros((2, 0), np.float32), ("do task 0", "do task 1"))
    places = ("checkpoints/latest", "export", "../adapter")
    found = [
        started(*model, f"runner.ckpt_path={run}/{place}").act(seen, Sampling(), NOISE)
        for place in (*places, "../model")
    ]
    for chunk in found[1:3]:  # as in the checkpoint: weights, critic, range of the actions
        assert np.allclose(chunk.logprobs, found[0].logprobs, atol=1e-4)
        assert np.allclose(chunk.values, found[0].values, atol=1e-4)
        assert np.array_equal(chunk.actions, found[0].actions)
    assert not np.allclose(found[3].logprobs, found[0].logprobs, atol=1e-2)


def test_an_interrupted_run_ends_up_as_an_uninterrupted_one(tmp_path, data, capsys):
    assert sft(tmp_path, data) == 0
    assert sft(tmp_path, data, run="other") == 0
    for path in (tmp_path / "other/checkpoints/global_step_10").iterdir():
        if path.is_file():
            path.write_bytes(b"")  # the newest is damaged: the one before counts
    (tmp_path / "other/export/policy.safetensors").unlink()
    again = ("runner.resume_dir=auto", "algorithm.gamma=0.5", "imitation.cache_dir=elsewhere")
    assert sft(tmp_path, data, *again, run="other") == 0
    assert "changed since" not in capsys.readouterr().err
    whole, resumed = (
        load_file(tmp_path / name / "export/policy.safetensors") for name in ("run", "other")
    )
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "other/metrics.jsonl").read_text().splitlines()
    ]
    assert steps == [2, 4, 6, 8, 10]


def test_what_another_configuration_changes_is_told_or_refused(tmp_path, data, capsys):
    assert sft(tmp_path, data, "imitation.steps=2", "imitation.eval_interval=-1") == 0
    again = ("runner.resume_dir=auto", "imitation.steps=4", "imitation.eval_interval=-1")
    assert sft(tmp_path, data, *again, "actor.model.width=32") == 2
    assert "the checkpoint to resume from has 16, its weights do not" in capsys.readouterr().err
    assert sft(tmp_path, data, *again, "imitation.statistics=model") == 2
    assert sft(tmp_path, data, *again, "imitation.lr=0.5") == 0
    written = (tmp_path / "run/run.log").read_text()
    assert "imitation.lr: 0.002 -> 0.5" in written and "imitation.steps: 2 -> 4" in written


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("imitation.data=[nowhere]", "imitation.data = nowhere: there is no such file"),
        ("imitation.image_keys=[observation.images.top]", "write observation.images.view_0"),
        ("imitation.statistics=model", "without actor.model.model_path"),
        ("imitation.eval_interval=3", "must be a multiple of imitation.log_interval = 2"),
        ("imitation.stepz=3", "did you mean imitation.steps?"),
        ("actor.model.action_dim=6", "have 7 dimensions, actor.model.action_dim is 6"),
        ("imitation=null", "imitation=lerobot 'imitation.data=[FOLDER]'"),
    ],
)
def test_a_mistake_is_reported_with_key_and_fix(tmp_path, data, capsys, override, words):
    if override == "imitation=null":
        log = f"runner.logger.log_path={tmp_path}/run"
        assert main(["sft", "quickstart", log, override]) == 2
    else:
        assert sft(tmp_path, data, override) == 2
    assert words in capsys.readouterr().err


def test_without_data_and_expert_the_error_names_a_fix(tmp_path, capsys):
    log = f"runner.logger.log_path={tmp_path}/run"
    assert main(["collect", "toy_ppo_mlp", log, "collect.episodes=2"]) == 2
    assert "collect.source=policy and runner.ckpt_path" in capsys.readouterr().err
    assert main(["collect", "toy_ppo_mlp", log, "collect.source=policy"]) == 2
    assert "collect.episodes is missing" in capsys.readouterr().err
    two = "collect.episodes=2"
    assert main(["collect", "toy_ppo_mlp", log, "collect.source=policy", two]) == 2
    assert "set runner.ckpt_path" in capsys.readouterr().err
    assert not (tmp_path / "run/dataset").exists()
