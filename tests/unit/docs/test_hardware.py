"""The page on hardware: every configuration is on it, and fits what the page says it fits."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from rlinf.config.compose import CONFIG_DIR
from rlinf.errors import UserError
from tests.unit.docs.pages import ROOT, TREES


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import hardware

    return hardware


def test_every_configuration_of_a_large_policy_fits_by_a_margin(hardware: ModuleType) -> None:
    for name in filter(hardware.fits_one, hardware.vla()):
        for size in hardware.SIZES:
            found = hardware.need(name, hardware.recipe(name, size), 1, size)
            assert 0 < found.gpu <= 0.9e9 * size, (name, size)
    for name in hardware.vla():
        assert 0 < hardware.need(name, (), 8, 80).gpu <= 0.9 * 80e9, name


def test_what_fits_no_gpu_alone_is_refused_there(hardware: ModuleType) -> None:
    left_out = [name for name in hardware.vla() if not hardware.fits_one(name)]
    assert left_out == ["behavior_grpo_openvlaoft", "behavior_ppo_openvlaoft"]
    for name in left_out:
        with pytest.raises(UserError, match="env simulators"):
            hardware.need(name, ("+hardware=one_80gb",), 1, 80)


def test_the_sum_is_that_of_the_guide_which_lists_each_part(hardware: ModuleType) -> None:
    guide = (TREES["en"] / "guides" / "one-gpu.md").read_text()
    (sums,) = re.findall(r"^\| \*\*while it trains\*\* \| (.*) \|$", guide, re.M)
    assert sums.split(" | ")[1] == "37.3"
    found = hardware.need(
        "maniskill_ppo_openvla", hardware.recipe("maniskill_ppo_openvla", 48), 1, 48
    )
    assert found.on_gpu == "37.3"
    # 109,126,400 weights of adapters and a small critic, 12 bytes each; 2 checkpoints that
    # are kept, the best, and the new one; 1 GB.
    assert found.disk == pytest.approx(1e9 + 4 * 12 * 109_126_400, rel=0.02)


def test_every_recipe_stands_on_both_pages(hardware: ModuleType) -> None:
    recipes = {path.stem for path in (CONFIG_DIR / "hardware").glob("*.yaml")}
    for tree in TREES.values():
        page = (tree / "start" / "hardware.md").read_text()
        assert set(re.findall(r"one_\d+gb\w*", page)) == recipes


def test_measured_runs_are_those_of_the_files(hardware: ModuleType) -> None:
    (row,) = (row for row in hardware.measured() if row[0] == "`quickstart`")
    # 396.7, 414.6 and 479.0 s; that file has no CPU seconds
    assert row[1:4] == ("2", "7-8", "-")
    assert list(hardware.RESULTS.glob(f"quickstart-*-{row[-1]}.json"))
    name = "maniskill-ppo-flow-tiny-flow-cps-2-cores-amd-epyc-2026-11-29"
    assert hardware.run_of(name, "maniskill_ppo_flow_tiny") == "flow-cps 2026-11-29"


def test_every_setting_for_64_gpus_is_in_the_table_of_settings(hardware: ModuleType) -> None:
    rows = hardware.rows_for_64()
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(names) == [name for name in hardware.vla() if hardware.for_64(name)]
    (row,) = (row for row in rows if "`libero_goal_ppo_gr00t`" in row[0])
    assert "`libero_10_ppo_gr00t`" in row[0]
    assert row[1] == "`env.eval.total_num_envs=64` `actor.micro_batch_size=16`"
