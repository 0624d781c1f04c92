"""What a GPU's rules about devices allow, and that its workers do what those of a CPU do.

On a stand-in: no machine with a GPU is needed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rlinf.config.base import ModelConfig
from rlinf.config.schema import Config
from rlinf.data.shared import SharedMemory
from rlinf.data.types import TrainBatch, Weights
from rlinf.envs.factory import make_batch
from rlinf.metrics.types import Metrics
from rlinf.models.base import ImitablePolicy
from rlinf.models.loading import build_policy
from rlinf.models.prismatic import images
from rlinf.models.weights import Layout
from rlinf.registry import MODELS
from rlinf.workers.actor import ActorWorker
from rlinf.workers.env import train_stage
from rlinf.workers.policy_parallel import ReplicatedPolicy
from rlinf.workers.process_group import ProcessGroup
from rlinf.workers.rollout import DROPPED, RolloutWorker
from tests.tiny_openvla import write_folder
from tests.unit.models.test_policies import (
    CONFIGS,
    FOLDERS,
    NOISE,
    OBSERVATION,
    SAMPLING,
    tiny_gr00t_config,
)
from tests.unit.workers.conftest import LocalPolicy, N, batch_for, learn, weights_of
from tests.unit.workers.stand_in import GPU, Memory, process_with_gpu


@pytest.fixture(scope="module")
def gpu() -> Iterator[Executor]:
    with process_with_gpu() as process:
        yield process


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("tiny"), action_dim=3)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_policy_answers_and_learns_as_on_a_cpu(
    gpu: Executor, name: str, folder: Path, tmp_path: Path
):
    if name == "gr00t":
        config = tiny_gr00t_config(tmp_path)
    else:
        config = CONFIGS.get(name) or FOLDERS[name].model_copy(update={"model_path": str(folder)})
    found = gpu.submit(answers, config, GPU).result()
    expected = answers(config, torch.device("cpu"))
    assert found.keys() == expected.keys()
    for what, value in expected.items():
        np.testing.assert_allclose(found[what], value, rtol=1e-3, atol=1e-3, err_msg=what)


def answers(config: ModelConfig, device: torch.device) -> dict[str, np.ndarray]:
    """What a policy answers, and its gradients."""
    policy = build_policy(config, seed=3).to(device)
    chunk = policy.act(OBSERVATION, SAMPLING, NOISE)
    judged = policy.evaluate(OBSERVATION, chunk.sampled, SAMPLING)
    (judged.logprobs.sum() + judged.entropy.sum() + judged.values.sum()).backward()
    found = {
        "actions": chunk.actions,
        "log-probs": chunk.logprobs,
        "values": policy.value(OBSERVATION),
        "evaluated": on_host(judged.logprobs),
    }
    for name, parameter in policy.named_parameters():
        if parameter.grad is not None:
            found[f"gradient of {name}"] = on_host(parameter.grad)
    if isinstance(policy, ImitablePolicy):
        returns = np.zeros(len(OBSERVATION), np.float32)
        times = -(-config.horizon // policy.chunk)  # chunks that cover what is imitated
        actions = np.tile(chunk.actions, (1, times, 1))[:, : config.horizon]
        imitated = policy.imitate(OBSERVATION, actions, returns, NOISE)
        found |= {name: on_host(loss) for name, loss in imitated.losses.items()}
    return found


@pytest.mark.parametrize("path", ["pillow", "tensor", "jpeg"])
def test_the_models_pictures_are_those_of_a_cpu(gpu: Executor, path: images.ImagePath):
    seen = np.random.default_rng(0).integers(0, 256, (2, 2, 40, 30, 3), dtype=np.uint8)
    for crop in (False, True):
        expected = pictures(seen, path, crop, torch.device("cpu"))
        found = gpu.submit(pictures, seen, path, crop, GPU).result()
        np.testing.assert_array_equal(found, expected)


def pictures(
    seen: np.ndarray, path: images.ImagePath, crop: bool, device: torch.device
) -> np.ndarray:
    return on_host(images.prepare(seen, 28, path, crop, device, torch.float32))


def test_workers_collect_learn_save_and_take_back_as_on_a_cpu_and_leave_the_gpu_meanwhile(
    gpu: Executor, toy: Callable[..., Config], tmp_path: Path
):
    config = toy(
        "actor.global_batch_size=120",
        "algorithm.update_epoch=1",
        "algorithm.kl_beta=0.1",
        "actor.enable_offload=true",
        "rollout.enable_offload=true",
    )
    found = gpu.submit(iterations, config, GPU, tmp_path / "gpu").result()
    expected = iterations(config, torch.device("cpu"), tmp_path / "cpu")
    np.testing.assert_allclose(found, expected, atol=1e-6)


def iterations(config: Config, device: torch.device, folder: Path) -> np.ndarray:
    """The trained weights after two iterations, and one more from what was saved and kept."""
    acting = RolloutWorker(config, 0, 1, str(folder))
    learning = ActorWorker(config, 0, 1, 1, 100, lambda references: references, str(folder))
    env = config.env.train
    batch = make_batch(env, env.total_num_envs, 0, "truncated", 0, folder / "env.log")
    stage = train_stage(config)(config, batch, LocalPolicy(acting), 0)
    state = SharedMemory.create(learning.host_copy_bytes())
    learning.use_host_copy(state.handle)
    written_on = []
    write = learning.parallel.write_weights
    learning.parallel.write_weights = lambda to: (written_on.append(devices(learning)), write(to))
    for step in range(2):
        trajectories = stage.collect(step, learning.version())
        acting.offload()
        assert acting.policy.device.type == "cpu"
        assert device.type == "cpu" or acting.policy.version == DROPPED
        assert learn(trajectories, step, learning, acting) > 0
        assert acting.policy.device.type == device.type
        assert devices(learning) == {"cpu"}
        if step == 0:
            learning.save(str(folder / "saved"))
            while not learning.saved()[0]:
                time.sleep(0.01)
            learning.write_host_copy()
    assert written_on == [{device.type}] * 2  # before the shards leave the GPU, and only then
    last = weights_of(learning).view(np.float32)
    learning.read_host_copy()
    kept = weights_of(learning)
    learning.load(str(folder / "saved"))
    assert np.array_equal(weights_of(learning), kept)
    return last


def test_weights_are_on_the_gpu_once_also_while_they_come_and_go(
    gpu: Executor, toy: Callable[..., Config], tmp_path: Path
):
    config = toy("rollout.enable_offload=true", "actor.enable_offload=true")
    peaks, weights = gpu.submit(peaks_of_moves, config, tmp_path).result()
    assert peaks == [pytest.approx(weights, rel=0.02)] * 4


def peaks_of_moves(config: Config, folder: Path) -> tuple[list[int], int]:
    """Most bytes on the GPU while a policy is built and moved, and the bytes of its weights."""
    peaks = []

    def note(before: int) -> None:
        peaks.append(Memory.peak - before)

    gc.collect()
    start = Memory.now
    Memory.reset()
    acting = RolloutWorker(config, 0, 1, str(folder))
    note(start)
    acting.offload()
    gc.collect()
    assert Memory.now - start < 100  # all but small change is gone
    Memory.reset()
    none = np.zeros(acting.layout.size, np.uint8)
    acting.load_weights(Weights(1, acting.layout.digest, none))
    note(start)
    policy = build_policy(config.actor.model, seed=1)
    layout = Layout(policy)
    start = Memory.now
    Memory.reset()
    parallel = ReplicatedPolicy(policy, layout, GPU, ProcessGroup(0, 1))
    note(start)
    parallel.move(torch.device("cpu"))
    gc.collect()
    Memory.reset()
    parallel.move(GPU)
    note(start)
    return peaks, layout.size


def test_a_sharded_policy_in_bf16_learns_as_on_a_cpu_also_where_it_leaves_the_gpu(
    gpu: Executor, config_of: Callable[..., Config], tmp_path: Path
):
    model = FOLDERS["openvla"].model_copy(
        update={
            "model_path": str(write_folder(tmp_path / "model")),
            "precision": "bf16",
            "action_dim": 7,
            "is_lora": True,
            "lora_rank": 4,
        }
    )
    stays = config_of(model, kl_beta=0.1).with_micro_batches(N)
    actor = stays.actor.model_copy(update={"enable_offload": True})
    leaves = stays.model_copy(update={"actor": actor})
    batch = batch_for(stays)
    expected, _ = updates(stays, batch, tmp_path)
    found, weights = gpu.submit(updates, stays, batch, tmp_path).result()
    again, same_weights = gpu.submit(updates, leaves, batch, tmp_path).result()
    assert again == found and np.array_equal(weights, same_weights)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=0.02, abs=1e-3), name


def updates(config: Config, batch: TrainBatch, folder: Path) -> tuple[dict[str, float], np.ndarray]:
    """Metrics and trained weights of two updates by one rank of FSDP2."""
    actor = ActorWorker(config, 0, 1, 1, 8, list, str(folder))
    found = Metrics.merge([actor.update(batch, step) for step in range(2)]).reduce()
    off = torch.device("cpu") if config.actor.enable_offload else actor.device
    assert devices(actor) == {off.type}
    weights = weights_of(actor)
    actor.ranks.leave()
    return found, weights


def devices(actor: ActorWorker) -> set[str]:
    """Where the weights and what the optimizer keeps of them are."""
    moments = [m for one in actor.optimizer.state().values() for m in one.values()]
    return {tensor.device.type for tensor in [*actor.policy.parameters(), *moments]}


def on_host(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
