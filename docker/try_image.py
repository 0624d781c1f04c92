"""Runs the steps of stages of an image in an empty Debian root file system, without an engine.

    python3 docker/try_image.py maniskill_libero behavior --arg TORCH=cpu

As root, on Debian or Ubuntu with `mmdebstrap` (on Ubuntu also `debian-archive-keyring`). It makes
the root file system of the base image, runs the instructions of `docker/Dockerfile` in it with
chroot, and then what a user does first: each name of `switch_env`, and one iteration of the toy.
It prints sizes and removes everything in the end; `--keep FOLDER` keeps it, and takes the base
stage that is there.

Settings for networks are passed on: PIP_*, UV_*, SSL_CERT_FILE, REQUESTS_CA_BUNDLE and *_proxy,
with the files and folders that they name. Where uv cannot download Python, `--python FOLDER` copies
one to where uv would put it. /proc, /sys and /dev are mounted in a name space of each step, so that
they are gone when it ends. Only what the Dockerfile here uses is understood: no heredocs, no cache
mounts, no ADD. Uses only the standard library.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

REPO = Path(__file__).resolve().parents[1]
PASSED_ON = re.compile(r"(PIP|UV)_\w+|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|\w+_proxy", re.IGNORECASE)
OF_THE_HOST = "/mnt/host"  # below it lie the files that passed-on settings name
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
VENVS = "opt/venv"
NOTHING: Mapping[str, str] = {}


class CannotTry(Exception):
    """The stage cannot be run here; the message says why, and what to do."""


# ---- reading ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Instruction:
    """One line of a Dockerfile, continuation lines joined."""

    name: str  # in upper case
    rest: str


@dataclass
class Stage:
    """What stands between one FROM and the next."""

    image: str  # as FROM has it, variables not filled in
    steps: list[Instruction] = field(default_factory=list)


def instructions(text: str) -> list[Instruction]:
    """All instructions; comments are left out, between continuation lines too."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found = []
    for line in filter(str.strip, joined.splitlines()):
        name, _, rest = line.strip().partition(" ")
        found.append(Instruction(name.upper(), " ".join(rest.split())))
    return found


def read(text: str) -> tuple[dict[str, str], dict[str, Stage]]:
    """Defaults of the arguments before the first FROM, and the stages by name."""
    defaults: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    for step in instructions(text):
        if step.name == "FROM":
            image, _, name = step.rest.partition(" AS ")
            stages[name] = Stage(image)
        elif stages:
            list(stages.values())[-1].steps.append(step)
        else:
            name, _, value = step.rest.partition("=")
            defaults[name] = value
    return defaults, stages


def filled_in(text: str, values: Mapping[str, str]) -> str:
    """`$NAME` and `${NAME}` replaced, by nothing where there is no value."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda m: values.get(m[1] or m[2], ""), text)


def chain(stages: Mapping[str, Stage], target: str) -> list[Stage]:
    """The stage and those it stands on, the lowest first."""
    if target not in stages:
        raise CannotTry(f"there is no stage {target}: choose one of {', '.join(stages)}")
    found = [stages[target]]
    while found[0].image in stages:
        found.insert(0, stages[found[0].image])
    return found


def ignored(path: PurePosixPath, patterns: Iterable[str]) -> bool:
    """Whether `.dockerignore` leaves a path of the build's context out."""
    return any(
        path.match(pattern.removeprefix("**/"))
        if pattern.startswith("**/")
        else fnmatch.fnmatchcase(str(path), pattern) and len(path.parts) == pattern.count("/") + 1
        for pattern in patterns
    )


# ---- running ----------------------------------------------------------------------------------


