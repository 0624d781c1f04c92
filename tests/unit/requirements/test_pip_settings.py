"""uv gets the settings that pip is configured with."""

from __future__ import annotations

from pathlib import Path

from requirements.pip_settings import config_files, pip_options, uv_settings


def settings(environment: dict[str, str], files: list[Path]) -> dict[str, str]:
    return uv_settings(environment, pip_options(environment, files))


def test_the_mirror_of_a_users_pip_conf_becomes_uvs_default_index(tmp_path):
    conf = tmp_path / "pip.conf"
    conf.write_text("[global]\nindex-url = https://mirror.example/simple\n")
    assert settings({}, [conf]) == {"UV_DEFAULT_INDEX": "https://mirror.example/simple"}


def test_later_files_and_pips_environment_override(tmp_path):
    site, user = tmp_path / "site.conf", tmp_path / "user.conf"
    site.write_text("[global]\nindex_url = https://site.example\ncert = /site.pem\n")
    user.write_text("[install]\nindex-url = https://user.example\n")
    environment = {"PIP_CERT": "/env.pem"}
    assert settings(environment, [site, user]) == {
        "UV_DEFAULT_INDEX": "https://user.example",
        "SSL_CERT_FILE": "/env.pem",
    }


def test_several_wheel_folders_are_separated_as_uv_wants_them():
    environment = {"PIP_FIND_LINKS": "/wheels /more"}
    assert settings(environment, []) == {"UV_FIND_LINKS": "/wheels,/more"}


def test_uvs_own_settings_win_over_pips():
    pip = {"PIP_INDEX_URL": "https://pip.example", "PIP_FIND_LINKS": "/wheels"}
    assert settings(pip | {"UV_DEFAULT_INDEX": "u", "UV_FIND_LINKS": "/mine"}, []) == {}
    assert settings({"PIP_INDEX_URL": "p", "UV_INDEX_URL": "https://uv.example"}, []) == {}


def test_files_are_read_from_the_machine_to_the_user_to_the_chosen_one(tmp_path):
    files = config_files({"HOME": "/home/me", "PIP_CONFIG_FILE": "/chosen"}, root=Path("/root-fs"))
    assert files[1] == Path("/root-fs/etc/pip.conf")
    assert files[-2:] == [Path("/home/me/.config/pip/pip.conf"), Path("/chosen")]
    assert config_files({"PIP_CONFIG_FILE": "/dev/null"}) == []
