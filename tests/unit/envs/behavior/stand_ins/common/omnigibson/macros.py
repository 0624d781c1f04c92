"""Settings of the process: variables count when this is imported, and what was read is fixed.

The folder of the data has to exist; a relative one is taken from the package on.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

DATA = Path(__file__).parent / Path(os.environ["OMNIGIBSON_DATA_PATH"]).expanduser()
assert DATA.is_dir(), f"OMNIGIBSON_DATA_PATH does not exist: {DATA}"


class MacroDict:
    def __init__(self, **values):
        vars(self).update(_values=values, _read=set(), _locked=True)

    def __getattr__(self, name):
        self._read.add(name)
        return self._values[name]

    def __setattr__(self, name, value):
        if name in self._read and self._locked:
            raise AttributeError(f"Cannot set attribute {name} in MacroDict, it has been used.")
        self._values[name] = value

    @contextmanager
    def unlocked(self):
        vars(self)["_locked"] = False
        yield
        vars(self)["_locked"] = True


gm = MacroDict(
    HEADLESS=False,
    ENABLE_OBJECT_STATES=False,
    ENABLE_TRANSITION_RULES=True,
    USE_GPU_DYNAMICS=False,
    ENABLE_FLATCACHE=False,
    RENDER_VIEWER_CAMERA=True,
    USE_NUMPY_CONTROLLER_BACKEND=False,
    DATA_PATH=str(DATA),
    APPDATA_PATH=os.environ.get("OMNIGIBSON_APPDATA_PATH", "shared by all processes"),
)
macros = MacroDict(globals=gm)
