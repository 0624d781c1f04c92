"""What a policy is to vla-eval's own check of what a benchmark means."""

from __future__ import annotations

from vla_eval import specs as theirs
from vla_eval.specs import DimSpec, check_specs

from rlinf.config.load import load
from rlinf.serving.specs import Spec, action_spec, observation_params, observation_spec

LIBERO_ACTIONS = {
    "position": theirs.POSITION_DELTA,
    "rotation": theirs.ROTATION_AA,
    "gripper": theirs.GRIPPER_CLOSE_POS,
}
LIBERO_SHOWS = {
    "agentview": theirs.IMAGE_RGB,
    "wrist": theirs.IMAGE_RGB,
    "language": theirs.LANGUAGE,
    "state": theirs.STATE_EEF_POS_AA_GRIP,
}


def read(spec: Spec) -> dict[str, DimSpec]:
    return {name: DimSpec.from_dict(content) for name, content in spec.items()}


def test_a_policy_of_libero_suits_vla_evals_libero():
    simulator = load("libero_spatial_ppo_tiny", []).config.env.eval.init_params
    views, state = ("main", "wrist"), simulator.spaces().state
    assert state is not None and sum(size for _, size in state) == 8
    asked = read(observation_spec(views, state))
    actions = read(action_spec(simulator.takes(), 7))
    assert check_specs(actions, LIBERO_ACTIONS, asked, LIBERO_SHOWS) == []
    assert observation_params(views, state) == {"send_state": True, "send_wrist_image": True}


def test_a_policy_of_another_gripper_and_rotation_is_warned_of():
    simulator = load("quickstart", ["imitation=null"]).config.env.eval.init_params
    actions = read(action_spec(simulator.takes(), 7))
    warnings = check_specs(actions, LIBERO_ACTIONS, {}, {})
    assert any("binary_close_negative vs binary_close_positive" in line for line in warnings)


def test_actions_of_no_known_meaning_are_raw_and_nothing_is_asked_of_the_benchmark():
    simulator = load("toy_ppo_mlp", []).config.env.eval.init_params
    assert action_spec(simulator.takes(), 8) == {
        "actions": {"name": "actions", "dims": 8, "format": "raw"}
    }
    assert observation_params(("main",), ()) == {}
    assert set(observation_spec(("main",), ())) == {"agentview", "language"}
