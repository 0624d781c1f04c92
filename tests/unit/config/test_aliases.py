"""Recipes in other spellings load to the same tree; keys without a meaning are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from rlinf.config import aliases
from rlinf.config.load import Loaded, load
from rlinf.config.machine import Machine
from rlinf.config.refused import REFUSED, take_refused
from rlinf.config.tree import get, put
from rlinf.config.validate import schema_keys
from rlinf.errors import UserError

Load = Callable[..., Loaded]

OLD_SPELLING = """
defaults:
  - override hydra/job_logging: stdout
hydra: {run: {dir: .}, output_subdir: null}
cluster: {num_nodes: 1, component_placement: {env: 0-0, rollout: 0-0, actor: 0-0}}
runner:
  task_type: embodied
  logger: {log_path: ../results, project_name: rlinf, experiment_name: old}
  max_epochs: 1000
  max_steps: -1
algorithm:
  auto_reset: True
  ignore_terminations: False
  use_fixed_reset_state_ids: False
  group_size: 1
  num_group_envs: 64
  n_chunk_steps: 50
  max_episode_steps: 50
  rollout_epoch: 1
  reward_type: action_level
  logprob_type: action_level
  entropy_type: action_level
  adv_type: embodied_gae
  loss_type: embodied_ppo
  bootstrap_type: standard
  sampling_params: {use_greedy: False, temperature_train: 1.0, temperature_eval: 0.6}
env:
  train: {env_type: toy_reach, init_params: {obs_dim: 42, action_dim: 8}}
  eval:
    env_type: toy_reach
    num_envs: 32
    max_episode_steps: 50
    init_params: {obs_dim: 42, action_dim: 8}
rollout: {model_dir: null, precision: 32}
actor:
  checkpoint_load_path: null
  micro_batch_size: 640
  global_batch_size: 640
  fsdp_config: {gradient_checkpointing: False}
  model:
    model_name: mlp
    precision: "32"
    obs_dim: 42
    action_dim: 8
    num_action_chunks: 1
    value_type: ${algorithm.reward_type}
"""


def test_a_recipe_in_the_old_spelling_is_understood_and_noted(
    tmp_path: Path, laptop: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "old.yaml").write_text(OLD_SPELLING)
    loaded = load(str(tmp_path / "old.yaml"), [], laptop)
    config = loaded.config
    assert config.env.train.total_num_envs == 64
    assert config.env.train.max_steps_per_rollout_epoch == 50
    assert config.env.eval.total_num_envs == 32
    assert config.algorithm.sampling_params.do_sample
    assert (config.algorithm.adv_type, config.algorithm.loss_type) == ("gae", "actor_critic")
    assert config.algorithm.reward_type == config.actor.model.value_type == "action"
    assert config.algorithm.bootstrap == "truncated"
    assert config.actor.model.precision == config.rollout.model.precision == "fp32"
    assert config.runner.logger.run_dir == tmp_path / "results" / "old"
    assert "algorithm.num_group_envs is read as env.train.total_num_envs = 64" in loaded.notes


def test_group_envs_count_groups_and_chunk_steps_count_chunks() -> None:
    plain = {
        "algorithm": {"num_group_envs": 32, "group_size": 8, "n_chunk_steps": 10},
        "actor": {"model": {"num_action_chunks": 8}},
    }
    notes, problems = aliases.apply(plain)
    assert plain["env"]["train"] == {
        "group_size": 8,
        "total_num_envs": 256,
        "max_steps_per_rollout_epoch": 80,
    }
    assert "algorithm" not in plain
    assert (len(notes), problems) == (3, [])


def test_both_spellings_may_stand_together_only_with_one_value(load_toy: Load) -> None:
    both = "env.train.total_num_envs=256"
    config = load_toy("algorithm.num_group_envs=256", both).config
    assert config.env.train.total_num_envs == 256
    with pytest.raises(UserError) as caught:
        load_toy("algorithm.num_group_envs=128", both)
    assert "env.train.total_num_envs = 256 differ" in str(caught.value)
    assert "keep only env.train.total_num_envs" in str(caught.value)


# The file is in our spelling; a group of 8 makes 256 sub-envs of 32 groups.
GROUPS = """
defaults: [toy_ppo_mlp, _self_]
env:
  train: {group_size: 8, total_num_envs: 256, use_fixed_reset_state_ids: true,
          max_steps_per_rollout_epoch: "${.max_episode_steps}"}
