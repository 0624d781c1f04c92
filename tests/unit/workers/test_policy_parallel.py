"""However the policy is spread over processes, an update is that of one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch._dynamo  # so that forks need not import it
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from rlinf.config.derive import accumulates, shard_size
from rlinf.config.placement import ProcessPlacement
from rlinf.config.schema import Config, FsdpConfig
from rlinf.data.random import Noise, derive
from rlinf.data.shared import SharedMemory
from rlinf.data.types import Observation
from rlinf.errors import OutOfMemory, UpdateGivenUp
from rlinf.metrics.types import Metrics
from rlinf.models.base import Sampling
from rlinf.models.loading import build_policy
from rlinf.models.mlp.config import MlpConfig
from rlinf.models.openvla.config import OpenVlaConfig
from rlinf.models.tiny_vla.config import TinyVlaConfig
from rlinf.models.weights import Layout, write
from rlinf.workers import fsdp
from rlinf.workers.actor import ActorWorker
from rlinf.workers.process_group import ProcessGroup
from tests.tiny_openvla import UNNORM_KEY, write_folder
from tests.unit.workers.conftest import N, batch_for
from tests.unit.workers.ranks import in_ranks
from tests.unit.workers.test_memory import small_memory

Toy = Callable[..., Config]
MLP = MlpConfig(
    model_type="mlp", obs_dim=6, action_dim=2, num_action_chunks=2, hidden_dim=9, num_layers=1
)
VLA = TinyVlaConfig(
    model_type="tiny_vla",
    image_size=32,
    action_dim=2,
    num_action_chunks=2,
    width=16,
    depth=2,
    num_heads=2,
)


class Updated(NamedTuple):
    """What an update did, on one rank."""

    metrics: Metrics
    weights: np.ndarray | None  # on rank 0
    held: int  # numbers of the policy's parameters that the rank keeps


ConfigOf = Callable[..., Config]


def give_up_after_a_pass(actor: ActorWorker) -> None:
    """The next update is given up while it computes its first pass."""
    evaluate = actor.policy.evaluate

    def interrupted(*arguments: Any) -> Any:
        actor.policy.evaluate = evaluate
        actor.give_up()
        return evaluate(*arguments)

    actor.policy.evaluate = interrupted


def update_in_ranks(configs: list[Config], folder: Path, world: int) -> list[list[Updated]]:
    """Three updates in each of `world` processes, with one way to spread the policy after another.

    Returns:
        For each configuration what each rank did.
    """
    batch = batch_for(configs[0])

    def work(rank: int, tell: Any) -> list[Updated]:
        return [update(config, rank, tell) for config in configs]

    def update(config: Config, rank: int, tell: Any) -> Updated:
        size = shard_size(config, {"actor": [ProcessPlacement(0, 0, (), "cpu", "")] * world})
        actor = ActorWorker(config, rank, world, 1, 8, list, str(folder), size)
        if world > 1:
            actor.connect(tell(actor.open_rendezvous("127.0.0.1") if rank == 0 else None))
        parts = []
        memory = SharedMemory.create(actor.host_copy_bytes())
        actor.use_host_copy(memory.handle)
        for step in range(3):
            if world > 1 and step == 1:  # an update that is done again
                actor.write_host_copy()
                actor.update(batch, step)
                actor.read_host_copy()
            parts.append(actor.update(batch, step))
            actor.parallel.move(actor.device)  # to where it is: it must survive the way
            actor.optimizer.follow()
        if world > 1:
            actor.write_host_copy()
            if rank == 1:  # all ranks learn of it from rank 1
                give_up_after_a_pass(actor)
            with pytest.raises(UpdateGivenUp):
                actor.update(batch, 3)
            actor.read_host_copy()
        metrics = Metrics.merge(parts)
        sent = actor.weights(None)
        weights = None if sent is None else SharedMemory.open(sent[0].data).array.copy()
        shares = [actor.parallel.share(p) for p in actor.policy.parameters()]
        actor.ranks.leave()
        return Updated(metrics, weights, sum(share.numel() for share in shares))

    per_rank = in_ranks(world, work)
    return [list(ranks) for ranks in zip(*per_rank, strict=True)]


def assert_equal(ranks: list[Updated], alone: Updated) -> None:
    """Every metric, among them loss and norm of the gradient, and every weight."""
    merged, expected = Metrics.merge([r.metrics for r in ranks]).reduce(), alone.metrics.reduce()
    assert merged.keys() == expected.keys()
    for name, value in expected.items():
        assert merged[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    np.testing.assert_allclose(
        ranks[0].weights.view(np.float32), alone.weights.view(np.float32), rtol=1e-4, atol=1e-6
    )


def test_four_ranks_do_what_one_process_does(config_of: ConfigOf, tmp_path: Path):
    """Three updates, one of critic warm-up; of 23 samples one rank has a pass less to do."""
    ways = [
        config_of(MLP, 0.1, enable_gradient_accumulation=False),
        config_of(MLP, 0.1, sharding_strategy="hybrid_shard", fsdp_size=2),
        config_of(MLP, 0.1, sharding_strategy="no_shard"),
    ]
    ((alone,),) = update_in_ranks(ways[:1], tmp_path, 1)
    assert alone.metrics.reduce()["train/actor/grad_norm"] > 0.05
    assert alone.metrics.reduce()["train/actor/kl"] > 0
    for ranks, copies in zip(update_in_ranks(ways, tmp_path, 4), (1, 2, 4), strict=True):
        assert_equal(ranks, alone)
        assert sum(rank.held for rank in ranks) == copies * alone.held


@pytest.mark.parametrize(("accumulates", "held"), [(None, {DTensor}), (True, {type(None)})])
def test_between_micro_batches_a_rank_holds_its_share_of_the_gradients(
    config_of: ConfigOf, accumulates: bool | None, held: set[type]
):
    """Accumulated without a sum over ranks they are whole, and elsewhere."""
    config = config_of(VLA, enable_gradient_accumulation=accumulates)
    images = np.zeros((1, 1, 32, 32, 3), np.uint8)
    seen = Observation(images, np.zeros((1, 6), np.float32), ("lift it",))

    def work(rank: int, tell: Any) -> set[type]:
        policy = build_policy(config.actor.model, seed=1)
        drawn = policy.act(seen, Sampling(), Noise(derive(1, np.arange(1))))
        ranks = ProcessGroup(rank, 2)
        ranks.connect(tell(ranks.open_rendezvous("127.0.0.1") if rank == 0 else None), 60)
        layout, host = Layout(policy), torch.device("cpu")
        parallel = fsdp.ShardedPolicy(policy, layout, config.actor, host, ranks, shard_size=2)
        parallel.before_backward(last=False)
        judged = policy.evaluate(seen, drawn.sampled, Sampling())
        (judged.logprobs.sum() + judged.values.sum()).backward()
        found = {type(layer.weight.grad) for layer in policy.modules() if type(layer) is nn.Linear}
        ranks.leave()
        return found

    assert in_ranks(2, work) == [held] * 2


@pytest.mark.parametrize(
    ("said", "shards", "cpu_offload", "expected"),
    [
        (None, 1, False, True),
        (None, 1, True, False),
        (None, 8, False, False),
        (True, 8, False, True),
        (False, 1, False, False),
    ],
)
def test_gradients_stay_whole_only_where_weights_do(
    said: bool | None, shards: int, cpu_offload: bool, expected: bool
):
    options = FsdpConfig(enable_gradient_accumulation=said, cpu_offload=cpu_offload)
    assert accumulates(options, shards) == expected


def test_weights_are_cast_before_they_are_gathered():
    policy = build_policy(MLP, seed=1).to(torch.bfloat16)
    layout = Layout(policy)
    trained = policy.float()
    gathered = set()

    def whole(tensor: torch.Tensor) -> torch.Tensor:
        gathered.add(tensor.dtype)
        return tensor

    buffer = torch.zeros(layout.size, dtype=torch.uint8)
    write(trained, layout, buffer, whole)
    assert gathered == {torch.bfloat16}
    for name, weight in trained.named_parameters():
        (slot,) = [slot for slot in layout.slots if slot.name == name]
        assert torch.equal(layout.place(buffer, slot), weight.to(torch.bfloat16))


def test_a_reference_policy_that_two_ranks_wrote_is_read_by_one_that_started_elsewhere(
    config_of: ConfigOf, tmp_path: Path
):
    config = config_of(MLP, 0.1)

    def work(rank: int, tell: Any) -> bool:
        actor = ActorWorker(config, rank, 2, 1, 8, list, str(tmp_path), 2)
        actor.connect(tell(actor.open_rendezvous("127.0.0.1") if rank == 0 else None))
        actor.update(batch_for(config), 0)
        actor.save(str(tmp_path / "saved"), with_reference=True)
        while not actor.saved()[0]:
            time.sleep(0.01)
        actor.ranks.leave()
        return True

    in_ranks(2, work)
    actor = config.actor.model_copy(update={"seed": config.actor.seed + 1})
    alone = ActorWorker(config.model_copy(update={"actor": actor}), 0, 1, 1, 8, list, str(tmp_path))
    trained = dict(alone.policy.named_parameters())
    expected = dict(build_policy(MLP, config.actor.seed).named_parameters())
    alone.load(str(tmp_path / "saved"))
    with alone.reference.in_place():
        assert all(torch.equal(trained[name], expected[name]) for name in trained)


def test_two_ranks_gather_a_transformer_layer_by_layer(config_of: ConfigOf, tmp_path: Path):
    recomputing = VLA.model_copy(update={"gradient_checkpointing": True})
    ways = [
        config_of(recomputing, forward_prefetch=True),
        config_of(VLA, sharding_strategy="shard_grad_op"),
    ]
    ((alone,),) = update_in_ranks([config_of(VLA)], tmp_path, 1)
    for ranks in update_in_ranks(ways, tmp_path, 2):
        assert_equal(ranks, alone)


def test_only_the_layer_that_is_being_shared_out_is_held_in_fp32(
    config_of: ConfigOf, monkeypatch: pytest.MonkeyPatch
):
    """Else each rank would need memory for all weights in fp32 before it can drop most of them."""
    config = config_of(VLA)

    def work(rank: int, tell: Any) -> list[bool]:
        policy = build_policy(config.actor.model, seed=1).to(torch.bfloat16)
        kept = []

        def watch(module: nn.Module, **options: Any) -> nn.Module:
            whole = {p for p in policy.parameters() if not isinstance(p, DTensor)}
            cast = {p for p in whole if p.dtype == torch.float32}
            kept.append(bool(cast) and cast <= set(module.parameters()))
            return fully_shard(module, **options)

        monkeypatch.setattr(fsdp, "fully_shard", watch)
        ranks = ProcessGroup(rank, 1)
        ranks.stand_alone()
        fsdp.ShardedPolicy(policy, Layout(policy), config.actor, torch.device("cpu"), ranks, 1)
        ranks.leave()
        return kept

    assert in_ranks(1, work) == [[True] * (len(build_policy(VLA, seed=1).layers()) + 1)]


@pytest.mark.parametrize("adapters", [True, False])
def test_ranks_that_compute_in_bf16_judge_and_send_what_the_policy_has_that_acts(
    config_of: ConfigOf, tmp_path: Path, adapters: bool
):
    """To the last bit, also of the critic, which computes in fp32."""
    model = OpenVlaConfig(
        model_type="openvla",
        model_path=str(write_folder(tmp_path / "model")),
        unnorm_key=UNNORM_KEY,
        precision="bf16",
        is_lora=adapters,
        lora_rank=4,
    )
    config = config_of(model)
    images = np.random.default_rng(2).integers(256, size=(2, 1, 40, 40, 3), dtype=np.uint8)
    seen = Observation(images, np.zeros((2, 0), np.float32), ("push the cube", "lift it"))

    def work(rank: int, tell: Any) -> tuple[list[bool], bool, set[torch.dtype]]:
        acting, policy = (build_policy(model, seed=1) for _ in range(2))
        layout, weights = Layout(policy), dict(acting.named_parameters())
        ranks = ProcessGroup(rank, 2)
        ranks.connect(tell(ranks.open_rendezvous("127.0.0.1") if rank == 0 else None), 60)
        parallel = fsdp.ShardedPolicy(policy, layout, config.actor, torch.device("cpu"), ranks, 2)
        buffer = torch.zeros(layout.size, dtype=torch.uint8)
        parallel.write_weights(buffer)
        sent = all(torch.equal(layout.place(buffer, s), weights[s.name]) for s in layout.slots)
        drawn = acting.act(seen, Sampling(), Noise(derive(1, np.arange(2))))
        judged = policy.evaluate(seen, drawn.sampled, Sampling())
        expected = acting.evaluate(seen, drawn.sampled, Sampling())
        (judged.logprobs.sum() + judged.values.sum()).backward()
        learned = {p.grad.dtype for p in policy.parameters() if p.grad is not None}
        ranks.leave()
        names = ("logprobs", "entropy", "values")
        same = [torch.equal(getattr(judged, name), getattr(expected, name)) for name in names]
        return same, sent, learned

    assert in_ranks(2, work) == [([True] * 3, True, {torch.float32})] * 2


def test_ranks_agree_on_passes_of_half_the_size_if_one_has_too_little_memory(
    config_of: ConfigOf, tmp_path: Path
):
    config = config_of(MLP, sharding_strategy="no_shard").with_micro_batches(6)
    batch = batch_for(config)

    def work(rank: int, tell: Any) -> tuple[Metrics, int]:
        actor = ActorWorker(config, rank, 2, 1, 8, list, str(tmp_path))
        actor.connect(tell(actor.open_rendezvous("127.0.0.1") if rank == 0 else None))
        rows = small_memory(actor.policy, most=3 if rank else N)
        metrics = actor.update(batch, 0)
        actor.ranks.leave()
        return metrics, rows[-1]

    (metrics, last), (others, its_last) = in_ranks(2, work)
    assert last <= 3 and its_last <= 3
    assert Metrics.merge([metrics, others]).reduce()["faults/out_of_memory"] == 1


def test_a_sharded_policy_that_runs_out_of_memory_leaves_half_the_size_to_new_ranks(
    config_of: ConfigOf, tmp_path: Path
):
    """Its ranks are in the middle of computing a pass together."""
    config = config_of(MLP, cpu_offload=True).with_micro_batches(6)

    def work(rank: int, tell: Any) -> int | None:
        actor = ActorWorker(config, rank, 1, 1, 8, list, str(tmp_path))
        small_memory(actor.policy, most=3)
        with pytest.raises(OutOfMemory) as raised:
            actor.update(batch_for(config), 0)
        actor.ranks.leave()
        return raised.value.smaller

    assert in_ranks(1, work) == [3]
