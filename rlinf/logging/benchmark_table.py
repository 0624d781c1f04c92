"""The table of a benchmark, from the outcomes of its sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from rlinf.metrics.outcome import Outcome
from rlinf.metrics.results import wilson


@dataclass(frozen=True, slots=True)
class SetOutcome:
    """How one set went."""

    name: str
    group: str
    once: Outcome  # success at some step
    at_end: Outcome  # success at the last step
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """Mean success of several sets.

    The interval is Wilson's for all episodes together. Where each set has the same weight it is
    moved to the mean: exact where the sets have equally many episodes.
    """

    success: float
    low: float
    high: float
    episodes: int


def cell(outcomes: Sequence[Outcome], pooled: bool = False) -> Cell | None:
    """Of the given sets; None if there are none.

    Args:
        outcomes: of the sets.
        pooled: each episode has the same weight, else each set.
    """
    if not outcomes:
        return None
    count = sum(outcome.episodes for outcome in outcomes)
    if pooled:
        solved = round(sum(outcome.success * outcome.episodes for outcome in outcomes))
        mean = solved / count
    else:
        mean = fmean(outcome.success for outcome in outcomes)
    low, high = wilson(round(mean * count), count)
    return Cell(mean, low, high, count)


def table(
    sets: Sequence[SetOutcome], groups: Sequence[str], within: str, pooled: bool = False
) -> dict[str, Any]:
    """All numbers of the table: a row for each way to count, a column for each group.

    Args:
        sets: outcomes; those of sets that were not run are left out.
        groups: names, in order.
        within: the group of the training setting.
        pooled: each episode has the same weight, else each set.

    Returns:
        `{"success_once": {column: {success, low, high, episodes} or None}, "success_at_end": ...}`.
        Averages leave out the training setting; one weighs groups alike, the other sets. Where
        episodes weigh alike there is a total instead.
    """
    rows = {}
    for row in ("once", "at_end"):
        by_group = {
            group: cell([getattr(part, row) for part in sets if part.group == group], pooled)
            for group in groups
        }
        columns: dict[str, Any] = {
            group: None if one is None else asdict(one) for group, one in by_group.items()
        }
        outside = [one for group, one in by_group.items() if group != within]
        whole = cell([getattr(part, row) for part in sets if part.group != within], pooled)
        total = None if whole is None else asdict(whole)
        if pooled:
            rows[f"success_{row}"] = columns | {"Total": total}
            continue
        columns["Average of groups"] = (
            {
                "success": fmean(one.success for one in outside if one is not None),
                "episodes": whole.episodes,
            }
            if whole is not None and all(outside)
            else None
        )
        rows[f"success_{row}"] = columns | {"Average of sets": total}
    return rows


def markdown(
    title: str,
    policy: str,
    sets: Sequence[SetOutcome],
    rows: Mapping[str, Mapping[str, Any]],
    remarks: Iterable[str],
) -> str:
    """The table, the single sets and the remarks as a page of Markdown."""
    columns = list(next(iter(rows.values())))
    lines = [f"# {title}", "", f"Policy: {policy}", ""]
    lines += [_line(["", *columns]), _line(["---"] * (len(columns) + 1))]
    for name, label in (("success_once", "at some step"), ("success_at_end", "at the last step")):
        lines.append(_line([f"success {label}", *(_shown(rows[name][key]) for key in columns)]))
    lines += ["", "In brackets: 95 % interval, and the number of episodes.", ""]
    lines += [_line(["set", "group", "at some step", "at the last step", "remarks"])]
    lines += [_line(["---"] * 5)]
    for part in sets:
        shown = [_shown(asdict(outcome)) for outcome in (part.once, part.at_end)]
        lines.append(_line([part.name, part.group, *shown, "; ".join(part.remarks)]))
    lines += ["", *(f"- {remark}" for remark in remarks)]
    return "\n".join(lines).rstrip() + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "not run"
    percent = f"{found['success']:.2%}"
    count = f"n {found['episodes']}"
    if "low" not in found:
        return f"{percent} ({count})"
    return f"{percent} ({found['low']:.1%} to {found['high']:.1%}, {count})"
