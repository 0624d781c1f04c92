"""The typed configuration tree: one field, one sentence, one default.

YAML files are for people, this tree is for code. `rlinf.config.load` builds it once, checks it
whole, and every worker receives finished values: nothing looks a key up with a default of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar, Union

import yaml
from pydantic import BeforeValidator, Field

from rlinf.config.base import (
    Below,
    Compile,
    Count,
    Finite,
    Fraction,
    Hidden,
    Index,
    Limit,
    ModelConfig,
    NonNegative,
    Places,
    Positive,
    Precision,
    Seconds,
    Section,
)
from rlinf.config.imitation import CollectConfig, ImitationConfig
from rlinf.config.paths import MaybePath, PathText
from rlinf.config.simulator import SimulatorParams
from rlinf.data.types import Level
from rlinf.registry import imported, models, simulators

Component = Literal["env", "rollout", "actor"]
COMPONENTS: tuple[Component, ...] = ("env", "rollout", "actor")

# --- cluster -------------------------------------------------------------------------------------


def _one_map(value: Any) -> Any:
    """`[{A: 1}, {B: 2}]`, as some recipes write it, as one map."""
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        return {name: given for part in value for name, given in part.items()}
    return value


class NodeEnvironment(Section):
    """What processes on some nodes of a group run with."""

    node_ranks: str | int | None = None
    """Node ranks, for example `0-3,7`; None for all nodes of the group."""
    python_interpreter_path: PathText | None = None
    """Python that runs the processes, with rlinf and the same version of Ray in it; None takes the
    one that Ray was started with."""
    env_vars: Annotated[dict[str, Hidden], BeforeValidator(_one_map)] = Field({})
    """Environment variables of the processes. Their values may be secrets: nothing shows them."""


class NodeGroup(Section):
    """A named part of the cluster that placements can refer to."""

    label: str
    """Name; `cluster` and `node` are reserved."""
    node_ranks: str | int
    """Node ranks of the group, for example `0-3,7`."""
    accelerators_per_node: Annotated[Places, Field(ge=0)] | None = None
    """Accelerators of each node of the group; None as `cluster.accelerators_per_node`."""
    cpu_slots: Annotated[Places, Field(ge=1)] | None = None
    """Resource ranks of a node of the group without accelerators; None as `cluster.cpu_slots`."""
    env_configs: tuple[NodeEnvironment, ...] = ()
    """Interpreter and environment variables of the processes that are placed in this group."""


class GroupPlacement(Section):
    """Placement of one component inside a node group."""

    node_group: str
    """Label of the group."""
    placement: str | int
    """Resource ranks inside the group, in the short form."""


class ClusterConfig(Section):
    """Machines, and what runs where."""

    num_nodes: Annotated[Places, Field(ge=1)] = 1
    """Machines in the cluster. The one the run is started on has rank 0, the others follow by
    address; `ray start --labels=rlinf-rank=2` asks for a rank. All see the run's folder."""
    component_placement: str | int | dict[str, str | int | GroupPlacement] = "all"
    """Resource ranks of each component: `{env: 0-3, rollout: 4-7, actor: 0-7}`. A plain value
    stands for all components. A resource is an accelerator, or a CPU slot where there is none."""
    node_groups: tuple[NodeGroup, ...] = ()
    """Named groups of nodes."""
    accelerators_per_node: Annotated[Places, Field(ge=0)] | None = None
    """Accelerators of each node; None counts those of this machine. Give it to check on a laptop
    what is meant for a cluster."""
    accelerator_memory_gb: Positive | None = None
    """Memory of each accelerator in GB (1e9 bytes), which the plan is held against; None measures
    that of this machine. Give it with `accelerators_per_node` to check what is meant for others."""
    cpu_slots: Annotated[Places, Field(ge=1)] | None = None
    """Resource ranks of a node without accelerators; None takes its number of cores."""
    ray_address: str | None = None
    """Address of a running Ray cluster; None starts one here."""
    node_timeout_s: Seconds = 300.0
    """Longest wait, in seconds, for nodes that have not joined yet, or for one in the place of a
    node that was lost."""
    ray_port: Annotated[int, Field(ge=1024, le=65535)] | None = None
    """Port of the Ray head started here; None lets Ray choose."""


# --- runner --------------------------------------------------------------------------------------


