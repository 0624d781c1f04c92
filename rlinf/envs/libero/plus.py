"""LIBERO-Plus: LIBERO's tasks, each changed in one of seven ways, and the code that builds them.

The name of a task says what is changed in it, and its code reads that from the name of a file that
need not exist: `TASK_view_15_0_100_0_0_initstate_0.bddl` is `TASK.bddl` seen by another camera.
"""

from __future__ import annotations

import os
import re
import runpy
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

from rlinf import installer
from rlinf.assets.base import require
from rlinf.config.home import private_cache
from rlinf.envs.libero import noise, package
from rlinf.envs.libero.config import TRIALS, Category, LiberoPlusParams
from rlinf.envs.libero.package import Library
from rlinf.envs.libero.suites import SuiteTask, instruction_in
from rlinf.errors import UserError

MODULE = "liberoplus.liberoplus"

_NAME = re.compile(
    r"(?P<base>.+?)"
    r"(?:(?P<words>_language_\d+)?_view_(?P<camera>[\d-]+(?:_[\d-]+){4})_initstate_(?P<arm>\d+)"
    r"(?:_noise_(?P<noise>\d+))?"
    r"|_(?P<look>table|tb|light|add)_\d+|_level\d+_sample\d+)"
)
_USUAL_CAMERA = "0_0_100_0_0"
_LOOKS: dict[str, Category] = {
    "table": "background",
    "tb": "background",
    "light": "light",
    "add": "layout_added",
}


@dataclass(frozen=True, slots=True)
class Changed:
    """What the name of a task says."""

    base: str  # the task of LIBERO
    category: Category
    problem: str  # its problem file, without the ending
    noise: int  # number of the distortion of pictures; 0: none


def changed(name: str) -> Changed:
    """What is changed in a task of that name. Camera and arm are never changed together."""
    found = _NAME.fullmatch(name)
    assert found is not None, f"LIBERO-Plus has a task named {name}"
    problem, category = name, _category(found)
    if found["camera"] is not None:
        problem = found["base"] + (found["words"] or "")
    return Changed(found["base"], category, problem, int(found["noise"] or 0))


def _category(found: re.Match[str]) -> Category:
    if found["look"] is not None:
        return _LOOKS[found["look"]]
    if found["camera"] is None:
        return "layout_moved"
    if found["words"] is not None:
        return "language"
    if found["noise"] is not None:
        return "noise"
    return "robot" if found["camera"] == _USUAL_CAMERA else "camera"


def prepare(params: LiberoPlusParams) -> tuple[SuiteTask, ...]:
    """Makes the package importable in this process, for good; the chosen tasks, in its order.

    Raises:
        UserError: the package, its assets or a system library is missing, or nothing renders.
    """
    root = _package_folder()
    tasks = tasks_of(params, root)
    if MODULE not in sys.modules:
        group, needed = params.assets()
        require(group, needed, params.needed_by())
        _stand_in_for_magick(tasks)
        tree = _tree(root, needed[0].folder)
        sys.path.insert(0, str(tree))
        package.prepare(params.renderer, Library(MODULE, root, needed[0].folder))
        # The package looks for scenes beside its real folder.
        domain = import_module(f"{MODULE}.envs.bddl_base_domain")
        domain.DIR_PATH = str(tree / "liberoplus/liberoplus/envs")  # type: ignore[attr-defined]
    return tasks


def tasks_of(params: LiberoPlusParams, root: Path) -> tuple[SuiteTask, ...]:
    """The chosen tasks of a suite and category, in the package's order.

    Args:
        root: the package's folder with `bddl_files` and `init_files`.
    """
    suite = params.task_suite_name
    # Its own list needs PyTorch to be imported.
    names = runpy.run_path(str(root / "benchmark/libero_suite_task_map.py"))["libero_task_map"]
    listed = [
        (name, one) for name in names[suite] if (one := changed(name)).category == params.category
    ]
    if len(listed) != len(params.suites()):
        raise UserError(
            f"LIBERO-Plus has {len(listed)} tasks of {suite}, {params.category}, instead of "
            f"{len(params.suites())}",
            "install the version of its package that RLinf names: "
            + installer.command("--env libero_plus"),
        )
    return tuple(_task(root, params, *listed[index]) for index in params.chosen())


def _task(root: Path, params: LiberoPlusParams, name: str, what: Changed) -> SuiteTask:
    suite = params.task_suite_name
    problem = root / "bddl_files" / suite / f"{what.problem}.bddl"
    moved = what.category in ("layout_added", "layout_moved")
    states = root / "init_files"
    if moved:
        states = states / "libero_newobj" / suite / f"{name}.pruned_init"
    else:
        states = states / suite / f"{what.base}.pruned_init"
    if what.category == "language":
        words = instruction_in(problem)
    else:
        said = name if params.leaked_names else what.base
        words = re.sub(r"^[A-Z_]+SCENE\d+_", "", said).replace("_", " ")
    return SuiteTask(
        suite=suite,
        instruction=words,
        problem=problem.with_name(f"{name}.bddl"),
        states=states,
        recorded=1 if moved else TRIALS,
        module=MODULE,
        noise=what.noise,
    )


def _package_folder() -> Path:
    spec = find_spec("liberoplus")
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(location) / "liberoplus/bddl_files").is_dir():
            return Path(location).resolve() / "liberoplus"
    raise UserError(
        "env.*.simulator_type = libero_plus: the package is not installed in this Python",
        f"run: {installer.command('--env libero_plus')}",
    )


def _tree(root: Path, assets: Path) -> Path:
    """The package as links, with the assets inside it, where its code looks for them."""
    key = sha256(f"{root}\n{assets.resolve()}".encode()).hexdigest()[:16]
    tree = private_cache("libero_plus") / "trees" / key
    links = {f"liberoplus/{path.name}": path for path in root.parent.iterdir() if path != root}
    links |= {f"liberoplus/liberoplus/{path.name}": path for path in root.iterdir()}
    links["liberoplus/liberoplus/assets"] = assets.resolve()
    for name, target in links.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        new = (tree / name).with_name(f".{Path(name).name}.{os.getpid()}")
        new.symlink_to(target)
        new.replace(tree / name)  # processes that begin together make the same link
    return tree


def _stand_in_for_magick(tasks: Iterable[SuiteTask]) -> None:
    """The package wants ImageMagick's library at its import, and uses it for blur by motion.

    Raises:
        UserError: it is missing, and one of the tasks blurs.
    """
    try:
        import_module("wand.image")
    except ImportError as error:
        needed = [
            one for one in tasks if one.noise and noise.chosen(one.noise)[0] == noise.KINDS[0]
        ]
        if needed:
            raise UserError(
                "env.*.init_params.category = noise: blur by motion needs ImageMagick's library "
                f"MagickWand, which does not load: {str(error).splitlines()[0]}",
                "install it, on Debian: apt-get install libmagickwand-6.q16-6; or choose other "
                "tasks with env.*.init_params.task_ids",
            ) from error
        api, image = ModuleType("wand.api"), ModuleType("wand.image")
        api.library = SimpleNamespace(MagickMotionBlurImage=SimpleNamespace())  # type: ignore[attr-defined]
        image.Image = object  # type: ignore[attr-defined]
        sys.modules |= {"wand.api": api, "wand.image": image}
