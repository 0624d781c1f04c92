"""The images: their stages call the installer with arguments it takes; `switch_env` in a shell.

No image is built here.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
TARGETS = ("maniskill_libero", "isaaclab", "behavior")


def stage(target: str) -> str:
    """The instructions of a stage, lines joined."""
    (text,) = re.findall(rf"^FROM base AS {target}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S)
    return text.replace("\\\n", " ")


@pytest.mark.parametrize("target", TARGETS)
def test_a_stage_calls_the_installer_as_it_wants_to_be_called(target: str):
    (command,) = re.findall(r"(bash requirements/install.sh .*?) &&", stage(target))
    words = shlex.split(command)
    done = subprocess.run(
        [*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_belongs_to_a_user_and_is_checked_as_that_user(target: str):
    lines = [line for line in stage(target).splitlines() if line.strip() and line[0] != "#"]
    user, check = lines[-2:]
    assert user == "USER rlinf" and check.startswith("RUN /opt/venv/rlinf/bin/rlinf")
    # Without OmniGibson, which no package index has, the doctor ends with exit code 2.
    assert check.endswith("rlinf doctor") is (target != "behavior")


def test_what_is_copied_into_an_image_exists():
    for source in re.findall(r"^COPY (?:--\S+ )?(\S+) ", DOCKERFILE, re.M):
        assert (ROOT / source).exists(), source


def test_the_services_build_targets_that_exist():
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    assert set(services) == {"cpu", "gpu"}
    for service in services.values():
        build = service["build"]
        assert build["target"] in TARGETS
        assert (ROOT / "docker" / build["context"] / build["dockerfile"]).is_file()
        assert set(build.get("args", {})) <= set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.M))


def switch(folder: Path, words: str) -> subprocess.CompletedProcess[str]:
    script = f"source {ROOT}/docker/switch_env {words} && echo $WHO"
    return subprocess.run(
        ["bash", "-c", script],
        env={"RLINF_VENVS": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_environment_of_a_model_is_activated_by_its_name(tmp_path: Path):
    for name in ("openvla", "gr00t"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "activate").write_text(f"WHO={name}\n")
    assert switch(tmp_path, "gr00t").stdout == "gr00t\n"
    unknown = switch(tmp_path, "openvla-oft")
    assert unknown.stdout == "" and "with one of: gr00t openvla\n" in unknown.stderr


def test_outside_an_image_it_says_what_to_do_instead(tmp_path: Path):
    done = switch(tmp_path / "none", "openvla")
    assert "this is not an RLinf image" in done.stderr
    assert "source .venv/bin/activate" in done.stderr


def test_it_says_so_where_it_is_run_instead_of_sourced():
    done = subprocess.run(
        ["bash", str(ROOT / "docker" / "switch_env"), "openvla"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "source switch_env NAME" in done.stderr) == (2, True)
