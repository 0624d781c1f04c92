"""What takes LIBERO long to import, except MuJoCo and robosuite, which choose a renderer."""

from __future__ import annotations

from importlib import import_module

from rlinf.envs.libero.package import keep_caches_together

keep_caches_together()
for _name in (
    "rlinf.envs.libero.env",
    "torch",  # LIBERO imports it with its list of tasks
    "numba",
    "scipy.spatial.transform",
    "matplotlib.cm",
):
    import_module(_name)
