"""A check that crashes, hangs or raises ends alone, and the table says how."""

from __future__ import annotations

import fcntl
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlinf.errors import UserError
from rlinf.selftest import run as command
from rlinf.selftest.check import Check, CheckResult
from tests.unit.selftest.wrong import LOCK

WRONG = "tests.unit.selftest.wrong"
LONG_S = 600.0  # far beyond what any of them needs


def check(name: str, **settings: object) -> Check:
    given = {"limit_s": 1.0 if name == "hangs" else LONG_S, **settings}
    return Check(name, f"{WRONG}:{name}", **given)  # type: ignore[arg-type]


CHECKS = [
    *(check(name) for name in ("crashes", "hangs", "exits", "raises", "fails", "lacks", "passes")),
    check("leaves_a_process"),
    Check("far", f"{WRONG}:passes", gpu=3),
    Check("many", f"{WRONG}:passes", gpus=2),
    Check("packed", f"{WRONG}:passes", packages=("no_such_package",)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("selftest")


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def results(folder: Path, lines: list[str]) -> dict[str, CheckResult]:
    found = command.run(CHECKS, 0, False, folder, lines.append)
    return {result.name: result for result in found}


def test_each_way_to_end_is_told_and_the_others_go_on(results: dict[str, CheckResult]):
    told = {
        name: (result.status, result.text.partition(";")[0]) for name, result in results.items()
    }
    assert told == {
        "crashes": ("fail", "crashed with SIGSEGV"),
        "hangs": ("fail", "hung: no result within 1 s"),
        "exits": ("fail", "exited with code 3"),
        "raises": ("fail", "ValueError: not a number"),
        "fails": ("fail", "7 is not 8"),
        "lacks": ("not installed", "no recorded numbers"),
        "passes": ("pass", "on cpu"),
        "leaves_a_process": ("pass", ""),
        "far": ("no such device", "needs 4 GPUs"),
        "many": ("no such device", "needs 2 GPUs"),
        "packed": ("not installed", "needs no_such_package"),
    }
    assert results["fails"].numbers == {"found": 7}
    assert results["passes"].numbers == {"answer": 42}


def test_a_line_of_the_table_has_name_status_and_text(
    results: dict[str, CheckResult], lines: list[str]
):
    assert lines[6].split(maxsplit=2) == ["passes", "pass", "on cpu"]
    assert [line.split()[0] for line in lines] == list(results)


def test_what_a_check_says_and_its_traceback_are_in_its_log(
    results: dict[str, CheckResult], folder: Path
):
    assert "said aloud" in (folder / "06-passes" / "output.log").read_text()
    traceback = (folder / "03-raises" / "output.log").read_text()
    assert "in raises" in traceback and "more about it" in traceback


def test_processes_of_a_check_end_with_it(results: dict[str, CheckResult], folder: Path):
    with (folder / "07-leaves_a_process" / LOCK).open("w") as lock, ThreadPoolExecutor() as pool:
        pool.submit(fcntl.flock, lock, fcntl.LOCK_EX).result(LONG_S)


def test_the_file_has_the_form_of_a_benchmark_s_result(
    results: dict[str, CheckResult], tmp_path: Path
):
    path = command.write(list(results.values()), True, ("golden",), tmp_path)
    content = json.loads(path.read_text())
    root = Path(__file__).parents[3] / "benchmarks" / "results"
    known = json.loads(next(root.glob("policy-mid-*.json")).read_text())
    assert content.keys() == known.keys()
    assert content["machine"].keys() >= known["machine"].keys()
    assert content["command"] == "rlinf selftest --full --only golden"
    numbers = content["numbers"]["fails"]
    assert (numbers["status"], numbers["found"]) == ("fail", 7)
    assert path.name.startswith("selftest-") and content["date"][:10] in path.name


def test_the_exit_code_says_whether_one_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    lines: list[str] = []
    for name, code in (("passes", 0), ("lacks", 0), ("fails", 2)):
        monkeypatch.setattr(command, "catalog", lambda gpus, name=name: [check(name)])
        assert command.selftest(False, (), tmp_path / name, lines.append) == code
    assert lines[-2] == "1 fail" and Path(lines[-1].removeprefix("results: ")).exists()


def test_a_name_that_no_check_has_and_a_folder_that_exists_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="--only gold: no check"):
        command.chosen([check("passes")], ["gold"])
    with pytest.raises(UserError, match="another folder with --output"):
        command.selftest(False, (), tmp_path, print)