@dataclass
class Image:
    """A root file system and the state of the instructions so far."""

    root: Path
    arguments: dict[str, str]
    network: dict[str, str]  # settings that are passed on
    mounts: list[Path]  # of the host, at the same path below /mnt/host
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": DEFAULT_PATH})
    shell: list[str] = field(default_factory=lambda: ["/bin/sh", "-c"])
    user: str = "root"
    folder: str = "/"
    only_settings: bool = False  # its files are there already

    def take(self, step: Instruction) -> None:
        """Does what one instruction says."""
        values = {**self.arguments, **self.environment}
        if step.name == "ARG":
            name, _, default = step.rest.partition("=")
            self.arguments.setdefault(name, filled_in(default, values))
        elif step.name == "ENV":
            for pair in shlex.split(step.rest):
                name, _, value = pair.partition("=")
                self.environment[name] = filled_in(value, values)
        elif step.name == "SHELL":
            self.shell = json.loads(step.rest)
        elif step.name == "USER":
            self.user = step.rest
        elif step.name == "WORKDIR":
            self.folder = step.rest
            (self.root / step.rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif step.name == "COPY":
            if not self.only_settings:
                self.copy(step.rest)
        elif step.name == "RUN":
            if not self.only_settings:
                self.run(step.rest, {**self.network, **self.arguments})
        else:
            raise CannotTry(f"{step.name} is not understood here; add it to {Path(__file__).name}")

    def copy(self, words: str) -> None:
        """COPY [--chown=USER:GROUP] SOURCE TARGET, from the clone."""
        *options, source, target = words.split()
        place = self.root / target.lstrip("/")
        origin = REPO / source
        if origin.is_dir():
            patterns = (REPO / ".dockerignore").read_text().split()

            def left_out(folder: str, names: list[str]) -> list[str]:
                here = PurePosixPath(Path(folder).relative_to(REPO).as_posix())
                return [name for name in names if ignored(here / name, patterns)]

            shutil.copytree(origin, place, symlinks=True, dirs_exist_ok=True, ignore=left_out)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, place)
        for option in options:
            owner = option.removeprefix("--chown=")
            self.chrooted(["chown", "-R", owner, target], {"PATH": DEFAULT_PATH}, "root", "/")

    def run(self, command: str, more: Mapping[str, str] = NOTHING) -> None:
        """Runs a command line as RUN does, or as a container does with no further variables."""
        print(f"+ {command}", flush=True)
        variables = {**more, **self.environment, "HOME": self.home()}
        self.chrooted([*self.shell, command], variables, self.user, self.folder)

    def chrooted(
        self, command: Sequence[str], variables: Mapping[str, str], user: str, folder: str
    ) -> None:
        """Runs a command in the root file system, with mounts that end with it."""
        lines = [
            "set -eu",
            "mount -t proc proc proc",
            "for name in sys dev; do mount --rbind /$name $name; done",
            "mount -t tmpfs -o size=20g,mode=1777 shm dev/shm",
        ]
        for path in self.mounts:
            inside = shlex.quote(f"{OF_THE_HOST}{path}".lstrip("/"))
            kind = f"mkdir -p {inside}"
            if path.is_file():
                kind = f"mkdir -p $(dirname {inside}) && touch {inside}"
            lines += [kind, f"mount --bind -o ro {shlex.quote(str(path))} {inside}"]
        inner = ["env", "-i", f"--chdir={folder}", *(f"{k}={v}" for k, v in variables.items())]
        entered = ["chroot", f"--userspec={user}:{user}", ".", *inner, *command]
        lines.append(f"exec {shlex.join(entered)}")
        spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        done = subprocess.run([*spaces, "bash", "-c", "\n".join(lines)], cwd=self.root, check=False)
        if done.returncode:
            raise CannotTry(f"exit code {done.returncode} of: {shlex.join(command)}")

    def home(self) -> str:
        """The home folder of the user."""
        for line in (self.root / "etc/passwd").read_text().splitlines():
            name, *_, home, _shell = line.split(":")
            if name == self.user:
                return home
        raise CannotTry(f"USER {self.user}: /etc/passwd has no such user")


def passed_on(environment: Mapping[str, str]) -> tuple[dict[str, str], list[Path]]:
    """The settings for networks, with paths as in the image, and these paths of the host."""
    settings: dict[str, str] = {}
    mounts: set[Path] = set()
    for name, value in environment.items():
        if not PASSED_ON.fullmatch(name):
            continue
        for word in re.split(r"[ ,]", value):
            path = Path(word.removeprefix("file://"))
            if path.is_absolute() and path.exists():
                mounts.add(path)
                value = value.replace(str(path), f"{OF_THE_HOST}{path}")
        settings[name] = value
    return settings, sorted(mounts)


