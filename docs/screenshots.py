"""Screenshots of `rlinf watch` for the guide: a run of the quickstart, and two runs compared.

python docs/screenshots.py logs/<quickstart> logs/<one> logs/<other>

It takes Chromium and chromedriver on PATH.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from pathlib import Path

from PIL import Image

from rlinf.logging.watch import Runs, identity, server

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "docs" / "assets"
COLOURS = 128  # a palette makes the files several times smaller
READY = "return document.querySelectorAll('#metrics canvas').length > 8"
PLAYABLE = "return [...document.querySelectorAll('video')].every(v => v.readyState >= 2)"


def main() -> None:
    """Writes both pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("quickstart", "one", "other"):
        parser.add_argument(name, type=lambda text: Path(text).resolve())
    runs = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.browser import browser

    with tempfile.TemporaryDirectory() as folder, browser() as window:
        logs = Path(folder)
        for run in (runs.quickstart, runs.one, runs.other):
            (logs / run.name).symlink_to(run)
        with server(Runs(logs), port=0) as running:
            threading.Thread(target=running.serve_forever, daemon=True).start()
            ids = {run: identity(logs.resolve() / run.name) for run in vars(runs).values()}
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


def shrink(path: Path) -> None:
    """Replaces a picture by one with fewer colours."""
    picture = Image.open(path).convert("RGB")
    picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    main()
