"""Chinese pages show no space where a line of their source ends."""

from __future__ import annotations

import runpy

import pytest

from tests.unit.docs.pages import ROOT

join_lines = runpy.run_path(str(ROOT / "docs/line_ends.py"))["join_lines"]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("执行动作，\n并判断", "执行动作，并判断"),
        ("两类\n任务", "两类任务"),
        ("任务：\nPushCube", "任务：PushCube"),
        ("用\nSAPIEN 仿真", "用\nSAPIEN 仿真"),
        ("SAPIEN\n仿真", "SAPIEN\n仿真"),
        ("one line\nand another", "one line\nand another"),
    ],
)
def test_lines_are_joined_where_both_words_are_chinese_or_after_full_width_punctuation(
    source: str, shown: str
):
    assert join_lines(source) == shown
