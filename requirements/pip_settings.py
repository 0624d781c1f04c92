"""Prints pip's mirror, wheel folders and certificates as settings for uv, which reads none of them.

    eval "$(python3 requirements/pip_settings.py)"

A setting that uv already has from its own environment variable is left alone. Uses only the
standard library, because it runs before there is an environment.
"""

from __future__ import annotations

import configparser
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

# pip's option -> the variable that tells uv the same.
UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}


def config_files(environment: Mapping[str, str], root: Path = Path("/")) -> list[Path]:
    """Configuration files of pip, later ones overriding earlier ones."""
    chosen = environment.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return []
    home = Path(environment.get("HOME", "/"))
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    files = [root / "etc/xdg/pip/pip.conf", root / "etc/pip.conf", home / ".pip/pip.conf"]
    files.append(user / "pip/pip.conf")
    return [*files, Path(chosen)] if chosen else files


def pip_options(environment: Mapping[str, str], files: list[Path]) -> dict[str, str]:
    """The options of `UV_VARIABLES` as `pip install` would see them."""
    parser = configparser.RawConfigParser()
    parser.read(files)
    options: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            options |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    for option in UV_VARIABLES:
        value = environment.get("PIP_" + option.upper().replace("-", "_"))
        if value:
            options[option] = value
    return {option: options[option] for option in UV_VARIABLES if options.get(option)}


def uv_settings(environment: Mapping[str, str], options: Mapping[str, str]) -> dict[str, str]:
    """Environment variables for uv that say what pip's options say."""
    settings = {}
    for option, value in options.items():
        # pip separates several values by white space, uv by commas.
        text = ",".join(value.split()) if option == "find-links" else value
        if not environment.get(UV_VARIABLES[option]):
            settings[UV_VARIABLES[option]] = text
    if environment.get("UV_INDEX_URL"):  # the older name of UV_DEFAULT_INDEX
        settings.pop("UV_DEFAULT_INDEX", None)
    return settings


if __name__ == "__main__":
    found = pip_options(os.environ, config_files(os.environ))
    for variable, setting in uv_settings(os.environ, found).items():
        print(f"export {variable}={shlex.quote(setting)}")
