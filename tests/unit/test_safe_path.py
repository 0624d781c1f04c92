"""No module comes from the working folder; whole runs in a hostile one are in tests/e2e."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rlinf.envs.rendering import check_rendering
from rlinf.logging.uploads import Uploader
from rlinf.safe_path import without_working_folder


@pytest.mark.parametrize(
    ("given", "kept"),
    [("/a", "/a"), (":/a", "/a"), ("/a::b:", "/a:b"), ("", ""), (":", "")],
)
def test_an_empty_entry_of_the_search_path_is_left_out(given: str, kept: str):
    found = without_working_folder({"PYTHONPATH": given, "A": "b"})
    assert found == {"PYTHONPATH": kept, "A": "b", "PYTHONSAFEPATH": "1"}
    assert without_working_folder({}) == {"PYTHONSAFEPATH": "1"}


def test_the_command_imports_nothing_from_where_it_is_started(tmp_path: Path):
    for name in ("omegaconf.py", "pydantic.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')")
    rlinf = Path(sys.executable).parent / "rlinf"
    checked = subprocess.run(
        [rlinf, "check", "toy_ppo_mlp"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":/nowhere"},
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr


@pytest.fixture
def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with what each new interpreter says of its search path before it ends."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, sys\n"
        f"print(sys.flags.safe_path, file=open({str(tmp_path / 'flags')!r}, 'a'))\n"
        "os._exit(1)\n"
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return tmp_path / "flags"


def test_a_renderer_probe_has_a_safe_path(flags: Path):
    check_rendering("maniskill", "cpu")
    assert flags.read_text() == "True\n"


def test_an_upload_has_a_safe_path(flags: Path, tmp_path: Path):
    pytest.importorskip("wandb")
    upload = Uploader("wandb", tmp_path / "metrics.jsonl", "project", "experiment", {})
    upload._process.wait()
    assert flags.read_text() == "True\n"
    upload._release()
