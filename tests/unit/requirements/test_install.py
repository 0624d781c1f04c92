"""`install.sh`: its arguments, its refusals, and when it counts as done.

uv and the environment's Python are small stand-ins on PATH that record how they were called: this
tests the script, not the download of a hundred packages (which the run of these tests began with).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).parents[3]

UV = """#!/usr/bin/env bash
[ "$1 $2 $3" = "pip install --help" ] && echo "  --torch-backend" && exit
echo "$@" >> "$UV_CALLS"
if [ "$1" = venv ]; then
    mkdir -p "${@: -1}/bin" "${@: -1}/lib/python3.11/site-packages"
    cp "$FAKE_PYTHON" "${@: -1}/bin/python"
    cp "$FAKE_PYTHON" "${@: -1}/bin/rlinf"
else
    exit "${UV_EXIT:-0}"
fi
"""
PYTHON = "#!/usr/bin/env bash\necho 'rendering: drew a frame'\n"


class Machine:
    """A place to install to, with the stand-ins on PATH."""

    def __init__(self, folder: Path) -> None:
        self.calls = folder / "calls"
        self.venv = folder / "an environment"
        (folder / "bin").mkdir()
        for name, text in (("uv", UV), ("fake-python", PYTHON)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "PIP_", "RLINF_"))}
        self.environment = kept | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PIP_CONFIG_FILE": os.devnull,
            "UV_CALLS": str(self.calls),
            "FAKE_PYTHON": str(folder / "bin" / "fake-python"),
        }

    def install(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(REPO / "requirements/install.sh"), "--venv", str(self.venv)]
        return subprocess.run(
            [*command, *arguments],
            env=self.environment | environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def uv_calls(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_python_keeps_what_it_compiles_in_the_environment_whatever_the_shell_says():
    asked = subprocess.run(
        [sys.executable, "-c", "import sys; print(sys.dont_write_bytecode)"],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert asked.stdout.strip() == "False"


def test_without_arguments_the_simulator_of_the_quickstart_is_installed(machine):
    done = machine.install("--dry-run")
    assert (done.returncode, "extras: maniskill\n" in done.stdout) == (0, True)
    assert machine.uv_calls() == []


@pytest.mark.parametrize(
    ("arguments", "lacking"),
    [
        ("embodied --model openvla-oft --env no_such_simulator", "unknown simulator"),
        ("embodied --model no_such_model --env maniskill", "unknown model"),
        ("--extra no-such-extra", "no support for 'no-such-extra'"),
        ("--no-such-option", "unknown argument"),
        ("--model", "needs a value"),
        ("--use-mirror", "no mirror is configured"),
        ("--use-mirror", "write RLINF_MIRROR=ADDRESS into requirements/mirrors.conf"),
        ("openvla --enable-behavior", "--model openvla-oft --env behavior"),
        ("embodied --model gr00t --env behavior", "take gr00t with maniskill_libero or isaaclab"),
        ("--model mlp --env libero", "LIBERO shows pictures, and this model reads none"),
        ("--model mlp --env libero_pro", "take mlp with maniskill, isaaclab or mjlab"),
        ("--model mlp --env libero_plus", "take mlp with maniskill, isaaclab or mjlab"),
        ("--extra isaaclab", "isaaclab is a simulator: --env isaaclab"),
        ("--extra openvla-oft", "openvla-oft is a model: --model openvla-oft"),
        ("--model libero", "libero is a simulator: --env libero"),
        ("--env openvla", "openvla is a model: --model openvla"),
        (
            "--env libero --env isaaclab",
            "--env isaaclab chooses the simulator isaaclab, --env libero",
        ),
        ("openvla-oft --enable-behavior --env libero", "--enable-behavior the simulator behavior"),
        (
            "openvla --model gr00t",
            "--model gr00t chooses the model gr00t, openvla the model openvla",
        ),
        (
            "--config libero_10_grpo_openvlaoft --env mjlab",
            "--config libero_10_grpo_openvlaoft the",
        ),
        ("--model gr00t --config maniskill_ppo_openvla", "give one of the two"),
    ],
)
def test_what_cannot_be_done_is_refused_with_code_2_before_anything_is_touched(
    machine, arguments, lacking
):
    done = machine.install(*arguments.split())
    assert done.returncode == 2
    assert lacking in done.stderr
    assert "\n  fix: " in done.stderr
    assert machine.uv_calls() == []


def test_the_same_choice_may_be_made_twice(machine):
    same = ("--config", "libero_10_grpo_openvlaoft", "--env", "libero", "--model", "openvlaoft")
    done = machine.install(*same, "--dry-run")
    assert (done.returncode, "extras: libero openvla\n" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("version", "code"), [("2.31", 2), ("2.34", 2), ("2.35", 0), ("2.41", 0), (None, 2)]
)
def test_a_system_that_cannot_load_a_simulators_wheels_is_refused(
    machine, tmp_path, version: str | None, code: int
):
    getconf = tmp_path / "bin" / "getconf"
    getconf.write_text(f"#!/bin/sh\n{f'echo glibc {version}' if version else 'exit 1'}\n")
    getconf.chmod(0o755)
    done = machine.install("--env", "isaaclab", "--dry-run")
    assert done.returncode == code
    if code:
        assert f"glibc 2.35 or newer; this system has {version or 'no glibc'}" in done.stderr
    assert machine.install("--env", "mjlab", "--dry-run").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ("embodied --model openvla-oft --env maniskill_libero", "libero"),
        ("--config libero_10_grpo_openvlaoft", "libero"),
        ("--config isaaclab_ppo_gr00t_demo", "gr00t"),
        ("--config some/path/maniskill_ppo_openvla.yaml", "openvla"),
    ],
)
def test_every_form_either_installs_the_extra_it_needs_or_says_that_there_is_none(
    machine, arguments, extra
):
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    done = machine.install("--dry-run", *arguments.split())
    if extra in project["optional-dependencies"]:
        assert re.search(rf"extras:.*\b{extra}\b", done.stdout)
    else:
        assert done.returncode == 2
        assert "no support for" in done.stderr
        assert "maniskill" in done.stderr  # what there is instead


def test_a_second_start_finds_everything_done_and_calls_nothing(machine):
    first = machine.install()
    assert first.returncode == 0, first.stderr
    calls = machine.uv_calls()
    assert len(calls) == 2  # venv, pip install
    second = machine.install("--quiet")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert machine.uv_calls() == calls


def test_an_extra_asked_for_later_is_added_to_those_installed(machine):
    machine.install("--extra", "wandb")
    machine.install("--extra", "dev")
    assert machine.uv_calls()[-1].endswith("--editable .[dev,maniskill,wandb]")
    calls = len(machine.uv_calls())
    machine.install("--extra", "wandb", "--extra", "dev")
    assert len(machine.uv_calls()) == calls


def test_a_failed_installation_is_not_marked_as_done(machine):
    failed = machine.install(UV_EXIT="1")
    assert failed.returncode == 2
    assert "uv could not install the packages" in failed.stderr
    assert not (machine.venv / ".rlinf-installed").exists()
    assert machine.install().returncode == 0


def test_the_mirror_comes_from_the_users_own_setting(machine):
    done = machine.install(
        "--use-mirror", "--dry-run", RLINF_MIRROR="https://mirror.example/simple"
    )
    assert done.returncode == 0


def test_the_mirror_of_the_file_is_taken_where_no_variable_has_one(machine, tmp_path):
    copy = tmp_path / "clone"
    shutil.copytree(REPO / "requirements", copy / "requirements")
    shutil.copy(REPO / "pyproject.toml", copy)
    mirrors = copy / "requirements" / "mirrors.conf"
    mirrors.write_text(
        mirrors.read_text().replace("MIRROR=\n", "MIRROR=https://mirror.example\n", 1)
    )
    uv = 'echo "$UV_DEFAULT_INDEX" >> "$UV_CALLS"\n' + UV.partition("\n")[2]
    (tmp_path / "bin" / "uv").write_text("#!/usr/bin/env bash\n" + uv)
    command = ["bash", str(copy / "requirements" / "install.sh"), "--venv", str(machine.venv)]
    for given in ({}, {"RLINF_MIRROR": "https://other.example"}):
        machine.calls.unlink(missing_ok=True)
        subprocess.run(
            [*command, "--use-mirror", "--extra", "wandb" if given else "dev"],
            env=machine.environment | given,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        asked = given.get("RLINF_MIRROR", "https://mirror.example")
        assert asked in machine.uv_calls()


def test_a_wheel_of_the_cpu_build_is_preferred_to_any_index(machine, tmp_path):
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a GPU and takes a CUDA build")
    assert "PyTorch from: cpu\n" in machine.install("--dry-run").stdout
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl").touch()
    for asked in ({}, {"UV_TORCH_BACKEND": "cpu"}):
        with_wheel = machine.install("--dry-run", PIP_FIND_LINKS=str(tmp_path), **asked)
        assert "PyTorch from: folder\n" in with_wheel.stdout
    # uv reads the variable as well, and would go to PyTorch's own index.
    uv = 'echo "backend ${UV_TORCH_BACKEND:-none}" >> "$UV_CALLS"\n' + UV.partition("\n")[2]
    (tmp_path / "bin" / "uv").write_text("#!/usr/bin/env bash\n" + uv)
    machine.install(PIP_FIND_LINKS=str(tmp_path), UV_TORCH_BACKEND="cpu")
    assert "backend none" in machine.uv_calls()[-2]
    cuda = machine.install("--dry-run", PIP_FIND_LINKS=str(tmp_path), UV_TORCH_BACKEND="cu130")
    assert "PyTorch from: cu130\n" in cuda.stdout


def test_an_environment_with_another_python_is_refused(machine):
    (machine.venv / "bin").mkdir(parents=True)
    (machine.venv / "bin/python").write_text("#!/bin/sh\nexit 1\n")
    (machine.venv / "bin/python").chmod(0o755)
    done = machine.install()
    assert done.returncode == 2
    assert "its Python is not 3.11" in done.stderr


def test_the_cpu_build_of_pytorch_has_the_version_that_is_pinned():
    pinned = re.search(r"^torch==(\S+)", (REPO / "requirements/constraints.txt").read_text(), re.M)
    cpu = re.search(r"^torch==(\S+)\+cpu", (REPO / "requirements/torch-cpu.txt").read_text(), re.M)
    assert pinned is not None and cpu is not None
    assert pinned[1] == cpu[1]


def test_every_pinned_package_has_a_hash_and_no_address():
    text = (REPO / "requirements/constraints.txt").read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert len(entries) > 100
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert not re.search(r"^torchvision==", text, re.M)


def test_a_file_system_without_locks_is_good_enough(machine: Machine, tmp_path: Path):
    flock = tmp_path / "bin" / "flock"
    flock.write_text("#!/bin/sh\necho 'flock: 9: Function not implemented' >&2\nexit 1\n")
    flock.chmod(0o755)
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert "no file locks here" in done.stdout and "not implemented" not in done.stderr


def test_a_broken_pytorch_is_named_before_anything_is_drawn(machine: Machine, tmp_path: Path):
    broken = tmp_path / "broken-python"
    broken.write_text(
        "#!/usr/bin/env bash\n"
        '[[ "$*" != *torch* ]] || { echo "libcudart.so.13: none" >&2; exit 1; }\n'
    )
    broken.chmod(0o755)
    failed = machine.install(FAKE_PYTHON=str(broken))
    assert failed.returncode == 2
    assert "cannot be imported: libcudart.so.13: none" in failed.stderr
    assert "render" not in failed.stdout + failed.stderr
    assert not (machine.venv / ".rlinf-installed").exists()


@pytest.mark.parametrize(("name", "version"), [("isaaclab", "3.12"), ("mjlab", "3.11")])
def test_a_simulator_with_a_python_of_its_own_gets_an_environment_beside_ours(
    machine: Machine, name: str, version: str
):
    robots = machine.venv / "lib/python3.11/site-packages/mani_skill/assets/robots/panda"
    robots.mkdir(parents=True)
    asked = machine.install("--dry-run", "--env", name)
    assert f"{name}: {machine.venv}-{name} with Python {version}\n" in asked.stdout
    done = machine.install("--env", name)
    assert done.returncode == 0, done.stderr
    ours, _, theirs, pins = machine.uv_calls()
    assert ours.endswith(str(machine.venv))
    assert f"--python {version}" in theirs or f"python{version}" in theirs or version in theirs
    assert theirs.endswith(f"{machine.venv}-{name}")
    assert "--require-hashes" in pins and f"{machine.venv}-{name}/bin/python" in pins
    again = machine.install("--quiet", "--env", name)
    assert (again.returncode, again.stdout, len(machine.uv_calls())) == (0, "", 4)


@pytest.mark.parametrize(
    "arguments",
    [
        "openvla-oft --enable-behavior",
        "embodied --model openvla-oft --env behavior",
        "--config behavior_ppo_openvlaoft",
    ],
)
def test_behavior_gets_both_environments_and_what_remains_is_said(machine: Machine, arguments: str):
    done = machine.install("--dry-run", *arguments.split())
    assert done.returncode == 0, done.stderr
    assert "extras: openvla\n" in done.stdout
    assert f"behavior: {machine.venv}-behavior with Python 3.10\n" in done.stdout
    for step in (
        f"--python {machine.venv}-behavior/bin/python --no-deps -e bddl -e OmniGibson",
        "isaac-sim-standalone-4.5.0-linux-x86_64.zip",
        "export ISAAC_PATH=",
        "over 30 GB, under BEHAVIOR's licence: export OMNIGIBSON_DATA_PATH=",
        "rlinf assets download behavior --accept-license",
    ):
        assert step in done.stdout
    assert machine.uv_calls() == []


def test_the_python_of_behavior_has_the_variables_of_isaac_sim(machine: Machine, tmp_path: Path):
    done = machine.install("--env", "behavior")
    assert done.returncode == 0, done.stderr
    assert "left to do for BEHAVIOR" in done.stdout
    python = Path(f"{machine.venv}-behavior/bin/isaac-python")
    (tmp_path / "setup_conda_env.sh").write_text("export EXP_PATH=$ISAAC_PATH/apps\n")
    (python.parent / "python").write_text('#!/bin/sh\necho "$1 $EXP_PATH"\n')
    for isaac, said in ((str(tmp_path), f"-c {tmp_path}/apps\n"), ("", "-c \n")):
        environment = {"PATH": os.environ["PATH"], "ISAAC_PATH": isaac}
        asked = subprocess.run([python, "-c"], env=environment, capture_output=True, text=True)
        assert asked.stdout == said
    assert machine.install("--quiet", "--env", "behavior").stdout == ""


@pytest.mark.parametrize("backend", ["cpu", "cu130"])
def test_hashed_pins_of_a_simulator_are_not_taken_from_pytorchs_own_index(
    machine: Machine, tmp_path: Path, backend: str
):
    uv = 'echo "backend ${UV_TORCH_BACKEND:-none}" >> "$UV_CALLS"\n' + UV.partition("\n")[2]
    (tmp_path / "bin" / "uv").write_text("#!/usr/bin/env bash\n" + uv)
    done = machine.install("--env", "behavior", UV_TORCH_BACKEND=backend)
    assert done.returncode == 0, done.stderr
    *_, asked, pins = machine.uv_calls()
    assert "--require-hashes" in pins and asked == "backend none"


def test_a_simulator_that_could_not_be_installed_is_not_marked_as_done(machine: Machine):
    machine.install()
    failed = machine.install("--env", "mjlab", UV_EXIT="1")
    assert failed.returncode == 2
    assert "uv could not install mjlab" in failed.stderr
    assert not Path(f"{machine.venv}-mjlab/.rlinf-installed").exists()
