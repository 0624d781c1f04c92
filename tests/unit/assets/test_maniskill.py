"""Which files the tasks need, and what is said about those that are not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlinf.assets import maniskill
from rlinf.assets.base import require
from rlinf.cli import main
from rlinf.errors import UserError


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MS_ASSET_DIR", str(tmp_path))
    monkeypatch.setenv("MANISKILL_ASSET_DIR", str(tmp_path))
    return tmp_path


def fill(folder: Path) -> None:
    """The smallest set of files that is complete."""

    def write(name: str, text: str = "") -> None:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("data/robots/widowx/wx250s.urdf", '<mesh filename="meshes/base.stl"/>')
    write("data/robots/widowx/wx250s.srdf")
    write("data/robots/widowx/meshes/base.stl")
    write("data/tasks/bridge_v2_real2sim_dataset/stages/bridge_table_1_v1.glb")
    for part in ("more_carrot", "more_plate"):
        write(f"carrot/{part}/model_db.json", json.dumps({"001 thing": {}}))
        write(f"carrot/{part}/001 thing/collision.obj")
        write(f"carrot/{part}/001 thing/textured.dae")
    write("carrot/more_table/model_db.json", json.dumps({"001.png": {"texture": "7.png"}}))
    write("carrot/more_table/imgs/001.png")
    write("carrot/more_table/textures/7.png")


def test_the_stock_tasks_need_nothing(empty: Path) -> None:
    assert maniskill.needed_by("PushCube-v1") == []


def test_a_complete_folder_is_complete(empty: Path) -> None:
    fill(empty)
    needed = maniskill.needed_by("PutOnPlateInScene25Main-v3")
    require("maniskill", needed, "a task")
    assert not [path for asset in needed for path in asset.missing()]


@pytest.mark.parametrize(
    "file",
    [
        "data/robots/widowx/meshes/base.stl",
        "data/tasks/bridge_v2_real2sim_dataset/stages/bridge_table_1_v1.glb",
        "carrot/more_carrot/model_db.json",
        "carrot/more_plate/001 thing/collision.obj",
        "carrot/more_table/textures/7.png",
    ],
)
def test_the_message_names_a_missing_file_and_the_command(empty: Path, file: str) -> None:
    fill(empty)
    (empty / file).unlink()
    with pytest.raises(UserError) as error:
        require("maniskill", maniskill.needed_by("PutOnPlateInScene25Main-v3"), "a task")
    assert str(empty / file) in str(error.value)
    assert error.value.fix == "rlinf assets download maniskill"


def test_every_missing_part_is_named_at_once(empty: Path) -> None:
    with pytest.raises(UserError) as error:
        require("maniskill", maniskill.needed_by("PutCarrotOnPlateInScene-v1"), "a task")
    assert "wx250s.urdf and 1 more" in str(error.value)
    assert "bridge_table_1_v1.glb and 2 more" in str(error.value)


def test_a_check_says_what_a_run_would_need_and_a_run_does_not_start(
    empty: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(empty)
    overrides = [
        "quickstart",
        "imitation=null",
        "env@env.eval=maniskill_put_on_plate",
        "env.eval.init_params.image_size=[64,64]",
    ]
    assert main(["check", *overrides]) == 0
    assert "rlinf assets download maniskill" in capsys.readouterr().out
    assert main(["eval", *overrides]) == 2
    assert "wx250s.urdf" in capsys.readouterr().err
    assert not (empty / "logs").exists()


def test_building_a_task_without_its_files_ends_with_code_2_and_asks_nothing(empty: Path) -> None:
    """ManiSkill itself would ask on stdin, or fetch 70 MB without a word."""
    code = (
        "from rlinf.envs.maniskill.config import ManiskillParams\n"
        "from rlinf.envs.maniskill.env import ManiSkillCpu\n"
        "from rlinf.errors import UserError\n"
        "try: ManiSkillCpu(1, ManiskillParams(id='PutCarrotOnPlateInScene-v1'))\n"
        "except UserError as error: print(error)\n"
    )
    pytest.importorskip("mani_skill")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert "rlinf assets download maniskill" in done.stdout, done.stderr
