"""Simulators under another Python: every version that this machine has, with NumPy alone in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from rlinf.data.types import Start
from rlinf.envs.episode import EpisodeBatch, EpisodeRules
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.envs.toy.reach import ToyReach
from rlinf.errors import EnvironmentFailure, UserError, WorkerFailed
from rlinf.registry import Hosting
from tests import pythons
from tests.unit.envs.hosting.test_batch import RULES, SETTINGS, SIZE, assert_equal, run, starts

TOY = "rlinf.envs.toy.reach:ToyReach"
GUEST = "tests.unit.envs.hosting.guest:Guest"


@pytest.fixture(params=sorted(pythons.available().items()), ids=lambda one: one[0])
def other(request: pytest.FixtureRequest) -> tuple[str, Hosting]:
    """A version of Python, and how simulators are hosted there."""
    version, python = request.param
    return version, Hosting(interpreter=python, environment={"GUEST": "at home"})


def batch(
    hosting: Hosting, folder: Path, build: str = TOY, retries: int = 0, **settings: object
) -> ProcessBatch:
    settings = dict(SETTINGS) if build == TOY else settings
    log = folder / "out.log"
    return ProcessBatch(build, settings, SIZE, RULES, 2, log, 60.0, retries, hosting)


def test_another_python_gives_bit_for_bit_what_ours_gives(other, tmp_path):
    here, there = EpisodeBatch(ToyReach(SIZE, **SETTINGS), RULES), batch(other[1], tmp_path)
    ids = np.arange(SIZE)
    assert_equal(there.start(ids, starts(0)), here.start(ids, starts(0)))
    for mine, theirs in zip(run(here, 8, 1), run(there, 8, 1), strict=True):
        assert_equal(theirs, mine)
    assert_equal(there.state(), here.state())
    assert {frame.env for frame in there.take_frames()} == {10, 11, 12, 13}
    there.close()


def test_it_runs_there_with_its_variables_and_its_own_packages(other, tmp_path):
    version, hosting = other
    with pytest.raises(UserError) as caught:
        batch(hosting, tmp_path, GUEST, ends_by="telling")
    told = json.loads(caught.value.message)
    assert told["version"] == version
    assert told["variable"] == "at home"
    assert not set(told["loaded"]) & {"pydantic", "torch", "psutil", "rlinf.config"}
    ours = Path(__file__).parents[4]
    if hosting.interpreter == sys.executable:
        pytest.skip("needs another Python: python tests/pythons.py makes them")
    assert not [folder for folder in told["path"] if Path(folder).is_relative_to(ours / ".venv")]


def test_processes_that_the_simulator_started_end_with_it(other, tmp_path):
    there = batch(other[1], tmp_path, GUEST, ends_by="hand", helper=str(tmp_path / "helper"))
    helpers = [psutil.Process(int(pid)) for pid in (tmp_path / "helper").read_text().split()]
    assert len(helpers) == 2
    there.close()
    _, alive = psutil.wait_procs(helpers, timeout=10)
    assert not alive


def test_an_interpreter_that_is_not_there_is_named_with_what_to_do(tmp_path):
    with pytest.raises(UserError, match="/no/python does not exist") as caught:
        batch(Hosting(interpreter="/no/python", interpreter_fix="bring it"), tmp_path)
    assert caught.value.fix == "bring it"


def test_what_the_other_python_lacks_arrives_with_its_traceback(other, tmp_path):
    with pytest.raises(WorkerFailed, match="No module named 'rlinf_no_such_simulator'"):
        batch(other[1], tmp_path, GUEST, ends_by="import")


def test_a_process_that_dies_there_is_replaced(other, tmp_path):
    others = set(psutil.Process().children())
    there = batch(other[1], tmp_path, retries=1)
    there.start(np.arange(SIZE), starts(5))
    before = there.state()
    children = set(psutil.Process().children()) - others
    next(c for c in children if "boot.py" in " ".join(c.cmdline())).kill()
    there.run_chunk(np.zeros((SIZE, 1, 2), np.float32), np.zeros(SIZE, bool), [None] * SIZE)
    assert there.restarts == 1
    assert_equal(there.state(), before)
    there.close()


def test_a_failure_there_names_env_start_and_action(other, tmp_path):
    there = batch(other[1], tmp_path, GUEST, ends_by="failure")
    there.start(np.arange(SIZE), starts(5))
    with pytest.raises(EnvironmentFailure, match=r"env 1[03] failed at step 1 from Start"):
        actions = np.zeros((SIZE, 3, 2), np.float32)
        there.run_chunk(actions, np.ones(SIZE, bool), [None] * SIZE)


def test_the_childs_side_imports_the_standard_library_and_numpy_alone(other):
    """Also what an adapter may use: types, episodes, keyed random numbers and errors."""
    version, hosting = other
    repo = Path(__file__).parents[4]
    code = (
        "import sys; import numpy; numpys = set(sys.modules);"
        "import rlinf.envs.hosting.hosted, rlinf.data.random, rlinf.envs.failures;"
        "found = {name.partition('.')[0] for name in set(sys.modules) - numpys};"
        "print(*sorted(found - set(sys.stdlib_module_names) - {'rlinf', 'numpy', '__mp_main__'}))"
    )
    python = [hosting.interpreter, "-c", code]
    done = subprocess.run(python, cwd=repo, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [], version


def test_episode_rules_and_starts_of_another_python_mean_the_same(other, tmp_path):
    rules = EpisodeRules(max_episode_steps=4, task_steps=(2,), env_offset=3)
    there = ProcessBatch(TOY, SETTINGS, 1, rules, 1, tmp_path / "log", 60.0, hosting=other[1])
    there.start(np.zeros(1, np.int64), [Start(0, -1, 4)])
    result = there.run_chunk(np.zeros((1, 3, 2), np.float32), np.ones(1, bool), [None])
    assert result.valid.tolist() == [[True, True, False]]
    assert result.episodes[0].env == 3
    there.close()
