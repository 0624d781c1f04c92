"""Checks of the machine before anything starts: folders, files, port, disk and memory."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from rlinf import installer
from rlinf.config import data_sets, pythons
from rlinf.config.base import ADAPTER_FILE, POLICY_FILE, WEIGHTS_FILE
from rlinf.config.derive import Plan
from rlinf.config.env_checks import used_parts
from rlinf.config.machine import Machine
from rlinf.config.paths import exists, expanded
from rlinf.config.problems import Problem
from rlinf.config.schema import Config, EnvConfig
from rlinf.errors import UserError
from rlinf.registry import OwnPython, models, simulator

_WEIGHTS = {
    "runner.resume_dir": ("actor",),
    "runner.ckpt_path": (
        "actor",
        ADAPTER_FILE,
        POLICY_FILE,
        "config.json",
        "model.safetensors",
        WEIGHTS_FILE,
    ),
}
"""Key -> what a folder that it names holds one of."""
_SPARE_BYTES = 1_000_000_000
_BYTES_PER_REFERENCE = 4  # that is trained, in the reference policy of all checkpoints: fp32
_BYTES_PER_PARAMETER = 12  # that is trained, in a checkpoint: weight and two Adam moments, fp32


def check(config: Config) -> list[Problem]:
    """What stands in the way of this run on this machine."""
    return [
        *_run_folder(config),
        *_paths(config),
        *data_sets.check(config),
        *config.actor.model.problems(),
        *_port(config.cluster.ray_port),
    ]


def missing_assets(config: Config) -> list[Problem]:
    """Files of the simulators that are not on this machine; a check needs none, a run all."""
    parts = [getattr(config.env, part) for part in used_parts(config)]
    found = dict.fromkeys(env.init_params.missing_assets() for env in parts)
    return [Problem(*missing) for missing in found if missing is not None]


def lacking(config: Config, purpose: str = "") -> list[Problem]:
    """Packages, model folders and disk space that a run needs here; a check needs none.

    Args:
        purpose: as for `load`.
    """
    model = config.actor.model
    missing = [
        Problem(
            f"{key} = {value}: there is no such file or folder",
            "correct the path, which is relative to the folder you start from, or fetch it: "
            f"rlinf download {_hub_name(value)}",
        )
        for key, value in model.folders().items()
        if not exists(value)
    ]
    return [
        *_packages(config, purpose),
        *_pythons(config, purpose),
        *missing,
        *_disk(config, purpose),
    ]


def _packages(config: Config, purpose: str) -> Iterator[Problem]:
    """Simulators and services that are not installed; models look for their own."""
    parts: list[EnvConfig] = [getattr(config.env, part) for part in used_parts(config, purpose)]
    wanted = {
        env.simulator_type: ("env.*.simulator_type", spec.package, "--env", spec.extra)
        for env in parts
        if (spec := simulator(env.simulator_type)).package and env.python is None
    }
    for service in config.runner.logger.logger_backends:
        wanted[service] = ("runner.logger.logger_backends", service, "--extra", service)
    for name, (key, package, option, extra) in wanted.items():
        if find_spec(package) is None:
            yield Problem(
                f"{key} = {name}: the package {package} is not installed in this environment",
                f"run: {installer.command(f'{option} {name}', extra)}",
            )


def _pythons(config: Config, purpose: str) -> Iterator[Problem]:
    """Interpreters of simulators that need one of their own, on this machine."""
    found: dict[Problem, None] = {}
    for part in used_parts(config, purpose):
        env: EnvConfig = getattr(config.env, part)
        own = simulator(env.simulator_type).python
        if own is not None:
            found.update(dict.fromkeys(_own_python(env, own)))
    yield from found


def _own_python(env: EnvConfig, own: OwnPython) -> Iterator[Problem]:
    """It starts, and has what the simulator needs."""
    python, source = pythons.chosen(own, env.python)
    key, needed = f"env.*.simulator_type = {env.simulator_type}", env.init_params.packages()
    if not os.access(python, os.X_OK):
        yield Problem(
            f"{key}: it needs a Python of its own; {python} ({source}) does not exist, or is not "
            "executable",
            pythons.fix(own),
        )
        return
    try:
        _, installed = pythons.ask(own, python, [own.package, *needed])
    except UserError as error:
        yield Problem(f"{key}: {error.message}", error.fix)
        return
    found = installed[own.package]
    if found is not None and not own.accepts(found):
        yield Problem(
            f"{key}: {own.package} {found} in {python} ({source}), {own.oldest} or newer is needed",
            pythons.fix(own),
        )
    for package, bring in {own.package: pythons.fix(own), **needed}.items():
        if installed[package] is None:
            yield Problem(f"{key}: {python} ({source}) has no {package}", bring)


def warnings(plan: Plan, machine: Machine) -> list[str]:
    """Memory that will probably not suffice."""
    return [*_host_memory(plan, machine), *_shared_memory(plan, machine)]


def ray_tracing(config: Config, plan: Plan, machine: Machine, purpose: str = "") -> list[str]:
    """Simulators that draw with ray tracing, on GPUs that have no cores for it."""
    poor = machine.without_ray_tracing
    if not poor or plan.placement["env"][0].kind != "accelerator":
        return []
    parts = used_parts(config, purpose)
    names = dict.fromkeys(getattr(config.env, part).simulator_type for part in parts)
    return [
        f"{name} draws with ray tracing, for which {', '.join(poor)} has no cores: others report "
        "pictures that are blurred and have heavy artefacts"
        for name in names
        if simulator(name).ray_tracing
    ]


_NEEDS_LESS = {
    "env": "; fewer simulator processes (env.train.num_processes) need less",
    "object store": "; fewer steps per iteration (env.train.max_steps_per_rollout_epoch) need less",
    "recovery copy": "; runner.recovery_memory_gb=0 does without",
}


def _host_memory(plan: Plan, machine: Machine) -> Iterator[str]:
    need, have = plan.host_bytes / len(plan.nodes), machine.memory_bytes
    if need > 0.9 * have:
        most = max(plan.memory, key=lambda held: held.per_process * held.processes)
        what, size = max(most.parts, key=lambda part: part[1])
        yield (
            f"the run needs about {need / 1e9:.1f} GB of memory per node, this machine has "
            f"{have / 1e9:.1f} GB; {most.owner} needs most, above all {what}: {size / 1e9:.1f} GB"
            f"{' in each process' * (most.processes > 1)}{_NEEDS_LESS.get(most.owner, '')}"
        )


def _shared_memory(plan: Plan, machine: Machine) -> Iterator[str]:
    """Ray keeps objects in files when they do not fit into shared memory, which is slow."""
    stores = [m.per_process for m in plan.memory if m.owner == "object store"]
    need, have = sum(stores) / len(plan.nodes), machine.shared_bytes
    if have is not None and need > 0.9 * have:
        yield (
            f"observations and weights need about {need / 1e9:.1f} GB of shared memory, /dev/shm "
            f"has {have / 1e9:.1f} GB: Ray will use files instead, which is slow; enlarge it "
            f"(mount -o remount,size={need * 1.2 / 2**30:.0f}G /dev/shm, or docker run --shm-size)"
        )


def _run_folder(config: Config) -> Iterator[Problem]:
    logger = config.runner.logger
    folder = logger.run_dir
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        what = "is not a folder" if not existing.is_dir() else "cannot be written"
        yield Problem(
            f"runner.logger.log_path = {logger.log_path}: {existing} {what}",
            "set runner.logger.log_path to a folder you may write",
        )


def _paths(config: Config) -> Iterator[Problem]:
    data = config.imitation.data if config.imitation is not None else ()
    for key, value in (
        ("runner.ckpt_path", config.runner.ckpt_path),
        ("runner.resume_dir", config.runner.resume_dir),
        *(("imitation.data", folder) for folder in data),
    ):
        if value is None or (key == "runner.resume_dir" and value == "auto"):
            continue
        if not exists(value):
            yield Problem(
                f"{key} = {value}: there is no such file or folder",
                "correct the path; paths are relative to the folder you start from",
            )
        elif key != "imitation.data":
            yield from _weights(key, value, expanded(value))


def _weights(key: str, value: str, path: Path) -> Iterator[Problem]:
    """What is at a path is a checkpoint, or a policy where one may be named."""
    pointer = path.name in ("latest", "best")
    if path.is_file() and not pointer:
        yield Problem(
            f"{key} = {value}: this is a file; weights are named by their folder",
            "put a file of weights beside the model's config.json, in a copy of its folder, as "
            "model.safetensors or pytorch_model.bin, and name that folder"
            if path.suffix in (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
            else f"name the folder {path.parent}",
        )
    elif (checkpoints := path / "checkpoints").is_dir() or path.name == "checkpoints":
        latest = (path if path.name == "checkpoints" else checkpoints) / "latest"
        yield (
            Problem(f"{key} = {value}: this holds checkpoints", f"set {key}={latest}")
            if latest.is_file()
            else Problem(
                f"{key} = {value}: this run has no complete checkpoint",
                "name another run, or a checkpoint",
            )
        )
    elif (
        path.is_dir()
        and not path.name.startswith("global_step_")  # a damaged one is reported when it is read
        and not any((path / name).exists() for name in _WEIGHTS[key])
    ):
        yield Problem(
            f"{key} = {value}: this folder is no checkpoint"
            + (" and no policy" if key == "runner.ckpt_path" else ""),
            "name RUN/checkpoints/latest, or RUN/checkpoints/global_step_N"
            + (", or an exported policy" if key == "runner.ckpt_path" else ""),
        )


def _hub_name(path: str) -> str:
    """`OWNER/MODEL` where the path ends like a published model's name."""
    above, _, model = path.rstrip("/").rpartition("/")
    owners = {start: who for spec in models().values() for start, who in spec.owners.items()}
    longest = sorted(owners, key=len, reverse=True)
    known = next((owners[start] for start in longest if model.startswith(start)), None)
    return f"{known or above.rpartition('/')[2] or 'OWNER'}/{model}"


