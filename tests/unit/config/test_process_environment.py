"""What a worker process runs with."""

from __future__ import annotations

import pytest

from rlinf.cluster.group import _Host
from rlinf.config.placement import Kind, ProcessPlacement
from rlinf.config.process_environment import (
    devices_of,
    interpreter_of,
    runtime_environment,
    split_secrets,
    torch_device,
)
from rlinf.config.schema import NodeEnvironment, NodeGroup
from rlinf.errors import UserError

GROUP = NodeGroup(
    label="sim",
    node_ranks="1-2",
    env_configs=(
        NodeEnvironment(python_interpreter_path="/a/python", env_vars={"PORT": 1, "ONE": "x"}),
        NodeEnvironment(node_ranks=2, python_interpreter_path="/b/python", env_vars={"PORT": 2}),
    ),
)


def process(node: int, group: str = "sim") -> ProcessPlacement:
    return ProcessPlacement(0, node, (3, 4), "accelerator", group)


def test_processes_of_a_group_have_its_interpreter_and_variables() -> None:
    told = runtime_environment(process(1), 5, [GROUP])
    assert told["py_executable"] == "/a/python"
    assert told["env_vars"] | {"PORT": "1", "ONE": "x", "OMP_NUM_THREADS": "5"} == told["env_vars"]


def test_what_is_said_of_single_nodes_comes_on_top() -> None:
    told = runtime_environment(process(2), 1, [GROUP])
    assert told["py_executable"] == "/b/python"
    assert (told["env_vars"]["PORT"], told["env_vars"]["ONE"]) == ("2", "x")


def test_processes_elsewhere_have_none_of_it() -> None:
    told = runtime_environment(process(1, "cluster"), 1, [GROUP])
    assert "py_executable" not in told and "PORT" not in told["env_vars"]
    assert interpreter_of(process(1, "cluster"), [GROUP]) is None


def test_variables_that_sound_like_secrets_stay_out_of_what_ray_writes_down() -> None:
    names = ("WANDB_API_KEY", "HF_TOKEN", "PGPASSWORD", "aws_secret_access_key", "http_auth")
    given = {**dict.fromkeys(names, "x"), "NCCL_DEBUG": "INFO", "LD_PRELOAD": "a.so"}
    started_with, alone = split_secrets(given)
    assert started_with == {"NCCL_DEBUG": "INFO", "LD_PRELOAD": "a.so"}
    assert tuple(alone) == names


def refuse() -> None:
    raise UserError("no such policy", "name another")


def test_what_the_user_can_put_right_in_a_constructor_stays_what_it_is() -> None:
    host = _Host(f"{__name__}:refuse", {}, {})
    for call in (host.call, host.meanwhile):
        with pytest.raises(UserError, match="no such policy") as error:
            call("ready")
        assert (error.value.exit_code, error.value.fix) == (2, "name another")


def test_a_worker_has_its_secrets_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "of the launcher")
    host = _Host("os:getenv", {"key": "HF_TOKEN"}, {"HF_TOKEN": "x"})
    assert host._worker == "x"


@pytest.mark.parametrize(
    ("kind", "on_the_node", "seen"),
    [
        ("accelerator", None, "3,4"),
        ("accelerator", "7,6,5,2,1", "2,1"),
        ("accelerator", "0,1,2,MIG-a,GPU-b", "MIG-a,GPU-b"),
        ("cpu", "0,1,2,3,4", ""),
        ("node", None, ""),
    ],
)
def test_a_process_sees_the_devices_of_its_placement_among_those_of_its_node(
    kind: Kind, on_the_node: str | None, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if on_the_node is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", on_the_node)
    placed = ProcessPlacement(0, 0, (3, 4), kind, "cluster")
    assert "CUDA_VISIBLE_DEVICES" not in runtime_environment(placed, 1, [])["env_vars"]
    host = _Host("os:getenv", {"key": "CUDA_VISIBLE_DEVICES"}, {}, devices_of(placed))
    assert host._worker == seen


def test_a_node_that_shows_fewer_devices_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    host = _Host("os:getenv", {"key": "PATH"}, {}, (2,))
    with pytest.raises(UserError, match="device 2, counted from 0, and 2 are visible"):
        host.call("ready")


def test_the_launcher_computes_on_the_device_of_the_placement_among_all_that_it_sees() -> None:
    assert torch_device(process(0)) == "cuda:3"
    assert torch_device(ProcessPlacement(0, 0, (3,), "cpu", "cluster")) == "cpu"


def test_an_interpreter_whose_path_means_something_to_a_shell_is_quoted() -> None:
    elsewhere = process(1, "cluster")
    assert runtime_environment(elsewhere, 1, [], "/my (own) env/bin/python")["py_executable"] == (
        "'/my (own) env/bin/python'"
    )
    assert "py_executable" not in runtime_environment(elsewhere, 1, [], "/env-1.0/bin/python")
