"""The example of a robot, and the client that the guide shows, against a server."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.serving.conftest import Running

ROOT = Path(__file__).parents[3]
GUIDES = tuple(ROOT / f"docs/source-{language}/guides/serving.md" for language in ("en", "zh"))


@pytest.mark.parametrize(("name", "actions"), [("toy", 8), ("quickstart", 7)])
def test_the_example_asks_for_two_chunks_and_executes_each_action(
    serve: Callable[..., Running], name: str, actions: int
):
    running = serve(name)
    chunk = running.server.about["action_horizon"]
    command = [sys.executable, str(ROOT / "examples/serving/robot.py")]
    options = ["--port", str(running.port), "--chunks", "2", "--prompt", "push the cube"]
    process = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()[len(running.server.about) :]
    assert len(lines) == 2 * chunk
    assert all(len(re.findall(r"[+-]\d\.\d{3}", line)) == actions for line in lines)


@pytest.mark.parametrize("guide", GUIDES, ids=["en", "zh"])
def test_the_client_of_the_guide_gets_actions(
    serve: Callable[..., Running], guide: Path, capsys: pytest.CaptureFixture[str]
):
    running = serve("quickstart")
    shown = re.findall(r"^```python\n(.*?)^```$", guide.read_text(), re.M | re.S)[0]
    exec(compile(shown.replace("8000", str(running.port)), str(guide), "exec"), {})
    assert "(4, 7)" in capsys.readouterr().out
