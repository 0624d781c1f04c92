"""The page of `rlinf watch`, and the report, in a real browser without a window."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rlinf.logging.report import write_report
from rlinf.logging.watch import Runs, server
from tests.browser import MISSING, Browser, browser
from tests.unit.logging.run_folders import add_result, add_video, append, make_run, rows

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
CHARTS = "return document.querySelectorAll('#metrics canvas').length"


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@contextmanager
def page(window: Browser, folder: Path) -> Iterator[str]:
    """The address of the page, which raised no error and asked for nothing else."""
    with server(Runs(folder), port=0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        window.resize(1200, 900)
        window.complaints()
        yield f"http://127.0.0.1:{running.port}/"
        assert window.complaints() == []
        window.open("about:blank")
        running.shutdown()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    make_run(tmp_path / "logs" / "first", success=0.4)
    make_run(tmp_path / "logs" / "second", success=0.7, config="actor:\n  seed: 7\n")
    return tmp_path / "logs"


def open_first(window: Browser, address: str) -> None:
    """Opens the page, and from its table the first of two runs."""
    window.open(address)
    window.until("return document.querySelectorAll('#runs-table a').length == 2")
    window.run("[...document.querySelectorAll('a')].find(a => a.text == 'first').click()")
    window.until(f"{CHARTS} >= 10")


def test_a_run_is_found_shown_and_followed_while_it_goes_on(window: Browser, logs: Path) -> None:
    with page(window, logs) as address:
        open_first(window, address)
        assert "40.0%" in window.text("#cards") and "10 of 20" in window.text("#cards")
        assert window.text(".sentence").startswith("The simulator limits this run")
        assert "env worker 0 exited with code 9" in window.text("#faults")
        append(logs / "first", rows(11, 15, success=0.9))
        window.until("return document.querySelector('#cards').innerText.includes('15 of 20')")
        assert "90.0%" in window.text("#cards")
        table = window.text("#success-table")
        assert "after step 15" in table and "+50.0 points" in table


def test_a_run_whose_folder_is_removed_is_said_to_be_gone(window: Browser, logs: Path) -> None:
    with page(window, logs) as address:
        open_first(window, address)
        shutil.rmtree(logs / "first")
        gone = "return document.querySelector('#status').innerText.includes(arguments[0])"
        window.until(gone, "the folder of this run is gone")
        window.run("document.querySelector('#to-runs').click()")
        window.until("return document.querySelectorAll('#runs-table a').length == 1")
        assert all("404" in complaint for complaint in window.complaints())


def test_a_metric_says_what_it_means_when_it_is_pointed_at(window: Browser, logs: Path) -> None:
    with page(window, logs / "first") as address:
        window.open(address)
        window.until(f"{CHARTS} >= 10")
        tip = "figure[data-name='env/success_once'] .tip"
        hidden = "return getComputedStyle(document.querySelector(arguments[0])).visibility"
        assert window.run(hidden, tip) == "hidden"
        window.run("document.querySelector(arguments[0]).parentNode.focus()", tip)
        assert window.run(hidden, tip) == "visible"
        assert "finished episodes with success" in window.text(tip)


def test_two_runs_are_compared(window: Browser, logs: Path) -> None:
    with page(window, logs / "first") as address:
        window.open(address)
        window.until(f"{CHARTS} >= 10")
        window.run(
            "const s = document.querySelector('#other');"
            "s.value = [...s.options].find(o => o.text == 'second').value;"
            "s.dispatchEvent(new Event('change'))"
        )
        window.until("return document.querySelector('#differences')")
        assert window.text("#differences").split("\n")[1].split() == ["actor.seed", "0", "7"]
        assert "−30.0 points" in window.text("#success-table")
        assert window.run("return document.querySelector('mark').textContent") == "a run: first"
        assert "40.0%" in window.text("#cards") and "70.0% beside" in window.text("#cards")


def test_everything_is_reached_by_keys(window: Browser, logs: Path) -> None:
    with page(window, logs / "first") as address:
        window.open(address)
        window.until(f"{CHARTS} >= 10")
        window.press("k")  # the newer run
        window.until("return document.querySelector('#name').innerText == 'second'")
        window.press("j")
        window.until("return document.querySelector('#name').innerText == 'first'")
        window.until(f"{CHARTS} >= 10")
        window.press("/", *"success")
        shown = "return [...document.querySelectorAll('#metrics figure')].filter("
        shown += "f => f.offsetParent).map(f => f.dataset.name)"
        window.until(f"{shown}.length < 3")
        assert "env/success_once" in window.run(shown)
        window.press("escape")
        assert len(window.run(shown)) >= 10
        window.run("document.querySelector('#success-chart figure').focus()")
        window.press("right")
        assert window.text("#success-chart output").startswith("step 1: 40.0%")
        window.press("right")
        assert window.text("#success-chart output").startswith("step 2: 40.0%")
        window.press("m")
        assert window.run("return document.activeElement.id") == "metrics"
        window.press("?")
        assert window.run("return document.querySelector('#help').open")
        window.press("escape")
        window.press("r")
        window.until("return document.querySelectorAll('#runs-table a').length == 2")


@pytest.mark.parametrize("width", [320, 390, 700, 1600])
def test_the_page_fits_screens_of_any_width(window: Browser, logs: Path, width: int) -> None:
    with page(window, logs / "first") as address:
        window.resize(width, 800)
        window.open(address)
        window.until(f"{CHARTS} >= 10")
        assert window.run("return document.documentElement.scrollWidth") <= width
        widest = "return Math.max(...[...document.querySelectorAll('#metrics canvas')].map("
        assert window.run(f"{widest}c => c.clientWidth))") <= width


def test_dark_and_light_are_what_the_user_prefers(window: Browser, logs: Path) -> None:
    paper = "return getComputedStyle(document.body).backgroundColor"
    with page(window, logs / "first") as address:
        window.prefer("light")
        window.open(address)
        light = window.run(paper)
        window.prefer("dark")
        assert window.run(paper) != light
        window.prefer("light")


def test_a_run_that_hardly_began_and_one_without_anything_are_shown(
    window: Browser, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.yaml").write_text("{}")
    append(tmp_path / "empty", [{"step": 1, "train/loss": None, "env/success_once": None}])
    with page(window, tmp_path / "empty") as address:
        window.open(address)
        window.until(f"{CHARTS} == 2")
        assert "No episode has ended yet" in window.text("#success")
        add_video(tmp_path / "empty", "step_1", [True, False])
        window.until(
            "return document.querySelector('#videos-body')?.innerText.includes('1 failed')"
        )


def test_an_evaluation_shows_how_far_it_is_and_then_each_episode(
    window: Browser, tmp_path: Path
) -> None:
    folder = tmp_path / "evaluation"
    journal = folder / "eval" / "episodes" / "worker_0.jsonl"
    journal.parent.mkdir(parents=True)
    (folder / "config.yaml").write_text("runner:\n  only_eval: true\n")
    line = {"start": [0, 4, 9], "repeat": 0, "success_once": True, "length": 12}
    journal.write_text(f"{json.dumps(line)}\n")
    with page(window, folder) as address:
        window.open(address)
        window.until(
            "return document.querySelector('#success').innerText.includes('1 of 1 episodes')"
        )
        film = add_video(folder, "failure", [False]).relative_to(folder).as_posix()
        add_result(folder, [True, False], video=film)
        window.until("return document.querySelectorAll('#trial-choice option').length == 2")
        assert window.text("#trial").startswith("failed: task 0, start 1 after 9 steps")
        assert window.run("return document.querySelectorAll('#trial video').length") == 1
        choose = "const c = document.querySelector('#trial-choice'); c.value = '1';"
        window.run(f"{choose} c.dispatchEvent(new Event('change'))")
        assert window.text("#trial").startswith("solved: task 0, start 0 after 9 steps")
        assert window.run("return document.querySelectorAll('#trial video').length") == 0


def test_the_report_is_the_page_without_a_server(window: Browser, logs: Path) -> None:
    folder = logs / "second"
    write_report(folder / "report.html", "a report")
    window.complaints()
    window.open((folder / "report.html").as_uri())
    window.until(f"{CHARTS} >= 10")
    assert window.text("#name") == "a report"
    assert "70.0%" in window.text("#cards") and "finished" in window.text("#status")
    assert not window.run("return document.querySelector('#run-choice').offsetParent")
    requests = "return performance.getEntriesByType('resource').map(e => e.name)"
    assert [name for name in window.run(requests) if not name.startswith("data:")] == []
    assert window.complaints() == []