def _port(port: int | None) -> Iterator[Problem]:
    if port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            yield Problem(
                f"cluster.ray_port = {port}: {error.strerror}",
                "choose another port, or leave cluster.ray_port out to let Ray choose",
            )


def disk_bytes(config: Config, purpose: str = "") -> int:
    """What the folder of a run needs at most: its checkpoints, logs and videos."""
    need = _SPARE_BYTES
    if _saves(config, purpose):
        trained = config.actor.model.num_trainable()
        need += _BYTES_PER_PARAMETER * trained * _checkpoints(config)
        need += _BYTES_PER_REFERENCE * trained * (config.algorithm.kl_beta > 0)
    return need


def _saves(config: Config, purpose: str) -> bool:
    return purpose == "sft" or not (purpose or config.runner.only_eval)


def _checkpoints(config: Config) -> int:
    """One more than is kept: the new checkpoint is complete before the oldest goes."""
    return config.runner.keep_checkpoints + config.runner.keep_best + 1


def _disk(config: Config, purpose: str) -> Iterator[Problem]:
    folder = config.runner.logger.run_dir
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    files, elsewhere = "logs and videos", "free some space, or set runner.logger.log_path elsewhere"
    if _saves(config, purpose):
        files = f"{_checkpoints(config)} checkpoints, {files}"
        elsewhere += ", or lower runner.keep_checkpoints"
    free, need = shutil.disk_usage(existing).free, disk_bytes(config, purpose)
    if free < need:
        yield Problem(
            f"{existing} has {free / 1e9:.1f} GB free, the run needs {need / 1e9:.1f} GB ({files})",
            elsewhere,
        )
