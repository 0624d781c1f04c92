"""Line charts as SVG text, for pages that must work without scripts and without a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

MAX_POINTS = 400  # per line; beyond it neighbours are averaged
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 44, 10, 8, 20  # pixels

Point = tuple[float, float]
Curve = Sequence[tuple[float, float | None]]
"""Points (x, y) by ascending x; a y of None is a gap."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart."""

    label: str
    points: Curve
    color: str  # class of the style sheet: "a" or "b"
    errors: Sequence[tuple[float, float, float]] = field(default=())  # x, low, high
    dots: bool = False  # mark every point


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers from `low` to `high`: multiples of 1, 2 or 5 times 10^k."""
    if high <= low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(f * power for f in (1, 2, 5, 10) if f * power >= rough * 0.999)
    first = math.ceil(low / size - 1e-9)
    last = math.floor(high / size + 1e-9)
    return [index * size for index in range(first, last + 1)]


def short(value: float) -> str:
    """A number in at most six characters or so: 0.25, 1200, 3e-04."""
    if value == 0:
        return "0"
    small = abs(value) < 1e-3 or abs(value) >= 1e6
    return f"{value:.0e}" if small else f"{value:.4g}"


def thinned(points: Sequence[Point], limit: int = MAX_POINTS) -> list[Point]:
    """At most `limit` points, each the mean of as many neighbours."""
    size = math.ceil(len(points) / limit)
    groups = (points[i : i + size] for i in range(0, len(points), max(size, 1)))
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]


def line_chart(
    series: Sequence[Series],
    width: int,
    height: int,
    y_range: tuple[float, float] | None = None,
    label: Callable[[float], str] = short,
) -> str:
    """An `<svg>` of the lines over common axes.

    Args:
        series: the lines, at least one point in all.
        width: in pixels, as `height`.
        y_range: of the axis; None takes that of the values.
        label: how numbers of the y axis are written.
    """
    xs = [x for line in series for x, _ in line.points]
    ys = [y for line in series for _, y in line.points if y is not None]
    x_low, x_high = min(xs), max(xs)
    y_low, y_high = y_range or _padded(min(ys), max(ys))
    inner_width = width - MARGIN_LEFT - MARGIN_RIGHT
    inner_height = height - MARGIN_TOP - MARGIN_BOTTOM

    def place(x: float, y: float) -> Point:
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        up = (y - y_low) / (y_high - y_low)
        return MARGIN_LEFT + across * inner_width, MARGIN_TOP + (1 - up) * inner_height

    parts = [f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">']
    for value in ticks(y_low, y_high, max(2, inner_height // 30)):
        _, y = place(x_low, value)
        parts.append(f'<path class="grid" d="M{MARGIN_LEFT} {y:.1f}h{inner_width}"/>')
        parts.append(f'<text x="{MARGIN_LEFT - 6}" y="{y + 4:.1f}" class="y">{label(value)}</text>')
    for value in ticks(x_low, x_high, max(2, inner_width // 90)):
        x, _ = place(value, y_low)
        parts.append(f'<text x="{x:.1f}" y="{height - 4}" class="x">{value:g}</text>')
    for line in series:
        parts += _line(line, place, label)
    return "".join(parts) + "</svg>"


def _line(
    line: Series, place: Callable[[float, float], Point], label: Callable[[float], str]
) -> list[str]:
    parts = []
    for run in _runs(line.points):
        corners = [place(x, y) for x, y in thinned(run)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
        parts.append(f'<path class="line {line.color}" d="M{path}"/>')
    for x, low, high in line.errors:
        (left, bottom), (_, top) = place(x, low), place(x, high)
        parts.append(f'<path class="error {line.color}" d="M{left:.1f} {bottom:.1f}V{top:.1f}"/>')
    if line.dots:
        for x, y in (point for run in _runs(line.points) for point in run):
            left, top = place(x, y)
            hint = f"<title>{escape(line.label)}, step {x:g}: {label(y)}</title>"
            dot = f'<circle class="{line.color}" cx="{left:.1f}" cy="{top:.1f}" r="4">'
            parts.append(f"{dot}{hint}</circle>")
    return parts


def _runs(points: Curve) -> list[list[Point]]:
    """The stretches between gaps."""
    runs: list[list[Point]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    return [run for run in runs if run]


def _padded(low: float, high: float) -> Point:
    """The range with a little air; a constant gets a range of its own size."""
    air = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    return low - air, high + air
