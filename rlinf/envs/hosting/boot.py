"""Run as a script by another interpreter: makes our packages importable there, and nothing else.

Its first argument names them and their folders as JSON. Whatever else lies beside these folders,
such as the packages of our own environment, stays out of the interpreter's search path.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path


def adopt(name: str, folder: str) -> None:
    """Makes the package in `folder` what `import name` finds."""
    spec = importlib.util.spec_from_file_location(
        name, Path(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    packages, *arguments = sys.argv[1:]
    del sys.path[0]  # the folder of this file
    for each in json.loads(packages).items():
        adopt(*each)

    from rlinf.envs.hosting.child import main

    main(*arguments)
