"""The script that tries a stage without an engine reads Dockerfiles as Docker does."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[3]
SPEC = importlib.util.spec_from_file_location("try_image", ROOT / "docker" / "try_image.py")
assert SPEC is not None and SPEC.loader is not None
try_image = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = try_image  # its dataclasses look there
SPEC.loader.exec_module(try_image)
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()

SMALL = """
ARG BASE=debian:trixie-slim
FROM ${BASE} AS base
ARG TORCH=cu130
ARG WHO=me
ENV PATH=/opt/bin:$PATH \\
    BACKEND=${TORCH}
SHELL ["/bin/bash", "-c"]
# a comment
FROM base AS other
# another one
RUN one \\
# between the lines
    && two
USER me
"""


def image(tmp_path: Path, **arguments: str):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nme:x:1:1::/home/me:/bin/sh\n")
    found = try_image.Image(tmp_path, arguments, {"PIP_CERT": "/mnt/host/ca"}, [])
    found.ran = []
    found.chrooted = lambda *call: found.ran.append(call)
    return found


@pytest.mark.parametrize("given", ["cpu", None])
def test_a_stage_runs_with_the_variables_of_the_stages_below_it(tmp_path: Path, given: str | None):
    defaults, stages = try_image.read(SMALL)
    chain = try_image.chain(stages, "other")
    assert try_image.filled_in(chain[0].image, defaults) == "debian:trixie-slim"
    tried = image(tmp_path, **({"TORCH": given} if given else {}))
    for stage in chain:
        for step in stage.steps:
            tried.take(step)
    ((command, variables, user, folder),) = tried.ran
    assert command == ["/bin/bash", "-c", "one && two"]
    assert variables == {
        "PATH": f"/opt/bin:{try_image.DEFAULT_PATH}",
        "BACKEND": given or "cu130",
        "TORCH": given or "cu130",
        "WHO": "me",
        "PIP_CERT": "/mnt/host/ca",
        "HOME": "/root",
    }
    assert (user, folder, tried.user) == ("root", "/", "me")


def test_a_container_has_the_variables_of_the_image_alone(tmp_path: Path):
    tried = image(tmp_path, TORCH="cpu")
    tried.take(try_image.Instruction("ENV", "LANG=C.UTF-8"))
    tried.take(try_image.Instruction("USER", "me"))
    tried.run("rlinf doctor")
    ((_, variables, user, _),) = tried.ran
    assert set(variables) == {"PATH", "LANG", "HOME"}
    assert (user, variables["HOME"]) == ("me", "/home/me")


def test_every_instruction_of_the_stages_is_understood(tmp_path: Path):
    _, stages = try_image.read(DOCKERFILE)
    known = {"ARG", "ENV", "SHELL", "USER", "WORKDIR", "COPY", "RUN"}
    assert set(stages) == {"base", "maniskill_libero", "isaaclab", "behavior"}
    assert {step.name for stage in stages.values() for step in stage.steps} <= known
    with pytest.raises(try_image.CannotTry, match="ADD is not understood"):
        image(tmp_path).take(try_image.Instruction("ADD", "a b"))
    with pytest.raises(try_image.CannotTry, match="choose one of base, maniskill_libero"):
        try_image.chain(stages, "libero")


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        (".git", True),
        (".venv-isaaclab", True),
        ("rlinf/envs/__pycache__", True),
        ("docs/_build", True),
        ("logs", True),
        ("dist", True),
        ("rlinf/envs/maniskill/assets", True),
        ("rlinf/logs", False),
        ("requirements/install.sh", False),
    ],
)
def test_what_dockerignore_names_is_not_copied(path: str, left_out: bool):
    patterns = (ROOT / ".dockerignore").read_text().split()
    assert try_image.ignored(PurePosixPath(path), patterns) is left_out


def test_settings_for_networks_are_passed_on_with_the_files_they_name(tmp_path: Path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    settings, mounts = try_image.passed_on(
        {
            "PIP_FIND_LINKS": f"{wheels} https://wheels.example",
            "https_proxy": "http://proxy.example",
            "RLINF_VENV": str(tmp_path),
            "UV_CACHE_DIR": "/does/not/exist",
        }
    )
    assert settings == {
        "PIP_FIND_LINKS": f"/mnt/host{wheels} https://wheels.example",
        "https_proxy": "http://proxy.example",
        "UV_CACHE_DIR": "/does/not/exist",
    }
    assert mounts == [wheels]


def test_only_a_debian_can_be_made(tmp_path: Path):
    with pytest.raises(try_image.CannotTry, match="only debian:SUITE-slim can be made"):
        try_image.make_root("ubuntu:24.04", tmp_path)
