"""What a sub-process hosts here: it reports about itself."""

from __future__ import annotations

import os
import sys
from importlib import import_module


class Teller:
    """Imports a module and answers questions."""

    def __init__(self, module: str = "os") -> None:
        import_module(module)

    def process(self) -> tuple[int, int]:
        return os.getpid(), os.getppid()

    def variable(self, name: str) -> str | None:
        return os.environ.get(name)

    def has(self, module: str) -> bool:
        return module in sys.modules

    def close(self) -> None:
        pass
