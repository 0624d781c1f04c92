from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlinf.config.load import Loaded, load
from rlinf.tuning import candidates
from rlinf.tuning.throughput import Size

Load = Callable[..., Loaded]
GPUS = ("cluster.accelerators_per_node=8", "cluster.accelerator_memory_gb=80")


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """A configuration, checked, on two slots of a CPU."""

    def load_it(name: str, *overrides: str) -> Loaded:
        return load(name, ["cluster.cpu_slots=2", f"runner.logger.log_path={tmp_path}", *overrides])

    return load_it


def test_on_a_cpu_only_stages_are_tried_and_the_present_choice_is_the_first(loaded: Load):
    found = list(candidates.variants(loaded("quickstart")))
    assert found == [{}, {"rollout.pipeline_stage_num": 1}]


def test_on_gpus_placement_and_offload_are_tried_too(loaded: Load):
    found = list(candidates.variants(loaded("toy_ppo_mlp", *GPUS)))
    assert len(found) == len({tuple(sorted(settings.items())) for settings in found}) == 12
    apart = {f"cluster.component_placement.{name}" for name in ("env", "rollout", "actor")}
    split = [s for s in found if s.get("cluster.component_placement.env") == "0-3"]
    assert split and all(s["cluster.component_placement.rollout"] == "4-7" for s in split)
    assert all(apart <= set(settings) or not apart & set(settings) for settings in found)


@pytest.mark.parametrize("name", ["quickstart", "maniskill_grpo_tiny", "toy_ppo_mlp"])
def test_every_size_that_is_tried_learns_from_as_many_samples(loaded: Load, name: str):
    present = loaded(name)
    found = list(candidates.sizes(present))
    assert {} in found and len(found) > 2
    for settings in found:
        batch = loaded(name, *candidates.overrides(settings)).plan.batch
        assert (batch.samples, batch.updates) == (
            present.plan.batch.samples,
            present.plan.batch.updates,
        )


@pytest.mark.parametrize("name", ["quickstart", "maniskill_grpo_tiny", "toy_ppo_mlp"])
def test_two_measurements_differ_in_sub_envs_and_micro_batches(loaded: Load, name: str):
    present = loaded(name)
    sizes = [
        candidates.size_of(loaded(name, *candidates.overrides(settings)))
        for settings in candidates.probe_sizes(present)
    ]
    assert len(sizes) == 2
    small, large = sizes
    assert small.envs < large.envs and small.samples < large.samples
    whole = candidates.size_of(present)
    assert all(size.samples < whole.samples for size in sizes)


def test_the_size_of_the_quickstart_is_counted_by_rank(loaded: Load):
    # 36 chunk steps of 16 sub-envs; 3 update epochs over 576 samples in micro-batches of 144.
    assert candidates.size_of(loaded("quickstart")) == Size(36, 16, 12, 1728)


def test_what_the_rules_refuse_is_no_candidate(loaded: Load):
    assert candidates.loaded_with("quickstart", [], {"rollout.pipeline_stage_num": 3}) is None
