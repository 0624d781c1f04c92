"""What OpenVLA and OpenVLA-OFT cost, beside their floor and beside a plain implementation.

python benchmarks/policy.py mid --write          on a CPU, a model of medium size
python benchmarks/policy.py 7b --write           on a GPU, the true sizes, random weights
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plain_vla import PlainVla
from record import record, write
from rlinf.config.base import Precision
from rlinf.data.random import Noise, derive
from rlinf.data.types import Observation, Sampled
from rlinf.models.base import Sampling
from rlinf.models.prismatic import random_weights
from rlinf.models.prismatic.policy import PrismaticPolicy
from rlinf.selftest.timing import in_turns, peaks
from vla_floors import TEXT, Work, phases

INSTRUCTION = "put the carrot on the plate"
SAMPLING = Sampling(temperature=1.0)


@dataclass(frozen=True, slots=True)
class Case:
    """Sizes and what to run."""

    size: str  # one of `random_weights.SIZES`
    precision: Precision
    batches: tuple[int, ...]  # 1 first
    train_batch: int
    device: str


CASES = {
    "mid": Case("mid", "fp32", (1, 8), 4, "cpu"),
    "7b": Case("7b", "bf16", (1, 8, 32, 128), 8, "cuda"),
}


def build(case: Case, folder: Path, parallel: bool, **settings: Any) -> PrismaticPolicy:
    """A policy with random weights."""
    size, device = case.size, case.device
    return random_weights.build(folder, size, parallel, case.precision, device, **settings)


def observe(batch: int, size: int = 256) -> Observation:
    """Random pictures, all with the same instruction."""
    images = np.random.default_rng(0).integers(0, 256, (batch, 1, size, size, 3), dtype=np.uint8)
    return Observation(images, np.zeros((batch, 0), np.float32), (INSTRUCTION,) * batch)


def measure_act(
    case: Case, folder: Path, parallel: bool, peak: tuple[float, float], rounds: int
) -> list[dict[str, Any]]:
    """`act` of both implementations, for every batch size.

    The published code takes one observation at a time, the plain one a batch, as code for
    reinforcement learning made of it does; the first is what a batch of one costs, times the batch.
    """
    policy = build(case, folder, parallel).eval()
    plain = PlainVla(policy, parallel)
    assert len(policy.prompts.ids(INSTRUCTION)) <= TEXT
    width = 2 if case.precision == "bf16" else 4
    rows, alone = [], 0.0
    for batch in case.batches:
        observation, noise = observe(batch), Noise(derive(1, np.arange(batch)))
        _forget_peak(case.device)
        seconds = in_turns(
            {
                "ours": lambda: policy.act(observation, SAMPLING, noise),  # noqa: B023
                "plain": lambda: plain.act(observation.images[:, 0], observation.instructions),  # noqa: B023
            },
            rounds,
            case.device,
        )
        alone = seconds["plain"] if batch == 1 else alone
        tokens = policy.chunk * policy.action_dim
        work = phases(policy.network.architecture, batch, parallel, tokens, width)
        rows.append(
            {
                "batch": batch,
                "ms": 1e3 * seconds["ours"],
                "plain_ms": 1e3 * seconds["plain"],
                "times_faster": seconds["plain"] / seconds["ours"],
                "times_faster_than_one_by_one": batch * alone / seconds["ours"],
                "env_steps_per_second": batch * policy.chunk / seconds["ours"],
                **_against_floor(work, seconds["ours"], peak),
                **_memory(case.device),
            }
        )
    return rows


def measure_training(
    case: Case, folder: Path, parallel: bool, peak: tuple[float, float], rounds: int
) -> list[dict[str, Any]]:
    """`evaluate` and its backward pass, with adapters and with all weights."""
    rows = []
    for kind, passes in (("lora", 2), ("full", 3)):
        policy = build(case, folder, parallel, is_lora=kind == "lora", gradient_checkpointing=True)
        policy.train()
        observation = observe(case.train_batch)
        noise = Noise(derive(1, np.arange(case.train_batch)))
        sampled = policy.act(observation, SAMPLING, noise).sampled

        def step(
            policy: PrismaticPolicy = policy,
            observation: Observation = observation,
            sampled: Sampled = sampled,
        ) -> None:
            policy.zero_grad(set_to_none=True)
            judged = policy.evaluate(observation, sampled, SAMPLING)
            (judged.logprobs.sum() + judged.values.sum()).backward()

        _forget_peak(case.device)
        seconds = in_turns({"step": step}, rounds, case.device)["step"]
        tokens = policy.chunk * policy.action_dim
        width = 2 if case.precision == "bf16" else 4
        # Without a cache the tokens before the last are part of one pass, as in parallel decoding.
        one = phases(policy.network.architecture, case.train_batch, True, tokens, width)[0]
        work = replace(one, flop=one.flop * (passes + 1))  # checkpointing: one more forward
        rows.append(
            {
                "trained": kind,
                "batch": case.train_batch,
                "ms": 1e3 * seconds,
                "samples_per_second": case.train_batch / seconds,
                **_against_floor([work], seconds, peak),
                **_memory(case.device),
            }
        )
    return rows


def _against_floor(work: list[Work], seconds: float, peak: tuple[float, float]) -> dict[str, float]:
    flop = sum(part.flop for part in work)
    return {
        "tflop": flop / 1e12,
        "weights_and_cache_gb": sum(part.bytes for part in work) / 1e9,
        "floor_ms": 1e3 * sum(part.seconds(*peak) for part in work),
        "share_of_peak_flops": flop / seconds / peak[0],
    }


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _memory(device: str) -> dict[str, float]:
    if device != "cuda":
        return {}
    return {"peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30}


def main() -> None:
    """Measures a case and prints it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each number")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: as many as cores")
    parser.add_argument("--write", action="store_true", help="keep the numbers in results/")
    arguments = parser.parse_args()
    case = CASES[arguments.case]
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    dtype = torch.bfloat16 if case.precision == "bf16" else torch.float32
    peak = peaks(dtype, arguments.rounds, case.device)
    numbers: dict[str, Any] = {
        "case": asdict(case),
        "threads": torch.get_num_threads(),
        "measured_peak_gflops": peak[0] / 1e9,
        "measured_copy_gb_per_second": peak[1] / 1e9,
    }
    if case.device == "cuda":
        numbers["gpu"] = torch.cuda.get_device_name()
    with tempfile.TemporaryDirectory() as folder:
        for name, parallel in (("openvla", False), ("openvla_oft", True)):
            numbers[name] = {
                "act": measure_act(case, Path(folder), parallel, peak, arguments.rounds),
                "train": measure_training(case, Path(folder), parallel, peak, arguments.rounds),
            }
            for part, rows in numbers[name].items():
                for row in rows:
                    shown = "  ".join(
                        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                        for key, value in row.items()
                    )
                    print(f"{name} {part}: {shown}", flush=True)
    if arguments.write:
        print(write(f"policy-{arguments.case}", record(numbers)))


if __name__ == "__main__":
    main()
