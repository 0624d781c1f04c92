"""What `rlinf serve` does: loads the policy, listens, and says where."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from rlinf.errors import UserError
from rlinf.installer import command


def serve(
    folder: Path,
    config: str | None,
    overrides: Sequence[str],
    host: str,
    port: int,
    token: str | None,
    sample: bool,
    max_batch: int,
    cameras: Sequence[str],
    say: Callable[[str], None],
) -> int:
    """Serves the policy of a folder until a signal comes; returns the exit code.

    Args:
        cameras: `VIEW=NAME` each, what clients call the picture of a view.

    Raises:
        UserError: a package is missing, the folder holds no policy, or the port is taken.
    """
    for package in ("msgpack", "websockets"):
        if find_spec(package) is None:
            raise UserError(
                f"rlinf serve needs the package {package}, which is not installed",
                f"run: {command('--extra serve', 'serve')}",
            )
    if not 0 <= port < 65_536 or max_batch < 1:
        raise UserError(
            f"--port {port} --max-batch {max_batch}: a port is 0 to 65535, a batch has a row",
            "correct the numbers",
        )
    named = _cameras(cameras)
    from rlinf.serving.server import Limits, Listening, PolicyServer, is_loopback, run
    from rlinf.serving.source import configuration

    settings, source = configuration(folder, config, overrides)
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
        say(f"API key: {token}")
    from rlinf.serving.policy import ServedPolicy
    from rlinf.workers.process import prepare_torch

    with ThreadPoolExecutor(1, "policy") as thread:

        def build() -> ServedPolicy:
            return ServedPolicy(settings, source, sample, prepare_torch(_threads()), named)

        policy = thread.submit(build).result()
        server = PolicyServer(policy, thread, Listening(host, port, token), Limits(max_batch))
        return asyncio.run(run(server, lambda bound: say(_told(source, host, bound))))


def _cameras(given: Sequence[str]) -> dict[str, str]:
    """View -> name.

    Raises:
        UserError: one is no `VIEW=NAME`, or names something twice.
    """
    pairs = [word.partition("=")[::2] for word in given]
    for word, pair in zip(given, pairs, strict=True):
        if not all(pair):
            raise UserError(f"--camera {word}", "write VIEW=NAME, such as main=base_camera")
    named = dict(pairs)
    if len(set(named.values())) < len(pairs):
        raise UserError(
            f"--camera {' '.join(given)}: a view or a name stands twice", "name each once"
        )
    return named


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _told(source: Path, host: str, port: int) -> str:
    return (
        f"serving {source}\n"
        f"openpi: ws://{host}:{port}    vla-eval: ws://{host}:{port}/vla-eval\n"
        f"health: http://{host}:{port}/healthz    what it expects: http://{host}:{port}/metadata"
    )
