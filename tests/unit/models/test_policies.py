"""Every registered policy keeps the contract of `rlinf/models/base.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rlinf.config.base import ModelConfig
from rlinf.data.random import Noise, derive
from rlinf.data.types import Observation
from rlinf.errors import UserError
from rlinf.models.base import Policy, Sampling
from rlinf.models.flow.policy import FlowPolicy
from rlinf.models.gr00t.config import Gr00tConfig
from rlinf.models.loading import build_policy, load_policy, save_policy
from rlinf.models.mlp.config import MlpConfig
from rlinf.models.openvla.config import OpenVlaConfig
from rlinf.models.openvla_oft.config import OpenVlaOftConfig
from rlinf.models.tiny_flow.config import TinyFlowConfig
from rlinf.models.tiny_vla.config import TinyVlaConfig
from rlinf.models.weights import Layout, copy, join, write
from rlinf.registry import MODELS
from tests import tiny_gr00t
from tests.tiny_openvla import UNNORM_KEY, write_folder

B = 5
RNG = np.random.default_rng(0)
OBSERVATION = Observation(
    images=RNG.integers(0, 256, (B, 1, 32, 32, 3), dtype=np.uint8),
    state=RNG.normal(size=(B, 6)).astype(np.float32),
    instructions=("push the cube to the goal",) * 3 + ("lift the peg",) * 2,
)
CONFIGS: dict[str, ModelConfig] = {
    "mlp": MlpConfig(model_type="mlp", obs_dim=6, action_dim=3, num_action_chunks=2, hidden_dim=16),
    "tiny_vla": TinyVlaConfig(
        model_type="tiny_vla",
        image_size=32,
        action_dim=3,
        num_action_chunks=2,
        width=32,
        depth=1,
        num_heads=2,
    ),
    "tiny_flow": TinyFlowConfig(
        model_type="tiny_flow",
        image_size=32,
        action_dim=3,
        num_action_chunks=2,
        width=32,
        depth=2,
        num_heads=2,
        noise_method="reinflow",  # its entropy depends on what is learned
    ),
}
FOLDERS = {  # models that start from a folder of weights, which the fixture names
    "openvla": OpenVlaConfig(
        model_type="openvla", model_path="-", precision="fp32", unnorm_key=UNNORM_KEY, action_dim=3
    ),
    "openvla_oft": OpenVlaOftConfig(
        model_type="openvla_oft",
        model_path="-",
        precision="fp32",
        unnorm_key=UNNORM_KEY,
        action_dim=3,
        num_action_chunks=2,
    ),
    "gr00t": Gr00tConfig(
        model_type="gr00t",
        model_path="-",
        precision="fp32",
        action_dim=3,
        num_action_chunks=2,
        noise_method="reinflow",
    ),
}
SAMPLING = Sampling(temperature=0.7)
NOISE = Noise(derive(1, np.arange(B)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("tiny"), action_dim=3)


def tiny_gr00t_config(root: Path) -> ModelConfig:
    """GR00T with a tiny folder and an embodiment of its own, below `root`."""
    tags = {"mine": tiny_gr00t.metadata({"robot": 6}, {"arm": 3})}
    found = {
        "model_path": str(tiny_gr00t.write_folder(root / "model", tags)),
        "embodiment": str(tiny_gr00t.write_embodiment(root / "mine.yaml", 6)),
    }
    return FOLDERS["gr00t"].model_copy(update=found)


@pytest.fixture(scope="module")
def gr00t(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return tiny_gr00t_config(tmp_path_factory.mktemp("tiny_gr00t"))


@pytest.fixture(params=sorted(MODELS))
def config(request: pytest.FixtureRequest, folder: Path) -> ModelConfig:
    if request.param in CONFIGS:
        return CONFIGS[request.param]
    if request.param == "gr00t":
        return request.getfixturevalue("gr00t")
    return FOLDERS[request.param].model_copy(update={"model_path": str(folder)})


@pytest.fixture
def policy(config: ModelConfig) -> Policy:
    return build_policy(config, seed=3)


@pytest.fixture(params=sorted(CONFIGS))
def plain(request: pytest.FixtureRequest) -> ModelConfig:
    """A policy that is kept in our own file."""
    return CONFIGS[request.param]


def test_every_registered_policy_is_tested_here():
    assert set(CONFIGS) | set(FOLDERS) == set(MODELS)


def test_act_has_the_shapes_of_the_contract(policy: Policy):
    chunk = policy.act(OBSERVATION, SAMPLING, NOISE)
    shape = (B, policy.chunk, 3)
    assert chunk.actions.shape == chunk.logprobs.shape == shape
    assert {len(array) for array in chunk.sampled.values()} == {B}
    assert chunk.values.shape == (B, policy.chunk)
    assert chunk.actions.dtype == chunk.logprobs.dtype == chunk.values.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "images", "state", "words"),
    [
        ("mlp", (1, 32, 32), 5, "obs_dim = 6: the simulator's state has 5 numbers"),
        (
            "tiny_vla",
            (0, 0, 0),
            6,
            "num_views = 1: the simulator shows 0",
        ),
        ("tiny_vla", (1, 48, 32), 6, "image_size = 32: the simulator's pictures are 48 x 32"),
    ],
)
def test_what_the_simulator_shows_must_be_what_the_policy_reads(
    name: str, images: tuple[int, ...], state: int, words: str
):
    shown = Observation(
        np.zeros((B, *images, 3), np.uint8), np.zeros((B, state), np.float32), ("push",) * B
    )
    with pytest.raises(UserError, match=words):
        build_policy(CONFIGS[name], seed=3).act(shown, SAMPLING, NOISE)


def test_cameras_that_the_policy_does_not_read_change_nothing(policy: Policy):
    twice = Observation(
        OBSERVATION.images.repeat(2, axis=1), OBSERVATION.state, OBSERVATION.instructions
    )
    expected, found = (policy.act(seen, SAMPLING, NOISE) for seen in (OBSERVATION, twice))
    assert np.array_equal(found.actions, expected.actions)


def test_act_and_evaluate_agree_on_logprobs_and_values(policy: Policy):
    chunk = policy.act(OBSERVATION, SAMPLING, NOISE)
    judged = policy.evaluate(OBSERVATION, chunk.sampled, SAMPLING)
    assert np.allclose(judged.logprobs.detach(), chunk.logprobs, atol=1e-5)
    assert np.allclose(judged.values.detach(), chunk.values, atol=1e-5)
    assert np.allclose(policy.value(OBSERVATION), chunk.values[:, 0], atol=1e-5)


def test_a_row_acts_the_same_alone_as_in_company(policy: Policy):
    together = policy.act(OBSERVATION, SAMPLING, NOISE)
    alone = policy.act(OBSERVATION.take(np.array([4])), SAMPLING, Noise(NOISE.keys[4:]))
    assert np.allclose(alone.actions[0], together.actions[4], atol=1e-5)


def test_the_same_noise_gives_the_same_actions_bit_for_bit(policy: Policy):
    first, second = (policy.act(OBSERVATION, SAMPLING, NOISE) for _ in range(2))
    assert np.array_equal(first.actions, second.actions)


def test_greedy_needs_no_noise_beyond_the_start_of_a_chain(policy: Policy):
    if isinstance(policy, FlowPolicy):
        policy._noise = lambda noise, count: _other_than_at_the_start(policy, noise, count)
    other = Noise(derive(2, np.arange(B)))
    greedy = Sampling(greedy=True)
    first = policy.act(OBSERVATION, greedy, NOISE).actions
    assert np.array_equal(first, policy.act(OBSERVATION, greedy, other).actions)


def _other_than_at_the_start(
    policy: FlowPolicy, noise: Noise, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same start for all keys, and what else a chain draws."""
    uniform, normal = FlowPolicy._noise(policy, noise, count)
    return uniform, torch.cat((torch.ones_like(normal[:, :1]), normal[:, 1:]), dim=1)


