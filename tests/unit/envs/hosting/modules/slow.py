"""Leaves a line wherever it is imported."""

import os
from pathlib import Path

with Path(os.environ["IMPORTS"]).open("a") as lines:
    lines.write(f"{os.getpid()} {os.environ.get('MUJOCO_GL')}\n")
