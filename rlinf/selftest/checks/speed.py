"""How fast policies act and learn, as a share of what the device does at most."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rlinf.config.base import Compile, Precision
from rlinf.data.random import Noise, derive
from rlinf.data.types import ActionChunk, Sampled
from rlinf.models.base import Policy, Sampling
from rlinf.models.gr00t.policy import FEATURES, REAL
from rlinf.models.sampling import TOKENS
from rlinf.selftest.check import Found, Scope, require
from rlinf.selftest.models import ModelName, SizeName, build, observe
from rlinf.selftest.timing import in_turns, peaks

_ROUNDS = {True: 5, False: 1}
"""Measurements of each number, on a GPU and on a CPU, where they say little."""
_SAMPLING = Sampling()
_QUICK: Sequence[Compile] = ("cuda_graphs",)
"""Without minutes of compiling."""


def acting_and_learning(scope: Scope, model: ModelName) -> Found:
    """`act` of the published sizes, and with `--full` `evaluate` and its backward pass; on a CPU
    both, of tiny ones.

    ModelName FLOPs utilization (MFU): operations of matrix products and attention, as torch counts
    them, over what one large product reaches in the same time.
    """
    size, precision, batches = _sizes(scope, (1, 8, 32, 128) if scope.full else (1, 8, 32))
    settings = {} if model == "gr00t" else {"gradient_checkpointing": True}
    policy = build(Path(scope.folder), model, size, precision, scope.device, **settings)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    peak = peaks(dtype, 5, scope.device)[0]
    rows = []
    for batch in batches:
        try:
            rows.append(_measured(_runs(policy, batch, scope), batch, policy, peak, scope))
        except torch.OutOfMemoryError:
            rows.append({"batch": batch, "act_ms": math.inf, "act_mfu": 0.0})
            break
    numbers = {"peak_tflop_per_second": peak / 1e12, "batches": rows}
    told = "; ".join(f"B={row['batch']} {row['act_ms']:.3g} ms" for row in rows)
    shares = ", ".join(f"{row['act_mfu']:.0%}" for row in rows)
    return Found(f"act {told}: MFU {shares}", numbers)


def compiled(scope: Scope, model: ModelName) -> Found:
    """`rollout.compile` gives the eager numbers up to rounding, and what time it saves."""
    ways: Sequence[Compile] = ("inductor", "cuda_graphs", "both") if scope.full else _QUICK
    ways = ways if scope.gpus else ("inductor",)
    size, precision, batches = _sizes(scope, (1, 8, 32))
    policy = build(Path(scope.folder), model, size, precision, scope.device).eval()
    rows: list[dict[str, Any]] = []
    for batch in batches:
        seen, noise = observe(batch), Noise(derive(1, np.arange(batch)))
        row: dict[str, Any] = {"batch": batch}
        eager = policy.act(seen, _SAMPLING, noise)
        row["off"] = _act_ms(policy, seen, noise, scope)
        for way in ways:
            policy.compile_act(way)
            drawn = policy.act(seen, _SAMPLING, noise)
            same, apart = _differ(drawn, eager)
            row |= {
                way: _act_ms(policy, seen, noise, scope),
                f"{way}_same_tokens": same,
                f"{way}_logprobs_differ_by": apart,
            }
            policy.compile_act(None)
            told = f"{way}, B={batch}: log-probs differ by {apart:.2g} in the mean"
            require(apart <= policy.parity_tolerance, told, batches=[*rows, row])
        rows.append(row)
    told = "; ".join(
        f"B={row['batch']} " + ", ".join(f"{w} {row[w]:.3g}" for w in ("off", *ways))
        for row in rows
    )
    return Found(f"{told} ms", {"batches": rows})


def kept_features(scope: Scope) -> Found:
    """An update of GR00T with features kept from the rollout, beside one that computes them again.

    The head's own passes are what both cost: of the published sizes the operations are 2.2 times
    as many without kept features.
    """
    size, precision, batches = _sizes(scope, (8,))
    folder = Path(scope.folder)
    policy = build(folder, "gr00t", size, precision, scope.device, keep_features=True).train()
    seen, noise = observe(batches[-1]), Noise(derive(1, np.arange(batches[-1])))
    kept = policy.act(seen, _SAMPLING, noise).sampled
    bare = {name: values for name, values in kept.items() if name not in (FEATURES, REAL)}

    def judge(sampled: Sampled) -> Tensor:
        policy.zero_grad(set_to_none=True)
        found = policy.evaluate(seen, sampled, _SAMPLING)
        (found.logprobs.sum() + found.values.sum()).backward()
        return found.logprobs.detach()

    runs = {"kept": lambda: judge(kept), "recomputed": lambda: judge(bare)}
    apart = float((runs["kept"]() - runs["recomputed"]()).abs().mean())
    told = f"log-probs differ by {apart:.2g} in the mean"
    require(apart <= policy.parity_tolerance, told)
    flop = {}
    for name, run in runs.items():
        with FlopCounterMode(display=False) as counter:
            run()
        flop[name] = counter.get_total_flops()
    seconds = in_turns(runs, _ROUNDS[scope.gpus > 0], scope.device)
    numbers = {
        "batch": batches[-1],
        "kept_ms": 1e3 * seconds["kept"],
        "recomputed_ms": 1e3 * seconds["recomputed"],
        "times_faster": seconds["recomputed"] / seconds["kept"],
        "times_fewer_operations": flop["recomputed"] / flop["kept"],
        "logprobs_differ_by": apart,
    }
    ratios = (
        f"{numbers['times_faster']:.2f} (by operations {numbers['times_fewer_operations']:.2f})"
    )
    return Found(f"{ratios} times faster, B={batches[-1]}; {told}", numbers)


def _differ(drawn: ActionChunk, eager: ActionChunk) -> tuple[float, float]:
    """Share of tokens that are the same, and the mean difference of log-probs.

    Those that stand after a token that was drawn otherwise are not compared: they follow another
    one.
    """
    rows = len(eager.logprobs)
    tokens = (one.sampled[TOKENS].reshape(rows, -1) for one in (drawn, eager))
    same = np.equal(*tokens)
    compared = same.cumprod(axis=1).astype(bool)
    difference = np.abs(drawn.logprobs - eager.logprobs).reshape(rows, -1)[compared]
    require(len(difference) > 0, "all first tokens are drawn otherwise")
    return float(same.mean()), float(difference.mean())


def _runs(policy: Policy, batch: int, scope: Scope) -> dict[str, Callable[[], object]]:
    """What is measured of a batch."""
    seen, noise = observe(batch), Noise(derive(1, np.arange(batch)))

    def act() -> ActionChunk:
        return policy.eval().act(seen, _SAMPLING, noise)

    def judge() -> None:
        policy.train().zero_grad(set_to_none=True)
        found = policy.evaluate(seen, sampled, _SAMPLING)
        (found.logprobs.sum() + found.values.sum()).backward()

    if scope.gpus and not scope.full:
        return {"act": act}
    sampled = act().sampled
    return {"act": act, "evaluate": judge}


def _sizes(scope: Scope, batches: Sequence[int]) -> tuple[SizeName, Precision, Sequence[int]]:
    return ("published", "bf16", batches) if scope.gpus else ("tiny", "fp32", (1, 2))


def _act_ms(policy: Policy, seen: Any, noise: Noise, scope: Scope) -> float:
    runs = {"act": lambda: policy.act(seen, _SAMPLING, noise)}
    return 1e3 * in_turns(runs, _ROUNDS[scope.gpus > 0], scope.device)["act"]


def _measured(
    runs: dict[str, Callable[[], object]], batch: int, policy: Policy, peak: float, scope: Scope
) -> dict[str, Any]:
    """Milliseconds, operations and MFU of each, and samples per second."""
    row: dict[str, Any] = {"batch": batch}
    if scope.gpus:
        torch.cuda.reset_peak_memory_stats()
    for name, run in runs.items():
        with FlopCounterMode(display=False) as counter:
            run()
        seconds = in_turns({name: run}, _ROUNDS[scope.gpus > 0], scope.device)[name]
        flop = counter.get_total_flops()
        row |= {
            f"{name}_ms": 1e3 * seconds,
            f"{name}_tflop": flop / 1e12,
            f"{name}_mfu": flop / seconds / peak,
            f"{name}_per_second": batch / seconds,
        }
    row["env_steps_per_second"] = batch * policy.chunk * 1e3 / row["act_ms"]
    if scope.gpus:
        row["peak_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return row
