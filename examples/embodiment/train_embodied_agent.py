"""Trains a policy: `python train_embodied_agent.py CONFIG [key=value ...]`, as `rlinf train`."""

from __future__ import annotations

import sys

from rlinf.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
