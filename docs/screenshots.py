"""Screenshots for the guide to logging: `rlinf watch` with one run and with two, and TensorBoard.

python docs/screenshots.py watch logs/<quickstart> logs/<one> logs/<other>
python docs/screenshots.py tensorboard benchmarks/results/quickstart-<machine>-<day>.json

It takes Chromium and chromedriver on PATH.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

from PIL import Image
from tensorboard import program  # type: ignore[import-untyped]
from torch.utils.tensorboard import SummaryWriter

from rlinf.logging.watch import Runs, identity, server

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "docs" / "assets"
COLOURS = 128  # a palette makes the files several times smaller
READY = "return document.querySelectorAll('#metrics canvas').length > 8"
WITHOUT_WEBGL = "--disable-3d-apis"
"""In software, what WebGL draws off the screen stays empty; without it TensorBoard draws SVG."""
SHOWN = "tagFilter=success_once%24%7Capprox_kl%24%7Cexplained_variance&smoothing=0&darkMode=false"
PLAYABLE = "return [...document.querySelectorAll('video')].every(v => v.readyState >= 2)"


def main() -> None:
    """Writes the pictures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_subparsers(required=True)
    runs = which.add_parser("watch", help="of three folders of runs")
    runs.set_defaults(write=watch)
    for name in ("quickstart", "one", "other"):
        runs.add_argument(name, type=lambda text: Path(text).resolve())
    kept = which.add_parser("tensorboard", help="of the runs in a result file")
    kept.set_defaults(write=tensorboard)
    kept.add_argument("result", type=Path)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    arguments.write(arguments)


def watch(runs: argparse.Namespace) -> None:
    """A run of the quickstart, and two runs compared."""
    from tests.browser import browser

    folders = (runs.quickstart, runs.one, runs.other)
    with tempfile.TemporaryDirectory() as folder, browser() as window:
        logs = Path(folder)
        for run in folders:
            (logs / run.name).symlink_to(run)
        with server(Runs(logs), port=0) as running:
            threading.Thread(target=running.serve_forever, daemon=True).start()
            ids = {run: identity(logs.resolve() / run.name) for run in folders}
            pair = f"{ids[runs.one]}+{ids[runs.other]}"
            for name, address, colours, height in (
                ("watch-run", ids[runs.quickstart], "light", 1500),
                ("watch-compare", pair, "dark", 1000),
            ):
                window.prefer(colours)
                window.resize(1180, height)
                window.open("about:blank")
                window.open(f"http://127.0.0.1:{running.port}/#{address}")
                window.until(READY)
                window.until(PLAYABLE)
                window.screenshot(ASSETS / f"{name}.png")
                shrink(ASSETS / f"{name}.png")
            running.shutdown()


def tensorboard(arguments: argparse.Namespace) -> None:
    """The curves of a result file's runs, written as a run writes them."""
    from tests.browser import browser

    with tempfile.TemporaryDirectory() as folder, browser(WITHOUT_WEBGL) as window:
        for run in json.loads(arguments.result.read_text())["numbers"]["runs"]:
            with SummaryWriter(f"{folder}/seed {run['seed']}") as events:
                for metrics in run["metrics"]:
                    for name, value in metrics.items():
                        if name != "step":
                            events.add_scalar(name, value, metrics["step"])
        running = program.TensorBoard()
        running.configure(logdir=folder, port=0, load_fast="false")
        address = running.launch()
        window.resize(1180, 960)
        window.open(f"{address}?{SHOWN}#timeseries")
        window.until("return document.querySelectorAll('line-chart path').length >= 24")
        window.run("document.querySelector('[aria-label=\"Close side pane\"]').click()")
        window.until("return !document.querySelector('settings-view')")
        time.sleep(2)  # the charts grow into the room without a sign that they have
        window.screenshot(ASSETS / "tensorboard.png")
        shrink(ASSETS / "tensorboard.png")


def shrink(path: Path) -> None:
    """Replaces a picture by one with fewer colours."""
    picture = Image.open(path).convert("RGB")
    picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    main()
