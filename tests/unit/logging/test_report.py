"""`report.html`: the page of a run, frozen; one file that needs nothing but itself."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from rlinf.logging.report import PAGE, page, write_report
from tests.unit.logging.run_folders import append, make_run

UPLOT = "uPlot.iife.min.js"
UPLOT_SUM = "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"


def written(folder: Path) -> str:
    write_report(folder / "report.html", "a run")
    return (folder / "report.html").read_text()


def frozen_in(text: str) -> dict:
    (data,) = re.findall(r'id="frozen">(.*?)</script>', text, re.S)
    return json.loads(data)


def test_the_page_holds_all_that_there_is_of_the_run(tmp_path: Path) -> None:
    view = frozen_in(written(make_run(tmp_path / "run")))
    assert (view["name"], view["finished"], view["step"]) == ("a run", True, 10)
    assert [e["step"] for e in view["evaluations"]] == [5, 10]
    assert len(view["curves"]["train/loss"]) == 10


def test_a_report_is_the_page_of_rlinf_watch_with_data(tmp_path: Path) -> None:
    text = written(make_run(tmp_path / "run"))
    live = page(None, "a run")
    data = r'(?<=id="frozen">).*?(?=</script>)'
    assert re.sub(data, "", text, flags=re.S) == re.sub(data, "", live, flags=re.S)
    assert frozen_in(live) is None


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    text = written(make_run(tmp_path / "run"))
    text = text.replace((PAGE / UPLOT).read_text(), "").replace("http://www.w3.org/2000/svg", "")
    for reference in ("http:", "https:", "<script src", "url(", "@import", "<iframe"):
        assert reference not in text
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == ["data:,", "#main"]


def test_what_a_user_wrote_is_data_and_ends_no_element(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", config="actor: {note: '</script><b>'}\n")
    append(folder, [{"step": 11, "eval/</script><!--\udcff": 1.0}])
    write_report(folder / "report.html", "<i>title</i>")
    text = (folder / "report.html").read_text()
    assert "</script><b>" not in text and "</script><!--" not in text
    assert "<title>&lt;i&gt;title&lt;/i&gt;</title>" in text
    view = frozen_in(text)
    assert view["config"]["actor.note"] == "</script><b>"


@pytest.mark.parametrize(
    "records", [[], [{"step": 1, "train/loss": None}], [{"step": 1, "env/success_once": None}]]
)
def test_a_run_that_has_hardly_begun_has_a_page_too(tmp_path: Path, records: list) -> None:
    append(tmp_path, records)
    assert "NaN" not in json.dumps(frozen_in(written(tmp_path)))


def test_the_charts_are_the_published_ones_with_their_licence() -> None:
    content = (PAGE / UPLOT).read_bytes()
    assert hashlib.sha256(content).hexdigest() == UPLOT_SUM
    assert "(v1.6.32)" in content[:100].decode()
    assert "Leon Sorokin" in page(None) and "THE SOFTWARE IS PROVIDED" in page(None)
