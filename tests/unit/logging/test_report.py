from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from rlinf.logging import charts, report
from rlinf.logging.charts import Series, line_chart

RECORDS = [
    {
        "step": 0,
        "eval/success_once": 0.25,
        "eval/success_once_low": 0.18,
        "eval/success_once_high": 0.33,
        "eval/num_episodes": 128.0,
    },
    {"step": 1, "env/success_once": 0.3, "train/loss": 0.5},
    {"step": 2, "env/success_once": 0.5, "train/loss": None},
    {
        "step": 2,
        "eval/success_once": 0.625,
        "eval/success_once_low": 0.54,
        "eval/success_once_high": 0.70,
        "eval/num_episodes": 128.0,
    },
]


def page(tmp_path, records, **rest):
    path = tmp_path / "report.html"
    report.write_report(path, "a run", records, **({"config": "seed: 1"} | rest))
    return path.read_text()


def test_the_page_compares_the_first_and_the_last_evaluation(tmp_path):
    text = page(tmp_path, RECORDS)
    assert "<td>before training<td>25.0%<td>18.0% to 33.0%<td>128" in text
    assert "<td>after step 2<td>62.5%<td>54.0% to 70.0%<td>128" in text
    assert "<td>+37.5 points<td>+25.8 to +47.8" in text


def test_the_page_needs_nothing_but_itself(tmp_path):
    text = page(tmp_path, RECORDS)
    for reference in ("http:", "https:", "src=", "href=", "url(", "@import", "<script"):
        assert reference not in text


def test_what_a_user_wrote_is_shown_and_not_interpreted(tmp_path):
    records = [{"step": 1, "eval/<b>\udcff": 1.0}]
    text = page(tmp_path, records, config="a: <script>", notes=["x < y"])
    assert "&lt;script&gt;" in text
    assert "eval/&lt;b&gt;?" in text
    assert "x &lt; y" in text


@pytest.mark.parametrize(
    "records",
    [
        [],
        [{"step": 1, "train/loss": None}],
        [{"step": 1, "env/success_once": None}],
        [{"step": 3, "env/success_once": 0.0, "train/loss": 0.0}],
    ],
)
def test_a_run_that_has_hardly_begun_has_a_page_too(tmp_path, records):
    text = page(tmp_path, records)
    assert "nan" not in text
    assert text.count("<svg") == text.count("</svg>")


def test_metrics_of_two_lines_of_one_step_are_separate_curves():
    curves = report.metric_curves(RECORDS)
    assert curves["train/loss"] == [(1, 0.5), (2, None)]
    assert curves["eval/success_once"] == [(0, 0.25), (2, 0.625)]


def test_points_are_placed_by_value_with_the_largest_on_top():
    # Inner area: x from 44 to 110, y from 8 (top, 1.0) to 100 (bottom, 0.0).
    chart = line_chart([Series("s", [(0, 0.0), (10, 1.0)], "a")], 120, 120, y_range=(0.0, 1.0))
    lines = [
        path.get("d") for path in ET.fromstring(chart).iter("path") if "line" in path.get("class")
    ]
    assert lines == ["M44.0 100.0L110.0 8.0"]


def test_a_gap_interrupts_the_line():
    points = [(0, 0.0), (1, 1.0), (2, None), (3, 1.0), (4, 0.0)]
    chart = line_chart([Series("s", points, "a")], 120, 120)
    assert chart.count('class="line a"') == 2


def test_a_long_curve_is_thinned_to_means_of_neighbours():
    points = [(float(i), float(i % 2)) for i in range(1000)]
    thin = charts.thinned(points, limit=10)
    assert len(thin) == 10
    assert thin[0] == (49.5, 0.5)
    assert charts.thinned(points[:3]) == points[:3]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.03, 0.21, [0.05, 0.1, 0.15, 0.2]),
        (-7.0, 12.0, [-5.0, 0.0, 5.0, 10.0]),
        (3.0, 3.0, [3.0]),
    ],
)
def test_ticks_are_round_numbers_inside_the_range(low, high, expected):
    assert charts.ticks(low, high, 5) == pytest.approx(expected)


def test_numbers_are_short():
    numbers = (0, 0.25, 1234.56, 3e-4, 2.5e7, -0.00012, math.pi)
    assert [charts.short(n) for n in numbers] == [
        "0", "0.25", "1235", "3e-04", "2e+07", "-1e-04", "3.142",
    ]  # fmt: skip
