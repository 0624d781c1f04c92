"""Builds both languages of the site; a warning of Sphinx is an error.

python docs/build.py             into docs/_build, which a browser opens at index.html
python docs/build.py FOLDER
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

DOCS = Path(__file__).parent
START = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=en/">\n'


def main() -> int:
    """Builds the site; the exit code is that of the first language that fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=DOCS / "_build")
    folder = parser.parse_args().folder
    for language in ("en", "zh"):
        source, out = DOCS / f"source-{language}", folder / language
        code = build_main(["-q", "-W", "--keep-going", "-b", "html", str(source), str(out)])
        if code:
            return code
    (folder / "index.html").write_text(START)
    print(f"{folder / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