actor: {model: {model_path: /a}, micro_batch_size: 20, global_batch_size: 20}
rollout: {model: {model_path: /a}}
algorithm: {sampling_params: {do_sample: true}}
"""


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["algorithm.group_size=4"], {"env.train.group_size": 4, "env.train.total_num_envs": 256}),
        (["algorithm={group_size: 4}"], {"env.train.group_size": 4}),
        (["algorithm.num_group_envs=16"], {"env.train.total_num_envs": 128}),
        (
            ["algorithm.num_group_envs=16", "algorithm.group_size=4"],
            {"env.train.total_num_envs": 64, "env.train.group_size": 4},
        ),
        # What refers to the key follows as well.
        (
            ["algorithm.max_episode_steps=20"],
            {"env.train.max_episode_steps": 20, "env.train.max_steps_per_rollout_epoch": 20},
        ),
        (["algorithm.n_chunk_steps=10"], {"env.train.max_steps_per_rollout_epoch": 10}),
        (
            ["algorithm.sampling_params.use_greedy=true"],
            {"algorithm.sampling_params.do_sample": False},
        ),
        (
            ["actor.checkpoint_load_path=/x"],
            {"actor.model.model_path": "/x", "rollout.model.model_path": None},
        ),
        (["actor.model.model_path=/x"], {"rollout.model.model_path": None}),
    ],
)
def test_an_override_in_another_spelling_wins_over_the_file(
    tmp_path: Path, laptop: Machine, overrides: list[str], found: dict[str, object]
) -> None:
    (tmp_path / "ours.yaml").write_text(GROUPS)
    loaded = load(
        str(tmp_path / "ours.yaml"), [f"runner.logger.log_path={tmp_path}", *overrides], laptop
    )
    tree = loaded.config.model_dump(mode="json")
    assert {key: get(tree, key) for key in found} == found


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["env.train.total_num_envs=32"], {"env.train.total_num_envs": 32}),
        (
            ["env.train.max_episode_steps=20", "algorithm.n_chunk_steps=20"],
            {"env.train.max_episode_steps": 20},
        ),
        (
            ["algorithm.sampling_params.do_sample=false"],
            {"algorithm.sampling_params.do_sample": False},
        ),
    ],
)
def test_an_override_wins_over_the_other_spelling_of_the_file(
    tmp_path: Path, laptop: Machine, overrides: list[str], found: dict[str, object]
) -> None:
    (tmp_path / "old.yaml").write_text(OLD_SPELLING)
    loaded = load(
        str(tmp_path / "old.yaml"),
        [
            f"runner.logger.log_path={tmp_path}",
            *overrides,
            "actor.micro_batch_size=32",
            "actor.global_batch_size=32",
        ],
        laptop,
    )
    tree = loaded.config.model_dump(mode="json")
    assert {key: get(tree, key) for key in found} == found


def test_two_spellings_on_the_command_line_must_agree(load_toy: Load) -> None:
    with pytest.raises(UserError, match=r"keep only env\.train\.group_size"):
        load_toy("algorithm.group_size=4", "env.train.group_size=8")


def test_spellings_of_one_value_do_not_differ() -> None:
    plain = {"rollout": {"precision": 32, "model": {"precision": "fp32"}}}
    assert aliases.apply(plain)[1] == []


def test_every_alias_leads_to_a_key_of_the_tree_and_is_none_itself() -> None:
    known = schema_keys()
    targets = [*aliases.RENAMED.values(), *aliases.NEGATED.values(), *aliases.VALUES]
    targets += [key for pair in aliases.PRODUCTS.values() for key in pair]
    assert set(targets) <= set(known)
    assert not {*aliases.RENAMED, *aliases.NEGATED, *aliases.PRODUCTS} & set(known)


SNIPPETS = [
    "cluster: {num_nodes: 1, component_placement: {env: 0-3, rollout: 4-7, actor: 0-7}}\n"
    "rollout: {pipeline_stage_num: 2}",
    'cluster: {num_nodes: 1, component_placement: {"env,rollout,actor": all}}',
    "cluster: {num_nodes: 1, component_placement: {env: 0-1, rollout: 2-5, actor: 6-7}}",
    "cluster: {num_nodes: 2, component_placement: {env: 0-7, rollout: 8-15, actor: 0-15}}\n"
    "rollout: {pipeline_stage_num: 2}",
    "cluster: {num_nodes: 2, component_placement: {env: 0-3, rollout: 4-7, actor: 8-15}}",
    "rollout: {model: {model_path: MODEL}}\nactor: {model: {model_path: MODEL}}",
    "rollout: {model_dir: MODEL}\nactor: {checkpoint_load_path: MODEL}",
    "env: {train: {video_cfg: {save_video: True, info_on_video: True,"
    " video_base_dir: '${runner.logger.log_path}/video/train'}}}",
    "env: {eval: {video_cfg: {save_video: True,"
    " video_base_dir: '${runner.logger.log_path}/video/eval'}}}",
    "runner: {task_type: embodied, logger: {project_name: rlinf, experiment_name: test,"
    " logger_backends: [tensorboard, wandb]}}",
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_the_fragments_of_the_documentation_are_accepted(
    snippet: str, tmp_path: Path, gpu_machine: Machine
) -> None:
    base = """
