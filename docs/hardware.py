"""Directives that compute which configuration runs on which machine, as `rlinf check` does.

```{one-gpu-memory}       GB of one GPU with the recipes for it
```{cluster-memory}       GB of the fullest of 8 and of 64 GPUs of 80 GB
```{settings-for-64}      settings that 64 GPUs need
```{measured-runs}        runs on CPUs whose results the repository keeps
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from generated import Generated, table
from rlinf.config import memory, preflight
from rlinf.config.compose import CONFIG_DIR
from rlinf.config.load import Loaded, load
from rlinf.config.machine import Machine
from rlinf.config.placement import Node

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SIXTY_FOUR = ("cluster.num_nodes=8", "cluster.accelerators_per_node=8")
SIZES = (24, 48, 80)  # GB of the GPUs that there are recipes for

HEADS = {
    "en": {
        "one": ("configuration", "24 GB", "48 GB", "80 GB", "host memory", "run folder"),
        "cluster": (
            *("configuration", "8 GPUs", "host memory", "run folder"),
            *("64 GPUs", "their host memory"),
        ),
        "settings": ("configurations", "settings for 64 GPUs"),
        "measured": ("configuration", "cores", "minutes", "CPU seconds", "host memory", "run"),
    },
    "zh": {
        "one": ("配置", "24 GB", "48 GB", "80 GB", "主机内存", "运行文件夹"),
        "cluster": (
            *("配置", "8 张 GPU", "主机内存", "运行文件夹"),
            *("64 张 GPU", "所有节点的主机内存"),
        ),
        "settings": ("配置", "64 张 GPU 所需的设置"),
        "measured": ("配置", "核数", "分钟", "CPU 秒", "主机内存", "运行"),
    },
}


class Need(NamedTuple):
    """What a configuration takes, in bytes."""

    gpu: int  # of the fullest one, in its fullest phase
    host: int  # of all nodes
    disk: int  # of the folder of a run, at most

    @property
    def on_gpu(self) -> str:
        return f"{self.gpu / 1e9:.1f}"


def vla() -> list[str]:
    """Names of the configurations with a 7B policy or GR00T."""
    names = (path.stem for path in CONFIG_DIR.glob("*.yaml"))
    return sorted(name for name in names if re.search("openvla|gr00t", name))


def recipe(name: str, size: int) -> tuple[str, ...]:
    """What makes a configuration fit one GPU of that many GB."""
    return (f"+hardware=one_{size}gb{'_gr00t' if 'gr00t' in name else ''}",)


def for_64(name: str) -> tuple[str, ...] | None:
    """Settings with which a configuration runs on 64 GPUs; None where it stays on one."""
    table: dict[str, list[str] | None] = yaml.safe_load(
        Path(__file__).with_suffix(".yaml").read_text()
    )
    settings = table[max((start for start in table if name.startswith(start)), key=len)]
    return None if settings is None else tuple(settings)


@cache
def need(name: str, settings: tuple[str, ...], gpus: int, size: int) -> Need:
    """What `rlinf check` computes for machines with GPUs of that many GB."""
    node = Node(accelerators=gpus, cpu_slots=max(2, 16 * gpus))
    machine = Machine(node, 2_000_000_000_000, accelerator_bytes=size * 1_000_000_000)
    loaded: Loaded = load(name, list(settings), machine)
    config, plan = loaded.config, loaded.plan
    full = memory.fullest(memory.devices(config, plan))
    most = full.most if full else 0
    return Need(most, plan.host_bytes, preflight.disk_bytes(config))


def fits_one(name: str) -> bool:
    """A sub-env of BEHAVIOR takes 8 GB: as many as the recipes have fit on no GPU."""
    return not name.startswith("behavior")


def rows_for_64() -> list[tuple[str, ...]]:
    """What 64 GPUs need where 8 need it not, and which configurations need it."""
    names: dict[tuple[str, ...], list[str]] = {}
    for name in vla():
        if settings := for_64(name):
            names.setdefault(settings, []).append(name)
    return [
        (" ".join(f"`{name}`" for name in group), " ".join(f"`{word}`" for word in settings))
        for settings, group in names.items()
    ]


def gigabytes(sizes: Iterable[int]) -> str:
    """Whole GB, rounded up; several with strokes between, if they differ."""
    return " / ".join(dict.fromkeys(str(-(-size // 1_000_000_000)) for size in sizes))


class OneGpu(Generated):
    """Memory with the recipes for one GPU."""

    optional_arguments = 0

    def written(self) -> str:
        rows = []
        for name in filter(fits_one, vla()):
            needs = [need(name, recipe(name, size), 1, size) for size in SIZES]
            host, disk = gigabytes(n.host for n in needs), gigabytes(n.disk for n in needs)
            rows.append((f"`{name}`", *(n.on_gpu for n in needs), host, disk))
        return table(self.words_of("one"), rows)

    def words_of(self, name: str) -> Any:
        return HEADS[self.config.language[:2]][name]


class Cluster(OneGpu):
    """Memory on 8 and on 64 GPUs."""

    def written(self) -> str:
        rows = []
        for name in vla():
            eight, settings = need(name, (), 8, 80), for_64(name)
            row = [f"`{name}`", eight.on_gpu, gigabytes([eight.host]), gigabytes([eight.disk])]
            if settings is None:
                row += ["-", "-"]
            else:
                larger = need(name, (*SIXTY_FOUR, *settings), 8, 80)
                row += [larger.on_gpu, gigabytes([larger.host])]
            rows.append(tuple(row))
        return table(self.words_of("cluster"), rows)


class SettingsFor64(OneGpu):
    """Settings with which configurations run on 64 GPUs."""

    def written(self) -> str:
        return table(self.words_of("settings"), rows_for_64())


class Measured(OneGpu):
    """Whole runs of `benchmarks/quickstart.py` on CPUs."""

    def written(self) -> str:
        return table(self.words_of("measured"), measured())


@cache
def measured() -> list[tuple[str, ...]]:
    """A row for each result file with whole runs in it."""
    rows: list[tuple[str, ...]] = []
    for path in sorted(RESULTS.glob("*.json")):
        content = json.loads(path.read_text())
        runs = content["numbers"].get("runs", [])
        if not content["command"].startswith("python benchmarks/quickstart.py"):
            continue
        chosen = re.search(r"--config (\w+)", content["command"])
        name = chosen[1] if chosen else "quickstart"
        rows.append(
            (
                f"`{name}`",
                str(content["machine"]["cores"]),
                span(run["seconds"] / 60 for run in runs),
                span(run["cpu_seconds"] for run in runs if "cpu_seconds" in run),
                gigabytes([need(name, (), 0, 0).host]),
                run_of(path.stem, name),
            )
        )
    return rows


def run_of(stem: str, configuration: str) -> str:
    """What a result file's name has beside configuration, cores and processor: variant and day."""
    rest = stem.removeprefix(configuration.replace("_", "-"))
    return f"{re.sub(r'-?[0-9]+-cores-.*', '', rest).strip('-')} {rest[-10:]}".strip()


def span(numbers: Iterable[float]) -> str:
    """Smallest and largest, rounded; a stroke where there is none."""
    found = sorted(round(number) for number in numbers)
    if not found:
        return "-"
    return str(found[0]) if found[0] == found[-1] else f"{found[0]}-{found[-1]}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Makes the directives known."""
    app.add_directive("one-gpu-memory", OneGpu)
    app.add_directive("cluster-memory", Cluster)
    app.add_directive("measured-runs", Measured)
    app.add_directive("settings-for-64", SettingsFor64)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
