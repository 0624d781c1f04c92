"""Which system packages are installed, and from which mirror, on machines that are only folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from requirements import system_packages
from requirements.system_packages import CannotInstall, plan

RELEASES = {
    "bookworm": 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n',
    "trixie": 'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n',
    "jammy": 'ID=ubuntu\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\n',
}

DEB822 = """\
# Comments may stand anywhere.
Types: deb deb-src
# http://archive.example/20250520
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
"""


def machine(root: Path, release: str, **sources: str) -> Path:
    """A file system with a release file, apt-get, and source files by name (`_` for `.`)."""
    files = {"etc/os-release": RELEASES[release], "usr/bin/apt-get": ""}
    for name, text in sources.items():
        folder = "etc/apt" if name == "sources_list" else "etc/apt/sources.list.d"
        files[f"{folder}/{name.replace('_', '.')}"] = text
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def shown(root: Path, group: str = "maniskill") -> list[str]:
    return [step.shown(prefix="") for step in plan(group, root)]


def test_debian_12_takes_mesa_from_backports_on_the_mirror_of_its_deb822_source(tmp_path):
    add, update, libraries, vulkan = plan(
        "maniskill", machine(tmp_path, "bookworm", debian_sources=DEB822)
    )
    assert add.command == ("tee", "/etc/apt/sources.list.d/rlinf-backports.sources")
    assert add.stdin == (
        "Types: deb\nSuites: bookworm-backports\nComponents: main\n"
        "Uris: http://mirror.example/debian\nSigned-By: /usr/share/keyrings/debian.gpg\n"
    )
    assert update.command[:2] == ("apt-get", "update")
    assert libraries.command[-4:] == ("libgl1", "libglib2.0-0", "libx11-6", "libxcb1")
    assert "-t" not in libraries.command
    assert vulkan.command[-4:] == (
        *("-t", "bookworm-backports"),
        *("libvulkan1", "mesa-vulkan-drivers"),
    )


def test_debian_12_takes_mesa_from_backports_on_the_mirror_of_its_one_line_source(tmp_path):
    line = "deb [ signed-by=/k.gpg arch=amd64 ] http://mirror.example/debian bookworm main # near\n"
    root = machine(
        tmp_path, "bookworm", sources_list="# deb http://old.example bookworm main\n" + line
    )
    assert shown(root)[0] == (
        "tee /etc/apt/sources.list.d/rlinf-backports.list <<'EOF'\n"
        "deb [ signed-by=/k.gpg arch=amd64 ] http://mirror.example/debian bookworm-backports main\n"
        "EOF"
    )


def test_a_key_inside_a_source_entry_goes_into_the_new_entry_as_it_is(tmp_path):
    text = (
        "Types: deb\nURIs: http://m.example/d\nSuites: bookworm\nComponents: main\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n"
    )
    add = plan("maniskill", machine(tmp_path, "bookworm", d_sources=text))[0]
    assert add.stdin.endswith("Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n")


def test_a_machine_that_knows_backports_already_gets_no_second_source(tmp_path):
    known = "deb http://mirror.example/debian bookworm-backports main\n"
    root = machine(tmp_path, "bookworm", debian_sources=DEB822, more_list=known)
    assert [command.split()[0] for command in shown(root)] == ["apt-get"] * 3


def test_a_disabled_or_foreign_source_is_no_mirror(tmp_path):
    disabled = DEB822.replace("Types: deb deb-src", "Enabled: no\nTypes: deb")
    foreign = "deb https://packages.example/tool bookworm tool\n"
    root = machine(tmp_path, "bookworm", debian_sources=disabled, tool_list=foreign)
    with pytest.raises(CannotInstall, match="no APT source for the suite 'bookworm'"):
        plan("maniskill", root)


def test_debian_13_installs_everything_from_its_own_suite(tmp_path):
    update, install = shown(machine(tmp_path, "trixie", debian_sources=DEB822))
    assert update.startswith("apt-get update")
    assert " -t " not in install
    assert install.endswith("libgl1 libglib2.0-0 libx11-6 libxcb1 libvulkan1 mesa-vulkan-drivers")


def test_the_packages_that_bring_uv_need_no_backports(tmp_path):
    update, install = shown(machine(tmp_path, "bookworm", debian_sources=DEB822), group="python")
    assert update.startswith("apt-get update")
    assert install.endswith("python3-pip python3-venv")


def test_what_libero_draws_with_needs_no_backports(tmp_path):
    update, install = shown(machine(tmp_path, "bookworm", debian_sources=DEB822), group="libero")
    assert update.startswith("apt-get update")
    assert " -t " not in install
    assert "libegl1 libegl-mesa0" in install


def test_a_machine_without_apt_is_told_what_to_install_by_other_means(tmp_path):
    with pytest.raises(CannotInstall, match=r"no apt-get(.|\n)*mesa-vulkan-drivers"):
        plan("maniskill", tmp_path)


def test_without_administrator_rights_the_commands_are_printed_and_the_code_is_2(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))  # holds no sudo
    root = machine(tmp_path, "bookworm", debian_sources=DEB822)
    assert system_packages.main(["maniskill"], root=root) == 2
    message = capsys.readouterr().err
    assert "neither root nor `sudo -n` is available" in message
    assert "sudo tee /etc/apt/sources.list.d/rlinf-backports.sources <<'EOF'\nTypes: deb" in message
    assert message.rstrip().endswith("-t bookworm-backports libvulkan1 mesa-vulkan-drivers")


def test_a_release_whose_mesa_is_too_old_says_so_and_where_there_is_a_newer_one(tmp_path, capsys):
    assert system_packages.main(["maniskill", "--print"], root=machine(tmp_path, "jammy")) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("note: Ubuntu 22.04 has Mesa 23.2")
    assert "\nmicromamba create " in shown and "\nexport VK_DRIVER_FILES=" in shown


def test_a_failing_command_ends_the_steps_with_its_name(capfd):
    steps = [system_packages.Step(("false",)), system_packages.Step(("echo", "never"))]
    with pytest.raises(CannotInstall, match="'false' ended with code 1"):
        system_packages.run(steps, prefix=())
    assert "never" not in capfd.readouterr().out
