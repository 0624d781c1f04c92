"""Where a module of 80 lines or more is tested: by a test of its name, or at home, see `HOMES`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE, TESTS = ROOT / "rlinf", ROOT / "tests"
LINES = 80

HOMES = {
    "assets/base.py": "unit/assets/test_maniskill.py",
    "assets/hub.py": "unit/assets/test_download.py",
    "cli": "unit/test_cli.py",
    "cluster/group.py": "unit/runners/test_workers.py",
    "cluster/joining.py": "unit/cluster/test_cluster.py",
    "cluster/local.py": "unit/cluster/test_cluster.py",
    "config/base.py": "unit/config/test_checks.py",
    "config/imitation.py": "unit/config/test_checks.py",
    "config/imitation_checks.py": "unit/config/test_checks.py",
    "config/machine.py": "unit/config/test_home.py",
    "config/preflight.py": "unit/config/test_checks.py",
    "config/refused.py": "unit/config/test_aliases.py",
    "config/resume.py": "unit/runners/test_resuming.py",
    "config/schema.py": "unit/config/test_load.py",
    "config/show.py": "unit/config/test_derive.py",
    "config/simulator.py": "unit/config/test_env_checks.py",
    "config/validate.py": "unit/config/test_nearest.py",
    "convert": "unit/convert/test_convert.py",
    "envs/behavior/data.py": "unit/envs/behavior/test_adapter.py",
    "envs/behavior/settings.py": "unit/envs/behavior/test_adapter.py",
    "envs/hosting/child.py": "unit/envs/hosting/test_fork_server.py",
    "envs/hosting/process.py": "unit/envs/hosting/test_batch.py",
    "envs/isaaclab/build.py": "unit/envs/isaaclab/test_isaac.py",
    "envs/isaaclab/mjlab_env.py": "e2e/test_mjlab_runs.py",
    "envs/isaaclab/tasks": "e2e/test_isaaclab_runs.py",
    "envs/libero/benchmark.py": "unit/envs/libero/test_plus.py",
    "envs/libero/env.py": "contract/test_simulators.py",
    "envs/libero/experts.py": "contract/test_simulators.py",
    "envs/libero/opengl.py": "unit/envs/libero/test_package.py",
    "envs/libero/scene.py": "unit/envs/libero/test_equality.py",
    "envs/libero/snapshots.py": "unit/envs/libero/test_equality.py",
    "envs/maniskill/building.py": "unit/envs/maniskill/test_tasks.py",
    "envs/maniskill/config.py": "unit/config/test_env_checks.py",
    "envs/maniskill/env.py": "contract/test_simulators.py",
    "envs/maniskill/fresh_physics.py": "unit/envs/maniskill/test_arm_control.py",
    "envs/maniskill/put_on_plate/catalog.py": "unit/envs/maniskill/put_on_plate/test_task.py",
    "envs/maniskill/put_on_plate/poses.py": "unit/envs/maniskill/put_on_plate/test_cases.py",
    "envs/toy/reach.py": "contract/test_simulators.py",
    "imitation/lerobot/pictures.py": "unit/imitation/test_full_disk.py",
    "imitation/lerobot/read.py": "unit/imitation/lerobot/test_layout.py",
    "imitation/lerobot/write.py": "unit/imitation/lerobot/test_layout.py",
    "imitation/record.py": "unit/imitation/test_experts.py",
    "logging/capture.py": "unit/logging/test_console.py",
    "logging/display.py": "unit/logging/test_console.py",
    "logging/upload_process.py": "unit/logging/test_uploads.py",
    "logging/files.py": "unit/logging/test_writers.py",
    "models/adapters.py": "unit/models/openvla/test_lora.py",
    "models/base.py": "unit/models/test_policies.py",
    "models/flow/dit.py": "unit/models/gr00t/test_golden_forward.py",
    "models/gr00t": "unit/models/gr00t/test_golden_forward.py",
    "models/loading.py": "unit/models/test_policies.py",
    "models/mlp/policy.py": "unit/models/test_policies.py",
    "models/openvla_oft/policy.py": "unit/models/openvla/test_golden_oft.py",
    "models/prismatic": "unit/models/openvla/test_golden_openvla.py",
    "models/prismatic/adapter_folder.py": "unit/models/openvla/test_lora.py",
    "models/prismatic/folders.py": "unit/models/openvla/test_folders.py",
    "models/prismatic/images.py": "unit/models/openvla/test_golden_images.py",
    "models/prismatic/lora.py": "unit/models/openvla/test_lora.py",
    "models/prismatic/model_folder.py": "unit/models/openvla/test_folders.py",
    "models/prismatic/recipes.py": "unit/models/openvla/test_recipes.py",
    "models/prismatic/weight_content.py": "unit/models/openvla/test_weight_content.py",
    "models/shard_reader.py": "unit/models/test_shards.py",
    "models/tiny_flow/policy.py": "unit/models/test_policies.py",
    "models/tiny_vla": "unit/models/test_tiny_vla.py",
    "models/weights.py": "unit/models/test_policies.py",
    "registry.py": "plugin",
    "runners/collect.py": "unit/runners/test_sft.py",
    "runners/collector.py": "e2e/test_layouts.py",
    "runners/demonstrations.py": "unit/runners/test_warmup.py",
    "runners/learners.py": "unit/runners/test_sft.py",
    "runners/model_card.py": "unit/runners/test_push.py",
    "runners/run.py": "unit/runners/test_warmup.py",
    "runners/samples.py": "unit/workers/test_samples.py",
    "selftest": "unit/selftest/test_checks.py",
    "serving": "unit/serving/test_server.py",
    "workers/fsdp.py": "unit/workers/test_policy_parallel.py",
    "workers/host_copy.py": "unit/workers/test_actor.py",
    "workers/logprobs.py": "unit/workers/test_actor.py",
    "workers/micro_batches.py": "unit/workers/test_memory.py",
    "workers/optimizer.py": "unit/workers/test_actor.py",
    "workers/process_group.py": "unit/workers/test_policy_parallel.py",
    "workers/training.py": "unit/workers/test_actor.py",
}
"""Module or folder below `rlinf` -> its test below `tests`; the longest entry counts."""


def large_modules() -> Iterator[Path]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if len(path.read_text().splitlines()) >= LINES:
            yield path.relative_to(PACKAGE)


def home(module: Path) -> str | None:
    """The entry of the table."""
    places = [module, *module.parents]
    return next((str(place) for place in places if str(place) in HOMES), None)


def of_its_name(module: Path) -> bool:
    return (TESTS / "unit" / module.parent / f"test_{module.stem}.py").is_file()


def test_every_large_module_has_a_test_of_its_name_or_a_home():
    without = [m for m in large_modules() if not of_its_name(m) and home(m) is None]
    assert not without


def test_the_table_of_homes_names_what_is_there_and_has_no_test_of_its_name():
    assert not [module for module in HOMES if not (PACKAGE / module).exists()]
    assert not [m for m in HOMES if m.endswith(".py") and of_its_name(Path(m))]
    assert not [test for test in HOMES.values() if not (TESTS / test).exists()]


def test_what_the_fast_run_leaves_out_is_there():
    lines = 'eval "$(sed -n "/left_out=(/,/)$/p" run.sh)"; printf "%s\\n" "${left_out[@]}"'
    shell = subprocess.run(["bash", "-c", lines], cwd=TESTS, capture_output=True, check=True)
    names = shell.stdout.decode().split()
    assert len(names) > 10 and not [n for n in names if not (TESTS / "unit" / n).exists()]
