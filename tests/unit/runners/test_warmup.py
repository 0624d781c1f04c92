"""The warm-up of a training: imitation once, then its weights from the cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import torch
from safetensors.torch import load as tensors_in
from safetensors.torch import load_file

from rlinf.config.load import Loaded, load
from rlinf.data.cache import one_maker
from rlinf.imitation.lerobot.write import Writer
from rlinf.runners.demonstrations import cached
from rlinf.runners.run import open_run
from rlinf.runners.warmup import initial_weights
from tests.unit.imitation.recorded import episode


@pytest.fixture
def demonstrations(tmp_path: Path) -> Path:
    """Two recorded episodes, instead of the expert's."""
    writer = Writer(tmp_path / "set", 20, "png")
    for index in range(2):
        writer.add(episode(index, 5))
    return writer.close()


def small(name: str, data: Path, tmp_path: Path, *more: str) -> Loaded:
    """A configuration with a tiny policy that is warmed up in three steps."""
    return load(
        name,
        [
            f"imitation.data=[{data}]",
            f"imitation.cache_dir={tmp_path}/cache",
            f"runner.logger.log_path={tmp_path}/run",
            "imitation.steps=3",
            "imitation.batch_size=4",
            "actor.model.width=16",
            "actor.model.num_heads=2",
            "cluster.cpu_slots=1",
            *more,
        ],
    )


@pytest.fixture
def loaded(demonstrations: Path, tmp_path: Path) -> Loaded:
    """The quickstart."""
    return small("quickstart", demonstrations, tmp_path)


def test_a_warmed_up_policy_is_made_once_and_used_again(loaded: Loaded, tmp_path: Path):
    with open_run(loaded.config) as run:
        first = initial_weights(loaded.config, loaded.plan, run)
        path = Path(str(first.actor.model.model_path))
        assert path.parent == tmp_path / "cache"
        weights = load_file(path / "policy.safetensors")
        again = initial_weights(loaded.config, loaded.plan, run)
        assert again == first
        assert "taken from" in (tmp_path / "run/run.log").read_text()
        kept = load_file(path / "policy.safetensors")
        assert all(torch.equal(value, kept[name]) for name, value in weights.items())
        more = replace(loaded.plan, cores={**loaded.plan.cores, "actor": 2})
        assert initial_weights(loaded.config, more, run) != first  # its last bits may differ


@pytest.mark.parametrize("setting", ["joint_logprob=false", "noise_method=flow_cps"])
def test_settings_of_the_chain_neither_change_what_imitation_gives_nor_ask_for_it_again(
    setting: str, demonstrations: Path, tmp_path: Path
):
    name = "maniskill_ppo_flow_tiny"
    plain = small(name, demonstrations, tmp_path)
    chain = (f"actor.model.{setting}", "actor.model.denoising_steps=6")
    other = small(name, demonstrations, tmp_path, *chain)
    apart = small(name, demonstrations, tmp_path, *chain, f"imitation.cache_dir={tmp_path}/apart")
    with open_run(plain.config) as run:
        paths = [
            Path(str(initial_weights(one.config, one.plan, run).actor.model.model_path))
            for one in (plain, other, apart)
        ]
    assert paths[0] == paths[1] != paths[2]
    made, again = (load_file(path / "policy.safetensors") for path in paths[1:])
    assert all(torch.equal(tensor, again[name]) for name, tensor in made.items())


def test_a_policy_that_learns_its_noise_has_more_weights_and_a_warm_up_of_its_own(
    demonstrations: Path, tmp_path: Path
):
    name = "maniskill_ppo_flow_tiny"
    two = [
        small(name, demonstrations, tmp_path, f"actor.model.noise_method={method}")
        for method in ("flow_sde", "reinflow")
    ]
    with open_run(two[0].config) as run:
        paths = {initial_weights(one.config, one.plan, run).actor.model.model_path for one in two}
    assert len(paths) == 2


def test_a_damaged_one_is_made_again_and_is_the_same(loaded: Loaded, tmp_path: Path):
    with open_run(loaded.config) as run:
        first = initial_weights(loaded.config, loaded.plan, run)
        path = Path(str(first.actor.model.model_path)) / "policy.safetensors"
        weights = tensors_in(path.read_bytes())  # not mapped to the file, which changes
        (pictures,) = (tmp_path / "cache").glob("pictures-*.npy")
        for file in (path, pictures):
            file.write_bytes(file.read_bytes()[:-100])
        assert initial_weights(loaded.config, loaded.plan, run) == first
        again = load_file(path)
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    said = (tmp_path / "run/run.log").read_text()
    assert "policy.safetensors is not as it was written) and made again" in said


def test_a_run_waits_for_another_one_that_makes_it(loaded: Loaded, tmp_path: Path):
    folder = tmp_path / "cache/warmup-0"
    with open_run(loaded.config) as run:
        with one_maker(folder, lambda: None):
            other = Thread(target=cached, args=("warm-up", folder, folder.rmdir, run))
            other.start()
            while "waiting for it" not in (tmp_path / "run/run.log").read_text():
                assert other.is_alive()
            folder.mkdir()
        other.join()
    assert f"warm-up: taken from {folder}" in (tmp_path / "run/run.log").read_text()
    assert folder.is_dir()


def test_given_weights_need_no_warm_up(loaded: Loaded, tmp_path: Path):
    runner = loaded.config.runner.model_copy(update={"ckpt_path": "some/export"})
    config = loaded.config.model_copy(update={"runner": runner})
    with open_run(config) as run:
        assert initial_weights(config, loaded.plan, run).actor.model.model_path == "some/export"
    assert not (tmp_path / "cache").exists()