def make_root(image: str, root: Path) -> None:
    """An empty root file system in place of `debian:SUITE-slim`."""
    found = re.fullmatch(r"(?:.*/)?debian:([a-z]+)(?:-\d+)?-slim(?:@.*)?", image)
    if found is None:
        raise CannotTry(f"{image}: only debian:SUITE-slim can be made here")
    options = ["--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io"]  # as in Debian's image
    command = ["mmdebstrap", *options, found[1], str(root)]
    print(f"+ {shlex.join(command)}", flush=True)
    subprocess.run(command, check=True)
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", root / "etc" / name)


def bring_python(image: Image, python: Path) -> None:
    """Copies a Python, without its packages, to where uv would put what it downloads."""
    code = "import platform; print(platform.python_version())"
    asked = [str(python / "bin" / "python3"), "-c", code]
    version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    name = f"cpython-{version}-linux-{os.uname().machine}-gnu"
    place = image.root / "opt" / "python" / name
    left_out = shutil.ignore_patterns("site-packages", "__pycache__", "test", "*.a")
    shutil.copytree(python, place, symlinks=True, ignore=left_out, dirs_exist_ok=True)
    # Where its library is shared, the loader has to find it.
    (image.root / "etc/ld.so.conf.d" / f"{name}.conf").write_text(f"/opt/python/{name}/lib\n")
    image.chrooted(["ldconfig"], {"PATH": DEFAULT_PATH}, "root", "/")


def first_steps(image: Image) -> None:
    """What a user does first in a container, with the variables of the image alone."""
    names = sorted(path.name for path in (image.root / VENVS).iterdir() if path.is_symlink())
    for name in names:
        image.run(f"source switch_env {name} && type -P rlinf && rlinf --version")
    image.run(f"source switch_env {names[0]} && rlinf train toy_ppo_mlp runner.max_steps=1")


def sizes(root: Path) -> None:
    """Disk space of the parts of an image."""
    places = [".", "workspace", *(f"opt/{path.name}" for path in sorted((root / "opt").iterdir()))]
    places += [f"{VENVS}/{path.name}" for path in (root / VENVS).iterdir() if not path.is_symlink()]
    print(f"sizes, {root.name}:", flush=True)
    for place in places:  # one by one, as du counts what it has counted already no more
        if (root / place).is_dir():
            subprocess.run(["du", "-sh", place], cwd=root, check=True)


def built(stages: Iterable[Stage], image: Image) -> None:
    """Takes all steps of the stages."""
    began = time.monotonic()
    for stage in stages:
        for step in stage.steps:
            image.take(step)
    print(f"{image.root.name}: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)


def on_top(base: Image, root: Path) -> Image:
    """A copy of an image, as the one that a stage begins with."""
    subprocess.run(["cp", "-a", "--reflink=auto", base.root, root], check=True)
    return replace(
        base, root=root, arguments=dict(base.arguments), environment={**base.environment}
    )


def try_targets(options: argparse.Namespace, folder: Path) -> None:
    """Builds the stages below the targets once, and then each target."""
    arguments = dict(pair.split("=", 1) for pair in options.arg)
    defaults, stages = read((REPO / "docker" / "Dockerfile").read_text())
    chains = {target: chain(stages, target) for target in options.targets}
    settings, mounts = passed_on(os.environ)
    *below, _ = next(iter(chains.values()))
    base = Image(folder / "base", arguments, settings, mounts)
    there = base.root.is_dir()
    if not there:
        make_root(filled_in(below[0].image, {**defaults, **arguments}), base.root)
    if there:
        base.only_settings = True
    built(below, base)
    base.only_settings = False
    for target, steps in chains.items():
        image = on_top(base, folder / target)
        for python in options.python:
            bring_python(image, python)
        built(steps[-1:], image)
        sizes(image.root)
        first_steps(image)
        if not options.keep:
            shutil.rmtree(image.root)


def main() -> int:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="+", help="stages of docker/Dockerfile")
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--python", action="append", default=[], type=Path, metavar="FOLDER")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where everything stays")
    options = parser.parse_args()
    try:
        if os.geteuid() or not shutil.which("mmdebstrap"):
            raise CannotTry("needs root and mmdebstrap: apt-get install mmdebstrap")
        with tempfile.TemporaryDirectory(prefix="image-") as scratch:
            folder = options.keep or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
            try_targets(options, folder.resolve())
    except CannotTry as error:
        print(f"try_image: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