class LoggerConfig(Section):
    """Where results go."""

    log_path: MaybePath = ""
    """Folder of the logs; empty makes a new `logs/<date-time>-<config>`. Absolute after loading."""
    project_name: str = "rlinf"
    """Project of wandb and swanlab."""
    experiment_name: Below | None = None
    """Sub-folder of `log_path` that holds this run, and its name; None uses `log_path` itself."""
    logger_backends: tuple[Literal["tensorboard", "wandb", "swanlab"], ...] = ("tensorboard",)
    """Writers beside `metrics.jsonl`, which is always written."""
    trace_steps: Limit = 10
    """Iterations whose timeline goes into `trace.json`, from the first one on; -1 for all."""

    @property
    def run_dir(self) -> Path:
        """Folder of this run: metrics, checkpoints, worker logs."""
        return Path(self.log_path) / (self.experiment_name or "")

    @property
    def run_name(self) -> str:
        """Name of this run in the writers."""
        return self.run_dir.name


class RunnerConfig(Section):
    """The outer loop."""

    task_type: Literal["embodied"] = "embodied"
    """Kind of run."""
    max_epochs: Limit = 1000
    """Iterations to run; -1 for no limit."""
    max_steps: Limit = -1
    """Iterations to run; -1 for no limit. The smaller of both limits counts."""
    val_check_interval: Limit = -1
    """Evaluate after every so many iterations; -1 never."""
    save_interval: Limit = -1
    """Save a checkpoint after every so many iterations; -1 only at the end."""
    keep_checkpoints: Count = 2
    """Newest checkpoints kept."""
    keep_best: bool = True
    """Keep the checkpoint with the highest `eval/success_once` beside them; `checkpoints/best`
    names it. Only a checkpoint of an iteration that was evaluated can be it."""
    only_eval: bool = False
    """Evaluate once and stop; `rlinf eval` sets it."""
    resume_dir: PathText | None = None
    """`auto` continues the newest good checkpoint of the run, a path that checkpoint."""
    resume_force: bool = False
    """Continue a checkpoint also with another task than it was trained on. Weights that do not fit
    the model are refused always."""
    ckpt_path: PathText | None = None
    """Policy weights to start from or to evaluate, optimizer and step new: a checkpoint (or
    `checkpoints/best`, `checkpoints/latest`), or an exported policy."""
    worker_timeout_s: Seconds = 600.0
    """Longest wait for an answer of any worker, in seconds, before it counts as hung."""
    mode: Literal["sync", "async"] = "sync"
    """`async` collects an iteration while the one before trains, with weights one iteration old."""
    max_failures: Index = 3
    """Failures in a row, of one simulator process or of any worker, that the run repairs itself."""
    recovery_memory_gb: NonNegative = 4.0
    """Host memory of each node, in GB, for a copy of policy and optimizer after each iteration, so
    that an actor that dies loses no completed iteration. A larger state is not copied: then the run
    goes on from the newest checkpoint, as it does where a node is lost. 0 copies none."""
    grace_s: Seconds = 30.0
    """Seconds in which the run stops after SIGTERM or Ctrl-C, for example those that a scheduler
    grants. An update under way has a third of them; one that does not finish is dropped, and the
    last complete iteration is saved from its copy (`recovery_memory_gb`). Without a copy the update
    has two thirds, and if it needs longer the newest checkpoint is what remains."""
    logger: LoggerConfig = LoggerConfig()
    """Where results go."""

    @property
    def evaluates(self) -> bool:
        """Whether any evaluation is asked for."""
        return self.only_eval or self.val_check_interval > 0


# --- env -----------------------------------------------------------------------------------------


class VideoConfig(Section):
    """Tiled mp4 of the first sub-envs."""

    save_video: bool = False
    """Record; frames inside a chunk are rendered only then."""
    info_on_video: bool = True
    """Write task, step, reward and success on the frames."""
    video_base_dir: MaybePath = ""
    """Folder of the videos; empty takes `<run folder>/video/train` or `video/eval`."""
    num_envs_shown: Count = 4
    """Sub-envs tiled in one video."""
    max_videos: Count = 20
    """Videos kept, newest first."""


class EvalVideoConfig(VideoConfig):
    """Tiled mp4 of the first sub-envs, or an mp4 of each trial of some outcome."""

    only: Literal["failures", "successes", "all"] | None = None
    """A video of each trial with this outcome in place of the tiled one, up to `max_videos`; the
    page of the evaluation shows them. None: the tiled one."""


SimulatorT = TypeVar("SimulatorT", bound=str)
ParamsT = TypeVar("ParamsT", bound=SimulatorParams)


