"""An iteration of rollout and actor worker, and the memory of the plan beside what it took."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlinf.config import memory
from rlinf.config.load import Loaded, load
from rlinf.data.random import derive
from rlinf.data.types import ActReply, Observation, TrainBatch
from rlinf.errors import NumericsError
from rlinf.models.prismatic import random_weights
from rlinf.selftest.check import Failed, Found, Scope, require
from rlinf.selftest.models import observe
from rlinf.selftest.timing import finish
from rlinf.workers.actor import ActorWorker
from rlinf.workers.rollout import RolloutWorker

_SIZES = {"cpu": ("tiny", 2, 4), "cuda": ("1b", 4, 16)}
"""SizeName of the model, micro-batch, samples."""
_FREE = ("context (assumed)",)
"""What is on a GPU and no tensor of ours."""
_NEAR = 0.5
"""Share of the predicted bytes by which the measured ones may differ."""


def step(scope: Scope, lora: bool) -> Found:
    """One rank of FSDP2 trains OpenVLA on what a rollout worker drew, which then gets its weights.

    The actor compares log-probs with the rollout's, so that this is a test of both.
    """
    kind = "cuda" if scope.gpus else "cpu"
    size, micro, samples = _SIZES[kind]
    loaded = _configuration(Path(scope.folder), size, micro, samples, lora, kind)
    config, logs = loaded.config, str(Path(scope.folder) / "logs")
    rollout = RolloutWorker(config, 0, torch.get_num_threads(), logs)
    seen = observe(samples)
    keys = derive(1, np.arange(samples))
    reply = rollout.act(seen, keys, None, "train", 0)
    del rollout
    _forget_peak(kind)
    actor = ActorWorker(config, 0, 1, torch.get_num_threads(), 1, _as_they_are, logs)
    try:
        found = actor.update(_batch(seen, reply), 0).reduce()
    except NumericsError as error:
        raise Failed(str(error)) from error
    finish(scope.device)
    near = actor.weights(None)
    require(near is not None and near[0].version == 1, "no weights after the update")
    numbers: dict[str, Any] = {
        "logprob_mismatch": found["train/actor/logprob_mismatch"],
        "grad_norm": found["train/actor/grad_norm"],
    }
    require(numbers["grad_norm"] > 0, "the gradient is zero", **numbers)
    apart, norm = numbers["logprob_mismatch"], numbers["grad_norm"]
    text = f"log-probs differ by {apart:.2g}, gradient {norm:.3g}"
    if kind == "cuda":
        measured, predicted = torch.cuda.max_memory_allocated(), _predicted(loaded)
        whole = sum(predicted.values())
        numbers |= {"measured_gb": measured / 1e9, "predicted_gb": whole / 1e9, "table": predicted}
        text += f"; memory {measured / 1e9:.2f} GB, {whole / 1e9:.2f} GB predicted"
        require(abs(measured - whole) <= _NEAR * whole, text, **numbers)
    actor.ranks.leave()
    return Found(text, numbers)


def _configuration(
    folder: Path, size: str, micro: int, samples: int, lora: bool, kind: str
) -> Loaded:
    random_weights.write_model(folder / "model", size, "cpu" if kind == "cpu" else "cuda:0")
    overrides = [
        f"actor.model.model_path={folder / 'model'}",
        f"actor.model.unnorm_key={random_weights.DATA_SET}",
        f"actor.model.precision={'fp32' if kind == 'cpu' else 'bf16'}",
        f"actor.model.is_lora={str(lora).lower()}",
        "actor.model.lora_rank=8",
        "actor.fsdp_config.cpu_offload=false",
        f"actor.micro_batch_size={micro}",
        f"actor.global_batch_size={samples}",
        "cluster.component_placement=0",
        "env.train.total_num_envs=16",
        "env.eval.total_num_envs=16",
        "env.train.init_params.sim_backend=cpu",
        "env.eval.init_params.sim_backend=cpu",
        "rollout.pipeline_stage_num=1",
        "runner.val_check_interval=-1",
        f"cluster.accelerators_per_node={0 if kind == 'cpu' else 1}",
        f"runner.logger.log_path={folder}",
    ]
    return load("maniskill_ppo_openvla", overrides)


def _predicted(loaded: Loaded) -> dict[str, int]:
    """Bytes of the plan for the actor while it trains, by what they are."""
    (device,) = memory.devices(loaded.config, loaded.plan)
    return {
        held.what: held.size
        for held in device.held
        if held.owner == "actor" and "trains" in held.phases and held.what not in _FREE
    }


def _forget_peak(kind: str) -> None:
    if kind == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _as_they_are(references: Sequence[Any]) -> Sequence[Observation]:
    return references


def _batch(seen: Observation, reply: ActReply) -> TrainBatch:
    """Samples of one chunk each with made-up advantages."""
    chunk, rows = reply.chunk, len(seen)
    random = np.random.default_rng(2)
    shape = chunk.values.shape
    mask = np.ones(chunk.logprobs.shape[:2], bool)
    return TrainBatch(
        observations=[seen],
        nodes=[0],
        objects=np.zeros(rows, np.int64),
        rows=np.arange(rows),
        sampled=chunk.sampled,
        logprobs=chunk.logprobs,
        advantages=random.normal(size=shape).astype(np.float32),
        returns=random.normal(size=shape).astype(np.float32),
        values=chunk.values,
        mask=mask,
        weights=mask.astype(np.float32),
        chunk_weights=np.ones((rows, 1), np.float32),
        trained=np.ones(rows, bool),
        planned=rows,
        version=chunk.version,
    )
