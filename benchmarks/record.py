"""Results of a benchmark with command, commit, machine and versions, and the folder they lie in."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rlinf.selftest import record as machine

RESULTS = Path(__file__).parent / "results"


def record(numbers: dict[str, Any]) -> dict[str, Any]:
    """The numbers, and what they were measured with."""
    command = [str(Path("benchmarks") / Path(sys.argv[0]).name), *sys.argv[1:]]
    return machine.record(numbers, " ".join(["python", *command]))


def write(case: str, content: dict[str, Any]) -> Path:
    """Writes `results/<case>-<hardware>-<date>.json`; a result of the same day is replaced."""
    path = RESULTS / f"{case}-{machine.hardware(content)}-{content['date'][:10]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(machine.rounded(content), indent=1) + "\n")
    return path