class EnvConfig(Section):
    """What sub-environments of training and of evaluation have in common."""

    simulator_type: str
    """Simulator; it decides which `init_params` there are."""
    init_params: SimulatorParams
    """What the simulator is built with."""
    total_num_envs: Count
    """E, sub-envs over all env workers."""
    max_episode_steps: Count
    """Step limit of an episode, in simulator steps; reaching it truncates. `null` takes the longest
    that `init_params` gives a task, as a protocol of LIBERO does."""
    ignore_terminations: bool = False
    """Run every episode to its step limit, whatever the task says."""
    seed: Index = 0
    """Seed of the start states. Training and evaluation never share one, except in simulators that
    number their starts (LIBERO, PutOnPlate): see `env.train.hold_out_evaluation`."""
    reward_coef: Finite = 1.0
    """Factor on the simulator's reward."""
    use_rel_reward: bool = False
    """Reward is the change of the simulator's score since the step before."""
    num_processes: Count | None = None
    """Simulator sub-processes per env worker on CPU; None uses the worker's share of the cores.

    Rounded up to equally many of each pipeline stage.
    """
    python: str | None = None
    """Python that runs the simulator, where that is not ours: the executable of an environment that
    has its packages. None takes the simulator's own, if it needs one."""
    step_timeout_s: Seconds = 120.0
    """Longest wait for one chunk or reset, in seconds, before a sub-process counts as hung. The
    first reset to each task, which may build its scene, has 600 s where that is longer."""
    video_cfg: VideoConfig = VideoConfig()
    """Videos."""


def _text_keys(value: Any) -> Any:
    """Indices of tasks may be written as numbers."""
    if not isinstance(value, dict):
        return value
    return {str(name) if type(name) is int else name: given for name, given in value.items()}


class CurriculumConfig(Section):
    """More episodes of the tasks that the policy solves sometimes."""

    low: Fraction = 0.1
    """Lowest success rate of such a task, over the training episodes of the last iterations."""
    high: Fraction = 0.9
    """Highest success rate of such a task."""
    focus: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 4.0
    """Such a task is drawn so many times as often as its weight says, compared with the others."""
    half_life: Positive = 5.0
    """Iterations after which an episode counts half in the success rate of its task."""


class MixtureConfig(Section):
    """How often each task of the simulator is trained on."""

    weights: Annotated[dict[str, NonNegative], BeforeValidator(_text_keys)] | None = None
    """Weight of a task by its index, or of a group of tasks, such as a suite, by its name; the
    tasks of a group share its weight. What is not named is not trained on. None: all alike."""
    curriculum: CurriculumConfig | None = None
    """Moves weight to tasks that are solved sometimes; None keeps the weights."""


class TrainEnv(EnvConfig, Generic[SimulatorT, ParamsT]):
    """Sub-environments that collect training data."""

    simulator_type: SimulatorT
    """Simulator; it decides which `init_params` there are."""
    init_params: ParamsT
    """What the simulator is built with."""
    auto_reset: bool
    """True: an ended sub-env starts anew at the chunk boundary (partial reset). False: it waits
    until all have ended (fixed episodes)."""
    max_steps_per_rollout_epoch: Count
    """S, simulator steps of each sub-env in one rollout epoch; a multiple of C."""
    group_size: Count = 1
    """G, consecutive sub-envs that share a start state; GRPO compares within a group."""
    use_fixed_reset_state_ids: bool = False
    """All sub-envs of a group start from the same state."""
    hold_out_evaluation: bool = False
    """Numbered starts that `env.eval` evaluates are not trained on. False draws from all of them,
    as published results on LIBERO do: their evaluation has every start."""
    mixture: MixtureConfig | None = None
    """How often each task is trained on, where the simulator has several; None: all alike."""


class EvalEnv(EnvConfig, Generic[SimulatorT, ParamsT]):
    """Sub-environments of evaluation: they share the list of all (task, trial)."""

    simulator_type: SimulatorT
    """Simulator; it decides which `init_params` there are."""
    init_params: ParamsT
    """What the simulator is built with."""
    num_trials: Count = 128
    """Episodes per task; every (task, trial) is counted exactly once."""
    num_shards: Count = 1
    """Parts of an evaluation that machines run independently; `rlinf eval --merge` puts them
    together. Each trial is in one of them, and is the same in any number of parts."""
    shard: Index = 0
    """Which of these parts this is, from 0."""
    video_cfg: EvalVideoConfig = EvalVideoConfig()
    """Videos."""