defaults: [toy_ppo_mlp, _self_]
actor: {micro_batch_size: 100, global_batch_size: 3200}
runner: {logger: {log_path: logs}}
"""
    tree = yaml.safe_load(base)
    fragment = yaml.safe_load(snippet.replace("MODEL", str(tmp_path / "to be fetched")))
    for key, value in _leaves(fragment):
        put(tree, key, value)
    (tmp_path / "fragment.yaml").write_text(yaml.safe_dump(tree))
    loaded = load(str(tmp_path / "fragment.yaml"), [], gpu_machine)
    assert loaded.config.actor.micro_batch_size and loaded.plan.iterations > 0


def _leaves(tree: dict, above: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, value in tree.items():
        key = f"{above}{name}"
        found += _leaves(value, f"{key}.") if isinstance(value, dict) else [(key, value)]
    return found


@pytest.mark.parametrize("pattern", sorted(REFUSED))
def test_a_refused_key_is_answered_with_its_reason_and_removed(pattern: str) -> None:
    plain: dict = {}
    put(plain, pattern.replace("env.*", "env.train").replace("*.", "actor.").replace("*", "x"), 1)
    problems = take_refused(plain)
    assert [problem[1] for problem in problems] == [REFUSED[pattern][1]]
    assert REFUSED[pattern][0] in problems[0].message
    assert plain == {}


def test_no_key_of_the_tree_is_refused() -> None:
    plain: dict = {}
    known = schema_keys()
    for key in known:
        if not any(other.startswith(f"{key}.") for other in known):
            put(plain, key, 1)
    assert take_refused(plain) == []


def test_the_keys_of_the_isaaclab_page_name_the_models_folder() -> None:
    keys = ("rollout.model_dir=MODEL", "rollout.actor.checkpoint_load_path=MODEL")
    loaded = load("isaaclab_ppo_gr00t_demo", keys)
    assert str(loaded.config.actor.model.model_path).endswith("MODEL")
