"""Idle shares worked out by hand, and traces as viewers read them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from rlinf.metrics.timeline import Span, Spans, Trace, idle_fractions


def span(worker: str, lane: str, began: float, ended: float, busy: bool = True) -> Span:
    return Span(worker, lane, "work", began, ended, busy)


def test_a_worker_is_idle_while_none_of_its_lanes_works():
    spans = [
        span("env0", "a", 10, 13),
        span("env0", "b", 12, 14),  # 10 to 14 together: 4 of 10 seconds
        span("env0", "b", 14, 19, busy=False),  # waiting is no work
        span("env0", "a", 11, 12),  # inside the first
    ]
    assert idle_fractions(spans, 10, 20) == {"env": pytest.approx(0.6)}


def test_a_component_is_as_idle_as_its_workers_on_average():
    spans = [span("actor0", "", 0, 10), span("actor1", "", 0, 5), span("rollout0", "", 2, 3)]
    idle = idle_fractions(spans, 0, 10)
    assert idle == {"actor": pytest.approx(0.25), "rollout": pytest.approx(0.9)}


def test_what_lies_outside_the_iteration_does_not_count():
    spans = [span("env0", "", -5, 1), span("env0", "", 9, 30), span("env0", "", 40, 50)]
    assert idle_fractions(spans, 0, 10) == {"env": pytest.approx(0.8)}


def test_spans_are_taken_once_and_keep_what_failed():
    spans = Spans("rollout2")

    def work() -> None:
        with spans.span("act", "lane"):
            pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(ZeroDivisionError), spans.span("fail"):
        raise ZeroDivisionError
    taken = spans.take()
    assert [one.name for one in taken] == ["act"] * 4 + ["fail"]
    assert all(one.worker == "rollout2" and one.ended >= one.began for one in taken)
    assert spans.take() == []


def read(path: Path) -> list[dict[str, Any]]:
    """As a viewer does: the array has no end, and a comma after its last event."""
    events: list[dict[str, Any]] = json.loads(path.read_text().rstrip().rstrip(",") + "]")
    return events


def test_a_trace_has_a_row_for_each_lane_and_stops_after_its_steps(tmp_path: Path):
    path = tmp_path / "trace.json"
    trace = Trace(path, steps=2)
    for step in (1, 2, 3):
        trace.write(step, [span("env0", "b", step + 0.5, step + 0.75), span("env0", "a", step, 9)])
    events = read(path)
    names = [(e["name"], e["args"]["name"]) for e in events if e["ph"] == "M"]
    assert names == [
        *(("process_name", "env0"), ("thread_name", "a")),
        *(("process_name", "env0"), ("thread_name", "b")),
    ]
    work = [e for e in events if e["ph"] == "X"]
    assert [(e["ts"], e["dur"], e["args"]["step"]) for e in work] == [
        *((1_000_000, 8_000_000, 1), (1_500_000, 250_000, 1)),
        *((2_000_000, 7_000_000, 2), (2_500_000, 250_000, 2)),
    ]
    assert len({e["pid"] for e in work}) == 1
    assert len({e["tid"] for e in work}) == 2


def test_a_trace_that_cannot_be_written_is_given_up(tmp_path: Path, caplog):
    trace = Trace(tmp_path / "missing" / "trace.json", steps=-1)
    trace.write(1, [span("env0", "", 0, 1)])
    trace.write(2, [span("env0", "", 0, 1)])
    assert len([r for r in caplog.records if "is given up" in r.message]) == 1
