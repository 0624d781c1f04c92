"""What a user sees of a run: a tidy live display on a terminal, plain lines anywhere else.

The terminal shows only what RLinf itself says. Everything, including the output of simulators and
libraries, is in the run's log file.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

import rich.console
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from rlinf.logging import display
from rlinf.logging.capture import capture_output
from rlinf.logging.files import RecordFile, folder_must_be_writable
from rlinf.metrics.outcome import Outcome

logger = logging.getLogger(__name__)

OWN_LOGGER = "rlinf"  # what it says from INFO on is for the user's eyes
REFRESH_PER_SECOND = 3
SIGN_OF_LIFE_S = 30.0  # plain output: a phase that counts says so at least this often
SHOW_CURSOR = b"\x1b[?25h\n"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Console:
    """The display of one run. Thread-safe; used as a context manager or closed at the end.

    Args:
        stream: where to write; None takes standard output.
        clock: the present time in seconds, from any beginning.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        out = stream or sys.stdout
        self._clock = clock
        self._rich = rich.console.Console(file=out, highlight=False, emoji=False, markup=False)
        # `is_interactive` is False for TERM=dumb; the rest of rich's guess ignores pipes in CI.
        self._live_wanted = out.isatty() and self._rich.is_interactive
        self._unicode = (out.encoding or "").lower().startswith("utf")
        self._live: Live | None = None
        # Guards the state alone. Never held while printing: rich holds its own lock when it asks
        # for the view.
        self._lock = threading.Lock()
        self._state = display.RunState()
        self._phases: list[tuple[str, float]] = []  # name and start, outermost first
        self._seconds: dict[str, float] = {}  # per phase since the last step
        self._began = self._clock()
        self._step_began = self._began
        self._last_line = self._began
        own = logging.getLogger(OWN_LOGGER)
        self._handler, self._level_before = _ConsoleHandler(self), own.level
        own.addHandler(self._handler)
        own.setLevel(logging.DEBUG)

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def note(self, text: str) -> None:
        """One line for the user and the log."""
        logger.info("%s", text)

    def warn(self, text: str) -> None:
        """One line that asks for attention."""
        logger.warning("%s", text)

    def plan(self, renderable: RenderableType) -> None:
        """Show anything that rich can render: the plan of a run, a table."""
        self._rich.print(renderable)
        logger.debug("\n%s", _plain_text(renderable))

    def table(self, before: Outcome, after: Outcome) -> None:
        """The comparison at the end of a run; ends the live display."""
        self._stop_live()
        self.plan(display.comparison_table(before, after))

    def outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """The results of an evaluation, one row each."""
        self.plan(display.outcome_table(outcomes))

    def paths(self, paths: Mapping[str, object]) -> None:
        """The last lines of a run: what lies where; ends the live display."""
        self._stop_live()
        self._rich.print(display.path_list(paths), soft_wrap=True)
        for name, path in paths.items():
            logger.debug("%s: %s", name, path)

    @contextmanager
    def phase(self, name: str, once: bool = False) -> Iterator[None]:
        """Show what runs now, and count its time into the step (the outermost phase only).

        Args:
            name: as the user reads it: "rollout", "update".
            once: the phase is no part of a step (start, imitation): it leaves a line of its own.
        """
        began = self._clock()
        with self._lock:
            self._phases.append((name, began))
            self._show_phase()
        self._start_live()
        try:
            yield
        finally:
            seconds = self._clock() - began
            with self._lock:
                self._phases.pop()
                self._show_phase()
                if once:
                    self._step_began += seconds
                elif not self._phases:
                    self._seconds[name] = self._seconds.get(name, 0.0) + seconds
        if once:
            self.note(f"{name}: {display.clock(seconds)}")

    def progress(self, done: int, total: int) -> None:
        """How far the current phase is."""
        with self._lock:
            self._state.done, self._state.of = done, total
            phase = self._state.phase
        if not self._live_wanted and self._clock() - self._last_line >= SIGN_OF_LIFE_S:
            self._print(f"  {phase} {done}/{total}")

    def step(self, step: int, total: int | None, metrics: Mapping[str, float]) -> None:
        """A step is done.

        Args:
            step: its number, from 1.
            total: of the whole run; None without a limit.
            metrics: of the step, canonical names.
        """
        now = self._clock()
        with self._lock:
            state = self._state
            state.step, state.total, state.metrics = step, total, dict(metrics)
            state.phase_seconds, self._seconds = self._seconds, {}
            state.step_seconds.append(now - self._step_began)
            self._step_began = now
            success = metrics.get("env/success_once", math.nan)
            if math.isfinite(success):
                state.successes.append(success)
            line = display.step_line(state)
        if not self._live_wanted:
            self._print(line)
        logger.debug("%s", line)

    def evaluated(self, step: int, outcome: Outcome) -> None:
        """An evaluation is done: it leaves a line and stays in the display."""
        with self._lock:
            self._state.evaluation = outcome
        self.note(display.evaluation_line(step, outcome))

    def show_cursor(self) -> None:
        """Give the terminal its cursor back where the process ends at once; waits for nothing."""
        if self._live is not None:
            with suppress(OSError):
                os.write(self._rich.file.fileno(), SHOW_CURSOR)

    def close(self) -> None:
        """End the live display; its last state stays on the screen."""
        self._stop_live()
        own = logging.getLogger(OWN_LOGGER)
        own.removeHandler(self._handler)
        own.setLevel(self._level_before)

    def print_record(self, record: logging.LogRecord) -> None:
        """Show a log record of our own; its traceback, if any, is for the log file."""
        style = {logging.WARNING: "yellow", logging.ERROR: "red"}.get(record.levelno, "")
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        self._print(prefix + record.getMessage(), style)

    def _print(self, line: str, style: str = "") -> None:
        self._rich.print(Text(line, style=style), soft_wrap=True)
        self._last_line = self._clock()

    def _show_phase(self) -> None:
        self._state.phase = " > ".join(name for name, _ in self._phases)
        self._state.done = self._state.of = 0

    def _start_live(self) -> None:
        if self._live_wanted and self._live is None:
            self._live = Live(
                get_renderable=self._view,
                console=self._rich,
                refresh_per_second=REFRESH_PER_SECOND,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _stop_live(self) -> None:
        """From here on lines alone, below the display's last state."""
        self._live_wanted = False
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _view(self) -> RenderableType:
        now = self._clock()
        with self._lock:
            phase_began = self._phases[-1][1] if self._phases else now
            return display.live_view(
                self._state,
                elapsed=now - self._began,
                phase_elapsed=now - phase_began,
                width=self._rich.width,
                unicode=self._unicode,
            )


@contextmanager
def open_console(run_log: Path) -> Iterator[Console]:
    """The console of a process that owns a run folder.

    Within the block, `run_log` gets everything: what anyone prints in this process or its children,
    and all log records (ours from DEBUG, others from INFO). The terminal gets the console alone.
    """
    with ExitStack() as stack:
        with folder_must_be_writable(run_log.parent):
            run_log.parent.mkdir(parents=True, exist_ok=True)
            log = RecordFile(run_log, keep=1000)
        stack.callback(log.close)
        stack.enter_context(_log_records(log))
        terminal = stack.enter_context(capture_output(run_log, log))
        console = stack.enter_context(Console(terminal))
        try:
            yield console
        except BaseException:
            logger.debug("the run ends with", exc_info=True)
            raise


@contextmanager
def _log_records(log: RecordFile) -> Iterator[None]:
    """Send the log records of the process to the file, and to nowhere else."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    handler = _RecordFileHandler(log)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:], root.level = before


class _RecordFileHandler(logging.Handler):
    def __init__(self, log: RecordFile) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.append(self.format(record).encode("utf-8", "replace") + b"\n")


class _ConsoleHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print_record(record)


def _plain_text(renderable: RenderableType) -> str:
    """A renderable as the log file shows it."""
    console = rich.console.Console(width=100, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()
