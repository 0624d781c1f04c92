"""The command: measures a few choices for seconds, predicts the others, and writes the best."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import yaml
from rich.console import Console
from rich.table import Table

from rlinf.config import memory, tree
from rlinf.config.compose import CONFIG_DIR, locate
from rlinf.config.load import Loaded, load
from rlinf.config.preflight import lacking, missing_assets
from rlinf.config.problems import error_of
from rlinf.errors import UserError
from rlinf.runners.shutdown import Stopped, StopRequest
from rlinf.tuning import candidates
from rlinf.tuning.candidates import Choice
from rlinf.tuning.probe import ALONE, ERROR
from rlinf.tuning.throughput import Measured, Size, Speed, fit

BEST = 3  # choices that are shown
POLL_S = 0.2
_PARTS = ("rollout", "update", "the rest")


class Prediction(NamedTuple):
    """A choice of settings and what an iteration with them is expected to take."""

    settings: Choice
    size: Size
    speed: Speed
    host_bytes: int  # of the whole run
    gpu_bytes: int  # of the fullest GPU; 0 without GPUs

    @property
    def env_steps_per_second(self) -> float:
        """Expected."""
        return self.speed.env_steps_per_second(self.size)


def tune(name: str, given: Sequence[str], output: Path | None) -> int:
    """Prints the fastest settings and writes them as a configuration; returns the exit code.

    Args:
        given: overrides, which hold for every choice.
        output: file to write; None: `<name>-tuned.yaml` in the working folder, or beside a
            configuration of the user's own.

    Raises:
        UserError: the configuration cannot run, or a measurement failed.
    """
    loaded, file, console = load(name, given), locate(name), Console(highlight=False)
    if loaded.config.runner.mode == "async":
        raise UserError(
            "runner.mode = async: rollout and update overlap, which is not measured",
            "write: rlinf tune CONFIG runner.mode=sync",
        )
    own = file.parent != CONFIG_DIR
    output = output or (file.parent if own else Path()) / f"{file.stem}-tuned.yaml"
    if output.exists():
        raise UserError(f"{output} exists", "remove it, or name another file with --output")
    if output.suffix != ".yaml" or (own and output.resolve().parent != file.parent.resolve()):
        raise UserError(
            f"--output {output}: the file refers to {file.name}",
            f"name a file in {file.parent} that ends in .yaml"
            if own
            else "name a file that ends in .yaml",
        )
    _check_writable(output)
    if problems := [*lacking(loaded.config), *missing_assets(loaded.config)]:
        raise error_of(problems, loaded.name)
    try:
        found = [
            prediction
            for settings in candidates.variants(loaded)
            if (variant := candidates.loaded_with(name, given, settings)) is not None
            for prediction in _predict(name, given, settings, variant, console)
        ]
    except Stopped as stopped:
        console.print(f"stopped by {stopped}; nothing is written")
        return stopped.exit_code
    present = next((one for one in found if not one.settings), None)
    if present is None:
        raise UserError(
            f"{name}: no part of an iteration with its present settings can be measured here",
            f"see what it needs: rlinf check {name}",
        )
    best = sorted(found, key=lambda one: -one.env_steps_per_second)[:BEST]
    console.print(_table(best, present))
    for place, one in enumerate(best, 1):
        listed = " ".join(candidates.overrides(one.settings)) or "as it is"
        console.print(f"{place}: {listed}", soft_wrap=True)
    if best[0].settings:
        _write(output, file.stem, best[0].settings)
        more = " ".join(map(shlex.quote, given))
        console.print(f"next: rlinf train {output} {more}".rstrip(), soft_wrap=True)
    else:
        console.print("The present settings are the fastest of those tried; nothing is written.")
    return 0


def _predict(
    name: str, given: Sequence[str], settings: Choice, variant: Loaded, console: Console
) -> list[Prediction]:
    """Measures a choice of stages, placement and offload, and predicts all sizes of it."""
    measured = []
    for size in candidates.probe_sizes(variant):
        probe = candidates.loaded_with(name, given, {**settings, **size})
        if probe is None:
            continue
        one = _measure(name, given, {**settings, **size}, probe)
        listed = ", ".join(candidates.overrides(settings)) or "as it is"
        seconds = ", ".join(
            f"{part} {spent:.2f} s"
            for part, spent in zip(_PARTS, (one.rollout, one.update, one.rest), strict=True)
        )
        console.print(f"measured ({listed}; {one.size.envs} sub-envs): {seconds}", soft_wrap=True)
        measured.append(one)
    if not measured:
        return []
    speed, found = fit(measured), []
    for size in candidates.sizes(variant):
        whole = {**settings, **size}
        loaded = candidates.loaded_with(name, given, whole)
        if loaded is None:
            continue
        plan = loaded.plan
        full = memory.fullest(memory.devices(loaded.config, plan))
        gpu = full.most if full else 0
        found.append(Prediction(whole, candidates.size_of(loaded), speed, plan.host_bytes, gpu))
    return found


def _measure(name: str, given: Sequence[str], settings: Choice, probe: Loaded) -> Measured:
    """Two iterations in a process of their own, which ends with this one however that ends.

    Raises:
        UserError: they failed.
        Stopped: a signal came.
    """
    with tempfile.TemporaryDirectory(prefix="rlinf-tune-") as scratch:
        result, output = Path(scratch) / "result.json", Path(scratch) / "output.log"
        alone = [*ALONE, f"runner.logger.log_path={scratch}/run"]
        if probe.config.imitation is not None:
            alone.append("imitation=null")
        words = [name, str(result), *given, *candidates.overrides(settings), *alone]
        life, ours = os.pipe()
        with output.open("wb") as log, FileIO(ours, "wb"), StopRequest() as stop:
            with FileIO(life, "rb"):
                process = subprocess.Popen(
                    [sys.executable, "-m", "rlinf.tuning.probe", str(life), *words],
                    stdout=log,
                    stderr=log,
                    pass_fds=[life],
                    start_new_session=True,  # a signal for all of a terminal reaches it once
                )
            stop.before_exit = process.kill
            code = _ended(process, stop)
        if code or not result.exists():
            raise UserError(
                f"the measurement ended with exit code {code}: {_reason(output)}",
                f"see what it does: rlinf train {name} {' '.join([*given, *alone[:3]])}",
            )
        metrics = json.loads(result.read_text())
    rollout, update = metrics["time/rollout"], metrics["time/update"]
    rest = metrics["time/sync"] + metrics["time/advantages"]
    size = candidates.size_of(probe)
    return Measured(size, int(metrics["env/steps"]), rollout, update, rest)


def _reason(output: Path) -> str:
    """The error that a measurement reported, else the last line that it printed."""
    said = "\n" + output.read_text(errors="replace").strip()
    return said.rpartition(f"\n{ERROR}" if f"\n{ERROR}" in said else "\n")[2]


def _ended(process: subprocess.Popen[bytes], stop: StopRequest) -> int:
    """Waits; where a signal came, the process ends Ray and its workers in good order first."""
    while True:
        try:
            return process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            if stop.number is not None:
                process.terminate()
                process.wait()
                stop.check()


def _table(best: Sequence[Prediction], present: Prediction) -> Table:
    table = Table(title="expected, by iteration", title_justify="left", box=None, pad_edge=False)
    for heading in ("", "env steps/s", "s", *_PARTS, "host GB", "GPU GB"):
        table.add_column(heading, justify="left" if not heading else "right")
    rows = [(str(place), one) for place, one in enumerate(best, 1)]
    for label, one in [*rows, ("now", present)]:
        seconds = one.speed.seconds(one.size)
        total = sum(seconds)
        table.add_row(
            label,
            f"{one.env_steps_per_second:.0f}",
            f"{total:.1f}",
            *(f"{spent / total:.0%}" for spent in seconds),
            f"{one.host_bytes / 1e9:.1f}",
            f"{one.gpu_bytes / 1e9:.1f}" if one.gpu_bytes else "-",
        )
    return table


def _check_writable(output: Path) -> None:
    """Before minutes of measuring: raises UserError where no file can be made."""
    try:
        with tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.stem[:50]}-"):
            pass
    except OSError as error:
        raise _unwritable(output, error) from error


def _unwritable(output: Path, error: OSError) -> UserError:
    return UserError(
        f"{output} cannot be written: {error.strerror}", "name another file with --output"
    )


def _write(output: Path, base: str, settings: Choice) -> None:
    values: tree.Tree = {"defaults": [base, "_self_"]}
    for key, value in settings.items():
        tree.put(values, key, value)
    try:
        output.write_text(yaml.safe_dump(values, sort_keys=False))
    except OSError as error:
        raise _unwritable(output, error) from error
