"""What OpenVLA, OpenVLA-OFT and GR00T-N1.5 cost, beside a plain implementation and their floor.

python benchmarks/policy.py mid --write          on a CPU, models of medium size
python benchmarks/policy.py mid --models gr00t --cpu-seconds --write     where other programs run
python benchmarks/policy.py 7b --write           on a GPU, the true sizes, random weights
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from plain_gr00t import PlainGr00t
from plain_vla import PlainVla
from record import record, write
from rlinf.config.base import Precision
from rlinf.data.random import Noise, derive
from rlinf.data.types import Observation, Sampled
from rlinf.models.base import Sampling
from rlinf.models.gr00t import random_weights as gr00t
from rlinf.models.gr00t.policy import FEATURES, REAL, Gr00tPolicy
from rlinf.models.prismatic import random_weights
from rlinf.models.prismatic.policy import PrismaticPolicy
from rlinf.selftest import models as selftest
from rlinf.selftest.timing import in_turns, peaks
from vla_floors import TEXT, Work, phases

MODELS = ("openvla", "openvla_oft", "gr00t")
Clock = Callable[[], float]
INSTRUCTION = "put the carrot on the plate"
SAMPLING = Sampling(temperature=1.0)


@dataclass(frozen=True, slots=True)
class Case:
    """Sizes and what to run."""

    size: str  # one of `prismatic.random_weights.SIZES`
    gr00t: str  # one of `gr00t.random_weights.SIZES`
    precision: Precision
    batches: tuple[int, ...]  # 1 first
    train_batch: int
    device: str


CASES = {
    "mid": Case("mid", "mid", "fp32", (1, 8), 4, "cpu"),
    "7b": Case("7b", "3b", "bf16", (1, 8, 32, 128), 8, "cuda"),
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


def measure_gr00t(
    case: Case, folder: Path, peak: tuple[float, float], rounds: int, clock: Clock
) -> dict[str, list[dict[str, Any]]]:
    """`act`, and an update with kept features, with features computed again, and the plain way.

    Operations are those of matrix products and attention, as torch counts them of each way.
    """
    policy = gr00t.build(folder, case.gr00t, case.precision, case.device, keep_features=True)
    plain = PlainGr00t(policy)
    acting, learning = [], []
    for batch in case.batches:
        seen, noise = selftest.observe(batch), Noise(derive(1, np.arange(batch)))
        runs: dict[str, Callable[[], object]] = {
            "ours": lambda: policy.act(seen, SAMPLING, noise),  # noqa: B023
            "plain": lambda: plain.act(seen, SAMPLING, noise),  # noqa: B023
        }
        chunks = [policy.act(seen, SAMPLING, noise), plain.act(seen, SAMPLING, noise)]
        apart = float(np.abs(chunks[0].actions - chunks[1].actions).max())
        assert case.precision == "bf16" or apart < 1e-4, f"actions differ by {apart}"
        row = _compared(runs, case, peak, rounds, clock)
        row["env_steps_per_second"] = 1e3 * batch * policy.chunk / row["ours_ms"]
        acting.append({"batch": batch, **row})
    seen = selftest.observe(case.train_batch)
    noise = Noise(derive(1, np.arange(case.train_batch)))
    kept = policy.act(seen, SAMPLING, noise).sampled
    bare = {name: values for name, values in kept.items() if name not in (FEATURES, REAL)}

    def step(policy: Gr00tPolicy, sampled: Sampled) -> None:
        policy.train().zero_grad(set_to_none=True)
        judged = policy.evaluate(seen, sampled, SAMPLING)
        (judged.logprobs.sum() + judged.values.sum()).backward()

    updates: dict[str, Callable[[], object]] = {
        "ours": lambda: step(policy, kept),
        "recomputed": lambda: step(policy, bare),
        "plain": lambda: step(plain, bare),
    }
    row = _compared(updates, case, peak, rounds, clock)
    learning.append({"batch": case.train_batch, **row})
    return {"act": acting, "train": learning}


def _compared(
    runs: dict[str, Callable[[], object]],
    case: Case,
    peak: tuple[float, float],
    rounds: int,
    clock: Clock,
) -> dict[str, float]:
    """Milliseconds and operations of each way, and of the others how many times those of ours."""
    flop = {}
    for name, run in runs.items():
        with FlopCounterMode(display=False) as counter:
            run()
        flop[name] = counter.get_total_flops()
    _forget_peak(case.device)
    seconds = in_turns(runs, rounds, case.device, clock)
    found = {f"{name}_ms": 1e3 * spent for name, spent in seconds.items()}
    for name in [name for name in runs if name != "ours"]:
        found[f"times_faster_than_{name}"] = seconds[name] / seconds["ours"]
        found[f"operations_of_{name}"] = flop[name] / flop["ours"]
    return {
        **found,
        "tflop": flop["ours"] / 1e12,
        "floor_ms": 1e3 * flop["ours"] / peak[0],
        "share_of_peak_flops": flop["ours"] / seconds["ours"] / peak[0],
        **_memory(case.device),
    }


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
    parser.add_argument("--batches", type=int, nargs="+", help="observations of an act, 1 first")
    parser.add_argument("--train-batch", type=int, help="samples of an update")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: as many as cores")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--cpu-seconds", action="store_true", help="of GR00T, in place of wall seconds"
    )
    parser.add_argument("--write", action="store_true", help="keep the numbers in results/")
    arguments = parser.parse_args()
    case = CASES[arguments.case]
    if arguments.batches:
        case = replace(case, batches=tuple(arguments.batches))
    if arguments.train_batch:
        case = replace(case, train_batch=arguments.train_batch)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    dtype = torch.bfloat16 if case.precision == "bf16" else torch.float32
    clock = time.process_time if arguments.cpu_seconds else time.perf_counter
    peak = peaks(dtype, arguments.rounds, case.device, clock)
    numbers: dict[str, Any] = {
        "case": asdict(case),
        "threads": torch.get_num_threads(),
        "seconds": "CPU" if arguments.cpu_seconds else "wall",
        "measured_peak_gflops": peak[0] / 1e9,
        "measured_copy_gb_per_second": peak[1] / 1e9,
    }
    if case.device == "cuda":
        numbers["gpu"] = torch.cuda.get_device_name()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            own, rounds = Path(folder) / name, arguments.rounds
            own.mkdir()
            if name == "gr00t":
                numbers[name] = measure_gr00t(case, own / "model", peak, rounds, clock)
            else:
                parallel = name == "openvla_oft"
                numbers[name] = {
                    "act": measure_act(case, own, parallel, peak, rounds),
                    "train": measure_training(case, own, parallel, peak, rounds),
                }
            for part, rows in numbers[name].items():
                for row in rows:
                    shown = "  ".join(
                        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                        for key, value in row.items()
                    )
                    print(f"{name} {part}: {shown}", flush=True)
    if arguments.write:
        some = [] if set(arguments.models) == set(MODELS) else arguments.models
        print(write("-".join(["policy", arguments.case, *some]), record(numbers)))


if __name__ == "__main__":
    main()
