"""Driver, torch and every GPU: does it compute what a CPU computes, and how fast."""

from __future__ import annotations

from pathlib import Path

import torch

from rlinf import devices
from rlinf.config.machine import this_machine
from rlinf.envs.rendering import check_rendering
from rlinf.registry import renderers
from rlinf.selftest.check import Absent, Found, Scope, require
from rlinf.selftest.timing import peaks
from rlinf.wording import plural

_DRIVER = Path("/proc/driver/nvidia/version")
_ROWS = 512  # of the matrices that are compared
_ERROR = {torch.float32: 1e-3, torch.bfloat16: 0.05}
"""Largest error of a product of random matrices, in standard deviations of its entries. GPUs round
the factors of a float32 product to 10 bits where that is allowed."""


def machine(scope: Scope) -> Found:
    """Torch sees the GPUs that the driver shows."""
    found = this_machine()
    shown = found.node.accelerators
    driver = devices.driver_version(_DRIVER.read_text() if _DRIVER.exists() else "")
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    numbers = {
        "cpu_cores": found.node.cpu_slots,
        "memory_gb": found.memory_bytes / 1e9,
        "gpus": shown,
        "gpus_of_torch": seen,
        "driver": driver,
        "cuda_of_torch": torch.version.cuda,
    }
    require(
        seen >= shown,
        f"torch {torch.__version__} sees {plural(seen, 'GPU') if seen else 'no GPU'} of {shown} "
        f"(driver {driver}, built for CUDA {torch.version.cuda}); rlinf doctor says what to do",
        **numbers,
    )
    gpus = plural(shown, "GPU") if shown else "no GPU"
    text = f"{plural(found.node.cpu_slots, 'CPU core')}, {gpus}, torch {torch.__version__}"
    return Found(text + (f", driver {driver}" if driver else ""), numbers)


def arithmetic(scope: Scope) -> Found:
    """Products of matrices are those of float64 on the CPU, up to rounding."""
    device = scope.device
    left, right = (torch.randn(_ROWS, _ROWS, dtype=torch.float64) for _ in range(2))
    exact = left @ right
    numbers: dict[str, float | str | int] = {}
    for dtype, most in _ERROR.items():
        product = (left.to(device, dtype) @ right.to(device, dtype)).double().cpu()
        error = float((product - exact).abs().max() / exact.std())
        name = str(dtype).removeprefix("torch.")
        numbers[f"largest_error_{name}"] = error
        require(error < most, f"a {name} product is wrong by {error:.3g} deviations", **numbers)
    flops, copied = peaks(torch.bfloat16 if scope.gpus else torch.float32, 5, device)
    numbers |= {"product_tflop_per_second": flops / 1e12, "copy_gb_per_second": copied / 1e9}
    name = "the CPU"
    if scope.gpus:
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        numbers |= {"name": name, "memory_gb": total / 1e9, "free_memory_gb": free / 1e9}
    return Found(
        f"{name}: {flops / 1e12:.3g} TFLOP/s in one product, {copied / 1e9:.3g} GB/s in one copy",
        numbers,
    )


def renderer(scope: Scope, simulator: str) -> Found:
    """A test frame is drawn; where there is a GPU, by the renderer that is tried first."""
    reports = {}
    for backend in renderers()[simulator].backends:
        report = reports[backend] = check_rendering(simulator, backend)
        if report.ok or scope.gpus:
            break
    failed = "; ".join(f"{name}: {r.message}" for name, r in reports.items() if not r.ok)
    if not report.ok and "is not installed" in failed:
        raise Absent(f"{simulator} is not installed")
    require(report.ok, failed)
    return Found(report.message, {"device": report.device, "backend": report.backend})
