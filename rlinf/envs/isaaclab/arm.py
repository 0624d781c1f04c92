"""The Franka arm for IsaacLab with Newton: where it is, and how it is made.

IsaacLab fetches its robots from a server of NVIDIA. In their place stands the arm of ManiSkill's
package, converted to USD by `urdf-usd-converter` and `trimesh`, which the simulator's Python has.
Run as a script it converts (`requirements/install.sh --env isaaclab` does):

    PYTHON_OF_THE_SIMULATOR rlinf/envs/isaaclab/arm.py FOLDER_WITH_panda_v2.urdf [OUTPUT_FOLDER]
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

VARIABLE = "ISAACLAB_ASSET_DIR"
_FILE = "panda.usda"
_URDF = "panda_v2.urdf"


def folder() -> Path:
    """Where it is kept."""
    return Path(os.environ.get(VARIABLE) or "~/.cache/rlinf/isaaclab").expanduser()


def path(given: str | None) -> str:
    """The USD file: the one that was given, or the one that was made."""
    return str(Path(given).expanduser() if given else folder() / _FILE)


def missing(given: str | None) -> tuple[str, str] | None:
    """Message and fix where the file is not there."""
    if Path(path(given)).is_file():
        return None
    from rlinf import installer  # as a script, this file has the package not on its path

    return (
        f"IsaacLab's Franka arm is missing: {path(given)}",
        f"run: {installer.command('--env isaaclab')}; or name a USD file of the arm in "
        f"env.*.init_params.robot, or its folder in {VARIABLE}",
    )


def make(source: Path, target: Path) -> Path:
    """Converts the arm.

    Args:
        source: folder of ManiSkill's `panda_v2.urdf`, with the meshes beside it.
        target: gets `panda.usda` and what belongs to it.
    """
    import trimesh
    import urdf_usd_converter

    with tempfile.TemporaryDirectory() as work:

        def mesh(found: re.Match[str]) -> str:
            """The converter leaves out .glb files; this puts .obj files in their place."""
            file = source / found.group(1)
            copy = Path(work, file.stem + ".obj" if file.suffix == ".glb" else file.name)
            if file.suffix == ".glb":
                trimesh.load_scene(file).to_geometry().export(copy)
            else:
                copy.write_bytes(file.read_bytes())
            return f'filename="{copy.name}"'

        urdf = Path(work, "panda.urdf")
        urdf.write_text(re.sub(r'filename="([^"]+)"', mesh, (source / _URDF).read_text()))
        made = urdf_usd_converter.Converter().convert(str(urdf), str(target))
    return Path(made.path)


if __name__ == "__main__":
    print(make(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else folder()))
