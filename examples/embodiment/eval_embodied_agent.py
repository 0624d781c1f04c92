"""Evaluates a policy: `python eval_embodied_agent.py CONFIG [key=value ...]`, as `rlinf eval`."""

from __future__ import annotations

import sys

from rlinf.cli import main

if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
