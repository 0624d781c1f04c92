"""Every shipped configuration loads; what is wrong is reported with key, value, rule and fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlinf.config.compose import CONFIG_DIR
from rlinf.config.load import Loaded, load
from rlinf.config.machine import Machine
from rlinf.errors import UserError
from tests import tiny_gr00t
from tests.tiny_openvla import UNNORM_KEY, write_folder

Load = Callable[..., Loaded]
Errors = Callable[..., str]

SHIPPED = sorted(file.stem for file in CONFIG_DIR.glob("*.yaml"))


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("model"))


def weights(name: str, tiny_model: Path) -> list[str]:
    """A tiny folder of weights for a configuration whose policy has none without."""
    if "gr00t" in name:
        path = tiny_model / "gr00t"
        folder = path if path.exists() else tiny_gr00t.write_folder(path)
        return [
            f"actor.model.model_path={folder}",
            "actor.model.processor_path=null",
        ]
    if "openvla" not in name:
        return []
    folder = tiny_model
    if name.startswith("behavior"):
        folder = tiny_model / "r1pro"
        if not folder.exists():
            write_folder(folder, action_dim=23)
    settings = [f"actor.model.model_path={folder}", f"actor.model.unnorm_key={UNNORM_KEY}"]
    return [*settings, *(["actor.model.lora_path=null"] if "openvlaoft" in name else [])]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_configuration_loads_with_and_without_accelerators(
    name: str, laptop: Machine, gpu_machine: Machine, tmp_path: Path, tiny_model: Path
) -> None:
    given = weights(name, tiny_model)
    for machine in (laptop, gpu_machine):
        loaded = load(name, [f"runner.logger.log_path={tmp_path}", *given], machine)
        others = [note for note in loaded.notes if not note.startswith("model ")]
        shortened = name.startswith(("libero", "isaaclab")) and name.endswith(("tiny", "gr00t"))
        assert [note for note in others if not ("max_episode_steps" in note and shortened)] == []
        if machine is gpu_machine or not given:  # 128 Bridge scenes are no task for a laptop
            assert [warning for warning in loaded.warnings if "temperature" not in warning] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_the_resolved_tree_loads_to_an_equal_tree(
    name: str, laptop: Machine, tmp_path: Path, tiny_model: Path
) -> None:
    overrides = [f"runner.logger.log_path={tmp_path}/run", *weights(name, tiny_model)]
    first = load(name, overrides, laptop).config
    file = tmp_path / "resolved.yaml"
    file.write_text(first.to_yaml())
    assert load(str(file), [], laptop).config == first


def test_an_override_needs_no_plus_for_a_key_that_the_file_does_not_have(load_toy: Load) -> None:
    loaded = load_toy("algorithm.target_kl=0.1", "env.train.video_cfg.save_video=true")
    assert loaded.config.algorithm.target_kl == 0.1
    assert loaded.config.env.train.video_cfg.save_video


def test_an_override_can_choose_another_group_file(load_toy: Load) -> None:
    loaded = load_toy("env@env.eval=toy_reach", "model@actor.model=mlp")
    assert loaded.config.actor.model.model_type == "mlp"


def test_a_placement_with_commas_needs_no_inner_quotes(load_toy: Load) -> None:
    loaded = load_toy("cluster.component_placement.env=0,1")
    assert len(loaded.plan.placement["env"]) == 2


def test_one_override_places_every_component(load_toy: Load) -> None:
    loaded = load_toy("cluster.component_placement=1")
    assert all(ranks[0].resources == (1,) for ranks in loaded.plan.placement.values())


def test_files_of_the_user_may_use_the_shipped_groups(tmp_path: Path, laptop: Machine) -> None:
    shipped = (CONFIG_DIR / "toy_ppo_mlp.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(shipped)
    loaded = load(str(tmp_path / "mine.yaml"), [], laptop)
    assert loaded.name == "mine"
    assert loaded.config.env.train.simulator_type == "toy_reach"


def test_videos_go_into_the_run_folder_unless_told_otherwise(load_toy: Load) -> None:
    config = load_toy(
        "runner.logger.experiment_name=first",
        "env.eval.video_cfg.video_base_dir=${runner.logger.log_path}/films",
    ).config
    run = Path(config.runner.logger.log_path)
    assert config.env.train.video_cfg.video_base_dir == str(run / "first" / "video" / "train")
    assert config.env.eval.video_cfg.video_base_dir == str(run / "films")


def test_a_misspelt_configuration_name_is_answered_with_the_nearest(laptop: Machine) -> None:
    with pytest.raises(UserError, match="toy_ppo_mlp"):
        load("toy_pp_mlp", [], laptop)
    with pytest.raises(UserError, match="write the configuration first"):
        load("runner.max_steps=1", [], laptop)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("env.train.total_num_env=8", ["did you mean env.train.total_num_envs?"]),
        ("group_size=8", ["did you mean env.train.group_size?"]),
        ("algorithm.total_num_envs=8", ["env.train.total_num_envs or env.eval.total_num_envs"]),
        ("control_mode=x", ["control_mode: unknown key; the top level has"]),  # ManiSkill's
        (
            'actor.model.model_path=""',
            ["must name a file or folder", "Folder of the initial weights"],
        ),
        ("env.train.init_params.id=x", ["env.train.init_params.id: the chosen simulator"]),
        ("actor.optim.lr=fast", ['actor.optim.lr = "fast": must be a valid number', "Learning"]),
        ("actor.seed=1.5", ["actor.seed = 1.5: must be a valid integer"]),
        ("env.train.auto_reset=1", ["env.train.auto_reset = 1: must be a valid boolean"]),
        ("algorithm.logprob_type=tokn", ["must be token or action or chunk", "mean token?"]),
        ("actor.model.model_type=mpl", ["actor.model.model_type", "did you mean mlp?"]),
        ("env.eval.simulator_type=null", ["env.eval.simulator_type = null: must be maniskill"]),
        ("actor.micro_batch_size=null", ["actor.micro_batch_size = null"]),
        ("~actor.micro_batch_size", ["actor.micro_batch_size: missing", "samples (chunks)"]),
        ("cluster.component_placement.env=[1]", ["cluster.component_placement.env = [1]"]),
        ("runner.logger.logger_backends=tensorboard,wandb", ["a list, written [a,b]"]),
        (
            "actor.model.precision=bf16",
            ["must be fp32", "fix: set actor.model.precision=fp32"],
        ),
        ("cluster.node_groups=[{label: 3}]", ["node_groups.0.label = 3: must be a valid string"]),
        ("cluster.cpu_slots=1000000", ["must be less than or equal to 4096"]),
        ("runner.max_steps=0", ["must be -1 (off) or at least 1"]),
        ("hydra.run.dir=x", ["runner.logger.log_path says where logs go"]),
        ("actor.seed", ["cannot read the override 'actor.seed'"]),
        ("actor.seed=${nothing}", ["nothing"]),
        ("env@env.train=no_such_group", ["there is no no_such_group.yaml in", "toy_reach"]),
        ("env.train.num_envs=8", ["did you mean env.train.total_num_envs?"]),
        ("env.train.simulator_type=robotwin", ["robotwin: not part of this version"]),
        ("+env.train.task_idx=0", ["remove it and set env.*.init_params.tasks"]),
        ("actor.model.model_type=gr00t_n1_6", ["gr00t_n1_6: not part of this version"]),
        ("actor.model.model_type=openpi", ["openpi: not part of this version", "choose mlp or"]),
        ("actor.model.use_film=true", ["models with FiLM are not part of this version"]),
        ("env@env.train=3", ["'env@env.train=3'", "the name of a file", "toy_reach"]),
    ],
)
def test_a_wrong_override_names_key_value_and_fix(
    errors_of: Errors, override: str, words: list[str]
) -> None:
    message = errors_of(override)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "key",
    [
        "env.train.init_params.render_mode",
        "env.train.init_params.sensor_configs",
        "actor.model.vocab_size",
        "actor.model.hidden_size",
        "algorithm.loss_scale_type",
        "env.train.observation_horizon",
        "actor.optim.critic_lr",
    ],
)
def test_a_key_that_resembles_another_by_chance_gets_no_suggestion(
    errors_of: Errors, key: str
) -> None:
    message = errors_of(f"{key}=1")
    assert key in message
    assert "did you mean" not in message


def test_only_keys_of_the_chosen_simulator_and_model_are_listed(errors_of: Errors) -> None:
    message = errors_of("env.train.init_params.mass=1")
    assert "env.train.init_params has obs_dim, action_dim" in message
    message = errors_of("actor.model.dropout=1")
    assert "hidden_dim" in message and "lora_rank" not in message


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ("[]", "size = []: has too few values"),
        ("[1,2,3]", "size = [1, 2, 3]: has too many values"),
        ("[a,2]", 'size.0 = "a": must be'),
    ],
)
def test_a_wrong_list_is_reported_with_what_is_wrong_in_it(
    laptop: Machine, size: str, words: str
) -> None:
    with pytest.raises(UserError) as caught:
        load("quickstart", [f"env.train.init_params.image_size={size}"], laptop)
    assert words in str(caught.value)


def test_all_problems_are_told_at_once(errors_of: Errors) -> None:
    message = errors_of("actor.seed=x", "algorithm.gama=1", "actor.optim.lr=-1")
    assert message.startswith("3 problems in the configuration toy_ppo_mlp:")


def test_arithmetic_and_placement_are_told_together(errors_of: Errors) -> None:
    message = errors_of("cluster.component_placement.env=7", "algorithm.max_refills=2")
    assert "cluster.component_placement.env = 7" in message
    assert "algorithm.max_refills" in message


def test_a_policy_folder_to_start_from_takes_the_place_of_the_model(
    tmp_path: Path, laptop: Machine
) -> None:
    """What `eval_mani_ood.sh CONFIG CKPT` is given is enough; the model itself may be missing."""
    policy = write_folder(tmp_path / "policy")
    settings = (f"runner.ckpt_path={policy}", f"actor.model.unnorm_key={UNNORM_KEY}")
    config = load("maniskill_ppo_openvla", settings, laptop).config
    assert config.actor.model.model_path == str(policy)
    (tmp_path / "checkpoint/actor").mkdir(parents=True)
    settings = (f"runner.ckpt_path={tmp_path}/checkpoint",)
    config = load("maniskill_ppo_openvla", settings, laptop).config
    assert config.actor.model.model_path == "openvla-7b-rlvla-warmup"


def test_a_section_that_is_a_group_can_be_left_out_with_null(tmp_path: Path) -> None:
    folder = f"runner.logger.log_path={tmp_path / 'run'}"
    assert load("quickstart", [folder]).config.imitation is not None
    assert load("quickstart", [folder, "imitation=null"]).config.imitation is None


def test_each_node_keeps_the_state_of_its_own_ranks(load_toy: Load):
    """Four ranks that hold one copy of the policy together, two on each of two nodes."""
    nodes = ("cluster.num_nodes=2", "cluster.cpu_slots=2", "cluster.ray_address=10.0.0.1:6379")
    ranks = "cluster.component_placement={env: 0, rollout: 0, actor: 0-3}"
    all_together = "actor.fsdp_config.sharding_strategy=full_shard"
    loaded = load_toy(*nodes, ranks, all_together, "actor.micro_batch_size=100")
    a_quarter = -(-12 * loaded.config.actor.model.num_trainable() // 4)
    assert loaded.plan.host_copy_bytes == 2 * a_quarter
    copies = [m for m in loaded.plan.memory if m.owner == "recovery copy"]
    assert [(m.processes, m.per_process) for m in copies] == [(2, 2 * a_quarter)]


def test_a_state_too_large_to_be_kept_each_iteration_is_reported(load_toy: Load):
    kept = load_toy()
    assert kept.plan.host_copy_bytes == 12 * kept.config.actor.model.num_trainable()
    assert "recovery copy" in [memory.owner for memory in kept.plan.memory]
    assert kept.notes == ()
    large = load_toy("runner.recovery_memory_gb=1e-6")
    assert large.plan.host_copy_bytes == 0
    assert "goes on from the newest checkpoint" in large.notes[0]
    assert load_toy("runner.recovery_memory_gb=0").notes == ()  # asked for
