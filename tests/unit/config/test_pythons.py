"""Where the Python of a simulator is looked for, and in which order."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from rlinf.config import preflight
from rlinf.config.load import load
from rlinf.config.pythons import chosen, hosting
from rlinf.envs.hosting.interpreter import Interpreter
from rlinf.errors import UserError
from rlinf.registry import Hosting, OwnPython, SimulatorSpec, simulators

OWN = OwnPython(name="far", version="3.12", variable="RLINF_FAR_PYTHON", package="far_simulator")
SPEC = SimulatorSpec("", "rlinf.envs.toy.reach:ToyReach", Hosting(), python=OWN)
REPO = Path(__file__).parents[3]


def test_the_configuration_goes_before_the_variable_and_that_before_the_installer(monkeypatch):
    monkeypatch.setenv(OWN.variable, "/variable/python")
    assert chosen(OWN, "/given/python") == (Path("/given/python"), "env.*.python")
    assert chosen(OWN, None) == (Path("/variable/python"), OWN.variable)
    monkeypatch.delenv(OWN.variable)
    beside = Path(f"{sys.prefix}-far/bin/python")
    assert chosen(OWN, None) == (beside, "requirements/install.sh --env far")
    assert hosting(SPEC, None).interpreter == str(beside)
    assert hosting(SPEC, "~/python").interpreter == str(Path.home() / "python")


def test_a_simulator_of_our_python_runs_under_another_only_where_that_is_asked_for():
    ours = SimulatorSpec("", "rlinf.envs.toy.reach:ToyReach")
    assert hosting(ours, None).interpreter is None
    assert hosting(ours, "/other/python").interpreter == "/other/python"


def test_where_it_is_missing_three_ways_are_named(monkeypatch):
    monkeypatch.delenv(OWN.variable, raising=False)
    with pytest.raises(UserError, match="far/bin/python does not exist") as caught:
        Interpreter(hosting(SPEC, None), SPEC.build)
    assert "install.sh --env far" in caught.value.fix
    assert "env.*.python" in caught.value.fix and OWN.variable in caught.value.fix


def test_a_run_is_refused_where_the_simulator_s_python_lacks_what_it_needs(tmp_path, monkeypatch):
    """And the missing Isaac Sim is said before anything starts: what to install, and where."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("RLINF_ISAACLAB_PYTHON", str(python))
    asked = [f"env.{part}.init_params.physics=isaacsim" for part in ("train", "eval")]
    for settings, packages in (([], ["isaaclab"]), (asked, ["isaaclab", "isaacsim"])):
        problems = preflight.lacking(load("isaaclab_ppo_mlp", settings).config)
        where = f"env.*.simulator_type = isaaclab: {python} (RLINF_ISAACLAB_PYTHON) has no "
        assert [problem.message for problem in problems] == [where + name for name in packages]
    for words in ("ACCEPT_EULA=Y", "isaacsim 6 for IsaacLab 3.0", "RTX", "physics=newton"):
        assert words in problems[1].fix
    python.write_text("#!/bin/sh\necho no libc >&2; exit 1\n")
    (problem,) = preflight.lacking(load("isaaclab_ppo_mlp", []).config)
    assert problem.message.endswith("/python does not start: no libc")


def test_the_installer_makes_the_python_that_each_spec_names():
    script = (REPO / "requirements/install.sh").read_text()
    body = script.partition("own_python_of() {")[2].partition("esac")[0]
    made = dict(re.findall(r"^ +(\w+)\) echo (3\.\d+) ;;", body, re.M))
    wanted = {
        spec.python.name: spec.python.version for spec in simulators().values() if spec.python
    }
    assert made == wanted
    for name in wanted:
        pins = (REPO / "requirements" / f"{name}.txt").read_text()
        entries = re.split(r"\n(?=[a-z0-9])", pins)[1:]
        assert len(entries) > 50
        assert all("--hash=sha256:" in entry for entry in entries)
        assert "://" not in pins
