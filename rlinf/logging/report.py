"""`report.html`: one page about a run, without scripts, network or other files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from rlinf.logging.charts import Curve, Series, line_chart, short
from rlinf.logging.display import percent
from rlinf.logging.files import write_atomically
from rlinf.metrics.outcome import Outcome, difference_interval

TRAINING, EVALUATION = "env/success_once", "eval/success_once"
SHOWN_ABOVE = {TRAINING, EVALUATION, f"{EVALUATION}_low", f"{EVALUATION}_high"}

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --dim: #667085; --paper: #fff; --rule: #e4e7ec;
        --a: #0b6bcb; --b: #c2410c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --dim: #98a2b3; --paper: #14181f; --rule: #2b323d;
          --a: #6cb0f5; --b: #f79a62; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 1000px; margin: 2.5rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p, figcaption, th { color: var(--dim); } p { margin: .2rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: 500; text-align: right; } th, td { padding: .25rem 2rem .25rem 0; }
td { text-align: right; } th:first-child, td:first-child { text-align: left; }
tr.change td { border-top: 1px solid var(--rule); font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: 13px; display: flex; justify-content: space-between; }
figcaption b { color: var(--ink); font-weight: 500; }
svg { max-width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--dim); }
text.y { text-anchor: end; } text.x { text-anchor: middle; }
path { fill: none; } .grid { stroke: var(--rule); } .line { stroke-width: 2; }
.error { stroke-width: 1.5; } path.a { stroke: var(--a); } path.b { stroke: var(--b); }
circle.a { fill: var(--a); } circle.b { fill: var(--b); }
.key { font-size: 13px; } .key i { display: inline-block; width: 1.2em; height: 3px;
       margin: 0 .5em .25em 1.2em; } i.a { background: var(--a); } i.b { background: var(--b); }
pre { overflow-x: auto; font-size: 12px; } summary { cursor: pointer; color: var(--dim); }
"""


def write_report(
    path: Path,
    title: str,
    records: Sequence[Mapping[str, Any]],
    config: str,
    notes: Sequence[str] = (),
) -> None:
    """Write the page, or replace it in one step.

    Args:
        path: of the page.
        title: name of the run.
        records: lines of `metrics.jsonl`, in order; the first and the last evaluation are compared.
        config: of the run, as text.
        notes: sentences under the title: command, machine, versions, state of the run.
    """
    curves = metric_curves(records)
    success = _success_section(curves.get(TRAINING, []), evaluations(records))
    body = [
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(note)}</p>" for note in notes),
        f"<h2>Success</h2>{success}",
        *_metric_sections({k: v for k, v in curves.items() if k not in SHOWN_ABOVE}),
        f"<h2>Configuration</h2><details><summary>show</summary><pre>{escape(config)}</pre>",
        "</details>",
    ]
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>{''.join(body)}</html>\n"
    )
    write_atomically(path, page.encode("utf-8", "replace"))


def metric_curves(records: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """Every metric as points (step, value), in the order of the steps; null is None."""
    curves: dict[str, list[tuple[float, float | None]]] = {}
    for record in records:
        for name, value in record.items():
            if name != "step":
                curves.setdefault(name, []).append((record["step"], value))
    return {name: sorted(points, key=lambda point: point[0]) for name, points in curves.items()}


def evaluations(records: Sequence[Mapping[str, Any]]) -> list[tuple[int, Outcome]]:
    """The evaluations among the records, with the step that they followed."""
    return [
        (
            record["step"],
            Outcome(
                label=f"after step {record['step']}" if record["step"] else "before training",
                success=record[EVALUATION],
                low=record[f"{EVALUATION}_low"],
                high=record[f"{EVALUATION}_high"],
                episodes=round(record["eval/num_episodes"]),
            ),
        )
        for record in records
        if record.get(EVALUATION) is not None
    ]


def _success_section(training: Curve, evaluated: Sequence[tuple[int, Outcome]]) -> str:
    lines = [
        Series("training", training, "a"),
        Series(
            "evaluation",
            [(step, outcome.success) for step, outcome in evaluated],
            "b",
            errors=[(step, outcome.low, outcome.high) for step, outcome in evaluated],
            dots=True,
        ),
    ]
    shown = [line for line in lines if any(y is not None for _, y in line.points)]
    if not shown:
        return "<p>No episode has ended yet.</p>"
    keys = "".join(f'<i class="{line.color}"></i>{line.label}' for line in shown)
    chart = line_chart(shown, 960, 300, y_range=(0.0, 1.0), label=percent)
    table = _comparison([outcome for _, outcome in evaluated])
    return f'<p class="key">share of episodes, by step{keys}</p>{chart}{table}'


def _comparison(outcomes: Sequence[Outcome]) -> str:
    """The first and the last evaluation, and what changed."""
    if not outcomes:
        return ""
    shown = [outcomes[0]] if len(outcomes) == 1 else [outcomes[0], outcomes[-1]]
    rows = [
        f"<tr><td>{escape(o.label)}<td>{percent(o.success, 1)}"
        f"<td>{percent(o.low, 1)} to {percent(o.high, 1)}<td>{o.episodes}"
        for o in shown
    ]
    if len(shown) == 2:
        before, after = shown
        low, high = difference_interval(before, after)
        change = after.success - before.success
        rows.append(
            f'<tr class="change"><td>change<td>{100 * change:+.1f} points'
            f"<td>{100 * low:+.1f} to {100 * high:+.1f}<td>"
        )
    head = "<tr><th>evaluation<th>success<th>95% interval<th>episodes"
    return f"<table>{head}{''.join(rows)}</table>"


def _metric_sections(curves: Mapping[str, Curve]) -> list[str]:
    """The other metrics, small, one section per area (the part of the name before the slash)."""
    parts = []
    for area, names in groupby(sorted(curves), key=lambda name: name.partition("/")[0]):
        figures = [_figure(name, curves[name]) for name in names]
        parts.append(f'<h2>{escape(area)}</h2><div class="charts">{"".join(figures)}</div>')
    return parts


def _figure(name: str, points: Curve) -> str:
    known = [value for _, value in points if value is not None]
    last = short(known[-1]) if known else "never a number"
    chart = line_chart([Series(name, points, "a")], 310, 120) if known else ""
    caption = f"<figcaption><b>{escape(name)}</b>{last}</figcaption>"
    return f"<figure>{caption}{chart}</figure>"
