"""What is built for others: its name, what is in it, and files that speak of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

import rlinf
from rlinf.config import compose

ROOT = Path(__file__).parents[3]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_a_wheel_has_the_configurations_where_the_code_looks_for_them():
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    source, target = next(iter(wheel["sources"].items()))
    assert wheel["only-include"] == ["rlinf", source]
    assert ROOT / target == compose._INSTALLED
    assert ROOT / source == compose._CHECKOUT
    assert list((ROOT / source).glob("*.yaml"))


def test_a_checkout_reads_the_configurations_beside_its_start_scripts():
    assert compose.CONFIG_DIR == compose._CHECKOUT


def test_the_distribution_has_a_name_of_its_own():
    assert PYPROJECT["project"]["name"] != "rlinf"  # another project's on the package index


def test_the_version_is_the_same_wherever_it_stands():
    version = PYPROJECT["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert rlinf.__version__ == version == citation["version"]


def test_the_workflows_call_scripts_that_exist():
    found = []
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        for job in yaml.safe_load(workflow.read_text())["jobs"].values():
            for step in job["steps"]:
                found += re.findall(r"(?:bash|bin/python) ([\w./]+)", step.get("run", ""))
    assert {"requirements/install.sh", "docs/build.py", ".ci/run"} <= set(found)
    assert all((ROOT / script).is_file() for script in found)


def test_the_forms_for_issues_are_read_by_their_service():
    forms = [f for f in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if f.stem != "config"]
    assert len(forms) == 3
    for form in forms:
        content = yaml.safe_load(form.read_text())
        assert content["name"] and content["description"]
        assert all(part["type"] == "textarea" for part in content["body"])
