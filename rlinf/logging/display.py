"""What the console shows, as pure functions: numbers in, text or rich renderables out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rlinf.metrics.outcome import Outcome, difference_interval
from rlinf.wording import plural

SPARKS = "▁▂▃▄▅▆▇█"
SPARKLINE_STEPS = 24


@dataclass(slots=True)
class RunState:
    """What is known of a run at one moment. Times are seconds."""

    step: int = 0
    total: int | None = None  # None for a run without a limit
    metrics: Mapping[str, float] = field(default_factory=dict)  # of the last step
    successes: deque[float] = field(default_factory=lambda: deque(maxlen=SPARKLINE_STEPS))
    evaluation: Outcome | None = None  # the last one
    step_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=20))
    phase_seconds: Mapping[str, float] = field(default_factory=dict)  # of the last step
    phase: str = ""  # what runs now; empty between phases
    done: int = 0  # of the phase's own count
    of: int = 0  # 0 where the phase does not count

    @property
    def seconds_left(self) -> float | None:
        """Steps to go times the mean of the last steps; None at the end and before the first."""
        if self.total is None or self.step >= self.total or not self.step_seconds:
            return None
        mean = sum(self.step_seconds) / len(self.step_seconds)
        return mean * (self.total - self.step)


def clock(seconds: float) -> str:
    """A duration in a few characters: 4.2s, 38s, 3:07, 2:05:09."""
    if seconds < 59.5:
        return f"{seconds:.1f}s" if seconds < 9.95 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def percent(share: float, digits: int = 0) -> str:
    """0.256 as 26%."""
    return f"{100 * share:.{digits}f}%"


def interval(low: float, high: float) -> str:
    """Two shares as [20%, 36%]."""
    return f"[{percent(low)}, {percent(high)}]"


def sparkline(values: Sequence[float]) -> str:
    """Shares in [0, 1] as a row of blocks, one per value."""
    top = len(SPARKS) - 1
    return "".join(SPARKS[min(top, max(0, round(value * top)))] for value in values)


def evaluation_line(step: int, outcome: Outcome) -> str:
    """An evaluation in one line."""
    return (
        f"evaluation after step {step}: success {percent(outcome.success, 1)} "
        f"{interval(outcome.low, outcome.high)} of {plural(outcome.episodes, 'episode')}"
    )


def step_line(state: RunState) -> str:
    """A step in one line, for logs and pipes."""
    total = "" if state.total is None else f"/{state.total}"
    parts = [f"step {state.step:>{len(total) - 1 if total else 1}}{total}"]
    if state.successes:
        parts.append(f"success {percent(state.successes[-1])}")
    parts += _numbers(state.metrics)
    if state.phase_seconds:
        parts.append(_phases(state.phase_seconds))
    if state.seconds_left is not None:
        parts.append(f"left {clock(state.seconds_left)}")
    return " | ".join(parts)


def live_view(
    state: RunState, elapsed: float, phase_elapsed: float, width: int, unicode: bool
) -> RenderableType:
    """The display of a running run: one row per subject, rows without news left out.

    Args:
        state: the run.
        elapsed: seconds since the run began.
        phase_elapsed: seconds since the phase began.
        width: columns of the terminal.
        unicode: the terminal can show block characters.
    """
    bar = max(8, min(30, width - 48))
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True, min_width=len("evaluation"))
    rows.add_column(no_wrap=True, overflow="ellipsis")

    left = "" if state.seconds_left is None else f"  left {clock(state.seconds_left)}"
    rows.add_row(
        "step",
        _counter(state.step, state.total or 0, bar, f"elapsed {clock(elapsed)}{left}"),
    )
    if state.phase:
        note = f"{state.phase} {clock(phase_elapsed)}"
        rows.add_row("now", _counter(state.done, state.of, bar, note))
    if state.successes:
        curve = f"  {sparkline(state.successes)}" if unicode else ""
        rows.add_row("success", Text(f"{percent(state.successes[-1])} in training{curve}"))
    if state.evaluation is not None:
        last = state.evaluation
        rows.add_row(
            "evaluation",
            f"{percent(last.success)} {interval(last.low, last.high)} {last.label}, "
            f"{plural(last.episodes, 'episode')}",
        )
    if numbers := _numbers(state.metrics):
        rows.add_row("rollout", "  ".join(numbers))
    if state.phase_seconds:
        rows.add_row("last step", _phases(state.phase_seconds))
    return rows


def comparison_table(before: Outcome, after: Outcome) -> RenderableType:
    """What training changed: both success rates with their intervals, and the difference."""
    low, high = difference_interval(before, after)
    change = after.success - before.success
    table = outcome_table([before, after])
    table.add_section()
    table.add_row(
        "change",
        Text(f"{100 * change:+.1f} points", style="bold green" if low > 0 else "bold"),
        f"{100 * low:+.1f} to {100 * high:+.1f}",
        "",
    )
    return table


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """Success rates, one row each."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    table.add_column("success", justify="right", no_wrap=True)
    table.add_column("95% interval", justify="right", no_wrap=True)
    table.add_column("episodes", justify="right", no_wrap=True)
    for outcome in outcomes:
        table.add_row(
            Text(outcome.label),
            percent(outcome.success, 1),
            f"{percent(outcome.low, 1)} to {percent(outcome.high, 1)}",
            str(outcome.episodes),
        )
    return table


def path_list(paths: Mapping[str, object]) -> RenderableType:
    """Where things are, one line each, never broken so that they can be copied."""
    width = max(map(len, paths), default=0)
    lines = [
        Text.assemble((f"{name:<{width}}  ", "dim"), str(path), overflow="ignore", no_wrap=True)
        for name, path in paths.items()
    ]
    return Group(*lines)


def _counter(done: int, of: int, bar: int, note: str) -> RenderableType:
    """A progress bar with its numbers; without a total the numbers alone."""
    if of <= 0:
        return Text(f"{done}  {note}" if done else note)
    grid = Table.grid(padding=(0, 2))
    grid.add_row(ProgressBar(total=of, completed=done, width=bar), f"{done}/{of}", note)
    return grid


def _numbers(metrics: Mapping[str, float]) -> list[str]:
    """The metrics worth a place in the display, formatted."""
    shown = (
        ("env/return", "return {:.2f}"),
        ("time/env_steps_per_second", "{:.0f} env steps/s"),
        ("sft/token_loss", "loss {:.3f}"),
        ("sft/token_accuracy", "tokens right {:.0%}"),
        ("sft/heldout_token_accuracy", "held out {:.0%}"),
        ("time/samples_per_second", "{:.0f} samples/s"),
    )
    return [text.format(metrics[name]) for name, text in shown if name in metrics]


def _phases(seconds: Mapping[str, float]) -> str:
    """Time per phase, longest first."""
    longest_first = sorted(seconds.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {clock(value)}" for name, value in longest_first)
