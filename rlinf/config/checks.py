"""Rules between values: what a configuration must obey beyond the type of each key.

Every check yields the problems it finds, with the nearest values that work. Letters as in
`derive.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rlinf.algorithms.estimators import ESTIMATORS
from rlinf.config import derive, env_checks, imitation_checks, placement_checks, without_effect
from rlinf.config.base import nearest_multiples
from rlinf.config.derive import Placement
from rlinf.config.placement import Node, parse
from rlinf.config.problems import Problem
from rlinf.config.schema import Config
from rlinf.errors import UserError
from rlinf.wording import plural


def check(config: Config, nodes: Sequence[Node], purpose: str = "") -> list[Problem]:
    """All problems of a configuration on the given nodes.

    Args:
        purpose: as for `load`; empty for a training or an evaluation.
    """
    parts = env_checks.used_parts(config, purpose)
    updates = learns(config, purpose)
    problems = [
        *_runner(config),
        *_algorithm(config),
        *_filter(config),
        *_critic(config),
        *_sampling(config),
        *_rollout_model(config),
        *_compiled(config),
        *(_rollout_steps(config) if updates else ()),
        *imitation_checks.check(config),
        *(problem for part in parts for problem in env_checks.check(config, part)),
    ]
    try:
        placement = parse(config.cluster.component_placement, nodes, config.cluster.node_groups)
        problems += placement_checks.check(config, placement)
    except UserError as error:
        return [*problems, Problem(error.message, error.fix)]
    # Experts and policies that collect have simulators of their own.
    check_placed = env_checks.simulator if purpose else env_checks.check_placed
    return [
        *problems,
        *(problem for part in parts for problem in check_placed(config, part, placement)),
        *(_batches(config, placement) if updates else ()),
        *_sharding(config, placement),
        *_recorded(config, placement),
    ]


def learns(config: Config, purpose: str) -> bool:
    """Whether it is for reinforcement learning, so that samples are dealt out to updates."""
    return not purpose and not config.runner.only_eval


def warnings(config: Config, placement: Placement, purpose: str = "") -> list[str]:
    """What is allowed but probably not meant."""
    found = []
    if learns(config, purpose) and not config.runner.evaluates:
        found += [
            "no evaluation is asked for (runner.val_check_interval), and `rlinf eval` would refuse "
            f"it: {problem.message}"
            for problem in (
                *env_checks.check(config, "eval"),
                *env_checks.check_placed(config, "eval", placement),
            )
        ]
    sampling = config.algorithm.sampling_params
    if sampling.do_sample and sampling.temperature_eval != sampling.temperature_train:
        found.append(
            f"evaluation samples at temperature {sampling.temperature_eval}, training at "
            f"{sampling.temperature_train}: their success rates are not comparable"
        )
    found += env_checks.warnings(config, placement, purpose)
    return found + (without_effect.warnings(config, placement) if learns(config, purpose) else [])


def _runner(config: Config) -> Iterator[Problem]:
    if derive.iterations(config) == 0:
        yield Problem(
            "runner.max_epochs = -1 and runner.max_steps = -1: the run would never end",
            "set runner.max_steps to the number of iterations",
        )
    if config.runner.resume_force and config.runner.resume_dir is None:
        yield Problem(
            "runner.resume_force = true without runner.resume_dir: there is nothing to continue",
            "set runner.resume_dir=auto, or leave runner.resume_force out",
        )


def _algorithm(config: Config) -> Iterator[Problem]:
    algorithm, train = config.algorithm, config.env.train
    estimator = ESTIMATORS[algorithm.adv_type]
    if estimator.groups and train.group_size < 2:
        yield Problem(
            f"env.train.group_size = {train.group_size}: {estimator.title} compares the episodes "
            "of a group, so a group needs at least 2",
            "set env.train.group_size=8, or algorithm.adv_type=gae",
        )
    if not estimator.critic and train.auto_reset:
        yield Problem(
            f"env.train.auto_reset = true: {estimator.title} needs fixed episodes, one per sub-env",
            "set env.train.auto_reset=false",
        )
    if train.group_size > 1 and not train.use_fixed_reset_state_ids:
        yield Problem(
            f"env.train.group_size = {train.group_size} with use_fixed_reset_state_ids = false: "
            "a group shares its start state",
            "set env.train.use_fixed_reset_state_ids=true",
        )
    if algorithm.reward_type == "action" and algorithm.logprob_type == "chunk":
        yield Problem(
            "algorithm.logprob_type = chunk with reward_type = action: the ratio would be "
            "coarser than the advantage",
            "set algorithm.logprob_type=action, or algorithm.reward_type=chunk",
        )
    if algorithm.length_normalization and train.auto_reset:
        yield Problem(
            "algorithm.length_normalization = true with env.train.auto_reset = true: episodes "
            "run on over iterations, so their length is not known",
            "set algorithm.length_normalization=null, or env.train.auto_reset=false",
        )
    if algorithm.kl_beta and algorithm.kl_penalty == "k1":
        yield Problem(
            f"algorithm.kl_penalty = k1 (also written kl) with kl_beta = {algorithm.kl_beta}: the "
            "gradient of this estimate is 0 in the mean, so it would add noise and no pull",
            "set algorithm.kl_penalty=k3 (also written low_var_kl)",
        )


def _filter(config: Config) -> Iterator[Problem]:
    algorithm = config.algorithm
    estimator = ESTIMATORS[algorithm.adv_type]
    if algorithm.filter_rewards and not estimator.groups:
        yield Problem(
            f"algorithm.filter_rewards = true: {estimator.title} has no groups to filter",
            "set algorithm.filter_rewards=false",
        )
    if algorithm.max_refills and not algorithm.filter_rewards:
        yield Problem(
            f"algorithm.max_refills = {algorithm.max_refills} with filter_rewards = false: no "
            "group is left out, so none is replaced",
            "set algorithm.filter_rewards=true, or algorithm.max_refills=0",
        )
    if algorithm.rewards_lower_bound > algorithm.rewards_upper_bound:
        yield Problem(
            f"algorithm.rewards_lower_bound = {algorithm.rewards_lower_bound} is above "
            f"algorithm.rewards_upper_bound = {algorithm.rewards_upper_bound}",
            "swap them",
        )


def _critic(config: Config) -> Iterator[Problem]:
    """Critic, loss and advantage estimator come together or not at all."""
    algorithm, model = config.algorithm, config.actor.model
    estimator = ESTIMATORS[algorithm.adv_type]
    wants_critic = estimator.critic
    if (algorithm.loss_type == "actor_critic") != wants_critic:
        right = "actor_critic" if wants_critic else "actor"
        yield Problem(
            f"algorithm.loss_type = {algorithm.loss_type} with adv_type = {algorithm.adv_type}: "
            f"{estimator.title} {'trains a' if wants_critic else 'has no'} critic",
            f"set algorithm.loss_type={right}",
        )
    if model.add_value_head != wants_critic:
        yield Problem(
            f"actor.model.add_value_head = {str(model.add_value_head).lower()} with "
            f"algorithm.adv_type = {algorithm.adv_type}: "
            f"{estimator.title} {'needs a' if wants_critic else 'would never train the'} critic",
            f"set actor.model.add_value_head={str(wants_critic).lower()}",
        )
    if model.add_value_head and model.value_type != algorithm.reward_type:
        yield Problem(
            f"actor.model.value_type = {model.value_type} with algorithm.reward_type = "
            f"{algorithm.reward_type}: there is one value per reward",
            f"set actor.model.value_type={algorithm.reward_type}",
        )
    if config.actor.optim.critic_warmup_steps and not wants_critic:
        yield Problem(
            f"actor.optim.critic_warmup_steps = {config.actor.optim.critic_warmup_steps}: "
            "there is no critic to warm up",
            "set actor.optim.critic_warmup_steps=0",
        )


def _sampling(config: Config) -> Iterator[Problem]:
    sampling, model = config.algorithm.sampling_params, config.actor.model
    if config.algorithm.entropy_bonus and not model.has_entropy:
        yield Problem(
            f"algorithm.entropy_bonus = {config.algorithm.entropy_bonus}: no update changes the "
            f"entropy of the actions of {model.model_type}, as it is set up",
            "set algorithm.entropy_bonus=0",
        )
    if model.draws_tokens:
        return
    for key, value, off in (("top_k", max(sampling.top_k, 0), 0), ("top_p", sampling.top_p, 1.0)):
        if value != off:
            yield Problem(
                f"algorithm.sampling_params.{key} = {value}: the actions of {model.model_type} "
                "are not tokens",
                f"set algorithm.sampling_params.{key}={off}",
            )


def _rollout_model(config: Config) -> Iterator[Problem]:
    """The rollout has the actor's weights; its own model section cannot change that."""
    for name in ("model_path", "precision"):
        wanted, actual = getattr(config.rollout.model, name), getattr(config.actor.model, name)
        if wanted is not None and wanted != actual:
            yield Problem(
                f"rollout.model.{name} = {wanted}, actor.model.{name} = {actual}: the rollout "
                "acts with a copy of the actor's policy",
                f"set actor.model.{name}={wanted}",
            )


