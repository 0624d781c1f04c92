"""Installations in folders whose names mean something to a shell, to Hydra or to Ray."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import rlinf

ODD = "a b(c)[d]=e'f\"g#h&i~j;k$l!m, Müller 日本語"
REPO = Path(rlinf.__file__).parents[1]
COMMAND = "import sys; from rlinf.cli import main; sys.exit(main())"
HOSTILE = "open(__file__ + '.ran', 'w').close(); raise SystemExit('imported')"


class Installation:
    """A copy of this package, and an environment with the packages of this one.

    Runs start in a folder of modules that nothing may import, and under what looks to Ray like `uv
    run`; what lies there is more than Ray would copy to its workers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / ODD
        environment = self.folder / ".venv"
        shutil.copytree(REPO / "rlinf", self.folder / "rlinf")
        (self.folder / "examples").symlink_to(REPO / "examples")
        (environment / "bin").mkdir(parents=True)
        shutil.copy(Path(sys.prefix) / "pyvenv.cfg", environment)
        (environment / "bin/python").symlink_to(Path(sys.executable).resolve())
        (environment / "lib").symlink_to(Path(sys.prefix) / "lib")
        self.python = environment / "bin/python"
        self.program = (str(self.python), "-P", "-c", COMMAND)
        self.environment = {"PYTHONPATH": str(self.folder)}
        under_uv = 'cd "$0" && exec -a uv bash run "$@"'
        self.started_in = self.folder / "started in"
        for name in ("rlinf/__init__.py", "numpy.py", "ray.py", "torch.py", "types.py"):
            (self.started_in / name).parent.mkdir(parents=True, exist_ok=True)
            (self.started_in / name).write_text(HOSTILE)
        (self.started_in / "run").write_text('"$@"')
        with (self.started_in / "large").open("wb") as file:
            file.truncate(2**30)
        self.inside = ("bash", "-c", under_uv, str(self.started_in))
