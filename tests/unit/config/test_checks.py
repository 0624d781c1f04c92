"""Rules between values: the message has the numbers, the fix has values that work."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlinf.config import preflight
from rlinf.config.base import nearest_multiples
from rlinf.config.derive import ProcessMemory
from rlinf.config.load import Loaded, load
from rlinf.config.machine import Machine
from rlinf.errors import UserError

Load = Callable[..., Loaded]
Errors = Callable[..., str]

GRPO = (
    "algorithm.adv_type=grpo",
    "algorithm.loss_type=actor",
    "actor.model.add_value_head=false",
    "env.train.auto_reset=false",
    "env.train.group_size=8",
    "env.train.use_fixed_reset_state_ids=true",
)


@pytest.mark.parametrize(
    ("value", "step", "words"), [(10, 4, "8 or 12"), (3, 4, "4"), (8, 8, "8 or 16")]
)
def test_nearest_multiples(value: int, step: int, words: str) -> None:
    assert nearest_multiples(value, step) == words


# `toy_ppo_mlp` has 256 sub-envs x 50 steps of one action, micro- and global batch 3200, one worker.
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["env.train.total_num_envs=10", "rollout.pipeline_stage_num=4"],
            ["env.train.total_num_envs = 10: must be a multiple of 4", "try 8 or 12"],
        ),
        (
            ["env.eval.total_num_envs=5", "cluster.component_placement.env=all"],
            ["env.eval.total_num_envs = 5: must be a multiple of 2 (2 env workers", "try 4 or 6"],
        ),
        (
            [*GRPO, "env.train.total_num_envs=100", "rollout.pipeline_stage_num=2"],
            ["multiple of 16 (1 env worker x rollout.pipeline_stage_num 2 x group_size 8)"],
        ),
        (
            ["actor.model.num_action_chunks=8"],
            ["max_steps_per_rollout_epoch = 50: must be a multiple of", "try 48 or 56"],
        ),
        (
            ["rollout.compile=inductor"],
            ["rollout.compile = inductor: mlp has nothing that is compiled", "compile=null"],
        ),
        (
            ["rollout.compile=both"],
            ["rollout.compile = both: CUDA graphs need rollout ranks on GPUs"],
        ),
        (
            ["rollout.compile=cuda_graphs", "rollout.enable_offload=true"],
            ["with rollout.enable_offload = true: CUDA graphs know the addresses"],
        ),
        # 12800 samples: multiples of 3200 that divide it are 3200, 6400 and 12800.
        (
            ["actor.global_batch_size=5000"],
            ["actor.global_batch_size = 5000: must be a multiple of 3200", "try 3200 or 6400"],
        ),
        (["actor.global_batch_size=9600"], ["divide the 12800 samples", "try 6400 or 12800"]),
        # Two ranks: 2 x 3000 does not divide 12800; the largest m <= 3000 with 2m | 12800 is 1600.
        (
            ["actor.micro_batch_size=3000", "cluster.component_placement.actor=all"],
            ["3000 x 2 actor ranks = 6000: must divide the 12800", "micro_batch_size=1600"],
        ),
        (
            ["env.train.auto_reset=false", "env.train.max_steps_per_rollout_epoch=100"],
            ["max_steps_per_rollout_epoch = 100: with fixed episodes", "=50"],
        ),
        (["algorithm.adv_type=grpo"], ["env.train.group_size = 1: GRPO", "auto_reset=false"]),
        ([*GRPO, "algorithm.loss_type=actor_critic"], ["GRPO has no critic", "=actor"]),
        ([*GRPO, "actor.model.add_value_head=true"], ["add_value_head=false"]),
        ([*GRPO, "actor.optim.critic_warmup_steps=5"], ["no critic to warm up"]),
        (
            [*GRPO, "algorithm.rewards_lower_bound=0.9", "algorithm.rewards_upper_bound=0.1"],
            ["rewards_lower_bound = 0.9 is above"],
        ),
        (["actor.model.add_value_head=false"], ["PPO needs a critic"]),
        (
            ["actor.fsdp_config.fsdp_size=2"],
            ["fsdp_size = 2 with sharding_strategy = full_shard", "fsdp_size=-1"],
        ),
        (
            [
                "actor.fsdp_config.sharding_strategy=hybrid_shard",
                "actor.fsdp_config.fsdp_size=2",
            ],
            ["groups of 2 ranks must divide the 1 actor rank", "a divisor of 1"],
        ),
        (
            ["actor.fsdp_config.mixed_precision.param_dtype=bf16"],
            ["actor.model.precision = fp32: actor and rollout would disagree"],
        ),
        (
            ["actor.fsdp_config.offload_pin_memory=true"],
            ["cpu_offload = false: there is nothing to pin"],
        ),
        (["algorithm.filter_rewards=true"], ["PPO has no groups to filter"]),
        ([*GRPO, "algorithm.max_refills=2"], ["max_refills = 2 with filter_rewards = false"]),
        (
            ["algorithm.kl_beta=0.1", "algorithm.kl_penalty=kl"],
            ["kl_penalty = k1 (also written kl)", "gradient of this estimate is 0", "=k3"],
        ),
        (
            ["algorithm.adv_type=reinforce++"],
            ["REINFORCE++ needs fixed episodes", "REINFORCE++ has no critic"],
        ),
        (["algorithm.adv_type=rloo"], ["RLOO compares the episodes of a group"]),
        (["env.train.group_size=2"], ["use_fixed_reset_state_ids=true"]),
        (["algorithm.logprob_type=chunk"], ["coarser than the advantage"]),
        (["algorithm.length_normalization=true"], ["their length is not known"]),
        (["actor.model.value_type=chunk"], ["one value per reward", "value_type=action"]),
        (["algorithm.sampling_params.top_k=50"], ["top_k = 50", "set algorithm", "top_k=0"]),
        (["rollout.model_dir=/models/a"], ["set actor.model.model_path=/models/a"]),
        (["actor.model.obs_dim=7"], ["env.train.init_params has obs_dim 42", "needs 7"]),
        (["env.eval.init_params.action_dim=7"], ["env.eval.init_params has action_dim 7"]),
        (
            ["+imitation.expert=push_cub", "+imitation.num_demonstrations=1", "+imitation.steps=1"],
            ["imitation with actor.model.model_type = mlp", "no such expert", "write push_cube"],
        ),
        (
            [
                "+imitation.expert=push_cube",
                "+imitation.num_demonstrations=1",
                "+imitation.steps=1",
            ],
            ["it can do PushCube-v1 of maniskill, env.train is another task of toy_reach"],
        ),
        (["runner.max_epochs=-1"], []),
        (["runner.max_epochs=-1", "runner.max_steps=-1"], ["would never end"]),
    ],
)
def test_a_broken_rule_is_reported_with_the_nearest_values_that_work(
    load_toy: Load, errors_of: Errors, overrides: list[str], words: list[str]
) -> None:
    if not words:
        load_toy(*overrides)
        return
    message = errors_of(*overrides)
    for word in words:
        assert word in message


GROUP = "cluster.node_groups=[{{label: sim, node_ranks: 0, {}}}]"
IN_GROUP = "cluster.component_placement.env={node_group: sim, placement: 0}"


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("env_configs: [{env_vars: {A: 1}}]", ["no component is placed in this group"]),
        ("env_configs: [{node_ranks: 1}]", ["env_configs.node_ranks = 1: node 1 is not in"]),
        ("env_configs: [{node_ranks: x}]", ["env_configs.node_ranks = x: cannot read 'x'"]),
        (
            "env_configs: [{env_vars: {CUDA_VISIBLE_DEVICES: 0}}]",
            ["env_vars.CUDA_VISIBLE_DEVICES", "set cluster.component_placement"],
        ),
        ("hardware: {type: robot}", ["hardware: unknown key"]),
    ],
)
def test_what_is_said_of_a_node_group_has_to_make_sense(
    errors_of: Errors, group: str, words: list[str]
) -> None:
    placed = [] if "env_vars: {A" in group else [IN_GROUP]
    message = errors_of(GROUP.format(group), *placed)
    for word in words:
        assert word in message


def test_proposed_values_are_accepted(load_toy: Load) -> None:
    spread = load_toy("actor.micro_batch_size=1600", "cluster.component_placement.actor=all")
    assert spread.config.actor.micro_batch_size == 1600
    groups = load_toy(
        *GRPO,
        "env.train.total_num_envs=96",
        "actor.micro_batch_size=1600",
        "actor.global_batch_size=1600",
    )
    assert groups.config.env.train.total_num_envs == 96


def test_batches_of_updates_matter_only_where_there_are_updates(load_toy: Load) -> None:
    unfit = ("actor.micro_batch_size=3000", "cluster.component_placement.actor=all")
    with pytest.raises(UserError, match="must divide the 12800"):
        load_toy(*unfit)
    load_toy(*unfit, purpose="sft")
    load_toy(*unfit, "runner.only_eval=true")


def test_a_missing_model_is_told_before_the_run(load_toy: Load) -> None:
    problem, *_ = preflight.lacking(load_toy("actor.model.model_path=/no/model").config)
    assert "actor.model.model_path = /no/model: there is no" in problem.message


def test_a_port_in_use_is_told_before_the_run(errors_of: Errors) -> None:
    with socket.socket() as server:
        server.bind(("", 0))
        server.listen()
        port = server.getsockname()[1]
        assert f"cluster.ray_port = {port}: Address already in use" in errors_of(
            f"cluster.ray_port={port}"
        )


def test_a_log_path_that_is_a_file_is_refused(errors_of: Errors, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is not a folder" in errors_of(f"runner.logger.log_path={tmp_path}/file/run")


def test_what_this_machine_lacks_for_a_run_does_not_refuse_the_configuration(
    load_toy: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=900_000_000)
    monkeypatch.setattr("rlinf.config.preflight.shutil.disk_usage", lambda path: usage)
    folder = f"{tmp_path}/openvla-7b-rlvla-warmup"
    config = load_toy(f"actor.model.model_path={folder}").config
    lacking = preflight.lacking(config)
    (weights, disk) = (f"{problem.message} | {problem.fix}" for problem in lacking)
    assert f"actor.model.model_path = {folder}: there is no such file" in weights
    assert "rlinf download gen-robot/openvla-7b-rlvla-warmup" in weights
    assert "has 0.9 GB free, the run needs 1.0 GB (4 checkpoints" in disk
    assert "lower runner.keep_checkpoints" in disk
    (_, problem) = preflight.lacking(config, "collect")
    assert "needs 1.0 GB (logs and videos)" in problem.message
    assert "checkpoints" not in problem.fix


def test_a_forced_resume_of_nothing_is_refused(errors_of: Errors) -> None:
    assert "set runner.resume_dir=auto" in errors_of("runner.resume_force=true")


def test_too_little_memory_is_a_warning(load_toy: Load, laptop: Machine) -> None:
    plan = load_toy().plan
    assert preflight.warnings(plan, laptop) == []
    assert "needs about 1.4 GB" in preflight.warnings(plan, Machine(laptop.node, 10**9))[0]
    crowded = (ProcessMemory("env", 4, (("process", 1), ("simulators of train", 10**9))),)
    trained = (*crowded, ProcessMemory("actor", 1, (("gradients", 10**9), ("Adam", 4 * 10**9))))
    for memory, told in (
        (crowded, "env needs most, above all simulators of train: 1.0 GB in each process; fewer"),
        (
            trained,
            "9.0 GB of memory per node, this machine has 1.0 GB; actor needs most, above all",
        ),
    ):
        (warning,) = preflight.warnings(replace(plan, memory=memory), Machine(laptop.node, 10**9))
        assert told in warning
    assert warning.endswith("Adam: 4.0 GB")


def test_too_little_shared_memory_is_a_warning(load_toy: Load, laptop: Machine) -> None:
    plan = load_toy().plan
    roomy, tight = (replace(laptop, shared_bytes=size) for size in (10**9, 10**6))
    assert preflight.warnings(plan, roomy) == []
    assert "/dev/shm has 0.0 GB" in preflight.warnings(plan, tight)[0]
    assert preflight.warnings(plan, replace(laptop, shared_bytes=None)) == []


def test_isaac_sim_away_from_the_first_gpu_is_a_warning(gpu_machine: Machine) -> None:
    def warned(env: str) -> str:
        places = f"cluster.component_placement={{env: {env}, rollout: 7, actor: 7}}"
        loaded = load("isaaclab_stack_cube_tiny", [places], gpu_machine)
        return "".join(text for text in loaded.warnings if "Isaac Sim" in text)

    assert "the env workers of isaaclab begin at GPU 2" in warned("2-3")
    assert warned("0-1") == ""


@pytest.mark.parametrize("name", ["behavior_ppo_openvlaoft", "behavior_grpo_openvlaoft"])
@pytest.mark.parametrize(
    ("placement", "stages"),
    [
        ("{env: 0-3, rollout: 4-7, actor: 0-7}", 2),
        ("{env: 0-1, rollout: 2-5, actor: 6-7}", 1),
        ("all", 1),
    ],
)
def test_behavior_fits_in_every_place_that_its_specification_names(
    gpu_machine: Machine, name: str, placement: str, stages: int
) -> None:
    own = [f"cluster.component_placement={placement}", f"rollout.pipeline_stage_num={stages}"]
    fewer = ["env.train.total_num_envs=32"] if "grpo" in name else ["env.train.total_num_envs=8"]
    loaded = load(name, [*own, *fewer], gpu_machine)
    assert not [text for text in loaded.warnings if "Isaac Sim" in text]


def test_a_simulator_that_draws_with_ray_tracing_on_a_gpu_without_is_a_warning(
    gpu_machine: Machine,
) -> None:
    def warned(name: str, *without: str) -> str:
        loaded = load(name, [], replace(gpu_machine, without_ray_tracing=without))
        return "".join(text for text in loaded.warnings if "ray tracing" in text)

    said = warned("behavior_ppo_openvlaoft", "NVIDIA H100 80GB HBM3")
    assert "behavior draws with ray tracing, for which NVIDIA H100 80GB HBM3 has no cores" in said
    assert warned("behavior_ppo_openvlaoft") == warned("quickstart", "NVIDIA A100") == ""


def test_different_temperatures_of_training_and_evaluation_are_a_warning(load_toy: Load) -> None:
    loaded = load_toy(
        "algorithm.sampling_params.do_sample=true", "algorithm.sampling_params.temperature_eval=0.6"
    )
    assert "not comparable" in loaded.warnings[0]


def test_a_value_that_nothing_reads_is_a_warning(load_toy: Load) -> None:
    loaded = load_toy(
        "algorithm.kl_penalty=kl", "algorithm.rewards_upper_bound=4.5", "algorithm.bootstrap=always"
    )
    assert loaded.warnings == (
        "algorithm.kl_penalty = k1 has no effect with kl_beta = 0",
        "algorithm.rewards_upper_bound = 4.5 has no effect with filter_rewards = false",
    )


def test_two_actor_ranks_on_one_gpu_are_refused_as_nccl_would(gpu_machine: Machine, load_toy: Load):
    sizes = ("env.train.total_num_envs=128", "actor.micro_batch_size=100")
    placed = ("cluster.component_placement.env=0-1", "cluster.component_placement.rollout='0:0-3'")

    def refused(actor: str) -> str:
        try:
            load_toy(
                *sizes, *placed, f"cluster.component_placement.actor='{actor}'", machine=gpu_machine
            )
        except UserError as error:
            return str(error)
        return ""

    assert not refused("0-3") and not refused("0-7:0-3")  # also where a rank owns two GPUs
    assert "component_placement.actor: 2 ranks compute on GPU 0 of node 0" in refused("0-3:0-7")
    assert "place one actor rank on each GPU" in refused("0:0,1-2:1-4")