if TYPE_CHECKING:
    AnyModel = ModelConfig
    AnyTrainEnv = TrainEnv[str, SimulatorParams]
    AnyEvalEnv = EvalEnv[str, SimulatorParams]
else:
    # One section for each model and simulator of the registry, distinguished by its type. They are
    # made at the level of the module, where pydantic gives them a name under which to pickle them.
    _TRAIN, _EVAL = [], []
    for _name, _spec in simulators().items():
        _params = imported(_spec.settings)
        _TRAIN.append(TrainEnv[Literal[_name], _params])
        _EVAL.append(EvalEnv[Literal[_name], _params])
    _MODELS = tuple(imported(_spec.settings) for _spec in models().values())
    AnyModel = Annotated[Union[_MODELS], Field(discriminator="model_type")]  # noqa: UP007
    AnyTrainEnv = Annotated[Union[tuple(_TRAIN)], Field(discriminator="simulator_type")]  # noqa: UP007
    AnyEvalEnv = Annotated[Union[tuple(_EVAL)], Field(discriminator="simulator_type")]  # noqa: UP007


class EnvsConfig(Section):
    """Training and evaluation environments."""

    enable_offload: bool = False
    """Simulators on a GPU free its memory while they are not stepped: training and evaluation
    take turns with each other, and with an actor that shares the GPU. Their process goes on, and so
    do the running episodes. On a CPU there is nothing to free. Not run on a GPU."""
    train: AnyTrainEnv
    """Environments that collect training data."""
    eval: AnyEvalEnv
    """Environments of evaluation."""


# --- algorithm -----------------------------------------------------------------------------------


class SamplingParams(Section):
    """How actions are drawn."""

    do_sample: bool = True
    """Evaluation draws actions, as training always does; False takes the most likely ones."""
    temperature_train: Positive = 1.0
    """Temperature of rollout and of the training forward."""
    temperature_eval: Positive = 1.0
    """Temperature of evaluation where `do_sample`."""
    top_k: Annotated[int, Field(ge=-1)] = 0
    """Draw from the k most likely bins; 0 or -1 for all."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw from the smallest set of bins with this probability mass; 1 for all."""


class AlgorithmConfig(Section):
    """Advantages, losses and how much data an iteration has."""

    adv_type: Literal["gae", "grpo", "rloo", "reinforce_plus_plus", "reinforce_plus_plus_baseline"]
    """Advantage estimator. GAE learns a critic; GRPO, RLOO and REINFORCE++-baseline compare the
    episodes of a group, REINFORCE++ all episodes of an iteration."""
    loss_type: Literal["actor_critic", "actor"]
    """`actor_critic` trains policy and critic, `actor` the policy alone."""
    reward_type: Literal["action", "chunk"] = "action"
    """Level of rewards, values and advantages; gamma counts per action or per chunk."""
    logprob_type: Level = "token"
    """Level of the probability ratio; never coarser than `reward_type`."""
    entropy_type: Level = "token"
    """Level of the entropy: of its term in the loss, and of the one that is reported."""
    gamma: Fraction = 0.99
    """Discount."""
    gae_lambda: Fraction = 0.95
    """Lambda of GAE."""
    bootstrap: Literal["truncated", "always"] = "truncated"
    """Ends that add V(final observation): time limits only, or every end."""
    normalize_advantages: bool | None = None
    """Bring all valid advantages to mean 0 and standard deviation 1; for GRPO, divide by the
    standard deviation of the group. None: as the method was published, so not for RLOO."""
    clip_ratio_low: NonNegative = 0.2
    """The ratio is clipped below 1 - this."""
    clip_ratio_high: NonNegative = 0.2
    """The ratio is clipped above 1 + this."""
    clip_ratio_c: Annotated[float, Field(gt=1)] | None = None
    """Dual clip: the loss of a bad action is at most this times its advantage; None for off."""
    value_clip: Positive = 0.2
    """The new value is clipped to the old value +- this."""
    huber_delta: Positive = 10.0
    """Error at which the value loss turns from square to linear."""
    entropy_bonus: NonNegative = 0.0
    """Weight of the entropy in the loss."""
    kl_beta: NonNegative = 0.0
    """Weight in the loss of the KL divergence from the policy that training started from."""
    kl_penalty: Literal["k1", "k2", "k3"] = "k3"
    """Estimate of that divergence; r is the reference policy's probability over the present one's:
    `k2` is (ln r)^2 / 2, `k3` is r - 1 - ln r. `k1` is -ln r, which cannot be trained on."""
    target_kl: Positive | None = None
    """Stop the update epochs of an iteration when the mean KL exceeds this; None for never."""
    filter_rewards: bool = False
    """Leave out groups whose mean return lies outside the two bounds."""
    rewards_lower_bound: Finite = 0.1
    """Smallest mean return of a group that is kept."""
    rewards_upper_bound: Finite = 0.9
    """Largest mean return of a group that is kept."""
    max_refills: Index = 0
    """Most extra rollouts of all sub-envs per iteration that replace groups which the filter left
    out (DAPO's dynamic sampling); groups beyond the planned number are not trained on."""
    length_normalization: bool | None = None
    """Weight every episode alike, whatever its length; None: on for fixed episodes only."""
    rollout_epoch: Count = 1
    """R, rollouts of S steps collected per iteration."""
    eval_rollout_epoch: Count = 1
    """Times every (task, trial) of an evaluation is run."""
    update_epoch: Count = 1
    """Passes over the data of an iteration."""
    parity_check_interval: Index = 0
    """Compare the rollout's log-probs with the learner's on some samples every so many iterations;
    0 compares in the first iteration of a run, or after a resume, alone."""
    parity_tolerance: Positive | None = None
    """Largest mean difference per token in that comparison; None takes 0.001 for a policy in fp32
    and 0.05 in bf16."""
    sampling_params: SamplingParams = SamplingParams()
    """How actions are drawn."""

    @property
    def critic(self) -> bool:
        """Whether there are values; a checked configuration has them exactly for GAE."""
        return self.loss_type == "actor_critic"

    @property
    def policy_loss_alone(self) -> bool:
        """Whether a sample whose advantages are 0 has no gradient."""
        return not (self.critic or self.entropy_bonus or self.kl_beta)


