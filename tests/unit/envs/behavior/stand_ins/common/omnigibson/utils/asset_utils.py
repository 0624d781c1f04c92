"""The official downloads: the one with a licence asks for it on standard input.

Each leaves a folder that is there as it is, whatever is in it.
"""

from __future__ import annotations

from pathlib import Path

from omnigibson.macros import gm


def _fill(name):
    folder = Path(gm.DATA_PATH, name)
    if not folder.exists():
        folder.mkdir()
        (folder / "VERSION").write_text("1")


def download_omnigibson_robot_assets():
    _fill("omnigibson-robot-assets")


def download_behavior_1k_assets(accept_license=False):
    if not accept_license:
        input("Do you agree to the above terms? [y/n]")
    if not Path(gm.DATA_PATH, "behavior-1k-assets").exists():
        Path(gm.DATA_PATH, "omnigibson.key").write_text("key")
    _fill("behavior-1k-assets")


def download_2025_challenge_task_instances():
    _fill("2025-challenge-task-instances")
