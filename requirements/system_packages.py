"""Installs the Debian packages that pip cannot: Python's own installers, and what draws images.

Uses only the standard library, because it runs before there is an environment.

    python3 requirements/system_packages.py python       # pip and venv, to fetch uv with
    python3 requirements/system_packages.py maniskill    # what draws its images: Vulkan
    python3 requirements/system_packages.py libero       # what draws its images: OpenGL

The commands run as root or through `sudo -n`. Where neither is possible they are printed and the
exit code is 2, as for any failure. `--print` only prints them.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PYTHON_PACKAGES = ("python3-pip", "python3-venv")
# opencv needs libGL and GLib, SAPIEN needs libX11 and libxcb; no X server is needed.
LIBRARIES = ("libgl1", "libglib2.0-0", "libx11-6", "libxcb1")
# The Vulkan loader, and Mesa's Vulkan drivers: among them lavapipe, which draws on the CPU.
VULKAN = ("libvulkan1", "mesa-vulkan-drivers")

# LIBERO draws with OpenGL on EGL, and opencv needs GLib.
EGL = ("libegl1", "libegl-mesa0", "libgl1", "libgl1-mesa-dri", "libglib2.0-0")

# Debian releases whose own Mesa SAPIEN refuses, with the suite that has one it accepts.
BACKPORTS = {"bookworm": "bookworm-backports"}
# Releases whose Mesa is too old and that offer no newer one themselves.
MESA_TOO_OLD = {"jammy": "Ubuntu 22.04 has Mesa 23.2; SAPIEN's CPU rendering needs 24.3 or newer."}
# Others report that it draws there; it was not tried.
NEWER_MESA = """\
  Without a GPU's Vulkan driver, take a newer Mesa into a folder of your own, which is reported
  to work, and start again:

micromamba create --yes --prefix ~/.local/lavapipe --channel conda-forge mesa-lavapipe
export VK_DRIVER_FILES=$(echo ~/.local/lavapipe/share/vulkan/icd.d/lvp_icd*.json)
"""

# Groups that any release has in a version that will do.
PLAIN = {"python": PYTHON_PACKAGES, "libero": EGL}


class CannotInstall(Exception):
    """The packages cannot be installed from here; the message says why and what to do."""


@dataclass(frozen=True)
class Step:
    """One command that needs administrator rights."""

    command: tuple[str, ...]
    stdin: str = ""  # text for the command's standard input

    def shown(self, prefix: str = "sudo ") -> str:
        """The step as a line, or a here-document, to paste into a shell."""
        line = prefix + shlex.join(self.command)
        return f"{line} <<'EOF'\n{self.stdin}EOF" if self.stdin else line


@dataclass(frozen=True)
class Source:
    """Where APT gets one archive from: the part of a source entry that is the mirror's."""

    suites: tuple[str, ...]
    components: tuple[str, ...]
    file_name: str  # file for another suite of the same archive, in the entry's own format
    template: str  # that file's text, with SUITE where the name of the suite goes


# ---- reading APT's configuration --------------------------------------------------------------


def read_release(root: Path) -> dict[str, str]:
    """The fields of /etc/os-release; empty where there is no such file."""
    path = root / "etc/os-release"
    if not path.is_file():
        return {}
    pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    return {key: value.strip().strip("\"'") for key, value in pairs}


def read_sources(root: Path) -> list[Source]:
    """All enabled binary sources of APT, from both of its file formats."""
    folder = root / "etc/apt"
    sources: list[Source] = []
    for path in [folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))]:
        if path.is_file():
            sources += list_sources(path.read_text())
    for path in sorted(folder.glob("sources.list.d/*.sources")):
        sources += deb822_sources(path.read_text())
    return sources


def list_sources(text: str) -> Iterator[Source]:
    """Entries of the one-line format: `deb [options] URI SUITE COMPONENT...`."""
    entry = re.compile(r"deb\s+(?P<options>\[[^]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<rest>.*)")
    for line in text.splitlines():
        match = entry.match(line.split("#", 1)[0].strip())
        if match:
            options = (match["options"] or "").strip()
            start = " ".join(part for part in ("deb", options, match["uri"]) if part)
            yield Source(
                suites=(match["suite"],),
                components=tuple(match["rest"].split()),
                file_name="rlinf-backports.list",
                template=f"{start} SUITE main\n",
            )


def deb822_sources(text: str) -> Iterator[Source]:
    """Entries of the deb822 format: paragraphs of `Field: value`, with continuation lines."""
    for paragraph in re.split(r"\n\s*\n", text):
        fields = deb822_fields(paragraph)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
            continue
        kept = {name: value for name, value in fields.items() if name not in REPLACED_FIELDS}
        lines = [f"{name.title()}: {value}" for name, value in kept.items()]
        stanza = "\n".join(lines)
        yield Source(
            suites=tuple(fields.get("suites", "").split()),
            components=tuple(fields.get("components", "").split()),
            file_name="rlinf-backports.sources",
            template=f"Types: deb\nSuites: SUITE\nComponents: main\n{stanza}\n",
        )