# --- rollout -------------------------------------------------------------------------------------


class RolloutModel(Section):
    """The rollout worker acts with a copy of the actor's policy, so these follow `actor.model`."""

    model_path: PathText | None = None
    """Folder of the initial weights; None or the same as `actor.model.model_path`."""
    precision: Precision | None = None
    """Number format; None or the same as `actor.model.precision`."""


class RolloutConfig(Section):
    """Workers that answer observations with actions."""

    pipeline_stage_num: Count = 1
    """P, stages an env worker's sub-envs are split into: one simulates while another waits."""
    max_batch_size: Count | None = None
    """Most observations in one forward pass; None for no limit."""
    enable_offload: bool = False
    """Leave the GPU between rollouts: the weights wait in host memory."""
    compile: Compile | None = None
    """Compile what the model computes of its decode steps (OpenVLA) or of its one pass over the
    sequence (OpenVLA-OFT) while it acts: `inductor` fuses operations by torch.compile,
    `cuda_graphs` records the kernels once per shape and replays them, `both` records the fused
    ones. Log-probs differ from those without it by rounding. None computes operation by operation.
    How much time either saves on a GPU was not measured."""
    model: RolloutModel = RolloutModel()
    """The copy of the actor's policy."""


# --- actor ---------------------------------------------------------------------------------------


class OptimConfig(Section):
    """AdamW and its learning rate."""

    lr: Positive = 3e-4
    """Learning rate of the policy."""
    value_lr: Positive = 3e-3
    """Learning rate of the value head."""
    adam_beta1: Fraction = 0.9
    """Decay of the first moment."""
    adam_beta2: Fraction = 0.999
    """Decay of the second moment."""
    adam_eps: Positive = 1e-8
    """Added to the root of the second moment."""
    weight_decay: NonNegative = 0.01
    """Decoupled weight decay."""
    clip_grad: Positive = 1.0
    """Largest gradient norm."""
    critic_warmup_steps: Index = 0
    """Optimizer steps that train the value head alone."""
    lr_warmup_steps: Annotated[int, Field(ge=-1)] = -1
    """Optimizer steps of linear warm-up; -1 takes `lr_warmup_steps_ratio`."""
    lr_warmup_steps_ratio: Fraction = 0.0
    """Warm-up as a share of `total_training_steps`."""
    warmup_style: Literal["constant", "cosine"] = "constant"
    """Learning rate after the warm-up."""
    min_lr_ratio: Fraction = 0.0
    """Last learning rate of the cosine, as a share of the first."""
    total_training_steps: Annotated[int, Field(ge=-1)] = 0
    """Optimizer steps of the whole schedule; 0 takes those of the run, and a run that is continued
    with more iterations keeps those it began with; -1 takes those of the continued run."""


