"""Messages name a command that exists where the package was installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from rlinf import devices, installer, registry
from rlinf.config import pythons
from rlinf.config.problems import missing_packages

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installer, "SCRIPT", tmp_path / "requirements" / "install.sh")


def test_in_a_clone_the_installer_is_named():
    assert installer.command("--env libero", "libero") == (
        "bash requirements/install.sh --env libero"
    )
    assert installer.command() == "bash requirements/install.sh"


@pytest.mark.usefixtures("wheel")
def test_in_a_wheel_pip_is_named_and_a_clone_only_where_pip_does_not_suffice():
    assert installer.command("--env libero", "libero") == f'pip install "{PROJECT["name"]}[libero]"'
    assert installer.command("--env mjlab") == (
        "bash requirements/install.sh --env mjlab (in a clone of the repository)"
    )


@pytest.mark.usefixtures("wheel")
def test_a_model_names_the_extra_that_has_its_packages():
    (problem,) = missing_packages(["no_such_package"], "openvla_oft")
    assert problem.fix == f'run: pip install "{PROJECT["name"]}[openvla]"'


@pytest.mark.usefixtures("wheel")
def test_what_only_a_clone_can_do_is_not_asked_of_a_wheel():
    fix = devices.cuda_problem("570.1", "2.13+cpu", None, "no device").fix
    assert "uv pip install" in fix and "requirements/install.sh" not in fix
    (own,) = (spec.python for name, spec in registry.simulators().items() if name == "mjlab")
    assert own is not None
    assert pythons.chosen(own, None)[1].endswith("--env mjlab (in a clone of the repository)")


def test_every_message_takes_the_command_from_the_installer():
    package = Path(installer.__file__).parent
    naming = re.compile(r'^(?!.*`requirements).*"[^"]*bash requirements/install', re.MULTILINE)
    found = {path.name for path in package.rglob("*.py") if naming.search(path.read_text())}
    assert found == {"installer.py"}


def test_every_extra_that_a_message_can_name_exists():
    specs = [*registry.models().values(), *registry.simulators().values()]
    named = {spec.extra for spec in specs if spec.extra} | {"wandb", "swanlab", "modelscope"}
    assert named <= set(PROJECT["optional-dependencies"])