REPLACED_FIELDS = ("types", "suites", "components", "enabled")


def deb822_fields(paragraph: str) -> dict[str, str]:
    """Field name in lower case -> value; continuation lines keep their line breaks."""
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line[0].isspace() and name:
            fields[name] += "\n" + line
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


# ---- what to do -------------------------------------------------------------------------------


def plan(group: str, root: Path) -> list[Step]:
    """The commands that install a group of packages on the machine whose files lie under `root`."""
    if not (root / "usr/bin/apt-get").exists():
        wanted = " ".join(PLAIN[group] if group in PLAIN else LIBRARIES + VULKAN)
        note = "" if group in PLAIN else " (Mesa 24.3 or newer)"
        raise CannotInstall(
            "this machine has no apt-get.\n  fix: install what your distribution calls these"
            f" Debian packages: {wanted}{note}, then start again"
        )
    if group in PLAIN:
        return [update(), install(PLAIN[group])]
    release = read_release(root)
    suite = BACKPORTS.get(release.get("VERSION_CODENAME", ""))
    if release.get("ID") != "debian" or suite is None:
        return [update(), install(LIBRARIES + VULKAN)]
    return [*add_suite(suite, root), update(), install(LIBRARIES), install(VULKAN, suite)]


def update() -> Step:
    """Fetches the package lists."""
    return Step(("apt-get", "update", "-q"))


def install(packages: tuple[str, ...], suite: str = "") -> Step:
    """Installs packages, from a named suite where the default one is too old."""
    target = ("-t", suite) if suite else ()
    # Fresh cloud machines update themselves at boot and hold the lock for a minute.
    options = ("-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
    return Step(("apt-get", "install", *options, *target, *packages))


def add_suite(suite: str, root: Path) -> list[Step]:
    """Makes a suite known to APT, on the mirror that the machine already uses; [] if it is."""
    sources = read_sources(root)
    if any(suite in source.suites for source in sources):
        return []
    base = suite.partition("-")[0]
    mirrors = [item for item in sources if base in item.suites and "main" in item.components]
    if not mirrors:
        raise CannotInstall(
            f"no APT source for the suite {base!r} to take the mirror from.\n  fix: add a source"
            f" for {suite!r} (component main) under /etc/apt/sources.list.d, then start again"
        )
    path = f"/etc/apt/sources.list.d/{mirrors[0].file_name}"
    return [Step(("tee", path), stdin=mirrors[0].template.replace("SUITE", suite))]


# ---- doing it ---------------------------------------------------------------------------------


def administrator_prefix() -> tuple[str, ...] | None:
    """What to put before a command to run it as root; None where that is not possible."""
    if os.geteuid() == 0:
        return ()
    try:
        allowed = subprocess.run(("sudo", "-n", "true"), capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return ("sudo", "-n") if allowed.returncode == 0 else None


def run(steps: list[Step], prefix: tuple[str, ...]) -> None:
    """Runs the steps in order, each shown before it starts; stops at the first that fails."""
    # `sudo` drops the environment, so the setting travels as part of the command.
    quiet = ("env", "DEBIAN_FRONTEND=noninteractive")
    for step in steps:
        print("+ " + step.shown(prefix=f"{shlex.join(prefix)} " if prefix else ""), flush=True)
        command = (*prefix, *quiet, *step.command)
        done = subprocess.run(command, input=step.stdin, text=True, check=False)
        if done.returncode != 0:
            raise CannotInstall(
                f"{shlex.join(step.command)!r} ended with code {done.returncode}.\n"
                "  fix: see its message above, then start again"
            )


def remarks(root: Path) -> list[str]:
    """What is known of this release that the commands alone do not solve."""
    known = MESA_TOO_OLD.get(read_release(root).get("VERSION_CODENAME", ""))
    return [f"note: {known}\n{NEWER_MESA}"] if known else []


def main(arguments: list[str] | None = None, root: Path = Path("/")) -> int:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description="Install the system packages RLinf needs.")
    parser.add_argument("group", choices=("python", "maniskill", "libero"))
    parser.add_argument("--print", action="store_true", help="print the commands, run nothing")
    options = parser.parse_args(arguments)
    try:
        steps = plan(options.group, root)
        if options.group == "maniskill":
            for remark in remarks(root):
                print(remark)
        if options.print:
            print("\n".join(step.shown() for step in steps))
            return 0
        prefix = administrator_prefix()
        if prefix is None:
            commands = "\n".join(step.shown() for step in steps)
            raise CannotInstall(
                "system packages are missing and neither root nor `sudo -n` is available.\n"
                f"  fix: run these commands as an administrator, then start again:\n\n{commands}\n"
            )
        run(steps, prefix)
    except CannotInstall as error:
        print(f"system packages: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