class MixedPrecision(Section):
    """Number formats of training; trained weights and their optimizer always stay fp32."""

    param_dtype: Precision | None = None
    """Format of weights and activations in a forward pass; None or the same as
    `actor.model.precision`, in which the rollout acts."""
    reduce_dtype: Precision = "fp32"
    """Format in which gradients are added up over ranks. `bf16` halves what that sends and holds,
    and rounds each sum to 8 bits."""


class FsdpConfig(Section):
    """How the actor's ranks share weights, gradients and optimizer."""

    strategy: Literal["fsdp2"] = "fsdp2"
    """PyTorch's `fully_shard`."""
    sharding_strategy: Literal["full_shard", "shard_grad_op", "hybrid_shard", "no_shard"] | None = (
        None
    )
    """`full_shard` gathers a layer's weights for its forward and again for its backward pass,
    `shard_grad_op` keeps them in between, `hybrid_shard` shards within groups of `fsdp_size` ranks
    that hold copies of each other, `no_shard` gives every rank a copy. None takes `hybrid_shard`
    where several nodes have equally many actor ranks, more than one, so that weights cross no
    network while a layer waits for them, and `full_shard` elsewhere."""
    fsdp_size: Limit = -1
    """Ranks that hold one copy of the weights together, with `hybrid_shard`; -1 for those of a
    node."""
    mixed_precision: MixedPrecision = MixedPrecision()
    """Number formats."""
    cpu_offload: bool = False
    """Keep weights, gradients and optimizer in host memory; a layer visits the GPU to compute."""
    offload_pin_memory: bool = False
    """Page-locked host memory for `cpu_offload`: faster copies."""
    forward_prefetch: bool = False
    """Gather the next layer while the present one computes its forward pass."""
    enable_gradient_accumulation: bool | None = None
    """Add gradients up over ranks once per update. Until then every rank holds all of them whole,
    in `mixed_precision.reduce_dtype`: 30 GB for 7.5 B trained weights in fp32. False does so after
    every micro-batch and keeps this rank's share alone, with more communication. None takes False
    where ranks share the weights out or `cpu_offload` keeps them, and True otherwise."""


class ActorConfig(Section):
    """Workers that train the policy."""

    seed: Index = 1234
    """Seed of weights, action noise and the order of samples."""
    micro_batch_size: Count
    """m, samples (chunks) in one forward and backward pass of a rank."""
    global_batch_size: Count
    """M, samples (chunks) per optimizer step over all ranks."""
    training_backend: Literal["fsdp"] = "fsdp"
    """How the model is spread over ranks."""
    fsdp_config: FsdpConfig = FsdpConfig()
    """How the ranks share weights, gradients and optimizer."""
    enable_offload: bool = False
    """Leave the GPU between updates: weights and optimizer wait in host memory."""
    model: AnyModel
    """The policy."""
    optim: OptimConfig = OptimConfig()
    """Optimizer."""


class Config(Section):
    """A whole run."""

    cluster: ClusterConfig = ClusterConfig()
    """Machines, and what runs where."""
    runner: RunnerConfig = RunnerConfig()
    """The outer loop."""
    env: EnvsConfig
    """Environments."""
    algorithm: AlgorithmConfig
    """Advantages, losses and how much data an iteration has."""
    rollout: RolloutConfig = RolloutConfig()
    """Workers that answer observations with actions."""
    actor: ActorConfig
    """Workers that train the policy."""
    imitation: ImitationConfig | None = None
    """Learning from demonstrations: `rlinf sft`, and the warm-up of `rlinf train`; None starts
    reinforcement learning at once."""
    collect: CollectConfig = CollectConfig()
    """What `rlinf collect` writes."""

    def with_evaluation(self, env: AnyEvalEnv) -> Config:
        """The same with another `env.eval`."""
        return self.model_copy(update={"env": self.env.model_copy(update={"eval": env})})

    def with_micro_batches(self, size: int) -> Config:
        """The same with another `actor.micro_batch_size`."""
        return self.model_copy(
            update={"actor": self.actor.model_copy(update={"micro_batch_size": size})}
        )

    def to_yaml(self) -> str:
        """The resolved tree as YAML, which loads to an equal tree, but for what is `Hidden`."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
