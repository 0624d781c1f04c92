"""All checks, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rlinf.registry import renderers
from rlinf.selftest.check import Check

_MODELS = ("openvla", "openvla_oft", "gr00t")
_COMPILED = ("openvla", "openvla_oft")
_PRECISIONS = ("fp32", "bf16")
_MANISKILL = ("mani_skill",)
_OPENVLA = ("transformers", "tokenizers")


def catalog(gpus: int) -> list[Check]:
    """The checks of a machine that shows so many GPUs; at least one of each kind."""
    return [
        *_devices(max(1, gpus)),
        *_parity(),
        _check("simulator toy", "simulator:toy"),
        _check("simulator maniskill cpu", "simulator:maniskill", on_cpu=True, packages=_MANISKILL),
        _check("simulator maniskill gpu", "simulator:maniskill", gpu=0, packages=_MANISKILL),
        _check("weights", "weights:paths"),
        _check("weights within a GPU", "weights:within_a_gpu", gpu=0),
        _check("weights between GPUs", "weights:between_gpus", gpus=2),
        _check("all-reduce gloo", "collective:all_reduce", {"backend": "gloo"}),
        _check("all-reduce nccl", "collective:all_reduce", {"backend": "nccl"}, gpus=2),
        *_training(),
        *_speed(),
    ]


def _check(name: str, function: str, options: dict[str, Any] | None = None, **rest: Any) -> Check:
    return Check(name, f"rlinf.selftest.checks.{function}", options or {}, **rest)


def _devices(gpus: int) -> Iterator[Check]:
    yield _check("devices", "devices:machine")
    yield _check("arithmetic cpu", "devices:arithmetic", on_cpu=True)
    for gpu in range(gpus):
        yield _check(f"arithmetic gpu {gpu}", "devices:arithmetic", gpu=gpu)
    for simulator in renderers():
        chosen = {"simulator": simulator}
        yield _check(f"renderer {simulator}", "devices:renderer", chosen, on_cpu=True, limit_s=900)
        for gpu in range(gpus):
            name = f"renderer {simulator} gpu {gpu}"
            yield _check(name, "devices:renderer", chosen, gpu=gpu, limit_s=900)


def _parity() -> Iterator[Check]:
    for model in _MODELS:
        function = "parity:golden_gr00t" if model == "gr00t" else "parity:golden"
        own = {} if model == "gr00t" else {"model": model}
        for precision in _PRECISIONS:
            given = {**own, "precision": precision}
            yield _check(f"golden {model} {precision}", function, given, packages=_OPENVLA)
    for model in _MODELS:
        given = {"model": model}
        name = f"as on a CPU {model}"
        yield _check(name, "parity:across_devices", given, gpu=0, packages=_OPENVLA)
    for model in _MODELS:
        for precision in _PRECISIONS:
            given = {"model": model, "precision": precision}
            name = f"log-probs {model} {precision}"
            yield _check(name, "parity:rollout_and_actor", given, packages=_OPENVLA)


def _training() -> Iterator[Check]:
    for kind, lora in (("lora", True), ("all weights", False)):
        name = f"training {kind}"
        yield _check(name, "training:step", {"lora": lora}, packages=_OPENVLA, limit_s=600)


def _speed() -> Iterator[Check]:
    for model in _MODELS:
        function, given = "speed:acting_and_learning", {"model": model}
        yield _check(f"speed {model}", function, given, packages=_OPENVLA, limit_s=900)
    function = "speed:kept_features"
    yield _check("kept features gr00t", function, packages=_OPENVLA, limit_s=900)
    for model in _COMPILED:
        name, given = f"compile {model}", {"model": model}
        rest: dict[str, Any] = {"packages": _OPENVLA, "limit_s": 1800}
        yield _check(f"{name} cpu", "speed:compiled", given, on_cpu=True, full=True, **rest)
        yield _check(f"{name} gpu", "speed:compiled", given, gpu=0, **rest)
