"""What a page gets of a run: only what is new, and the same in pieces as at once."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from rlinf.logging import run_reader
from rlinf.logging.run_reader import Position, RunReader, Tail, flat, is_locked, timeline, videos
from rlinf.logging.watch import Runs
from rlinf.metrics.results import wilson
from rlinf.metrics.timeline import LATEST, Span, write_latest
from tests.unit.logging.run_folders import add_result, add_video, append, make_run, rows


def test_a_run_is_told_with_intervals_faults_and_what_limits_it(tmp_path: Path) -> None:
    reader = RunReader(make_run(tmp_path / "run"))
    assert not reader.look()
    view = reader.view()
    assert (view["step"], view["total"], view["began"]) == (10, 20, 1700000000.0)
    assert view["evaluations"][-1] == {
        "step": 10, "success": 0.5, "low": 0.4, "high": 0.6, "episodes": 96.0,
    }  # fmt: skip
    low, high = wilson(50, 100)
    assert view["training"][0] == pytest.approx([1, 0.5, low, high, 100.0], abs=1e-5)
    assert view["limit"]["part"] == "simulator"
    assert view["faults"]["counts"] == {"env_restarts": 1.0}
    (fault,) = view["faults"]["lines"]
    assert fault["text"] == "env worker 0 exited with code 9"
    assert view["meanings"]["env/success_once"].startswith("share of finished episodes")
    assert view["config"] == {"runner.max_steps": 20, "actor.seed": 0}
    assert "samples N" in view["plan"]
    json.dumps(view, allow_nan=False)


def test_an_evaluation_is_told_trial_by_trial_and_counted_while_it_goes_on(tmp_path: Path) -> None:
    reader = RunReader(tmp_path)
    assert reader.view()["trials"] is None
    journal = tmp_path / "eval" / "episodes" / "worker_0.jsonl"
    journal.parent.mkdir(parents=True)
    line = {"start": [0, 4, 9], "repeat": 0, "success_once": True, "length": 12}
    journal.write_text(json.dumps(line) + "\n" + json.dumps(line)[:20])  # cut off
    assert reader.view()["trials"] == {"running": True, "done": 1, "solved": 1, "trials": []}
    add_result(tmp_path, [True, False])
    trials = reader.view()["trials"]
    assert (trials["running"], trials["done"], trials["solved"]) == (False, 2, 1)
    assert [t["trial"] for t in trials["trials"]] == [1, 0]  # the failure first
    (tmp_path / "eval" / "step_0.json").write_text("[1]")
    assert reader.view()["trials"] is None


def test_a_second_look_brings_only_what_is_new(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    reader = RunReader(folder)
    reader.look()
    first = reader.view()
    append(folder, rows(11, 12))
    reader.look()
    second = reader.view(Position.parse(first["position"]))
    assert second["curves"]["train/loss"] == [[10, 0.0909091], [11, 0.0833333], [12, 0.0769231]]
    assert (second["whole"], second["from"]) == (False, 10)
    assert not {"config", "plan"} & set(second)
    assert len(json.dumps(second)) < len(json.dumps(first)) / 1.5


def test_pieces_put_together_are_the_whole(tmp_path: Path, monkeypatch) -> None:
    folder = make_run(tmp_path / "run", steps=900)
    monkeypatch.setattr(run_reader, "BYTES_AT_ONCE", 10_000)
    reader, curve, position = RunReader(folder), [], None
    behind = True
    while behind:
        behind = reader.look()
        view = reader.view(position)
        kept = [p for p in curve if not view["whole"] and p[0] // view["width"] < view["from"]]
        curve = kept + view["curves"].get("train/loss", [])
        position = Position.parse(view["position"])
    assert view["step"] == 900
    assert curve == reader.view()["curves"]["train/loss"]
    assert len(curve) <= 400


def test_a_run_that_goes_on_from_an_older_checkpoint_is_told_anew(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", steps=10)
    reader = RunReader(folder)
    reader.look()
    position = Position.parse(reader.view()["position"])
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    building = folder / "new"
    building.write_text("".join(line for line in lines if json.loads(line)["step"] <= 5))
    building.replace(folder / "metrics.jsonl")
    append(folder, rows(6, 12, success=0.9))
    reader.look()
    view = reader.view(position)
    assert view["whole"] and view["step"] == 12
    assert [point[1] for point in view["curves"]["env/success_once"]] == [0.5] * 5 + [0.9] * 7


def test_a_line_that_is_not_whole_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntw")
    tail = Tail(path)
    assert tail.look() == (True, [b"one\n"])
    with path.open("ab") as file:
        file.write(b"o\n")
    assert tail.look() == (False, [b"two\n"])
    assert tail.look() == (False, [])
    path.unlink()
    assert tail.look() == (True, [])


def test_damaged_files_leave_the_rest(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", steps=3)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": "x", "a/b": 1}\n[1]\n\xff\n{"step": 4, "a/b": "text", "c/d": null}\n')
    (folder / "config.yaml").write_text("a: [")
    (folder / LATEST).write_text("{}")
    reader = RunReader(folder)
    reader.look()
    view = reader.view()
    assert view["step"] == 4 and "a/b" not in view["curves"]
    assert view["curves"]["c/d"] == [[4, None]]
    assert (view["config"], view["timeline"]) == ({}, None)


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 11, "env/success_once": NaN, "env/num_episodes": 3, "loss": -Infinity}',
        '{"step": 11, "loss": 1e999}',
        f'{{"step": 11, "loss": {"9" * 400}}}',
        '{"step": 11, "env/success_once": 7, "env/num_episodes": 3}',
        '{"step": 11, "env/success_once": 0.8, "env/num_episodes": -5}',
        '{"step": 99999999999999999999, "loss": 1}',
        '{"step": "many", "loss": [1], "name": "text"}',
    ],
)
def test_numbers_that_no_run_writes_leave_the_rest(tmp_path: Path, line: str) -> None:
    """A browser reads no NaN, and one such line must not take the page from the whole run."""
    folder = make_run(tmp_path / "run")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(f"{line}\n")
    append(folder, rows(12, 12))
    reader = RunReader(folder)
    reader.look()
    view = reader.view()
    json.dumps([view, Runs(tmp_path).listing()], allow_nan=False)
    assert view["step"] == 12 and len(view["training"]) == 11


def test_evaluations_of_a_long_run_are_thinned_to_single_ones(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", steps=6000)
    reader = RunReader(folder)
    while reader.look():
        pass
    shown = reader.view()["evaluations"]
    assert len(shown) <= 401
    assert (shown[0]["step"], shown[-1]["step"]) == (5, 6000)


def test_a_lock_is_seen_and_not_taken(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert is_locked(path) is None
    with path.open("w") as lock:
        assert is_locked(path) is False
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert is_locked(path) is True


def test_a_timeline_joins_short_neighbours_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    spans = [Span("env0", "", "simulate", i / 1000, (i + 0.9) / 1000, True) for i in range(1000)]
    spans += [Span(f"rollout{i}", "", "act", 0.0, 1.0, True) for i in range(70)]
    write_latest(tmp_path / LATEST, 7, spans)
    shown = timeline(tmp_path / LATEST)
    assert shown is not None
    assert (shown["step"], len(shown["lanes"]), shown["hidden"]) == (7, 64, 7)
    (first,) = shown["lanes"][0]["spans"]
    assert first == [0.0, 0.9999, "simulate", True]


def test_videos_with_failures_come_first_and_links_out_of_the_run_never(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    for at, (name, outcomes) in enumerate(
        {"step_1": [True, False], "step_2": [False, False], "step_3": [True, True]}.items()
    ):
        os.utime(add_video(folder, name, outcomes), (at, at))
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"secret")
    (folder / "video" / "eval" / "link.mp4").symlink_to(secret)
    found = [(Path(video["path"]).stem, video["failed"]) for video in videos(folder)]
    assert found == [("step_2", 2), ("step_1", 1), ("step_3", 0)]


def test_a_configuration_is_flat_by_dotted_key() -> None:
    assert flat({"a": {"b": 1, "c": {}}, "d": [1, 2]}) == {"a.b": 1, "a.c": {}, "d": [1, 2]}
    assert flat(None) == flat("text") == {}