def _compiled(config: Config) -> Iterator[Problem]:
    how, model = config.rollout.compile, config.actor.model
    if how is None:
        return
    if not model.compiles:
        yield Problem(
            f"rollout.compile = {how}: {model.model_type} has nothing that is compiled",
            "set rollout.compile=null",
        )
    elif getattr(model, "attn_implementation", None) == "flash_attention_2":
        yield Problem(
            f"rollout.compile = {how} with actor.model.attn_implementation = flash_attention_2: "
            "its kernels for padded rows have shapes that depend on the data",
            "set actor.model.attn_implementation=sdpa, or rollout.compile=null",
        )
    if how != "inductor" and config.rollout.enable_offload:
        yield Problem(
            f"rollout.compile = {how} with rollout.enable_offload = true: CUDA graphs know the "
            "addresses of weights and cache, which would leave the GPU",
            "set rollout.compile=inductor, or rollout.enable_offload=false",
        )


def _recorded(config: Config, placement: Placement) -> Iterator[Problem]:
    how = config.rollout.compile
    if how not in (None, "inductor") and placement["rollout"][0].kind != "accelerator":
        yield Problem(
            f"rollout.compile = {how}: CUDA graphs need rollout ranks on GPUs",
            "set rollout.compile=inductor, or null",
        )


