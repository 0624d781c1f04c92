"""Draws who does what in an iteration, as one SVG for each language.

python docs/architecture.py          writes docs/assets/architecture-en.svg and -zh.svg
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

ASSETS = Path(__file__).parent / "assets"
SIZE = (960, 400)  # pixels
FONT = "font-family='Helvetica, Arial, Noto Sans CJK SC, sans-serif'"


class Box(NamedTuple):
    """A group of processes."""

    x: int
    y: int
    width: int
    height: int
    colour: str


class Arrow(NamedTuple):
    """A message from one box to another, along points; its text stands at the last two numbers."""

    points: str
    x: int
    y: int


BOXES = (
    Box(20, 60, 270, 150, "#dcebf7"),
    Box(670, 60, 270, 150, "#e3f3e1"),
    Box(345, 270, 270, 110, "#fbe9d7"),
)
ARROWS = (
    Arrow("290,100 662,100", 480, 90),
    Arrow("670,165 298,165", 480, 187),
    Arrow("155,210 155,325 337,325", 168, 315),
    Arrow("615,325 805,325 805,218", 792, 315),
)
WORDS = {
    "en": (
        (
            (
                "env workers",
                "simulators: ManiSkill3, LIBERO,",
                "IsaacLab, mjlab",
                "episodes, chunks, success",
            ),
            (
                "rollout workers",
                "copies of the policy:",
                "OpenVLA, OpenVLA-OFT,",
                "GR00T, small policies",
            ),
            ("actor workers", "PPO or GRPO, sharded over ranks", "optimizer, checkpoints"),
        ),
        (
            "observation: images, state, instruction",
            "chunk of C actions, log-probs, value",
            "trajectories [T, B, C]",
            "new weights",
        ),
        "Two stages take turns: one simulates while the other waits for actions.",
    ),
    "zh": (
        (
            (
                "env 工作进程",
                "仿真器：ManiSkill3、LIBERO、",
                "IsaacLab、mjlab",
                "回合、动作块、成功判定",
            ),
            ("rollout 工作进程", "策略的副本：", "OpenVLA、OpenVLA-OFT、", "GR00T、小策略"),
            ("actor 工作进程", "PPO 或 GRPO，在 rank 间分片", "优化器、检查点"),
        ),
        (
            "观测：图像、状态、指令",
            "C 个动作的动作块、对数概率、价值",
            "轨迹 [T, B, C]",
            "新权重",
        ),
        "两个 stage 轮流：一个仿真时，另一个等待动作。",
    ),
}


def drawing(language: str) -> str:
    """The SVG of one language."""
    texts, messages, note = WORDS[language]
    width, height = SIZE
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' {FONT}>",
        "<defs><marker id='tip' markerWidth='10' markerHeight='8' refX='8' refY='4' orient='auto'>"
        "<path d='M0,0 L10,4 L0,8 z' fill='#444'/></marker></defs>",
        f"<rect width='{width}' height='{height}' rx='10' fill='#ffffff'/>",
        _text(width // 2, 32, note, 16, "middle", "#444"),
    ]
    for box, lines in zip(BOXES, texts, strict=True):
        parts.append(
            f"<rect x='{box.x}' y='{box.y}' width='{box.width}' height='{box.height}' rx='8' "
            f"fill='{box.colour}' stroke='#555'/>"
        )
        middle = box.x + box.width // 2
        parts.append(_text(middle, box.y + 32, lines[0], 20, "middle", "#111", bold=True))
        for row, line in enumerate(lines[1:]):
            parts.append(_text(middle, box.y + 60 + 24 * row, line, 16, "middle", "#222"))
    for arrow, message, anchor in zip(
        ARROWS, messages, ("middle", "middle", "start", "end"), strict=True
    ):
        parts.append(
            f"<polyline points='{arrow.points}' fill='none' stroke='#444' stroke-width='2' "
            "marker-end='url(#tip)'/>"
        )
        parts.append(_text(arrow.x, arrow.y, message, 16, anchor, "#111"))
    return "\n".join([*parts, "</svg>", ""])


def _text(
    x: int, y: int, text: str, size: int, anchor: str, colour: str, bold: bool = False
) -> str:
    weight = " font-weight='bold'" if bold else ""
    return (
        f"<text x='{x}' y='{y}' font-size='{size}' text-anchor='{anchor}' fill='{colour}'{weight}>"
        f"{escape(text)}</text>"
    )


def main() -> None:
    """Writes both files."""
    for language in WORDS:
        (ASSETS / f"architecture-{language}.svg").write_text(drawing(language))


if __name__ == "__main__":
    main()
