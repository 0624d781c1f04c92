"""Which launcher starts the sub-processes of a simulator."""

from __future__ import annotations

from pathlib import Path

from rlinf.envs.hosting import fork_server
from rlinf.envs.hosting.fork_server import ForkServer
from rlinf.envs.hosting.interpreter import Interpreter
from rlinf.registry import Hosting


def obtain(hosting: Hosting, build: str, log_file: Path) -> ForkServer | Interpreter:
    """Our own Python forks what it has imported; another one starts each sub-process anew.

    Args:
        hosting: names the interpreter, if it is another.
        build: `module:function` that the sub-processes build.
        log_file: for what a fork server prints.
    """
    if hosting.interpreter is not None:
        return Interpreter(hosting, build)
    return fork_server.obtain(hosting, log_file)


def release(launcher: ForkServer | Interpreter) -> None:
    """Each `obtain` is followed by one, once the sub-processes have ended."""
    if isinstance(launcher, ForkServer):
        fork_server.release(launcher)