def _rollout_steps(config: Config) -> Iterator[Problem]:
    train, chunk = config.env.train, config.actor.model.num_action_chunks
    steps, limit = train.max_steps_per_rollout_epoch, train.max_episode_steps
    key = "env.train.max_steps_per_rollout_epoch"
    whole = -(-limit // chunk) * chunk
    if not train.auto_reset and steps != whole:
        yield Problem(
            f"{key} = {steps}: with fixed episodes (auto_reset = false) it is max_episode_steps = "
            f"{limit}, rounded up to whole chunks of {chunk}",
            f"set {key}={whole}",
        )
    elif steps % chunk:
        yield Problem(
            f"{key} = {steps}: must be a multiple of actor.model.num_action_chunks = {chunk}",
            f"try {nearest_multiples(steps, chunk)}",
        )


def _batches(config: Config, placement: Placement) -> Iterator[Problem]:
    """M * W_a divides M, and M divides N, so that every update has the same size.

    Where there are too few sub-envs for the placement, N is that of the number proposed for them.
    """
    config = env_checks.with_enough_envs(config, placement)
    actor, ranks = config.actor, len(placement["actor"])
    count, unit = derive.samples(config), actor.micro_batch_size * ranks
    if count == 0 or (actor.global_batch_size % unit == 0 and count % actor.global_batch_size == 0):
        return
    fitting = [size for size in range(unit, count + 1, unit) if count % size == 0]
    if not fitting:
        per_rank = [m for m in range(1, actor.micro_batch_size + 1) if count % (m * ranks) == 0]
        yield Problem(
            f"actor.micro_batch_size = {actor.micro_batch_size} x {plural(ranks, 'actor rank')} = "
            f"{unit}: must divide the {count} samples of an iteration",
            f"set actor.micro_batch_size={per_rank[-1]}"
            if per_rank
            else f"place the actor on a number of ranks that divides {count}",
        )
        return
    size = actor.global_batch_size
    around = [
        *[fit for fit in fitting if fit < size][-1:],
        *[fit for fit in fitting if fit > size][:1],
    ]
    yield Problem(
        f"actor.global_batch_size = {size}: must be a multiple of {unit} "
        f"(actor.micro_batch_size {actor.micro_batch_size} x {plural(ranks, 'actor rank')}) and "
        f"divide the {count} samples of an iteration ({_factors(config)})",
        f"try {' or '.join(map(str, around))}{_smaller_passes(config, ranks, count)}",
    )


def _smaller_passes(config: Config, ranks: int, count: int) -> str:
    """Micro-batches with which the global batch can stay what it is, for a fix; empty if none."""
    size, most = config.actor.global_batch_size, config.actor.micro_batch_size
    if size % ranks or count % size:
        return ""
    fitting = [m for m in range(1, most) if size // ranks % m == 0]
    return f", or set actor.micro_batch_size={fitting[-1]} to keep it" if fitting else ""


def _sharding(config: Config, placement: Placement) -> Iterator[Problem]:
    fsdp, ranks = config.actor.fsdp_config, len(placement["actor"])
    strategy, key = derive.sharding(config, placement), "actor.fsdp_config.fsdp_size"
    if strategy != "hybrid_shard" and fsdp.fsdp_size > 0:
        yield Problem(
            f"{key} = {fsdp.fsdp_size} with sharding_strategy = {strategy}: only hybrid_shard has "
            "groups of ranks",
            f"set {key}=-1, or actor.fsdp_config.sharding_strategy=hybrid_shard",
        )
    elif ranks % (size := derive.shard_size(config, placement)):
        yield Problem(
            f"{key} = {fsdp.fsdp_size}: groups of {size} ranks must divide the "
            f"{plural(ranks, 'actor rank')}",
            f"set {key} to a divisor of {ranks}",
        )
    wanted, precision = fsdp.mixed_precision.param_dtype, config.actor.model.precision
    if wanted not in (None, precision):
        yield Problem(
            f"actor.fsdp_config.mixed_precision.param_dtype = {wanted}, actor.model.precision = "
            f"{precision}: actor and rollout would disagree on the probability of an action",
            f"set actor.model.precision={wanted}",
        )
    if config.rollout.enable_offload and config.runner.mode == "async":
        yield Problem(
            "rollout.enable_offload = true with runner.mode = async: the rollout goes on while the "
            "actor trains",
            "set rollout.enable_offload=false, or runner.mode=sync",
        )
    if fsdp.offload_pin_memory and not fsdp.cpu_offload:
        yield Problem(
            "actor.fsdp_config.offload_pin_memory = true with cpu_offload = false: there is "
            "nothing to pin",
            "set actor.fsdp_config.offload_pin_memory=false",
        )


def _factors(config: Config) -> str:
    train, chunk = config.env.train, config.actor.model.num_action_chunks
    return (
        f"{train.max_steps_per_rollout_epoch // chunk} chunk steps x {train.total_num_envs} "
        f"sub-envs x algorithm.rollout_epoch {config.algorithm.rollout_epoch}"
    )
