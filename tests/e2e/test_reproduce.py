"""The shortest row of the table of results, from the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from rlinf.errors import NotReproduced
from rlinf.results.registry import row_of
from rlinf.runners.reproduce import conclude
from tests.e2e import runs


def test_the_toy_row_is_reproduced_and_one_that_claims_too_much_is_not(tmp_path: Path) -> None:
    said = runs.run("reproduce", "toy_ppo_mlp", tmp_path)
    assert "toy_ppo_mlp is reproduced." in said
    (verdict,) = json.loads((tmp_path / "reproduce.json").read_text())["verdicts"]
    assert verdict["inside"] and verdict["test"] == "recorded interval"
    assert verdict["measured"]["episodes"] == 64
    row = row_of("toy_ppo_mlp")
    (claimed,) = row.expected
    half = claimed.model_copy(update={"success": 0.3, "interval": (0.2, 0.4)})
    console = Console(file=io.StringIO())
    with pytest.raises(NotReproduced, match="outside: all"):
        conclude(row.model_copy(update={"expected": (half,)}), tmp_path, console)
    refused = runs.start("reproduce", "toy_ppo_mlp", tmp_path, "runner.max_steps=1")
    assert "another experiment" in runs.output_of(refused) and refused.returncode == 2