def test_drawn_actions_follow_the_distribution_that_evaluate_reports(policy: Policy):
    # E[-log p] over many draws is the entropy: of each token given those drawn before it.
    one = OBSERVATION.take(np.zeros(1500, np.int64))
    chunk = policy.act(one, SAMPLING, Noise(derive(5, np.arange(1500))))
    with torch.no_grad():
        reported = policy.evaluate(one, chunk.sampled, SAMPLING).entropy.mean(0)
    assert np.allclose(-chunk.logprobs.mean(0), reported, atol=0.06)


def test_gradients_reach_policy_and_value_parameters(policy: Policy):
    chunk = policy.act(OBSERVATION, SAMPLING, NOISE)
    judged = policy.evaluate(OBSERVATION, chunk.sampled, SAMPLING)
    (judged.logprobs.sum() + judged.entropy.sum() + judged.values.sum()).backward()
    value = {id(p) for p in policy.value_parameters()}
    assert value and all(p.grad is not None for p in policy.parameters() if p.requires_grad)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in policy.value_parameters())


def test_weights_travel_bit_for_bit(config: ModelConfig, policy: Policy):
    """One side parameter by parameter, the other at once: the layout is the same."""
    other, layout = build_policy(config, seed=4), Layout(policy)
    joined = join(other, layout)
    buffer = torch.zeros(layout.size, dtype=torch.uint8)
    write(policy, layout, buffer, whole=lambda tensor: tensor)
    copy(buffer, joined)
    for (name, ours), theirs in zip(policy.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_joined_parameters_stay_what_they_are_and_can_be_trained(policy: Policy):
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    joined = join(policy, Layout(policy))
    for name, parameter in policy.named_parameters():
        assert torch.equal(parameter, before[name]) and parameter.is_leaf, name
    chunk = policy.act(OBSERVATION, SAMPLING, NOISE)
    policy.evaluate(OBSERVATION, chunk.sampled, SAMPLING).logprobs.sum().backward()
    content = joined.clone()
    torch.optim.SGD(policy.parameters(), lr=0.1).step()
    assert not torch.equal(joined, content)


def test_another_architecture_has_another_layout(policy: Policy, config: ModelConfig):
    wider = build_policy(config.model_copy(update={"num_action_chunks": 3}), seed=0)
    assert Layout(policy).digest == Layout(build_policy(config, seed=0)).digest
    assert Layout(policy).digest != Layout(wider).digest


def test_a_saved_policy_acts_the_same_after_loading(
    policy: Policy, config: ModelConfig, tmp_path: Path
):
    save_policy(policy, config, tmp_path)
    loaded = build_policy(config.model_copy(update={"model_path": str(tmp_path)}), seed=99)
    assert np.array_equal(
        policy.act(OBSERVATION, SAMPLING, NOISE).actions,
        loaded.act(OBSERVATION, SAMPLING, NOISE).actions,
    )


def test_a_missing_policy_folder_is_named(plain: ModelConfig, tmp_path: Path):
    policy = build_policy(plain, seed=0)
    with pytest.raises(UserError, match=r"holds no policy: policy.safetensors is missing"):
        load_policy(policy, tmp_path)


def test_a_truncated_policy_file_is_refused(plain: ModelConfig, tmp_path: Path):
    policy = build_policy(plain, seed=0)
    save_policy(policy, plain, tmp_path)
    path = tmp_path / "policy.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="cannot be read"):
        load_policy(policy, tmp_path)


def test_a_policy_of_another_shape_is_refused(plain: ModelConfig, tmp_path: Path):
    save_policy(build_policy(plain, seed=0), plain, tmp_path)
    wider = build_policy(plain.model_copy(update={"num_action_chunks": 3}), seed=0)
    with pytest.raises(UserError, match=r"does not fit actor\.model"):
        load_policy(wider, tmp_path)
