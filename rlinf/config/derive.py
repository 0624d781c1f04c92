"""Numbers that follow from a checked configuration: who has what, how much data, how much memory.

Letters: E sub-envs, C actions per chunk, S simulator steps per rollout epoch, R rollout epochs,
T = S / C chunk steps, W_a actor ranks, W_e env workers, P stages, G group size, m micro-batch,
M global batch, N = T * E * R samples (chunks) per iteration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlinf.config.placement import Node, ProcessPlacement, parse, parse_ranks
from rlinf.config.schema import (
    COMPONENTS,
    ActorConfig,
    ClusterConfig,
    Component,
    Config,
    EnvConfig,
    FsdpConfig,
    NodeGroup,
)
from rlinf.config.simulator import SimulatorParams
from rlinf.data.conventions import AS_IT_IS, Conversion, conversion

Placement = Mapping[Component, tuple[ProcessPlacement, ...]]

PROCESS_BYTES = 450_000_000
"""Host memory of a worker process with torch and Ray loaded, before any weights. Measured."""
_BYTES = {"fp32": 4, "bf16": 2}


@dataclass(frozen=True, slots=True)
class EnvPlan:
    """How the sub-envs of training or evaluation are spread."""

    total: int  # E
    per_worker: int  # E / W_e
    per_stage: int  # E / (W_e * P)
    simulator_processes: int  # per env worker, equally many of each stage; 0: they run inside it
    conversion: Conversion = AS_IT_IS  # from the model's actions to the simulator's


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The data of one iteration and what the actor makes of it."""

    chunk_steps: int  # T
    groups: int  # E / G
    samples: int  # N
    samples_per_rank: int  # N / W_a
    accumulation: int  # M / (m * W_a), micro-batches per update and rank
    updates: int  # optimizer steps per iteration: update_epoch * N / M


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """Estimated host memory of one process of a component, or of a shared store."""

    owner: str
    processes: int
    parts: tuple[tuple[str, int], ...]  # (what, bytes)

    @property
    def per_process(self) -> int:
        """Bytes of one process."""
        return sum(size for _, size in self.parts)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything `rlinf check` prints and the runner starts from."""

    nodes: tuple[Node, ...]
    placement: Placement
    cores: Mapping[Component, int]  # CPU threads a process of the component may use
    train: EnvPlan
    eval: EnvPlan
    batch: BatchPlan
    shard_size: int  # actor ranks that hold one copy of the weights together
    iterations: int
    host_copy_bytes: int  # of the actor's state on a node after each iteration; 0: there is no copy
    memory: tuple[ProcessMemory, ...]

    @property
    def on_accelerators(self) -> bool:
        """Whether resource ranks are accelerators."""
        return any(p.kind == "accelerator" for ranks in self.placement.values() for p in ranks)

    @property
    def host_bytes(self) -> int:
        """Estimated host memory of the run, over all nodes."""
        return sum(m.per_process * m.processes for m in self.memory)


def cluster_nodes(config: Config, here: Node) -> tuple[Node, ...]:
    """The nodes of the cluster: like this machine, unless the configuration says otherwise.

    Raises:
        UserError: the ranks of a node group cannot be read.
    """
    cluster = config.cluster
    nodes = [_node(here, cluster)] * cluster.num_nodes
    for group in cluster.node_groups:
        ranks = parse_ranks(str(group.node_ranks), f"cluster.node_groups.{group.label}.node_ranks")
        for rank in ranks:
            if rank < len(nodes):  # the others are refused where groups are read
                nodes[rank] = _node(nodes[rank], group)
    return tuple(nodes)


def _node(usual: Node, given: ClusterConfig | NodeGroup) -> Node:
    accelerators = given.accelerators_per_node
    return Node(
        usual.accelerators if accelerators is None else accelerators,
        given.cpu_slots or usual.cpu_slots,
    )


def weight_sources(
    actors: Sequence[ProcessPlacement], policies: Sequence[ProcessPlacement]
) -> list[int | None]:
    """The actor rank whose copy each rollout rank reads: the first of its own node, in memory that
    they share; None where there is none, and the weights have to cross the network.
    """
    first: dict[int, int] = {}
    for process in actors:
        first.setdefault(process.node, process.rank)
    return [first.get(process.node) for process in policies]


def sources_on_device(
    actors: Sequence[ProcessPlacement], policies: Sequence[ProcessPlacement]
) -> list[int]:
    """The actor rank on the GPU of each rollout rank; [] where one of them has none there."""
    owners = {(p.node, p.resources[0]): p.rank for p in actors if p.kind == "accelerator"}
    places = [(p.node, p.resources[0]) if p.kind == "accelerator" else None for p in policies]
    found = [owners[place] for place in places if place in owners]
    return found if len(found) == len(policies) else []


def answering(
    rank: int, askers: Sequence[ProcessPlacement], policies: Sequence[ProcessPlacement]
) -> list[int]:
    """The rollout ranks that an env worker asks: those of its node, where these are not asked for
    more than their part; otherwise all, as its observations cross the network then.

    Args:
        rank: of the env worker.
        askers: all env workers.
        policies: all rollout ranks.
    """
    node = askers[rank].node
    here = [process.rank for process in policies if process.node == node]
    asking = sum(process.node == node for process in askers)
    if len(here) * len(askers) >= asking * len(policies):
        return here
    return [process.rank for process in policies]


def plan(config: Config, nodes: Sequence[Node]) -> Plan:
    """The plan of a configuration that `checks.check` found nothing wrong with."""
    placement = parse(config.cluster.component_placement, nodes, config.cluster.node_groups)
    cores = {name: _cores(placement[name], nodes) for name in COMPONENTS}
    train = _env_plan(config.env.train, config, placement, cores["env"])
    evaluation = _env_plan(config.env.eval, config, placement, cores["env"])
    cores["rollout"] = _policy_cores(config, placement, cores["rollout"], train)
    batch = _batch_plan(config, len(placement["actor"]))
    return Plan(
        nodes=tuple(nodes),
        placement=placement,
        cores=cores,
        train=train,
        eval=evaluation,
        batch=batch,
        shard_size=shard_size(config, placement),
        iterations=iterations(config),
        host_copy_bytes=host_copy_bytes(config, placement),
        memory=tuple(_memory(config, placement, train, evaluation, batch)),
    )


def iterations(config: Config) -> int:
    """The smaller of the limits that are set; 0 if none is."""
    limits = [n for n in (config.runner.max_epochs, config.runner.max_steps) if n > 0]
    return min(limits, default=0)


def samples(config: Config) -> int:
    """N, chunks per iteration."""
    train, chunk = config.env.train, config.actor.model.num_action_chunks
    steps = train.max_steps_per_rollout_epoch // chunk
    return steps * train.total_num_envs * config.algorithm.rollout_epoch


def sharding(config: Config, placement: Placement) -> str:
    """The strategy by which actor ranks share the weights; see `FsdpConfig.sharding_strategy`."""
    chosen = config.actor.fsdp_config.sharding_strategy
    if chosen is not None:
        return chosen
    nodes = [process.node for process in placement["actor"]]
    counts = set(Counter(nodes).values())
    in_groups = nodes == sorted(nodes) and len(counts) == 1 and 1 < len(set(nodes)) < len(nodes)
    return "hybrid_shard" if in_groups else "full_shard"


def shard_size(config: Config, placement: Placement) -> int:
    """Actor ranks that hold one copy of the weights together: all, those of a node, or one."""
    fsdp, ranks = config.actor.fsdp_config, placement["actor"]
    strategy = sharding(config, placement)
    if strategy == "no_shard":
        return 1
    if strategy != "hybrid_shard":
        return len(ranks)
    if fsdp.fsdp_size > 0:
        return fsdp.fsdp_size
    return len(ranks) // len({process.node for process in ranks})


def accumulates(fsdp: FsdpConfig, shards: int) -> bool:
    """Whether a rank holds all gradients whole until the end of an update.

    Args:
        shards: ranks that hold one copy of the weights together.
    """
    if fsdp.enable_gradient_accumulation is not None:
        return fsdp.enable_gradient_accumulation
    return shards == 1 and not fsdp.cpu_offload


def needs_fsdp(actor: ActorConfig, shards: int) -> bool:
    """Whether weights are sharded, cast or kept elsewhere; even one rank is a group then."""
    return shards > 1 or actor.fsdp_config.cpu_offload or actor.model.precision != "fp32"


def node_state_bytes(config: Config, placement: Placement) -> int:
    """Trained weights and two Adam moments in fp32, of the ranks of the node with the most."""
    per_rank = -(-12 * config.actor.model.num_trainable() // shard_size(config, placement))
    return max(Counter(process.node for process in placement["actor"]).values()) * per_rank


def host_copy_bytes(config: Config, placement: Placement) -> int:
    """That, if it is copied to the node's host memory after each iteration; otherwise 0."""
    size = node_state_bytes(config, placement)
    return size if size <= config.runner.recovery_memory_gb * 1e9 else 0


