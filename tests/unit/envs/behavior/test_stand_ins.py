"""The adapter in its own Python, on stand-ins that keep the published contract."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rlinf.cli import main
from rlinf.config.pythons import hosting
from rlinf.data.types import Start
from rlinf.envs.behavior.config import BehaviorParams
from rlinf.envs.behavior.spec import OWN_PYTHON, SPEC
from rlinf.envs.episode import EpisodeRules
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.errors import UserError
from rlinf.runners.doctor import own_python_finding
from tests.behavior import data_sets, stand_in

Batch = Callable[..., ProcessBatch]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    def make(python: Path, envs: int = 2, processes: int = 1, **settings: object) -> ProcessBatch:
        params = BehaviorParams(**{"tasks": "0", "camera_size": (32, 32), **settings})
        return ProcessBatch(
            SPEC.build,
            params.model_dump(mode="json"),
            envs,
            EpisodeRules(max_episode_steps=4, final="none"),
            processes,
            tmp_path / "simulator.log",
            300.0,
            hosting=hosting(SPEC, str(python)),
        )

    return make


def test_several_activities_run_in_processes_of_their_own_and_scenes_are_exchanged(
    tmp_path: Path, batch: Batch
):
    there = batch(stand_in(tmp_path, "og37"), processes=2, tasks="0-1")
    assert there.tasks == ("turning_on_radio", "picking_up_trash")
    first = there.start(np.arange(2), [Start(0, 3, 1), Start(1, 4, 1)])
    assert first.instructions == (
        "turn the radio on",
        "pick up the soda cans and put them into the trash can",
    )
    again = there.start(np.arange(2), [Start(1, 4, 1), Start(0, 3, 1)])
    np.testing.assert_array_equal(again.images[[1, 0]], first.images)
    there.close()
    assert sorted(path.name for path in (tmp_path / "omnigibson").iterdir()) == ["0", "1"]


def test_the_clock_of_an_episode_is_ours_to_the_step(tmp_path: Path, batch: Batch):
    there = batch(stand_in(tmp_path, "og_fork"))
    there.start(np.arange(2), [Start(0, 0, 1)] * 2)
    actions = np.zeros((2, 6, 23), np.float32)
    result = there.run_chunk(actions, np.ones(2, bool), [None] * 2)
    assert result.truncated.tolist() == [[False, False, False, True, False, False]] * 2
    assert not result.terminated.any()
    there.close()


def test_the_package_of_the_index_is_too_old_and_told_so(tmp_path: Path, batch: Batch):
    with pytest.raises(
        UserError, match=r"OmniGibson 1\.1\.1 .*: 3\.7 or newer is needed"
    ) as caught:
        batch(stand_in(tmp_path, "og37", version="1.1.1"))
    assert "docs/source-en/benchmarks/behavior.md" in caught.value.fix


def test_a_package_that_does_not_import_is_told_with_what_it_needs(tmp_path: Path, batch: Batch):
    python = stand_in(tmp_path, "og37")
    old = tmp_path / "packages" / "omnigibson"  # as the import of 1.1.1 ends on a CPU
    old.mkdir()
    (old / "__init__.py").write_text("raise RuntimeError('no CUDA device')")
    python.write_text(python.read_text().replace("stand_ins/common", "stand_ins/none"))
    with pytest.raises(UserError, match="does not import: RuntimeError: no CUDA dev") as caught:
        batch(python)
    assert "GPU with ray tracing" in caught.value.fix


def test_doctor_says_what_is_there_and_that_it_was_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = OWN_PYTHON
    monkeypatch.setenv(own.variable, str(stand_in(tmp_path, "og37")))
    monkeypatch.setenv("ISAAC_PATH", "/isaac")
    found = own_python_finding("behavior", own)
    # Where no other Python was made, the stand-in runs under ours, which has bddl.
    packages = r"omnigibson 3\.7\.1, bddl (not installed|[\d.]+), isaacsim not installed"
    assert re.match(packages, found.text)
    assert "ISAAC_PATH = /isaac: there is no such folder" in found.text
    assert "OmniGibson itself was not run by us" in found.text
    old = tmp_path / "old"
    old.mkdir()
    monkeypatch.setenv(own.variable, str(stand_in(old, "og37", version="1.1.1")))
    found = own_python_finding("behavior", own)
    assert "omnigibson 1.1.1 at" in found.text and "3.7 or newer is needed" in found.text
    assert "then add OmniGibson, Isaac Sim and the data sets" in found.fix


def test_the_official_functions_fetch_the_data_sets_once_their_licence_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    download = ["assets", "download", "behavior"]
    monkeypatch.delenv("OMNIGIBSON_DATA_PATH", raising=False)
    assert main(download) == 2
    assert "OMNIGIBSON_DATA_PATH is not set" in capsys.readouterr().err
    target = tmp_path / "target"
    target.mkdir()
    monkeypatch.setenv("OMNIGIBSON_DATA_PATH", str(target))
    monkeypatch.setenv("RLINF_BEHAVIOR_PYTHON", "/no/python")
    assert main([*download, "--accept-license"]) == 2
    assert "/no/python does not exist" in capsys.readouterr().err
    monkeypatch.setenv("RLINF_BEHAVIOR_PYTHON", str(stand_in(tmp_path, "og37")))
    assert main(download) == 2
    refused = capsys.readouterr()
    assert "add --accept-license to the command if you accept it" in refused.err
    assert (refused.out, list(target.iterdir())) == ("", [])  # not even what needs no licence
    assert main([*download, "--accept-license"]) == 0
    assert {path.name for path in target.iterdir()} == {
        path.name for path in data_sets(tmp_path / "all").iterdir()
    }
    capsys.readouterr()
    assert main(download) == 0  # there is nothing left to accept
    assert capsys.readouterr().out.count("already in") == 3
    (target / "omnigibson.key").unlink()
    assert main([*download, "--accept-license"]) == 2
    told = capsys.readouterr().err
    assert f"there is no file at {target}/omnigibson.key" in told
    assert f"{target}/behavior-1k-assets as it was: remove that folder" in told
