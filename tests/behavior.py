"""Stand-ins for OmniGibson, as the Python of a simulator: one for each way it is spoken to.

The package lies in `tests/unit/envs/behavior/stand_ins`; the oldest other Python of this machine
runs it, 3.10 where there is one, as for OmniGibson 3.7. What is real: the process, its messages,
the adapter, the files of the instances.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests import pythons

VERSIONS = {"og37": "3.7.1", "og_fork": "3.7.2", "og_unified": "3.9.0"}
"""Dialect -> version that it says it is."""
SCENE = "house_double_floor_lower"
TRAINING, EVALUATION = range(200), range(300, 310)
_STAND_INS = Path(__file__).parent / "unit/envs/behavior/stand_ins"


def stand_in(folder: Path, dialect: str, version: str = "") -> Path:
    """A Python that has a stand-in, with data sets of two activities.

    Args:
        folder: for what it is made of; it exists.
        version: of the package, where it is not that of the dialect.
    """
    version = version or VERSIONS[dialect]
    described = folder / "packages" / f"omnigibson-{version}.dist-info"
    described.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: omnigibson\nVersion: {version}\n"
    (described / "METADATA").write_text(text)
    packages = [_STAND_INS / "common", _STAND_INS / dialect, folder / "packages"]
    python = folder / "python"
    python.write_text(
        "#!/bin/sh\n"
        f"export PYTHONPATH={':'.join(map(str, packages))} RLINF_CACHE={folder}\n"
        f"export OMNIGIBSON_DATA_PATH=${{OMNIGIBSON_DATA_PATH:-{data_sets(folder / 'data')}}}\n"
        f'exec {min(pythons.available().items())[1]} "$@"\n'
    )
    python.chmod(0o755)
    return python


def data_sets(folder: Path) -> Path:
    """What the three downloads leave, with the instances of two activities."""
    for name in ("behavior-1k-assets", "omnigibson-robot-assets"):
        (folder / name).mkdir(parents=True)
        (folder / name / "VERSION").write_text("1")
    (folder / "omnigibson.key").write_text("key")
    challenge = folder / "2025-challenge-task-instances"
    rows = ["Index,Task,Public Test Instance IDs"]
    for index, activity in enumerate(("turning_on_radio", "picking_up_trash")):
        name = f"{SCENE}_task_{activity}"
        below = challenge / "scenes" / SCENE / "json" / f"{name}_instances"
        below.mkdir(parents=True)
        for number in (*TRAINING, *EVALUATION):
            file = below / f"{name}_0_{number}_template-tro_state.json"
            file.write_text(json.dumps(instance(number)))
        rows.append(f'{index},{activity},"{",".join(map(str, EVALUATION))}"')
    (challenge / "metadata").mkdir()
    (challenge / "metadata" / "test_instances.csv").write_text("\n".join(rows))
    return folder


def goal(number: int) -> tuple[float, float]:
    """Radians of the first two joints of the left arm with which the hand is at the radio."""
    return 0.2 + 0.01 * (number % 20), 0.1 + 0.01 * (number // 20 % 10)


def instance(number: int) -> dict[str, object]:
    """Where radio and robot are, in metres; the hand is 0.3 m away for each radian."""
    base = (0.0, -0.01 * (number % 3))
    radio = [base[0] + 0.3 * goal(number)[0], base[1] + 0.3 * goal(number)[1], 0.8]
    pose = {"position": [*base, 0.0], "orientation": [0.0, 0.0, 0.0, 1.0]}
    return {"radio.n.01_1": {"root_link": {"pos": radio}}, "robot_poses": {"R1Pro": [pose]}}