def stage_processes(env: EnvConfig, most: int, placement: Placement) -> int:
    """Simulator processes of one stage, at most `most`; 0: its sub-envs live in the env worker."""
    processes = env.init_params.processes(most, placement["env"][0].kind == "accelerator")
    return processes if env.python is None else max(1, processes)


def _env_plan(env: EnvConfig, config: Config, placement: Placement, cores: int) -> EnvPlan:
    per_worker = env.total_num_envs // len(placement["env"])
    stages = config.rollout.pipeline_stage_num
    most = -(-min(per_worker, env.num_processes or cores) // stages)
    processes = stages * stage_processes(env, most, placement)
    between = conversion(config.actor.model.emits(), env.init_params.takes())
    return EnvPlan(env.total_num_envs, per_worker, per_worker // stages, processes, between)


def _batch_plan(config: Config, actors: int) -> BatchPlan:
    actor, train = config.actor, config.env.train
    count = samples(config)
    return BatchPlan(
        chunk_steps=train.max_steps_per_rollout_epoch // actor.model.num_action_chunks,
        groups=train.total_num_envs // train.group_size,
        samples=count,
        samples_per_rank=count // actors,
        accumulation=actor.global_batch_size // (actor.micro_batch_size * actors),
        updates=config.algorithm.update_epoch * count // actor.global_batch_size,
    )


def _cores(processes: Sequence[ProcessPlacement], nodes: Sequence[Node]) -> int:
    """Cores of one process: its CPU slots, or its share of the node with the most processes.

    Components take turns or are placed apart, so only processes of one component share a core.
    """
    if processes[0].kind == "cpu":
        return min(len(process.resources) for process in processes)
    shares = []
    for rank in {process.node for process in processes}:
        neighbours = sum(process.node == rank for process in processes)
        shares.append(nodes[rank].cpu_slots // neighbours)
    return max(1, min(shares))


def _policy_cores(config: Config, placement: Placement, cores: int, train: EnvPlan) -> int:
    """Of the cores of a rollout worker, those that it uses while stages take turns.

    It answers one stage while the simulators of the others keep as many cores busy as they have
    processes. Threads for these cores too would only make both wait.
    """
    stages = config.rollout.pipeline_stage_num
    policy, env = placement["rollout"], placement["env"]
    if policy[0].kind != "cpu" or env[0].kind != "cpu":
        return cores
    simulating = train.simulator_processes // stages * (stages - 1)
    slots = {(process.node, index) for process in policy for index in process.resources}
    shared = any((process.node, index) in slots for process in env for index in process.resources)
    return max(1, cores - simulating * shared)


def _simulators(processes: int, params: SimulatorParams) -> int:
    """Host memory of one env worker's simulators: what its sub-processes share counts once."""
    own = params.process_bytes() - params.shared_bytes() * (processes > 0)
    return max(1, processes) * own + params.shared_bytes() * (processes > 0)


def _memory(
    config: Config, placement: Placement, train: EnvPlan, evaluation: EnvPlan, batch: BatchPlan
) -> list[ProcessMemory]:
    """What each process holds on its host; activations and caches of libraries come on top.

    What lies on GPUs is in `memory.py`.
    """
    actor, model, trains = config.actor, config.actor.model, not config.runner.only_eval
    count = model.num_parameters()
    simulators = tuple(
        (f"simulators of {part}", _simulators(spread.simulator_processes, params))
        for part, spread, params in (
            ("train", train, config.env.train.init_params),
            ("eval", evaluation, config.env.eval.init_params),
        )
        if (config.runner.evaluates if part == "eval" else trains)
    )
    shards, trained = shard_size(config, placement), model.num_trainable()
    frozen = (count - trained) * _BYTES[model.precision]
    keeps_reference = config.algorithm.kl_beta > 0  # with adapters, the frozen base is the start
    weights = {
        "actor": (
            ("parameters", -(-(trained * 4 + frozen) // shards)),
            ("gradients", -(-trained * 4 // shards) * trains),
            ("Adam", -(-trained * 8 // shards) * trains),
            (
                "reference policy",
                -(-trained * 4 // shards) * (trains and keeps_reference and not frozen),
            ),
        ),
        "rollout": (("parameters", count * _BYTES[model.precision]),),
    }
    state = -(-trained * 12 // shards)
    away = actor.enable_offload or actor.fsdp_config.cpu_offload
    on_host = {  # of a process that computes on a GPU
        "actor": (
            ("policy and optimizer off the GPU", (state + -(-frozen // shards)) * away * trains),
            ("reference policy", -(-trained * 4 // shards) * (trains and keeps_reference)),
        ),
        "rollout": (
            (
                "parameters off the GPU",
                frozen * config.rollout.enable_offload,  # trained ones come with the next sync
            ),
        ),
    }
    # A checkpoint is copied to host memory, from where it is written while training goes on.
    copied = {"actor": (("copy for a checkpoint", state * trains),), "rollout": ()}
    found = [ProcessMemory("env", len(placement["env"]), (("process", PROCESS_BYTES), *simulators))]
    for name in ("rollout", "actor"):
        on_gpu = placement[name][0].kind == "accelerator"
        held = (on_host if on_gpu else weights)[name]
        parts = (("process", PROCESS_BYTES), *held, *copied[name])
        found.append(ProcessMemory(name, len(placement[name]), parts))
    algorithm = config.algorithm
    rollouts = 1 + algorithm.max_refills / algorithm.rollout_epoch
    observations = round(batch.samples * rollouts) * model.observation_bytes(
        config.env.train.init_params.spaces()
    )
    sent = trained * _BYTES[model.precision]  # in the rollout's format
    store = (("observations of one iteration", observations * trains), ("weights", sent * trains))
    found.append(ProcessMemory("object store", 1, store))
    host_copy = host_copy_bytes(config, placement)
    if trains and host_copy:
        nodes = len({process.node for process in placement["actor"]})
        found.append(ProcessMemory("recovery copy", nodes, (("policy and optimizer", host_copy),)))
    return found
