"""The table of memory per GPU: its numbers worked out by hand, and what makes a run fit."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from rlinf import registry
from rlinf.config import memory
from rlinf.config.compose import CONFIG_DIR
from rlinf.config.load import Loaded, load
from rlinf.config.machine import Machine, smallest_memory
from rlinf.errors import UserError
from tests.unit.config.conftest import GPU_MACHINE

SHIPPED = sorted(path.stem for path in CONFIG_DIR.glob("*openvla*.yaml"))
# 7B: of the published files, and of LoRA of rank 32 on what is computed.
ALL, ADAPTERS = 7_541_237_184, 110_828_288 - 1_701_888
LAYER = 4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096
OUTSIDE = 2 * 32064 * 4096 + 71_385_600  # embedding and head, projector
POSITIONS = 256 + 40 + 56  # patches, text, action tokens


def loaded(name: str, tmp_path: Path, *overrides: str, gigabytes: float | None = None) -> Loaded:
    size = None if gigabytes is None else int(gigabytes * 1e9)
    machine = replace(GPU_MACHINE, accelerator_bytes=size)
    return load(name, [f"runner.logger.log_path={tmp_path}", *overrides], machine)


def sizes(found: Loaded, phase: memory.Phase) -> dict[str, int]:
    """Bytes of each part of the fullest GPU."""
    full = memory.fullest(memory.devices(found.config, found.plan))
    assert full is not None
    return {f"{h.owner} {h.what}": h.size for h in full.held if phase in h.phases}


def test_the_parts_of_a_7b_policy_with_adapters_are_those_of_its_tensors(tmp_path: Path) -> None:
    found = sizes(loaded("maniskill_grpo_openvlaoft", tmp_path), "trains")
    assert found["rollout weights"] == 2 * (ALL + ADAPTERS)
    assert found["actor weights"] == math.ceil((4 * ADAPTERS + 2 * ALL) / 8)
    assert found["actor Adam"] == ADAPTERS and found["actor gradients"] == ADAPTERS / 2
    assert found["actor gathered weights"] == 2 * (OUTSIDE + 2 * LAYER)
    assert found["actor gradients to be summed"] == (2 + 4) * ADAPTERS
    # Checkpointed: the input of each layer, and one layer that computes.
    towers = 261 * 23 * 1024 + 256 * 26 * 1152
    inputs = 2 * (POSITIONS * 4096 * 32 + towers)
    computing = 2 * POSITIONS * (12 * 4096 + 4 * 11008)
    assert found["actor activations"] == 40 * (inputs + computing)
    assert "actor unsharded gradients" not in found


def test_gradients_that_are_accumulated_whole_are_counted_in_their_format(tmp_path: Path) -> None:
    accumulating = "actor.fsdp_config.enable_gradient_accumulation=true"
    name = "libero_10_grpo_openvlaoft"
    found = sizes(loaded(name, tmp_path, accumulating), "trains")
    assert found["actor unsharded gradients"] == pytest.approx(30e9, rel=0.01)  # 7.5 B in fp32
    half = "actor.fsdp_config.mixed_precision.reduce_dtype=bf16"
    found = sizes(loaded(name, tmp_path, accumulating, half), "trains")
    assert found["actor unsharded gradients"] == pytest.approx(15e9, rel=0.01)


def test_a_policy_that_decodes_token_by_token_has_a_cache(tmp_path: Path) -> None:
    found = loaded("maniskill_ppo_openvla", tmp_path)
    positions = 256 + 40 + 7
    rows = found.plan.train.per_stage
    cache = 2 * 32 * 4096 * 2 * positions  # keys and values of 32 layers, in bf16
    assert sizes(found, "collects")["rollout KV cache"] == rows * cache
    bounded = loaded("maniskill_ppo_openvla", tmp_path, "rollout.max_batch_size=4")
    assert sizes(bounded, "collects")["rollout KV cache"] == 4 * cache


def test_what_is_offloaded_is_on_the_gpu_in_its_own_phase(tmp_path: Path) -> None:
    away = [f"{part}.enable_offload=true" for part in ("rollout", "actor", "env")]
    found = loaded("libero_10_grpo_openvlaoft", tmp_path, *away)
    training, collecting = sizes(found, "trains"), sizes(found, "collects")
    assert "rollout weights" not in training and "rollout weights" in collecting
    assert "actor Adam" not in collecting and "actor Adam" in training
    # A sub-process of LIBERO keeps its renderer.
    assert training["env simulators (assumed)"] == 8 * 300_000_000
    assert "evaluates" not in memory.phases(found.config)  # nothing asks for an evaluation


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_7b_configuration_fits_eight_gpus_of_80_gb_by_a_margin(
    name: str, tmp_path: Path
) -> None:
    found = loaded(name, tmp_path, gigabytes=0.9 * 80)
    full = memory.fullest(memory.devices(found.config, found.plan))
    assert full is not None and full.most <= 0.9 * 80e9


def settings_of(error: UserError) -> list[str]:
    return re.findall(r"(\S+=\S+)", error.fix)


@pytest.mark.parametrize(
    ("gigabytes", "expected"),
    [
        (40, ["rollout.enable_offload=true"]),
        (26, ["rollout.enable_offload=true", "actor.enable_offload=true"]),
    ],
)
def test_a_run_that_does_not_fit_is_refused_with_the_first_settings_that_make_it_fit(
    gigabytes: float, expected: list[str], tmp_path: Path
) -> None:
    name = "libero_10_grpo_openvlaoft"
    with pytest.raises(
        UserError, match=r"GPU 0 of node 0 needs 45\.9 GB while the run trains"
    ) as e:
        loaded(name, tmp_path, gigabytes=gigabytes)
    settings = settings_of(e.value)
    assert settings[: len(expected)] == expected
    loaded(name, tmp_path, *settings, gigabytes=gigabytes)
    with pytest.raises(UserError):  # each of them is needed
        loaded(name, tmp_path, *settings[:-1], gigabytes=gigabytes)


def test_more_ranks_are_proposed_where_settings_do_not_suffice(tmp_path: Path) -> None:
    one = ("cluster.component_placement=0", "actor.model.is_lora=true")
    with pytest.raises(UserError) as caught:
        loaded("libero_10_grpo_openvlaoft", tmp_path, *one, gigabytes=12)
    assert "place env, rollout and actor" in caught.value.fix  # nothing of it fits the rollout
    apart = "cluster.component_placement={env: 0, rollout: 1, actor: 2}"
    with pytest.raises(UserError) as caught:
        loaded("libero_10_grpo_openvlaoft", tmp_path, apart, gigabytes=24)
    assert "rollout.enable_offload" not in caught.value.fix  # it has a GPU of its own
    assert "actor.model.is_lora=true" in caught.value.fix


def test_memory_that_is_not_known_refuses_nothing_and_the_configuration_may_say_it(
    tmp_path: Path,
) -> None:
    name = "libero_10_grpo_openvlaoft"
    loaded(name, tmp_path)
    with pytest.raises(UserError, match=r"has 40\.0 GB \(cluster\.accelerator_memory_gb\)"):
        loaded(name, tmp_path, "cluster.accelerator_memory_gb=40", gigabytes=80)


def test_the_smallest_gpu_counts() -> None:
    assert smallest_memory("81559\n24564\n") == 24564 * 2**20
    assert smallest_memory("No devices were found\n") is None


def test_without_gpus_there_is_nothing_to_hold_against(laptop: Machine, tmp_path: Path) -> None:
    found = load("toy_ppo_mlp", [f"runner.logger.log_path={tmp_path}"], laptop)
    assert memory.devices(found.config, found.plan) == ()
    assert memory.problem(found.config, found.plan, 1) is None


def test_shared_memory_is_counted_in_the_format_that_is_sent(tmp_path: Path) -> None:
    store = {m.owner: dict(m.parts) for m in loaded(SHIPPED[0], tmp_path).plan.memory}
    assert store["object store"]["weights"] == pytest.approx(2 * 7.5e9, rel=0.01)


SIXTY_FOUR = ("cluster.num_nodes=8", "cluster.accelerators_per_node=8")
TABLE = Path(__file__).parents[3] / "docs" / "hardware.yaml"  # the site's page on 64 GPUs
LARGER = yaml.safe_load(TABLE.read_text())
LARGER_GR00T = {
    "libero": ("env.eval.total_num_envs=64", "actor.micro_batch_size=16"),
    "maniskill": ("actor.micro_batch_size=16",),
    "isaaclab": (
        "cluster.component_placement=all",
        "env.train.total_num_envs=64",
        "env.eval.total_num_envs=64",
        "actor.global_batch_size=512",
    ),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_7b_configuration_runs_on_64_gpus_with_the_overrides_that_its_refusal_names(
    name: str, tmp_path: Path
) -> None:
    overrides = LARGER[max(filter(name.startswith, LARGER), key=len)]
    larger = loaded(name, tmp_path, *SIXTY_FOUR, *overrides, gigabytes=0.9 * 80)
    assert larger.plan.shard_size == 8  # the ranks of a node
    if overrides:
        with pytest.raises(UserError) as caught:
            loaded(name, tmp_path, *SIXTY_FOUR, gigabytes=0.9 * 80)
        for override in overrides:
            key, _, value = override.partition("=")
            assert key in str(caught.value) and value in str(caught.value)


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIG_DIR.glob("*gr00t*.yaml")))
def test_a_shipped_gr00t_configuration_runs_on_64_gpus_with_the_overrides_that_its_refusals_name(
    name: str, tmp_path: Path
) -> None:
    overrides = LARGER_GR00T[name.split("_")[0]]
    larger = loaded(name, tmp_path, *SIXTY_FOUR, *overrides, gigabytes=0.9 * 80)
    assert [len(placed) for placed in larger.plan.placement.values()] == [64, 64, 64]
    for override in overrides:
        key, _, value = override.partition("=")
        others = [one for one in overrides if one != override]
        with pytest.raises(UserError) as caught:
            loaded(name, tmp_path, *SIXTY_FOUR, *others, gigabytes=0.9 * 80)
        assert key in str(caught.value) and value in str(caught.value)


def test_activations_of_gr00t_are_held_against_the_device(tmp_path: Path) -> None:
    name, many = "maniskill_ppo_gr00t", "actor.micro_batch_size=128"
    assert sizes(loaded(name, tmp_path, many), "trains")["actor activations"] > 20e9
    with pytest.raises(UserError, match="actor activations") as caught:
        loaded(name, tmp_path, many, gigabytes=24)
    assert "actor.micro_batch_size=32" in settings_of(caught.value)
    loaded(name, tmp_path, many, *settings_of(caught.value), gigabytes=24)


def test_recomputing_is_proposed_for_the_models_that_can_alone():
    for name, spec in registry.models().items():
        settings = registry.imported(spec.settings)
        field = settings.model_fields["gradient_checkpointing"]
        assert settings.recomputes == (field.annotation is bool), name
