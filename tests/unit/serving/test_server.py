"""The server, asked by the real clients of both protocols, and by those that mean no good."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgpack
import numpy as np
import pytest
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from PIL import Image
from vla_eval.connection import Connection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rlinf.config.load import load
from rlinf.data.random import Noise
from rlinf.errors import UserError
from rlinf.serving import codec
from rlinf.serving.codec import BadMessage, pack_openpi, pack_vla_eval
from rlinf.serving.command import _cameras
from rlinf.serving.policy import Expected, ServedPolicy
from rlinf.serving.server import is_loopback
from tests.unit.serving.conftest import Running

Serve = Callable[..., Running]
STATE = np.linspace(-1, 1, 42)


def toy(value: float = 1.0) -> dict[str, object]:
    return {"observation/state": STATE * value, "prompt": "reach"}


def alone(running: Running, given: dict[str, object]) -> np.ndarray:
    """What the policy says without a network: [C, A]."""
    policy = running.policy
    row = policy.expected.observation(given)
    noise = Noise(np.zeros(1, np.uint64))
    return policy.conversion(policy.policy.act(row, policy.sampling, noise).actions[0])


def test_openpi_client_gets_the_actions_of_the_policy_bit_for_bit(serve: Serve):
    running = serve(batch=1)
    client = WebsocketClientPolicy("127.0.0.1", running.port)
    about = client.get_server_metadata()
    assert about["state"] == [["state", 42]]
    for value in (1.0, 0.5):
        reply = client.infer(toy(value))
        assert reply["actions"].dtype == np.float32
        np.testing.assert_array_equal(reply["actions"], alone(running, toy(value)))
        assert reply["server_timing"]["infer_ms"] >= reply["policy_timing"]["infer_ms"] > 0
    broker = ActionChunkBroker(client, about["action_horizon"])
    assert broker.infer(toy())["actions"].shape == (about["action_dim"],)


def test_openpi_client_sends_pictures_under_the_names_of_libero(serve: Serve):
    running = serve("quickstart", batch=1)
    size = running.policy.expected.image_size
    assert size is not None
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    given = {"observation/image": picture, "observation/wrist_image": picture, "prompt": "push"}
    client = WebsocketClientPolicy("127.0.0.1", running.port)
    np.testing.assert_array_equal(client.infer(given)["actions"], alone(running, given))
    with pytest.raises(RuntimeError, match="pictures are not resized here"):
        client.infer({**given, "observation/image": picture[1:]})


def test_sixteen_clients_at_once_each_get_their_own_actions(serve: Serve):
    running = serve()

    def drive(number: int) -> None:
        client = WebsocketClientPolicy("127.0.0.1", running.port)
        for step in range(10):
            given = toy(number + step / 10)
            expected = alone_of[number, step]
            # a product of more rows may differ in its last bits
            np.testing.assert_allclose(client.infer(given)["actions"], expected, atol=1e-5)

    alone_of = {(n, s): alone(running, toy(n + s / 10)) for n in range(16) for s in range(10)}
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(drive, range(16)))


def test_requests_that_wait_share_a_pass_and_those_given_up_are_not_computed(serve: Serve):
    running = serve(batch=8)
    held, batches = threading.Event(), []
    act = running.server.batcher.act

    def slow(rows, keys):
        batches.append(len(rows))
        assert held.wait(300)
        return act(rows, keys)

    running.server.batcher.act = slow
    clients = [WebsocketClientPolicy("127.0.0.1", running.port) for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(clients[0].infer, toy())
        while not batches:
            time.sleep(0.01)
        others = [pool.submit(client.infer, toy()) for client in clients[1:]]
        while len(running.server.batcher._waiting) < 4:
            time.sleep(0.01)
        with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/healthz") as reply:
            assert reply.read() == b"OK\n"  # while the policy computes
        held.set()
        assert all(one.result(300)["actions"].ndim == 2 for one in [first, *others])
    assert batches == [1, 4]


def test_a_request_has_a_deadline(serve: Serve):
    running = serve(deadline_s=0.05)
    held, act = threading.Event(), running.server.batcher.act

    def slow(rows, keys):
        assert held.wait(300)
        return act(rows, keys)

    running.server.batcher.act = slow
    client = WebsocketClientPolicy("127.0.0.1", running.port)
    with pytest.raises(RuntimeError, match="deadline"):
        client.infer(toy())
    held.set()


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (b"\xc1", "no valid msgpack"),
        (b"\x91" * 5000, "no valid msgpack"),
        (msgpack.packb([1]), "has to be a map"),
        ("text", "text frame"),
        (msgpack.packb({"prompt": "reach"}), "observation/state"),
        (msgpack.packb({"observation/state": [float("nan")] * 42}), "finite"),
        (msgpack.packb({"observation/state": {b"__ndarray__": True, b"dtype": "O"}}), "dtype"),
        (
            msgpack.packb(
                {
                    "observation/state": {
                        b"__ndarray__": True,
                        b"dtype": "<f4",
                        b"shape": [2**30, 2**30],
                        b"data": b"1234",
                    }
                }
            ),
            "takes",
        ),
    ],
)
def test_a_bad_observation_ends_its_connection_and_no_other(
    serve: Serve, frame: bytes | str, said: str
):
    running = serve()
    good = WebsocketClientPolicy("127.0.0.1", running.port)
    with connect(f"ws://127.0.0.1:{running.port}") as bad:
        bad.recv()
        bad.send(frame)
        told = bad.recv()
        assert isinstance(told, str)
        assert said in told
        assert "/" not in told.replace("observation/", "")
        with pytest.raises(ConnectionClosed) as closed:
            bad.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
    assert good.infer(toy())["actions"].shape[1] == 8


def test_a_failing_policy_says_nothing_of_the_machine(serve: Serve):
    running = serve()

    def fail(rows, keys):
        raise RuntimeError("/secret/path")

    running.server.batcher.act = fail
    client = WebsocketClientPolicy("127.0.0.1", running.port)
    with pytest.raises(RuntimeError, match="the policy failed") as error:
        client.infer(toy())
    assert "secret" not in str(error.value)


def test_too_large_messages_half_open_connections_and_a_flood_harm_no_one(serve: Serve):
    running = serve(message_bytes=10_000, clients=3)
    half = socket.create_connection(("127.0.0.1", running.port))
    half.sendall(b"GET / HTTP/1.1\r\n")
    good = WebsocketClientPolicy("127.0.0.1", running.port)
    with connect(f"ws://127.0.0.1:{running.port}") as bad:
        bad.recv()
        bad.send(b"0" * 20_000)
        with pytest.raises(ConnectionClosed) as closed:
            bad.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    assert good.infer(toy())["actions"].ndim == 2
    while len(running.server.connected) > 1:
        pass
    more = [WebsocketClientPolicy("127.0.0.1", running.port) for _ in range(2)]
    with pytest.raises(InvalidStatus, match="503"):
        WebsocketClientPolicy("127.0.0.1", running.port)
    assert all(client.infer(toy())["actions"].ndim == 2 for client in more)
    half.close()


def test_connections_that_are_refused_take_no_place(serve: Serve):
    running = serve(clients=1)
    for _ in range(3):
        with pytest.raises(urllib.error.HTTPError, match="426"):  # no websocket
            urllib.request.urlopen(f"http://127.0.0.1:{running.port}/")
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{running.port}", origin="http://page.example")  # type: ignore[arg-type]
    assert WebsocketClientPolicy("127.0.0.1", running.port).infer(toy())["actions"].ndim == 2


@pytest.mark.parametrize("form", ["array", "picture"])
def test_the_server_answers_while_it_decodes(
    serve: Serve, form: str, monkeypatch: pytest.MonkeyPatch
):
    running, held, begun = serve(), threading.Event(), threading.Event()
    decoding = getattr(codec, f"_{form}")

    def slow(fields):
        begun.set()
        assert held.wait(300)
        return decoding(fields)

    monkeypatch.setattr(codec, f"_{form}", slow)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    frames = {
        "array": pack_openpi({**toy(), "more": np.zeros(10_000_000, np.uint8)}),
        "picture": pack_vla_eval(
            {**toy(), "more": {"__image__": True, "shape": [8, 8, 3], "data": file.getvalue()}}
        ),
    }
    with connect(f"ws://127.0.0.1:{running.port}", max_size=None) as client:
        client.recv()
        client.send(frames[form])
        assert begun.wait(300)
        with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/healthz", timeout=60) as said:
            assert said.read() == b"OK\n"
        held.set()
        assert b"actions" in client.recv()


def test_only_clients_with_the_key_come_in(serve: Serve):
    running = serve(token="right")
    with pytest.raises(InvalidStatus, match="401"):
        WebsocketClientPolicy("127.0.0.1", running.port, api_key="wrong")
    client = WebsocketClientPolicy("127.0.0.1", running.port, api_key="right")
    assert client.infer(toy())["actions"].ndim == 2
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{running.port}/metadata")


def test_web_pages_do_not_come_in_and_unknown_paths_are_answered(serve: Serve):
    running = serve()
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{running.port}", origin="http://page.example")  # type: ignore[arg-type]
    with pytest.raises(InvalidStatus, match="404"):
        connect(f"ws://127.0.0.1:{running.port}/other")
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/metadata") as reply:
        assert json.load(reply)["action_dim"] == 8


def test_vla_eval_client_gets_one_action_for_each_observation(serve: Serve):
    running = serve(batch=1)
    expected = alone(running, {"observation/state": STATE})

    async def drive() -> None:
        client = Connection(f"ws://127.0.0.1:{running.port}/vla-eval")
        await client.connect()
        assert client.server_info["model_server"] == "rlinf"
        assert client.server_info["observation_spec"]["state"]["dims"] == 42
        await client.start_episode({"task": {"name": "reach"}})
        for step in range(2 * len(expected)):
            reply = await client.act(
                {"images": {}, "task_description": "reach", "state": STATE.copy()}
            )
            np.testing.assert_array_equal(reply["actions"], expected[step % len(expected)])
        await client.end_episode({"metrics": {}, "steps": 1, "elapsed_sec": 0.0})
        await client.close()

    asyncio.run(drive())


def test_a_camera_has_the_name_that_a_benchmark_gives_it(
    serve: Serve, policies: dict[str, ServedPolicy], monkeypatch: pytest.MonkeyPatch
):
    """vla-eval's ManiSkill2 calls its camera `base_camera`."""
    policy = policies["quickstart"]
    model, shown = policy.config.actor.model, policy.config.env.eval.init_params
    named = Expected.of(model.spaces(), shown.spaces(), {"main": "base_camera"})
    monkeypatch.setattr(policy, "expected", named)
    running = serve("quickstart", batch=1)
    assert set(policy.specs()["observation_spec"]) >= {"base_camera", "language"}
    assert policy.metadata()["cameras"] == {"main": "base_camera"}
    height, width = named.image_size or (0, 0)
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    state = np.zeros(sum(size for _, size in named.state), np.float32)
    expected = alone(
        running,
        {"observation/image": picture, "prompt": "push", "observation/state": state},
    )

    async def drive() -> None:
        client = Connection(f"ws://127.0.0.1:{running.port}/vla-eval")
        await client.connect()
        assert "base_camera" in client.server_info["observation_spec"]
        shown = {"images": {"base_camera": picture}, "task_description": "push", "state": state}
        reply = await client.act(shown)
        np.testing.assert_array_equal(reply["actions"], expected[0])
        await client.close()

    asyncio.run(drive())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["base_camera"], "write VIEW=NAME"),
        (["main="], "write VIEW=NAME"),
        (["main=a", "main=b"], "stands twice"),
        (["main=a", "wrist=a"], "stands twice"),
    ],
)
def test_a_camera_without_view_or_name_is_refused(words: list[str], said: str):
    with pytest.raises(UserError) as error:
        _cameras(words)
    assert said in f"{error.value.message} {error.value.fix}"


def test_a_view_that_the_policy_does_not_read_has_no_camera():
    params = load("quickstart", ["imitation=null"]).config.env.eval.init_params
    with pytest.raises(UserError, match=r"--camera wrist=hand: the policy reads the views main"):
        Expected.of(params.spaces(), params.spaces(), {"wrist": "hand"})


def test_headers_that_stand_twice_are_no_failure_of_the_server(serve: Serve):
    """A proxy may add its own beside those of the client; two keys are none."""
    address = f"ws://127.0.0.1:{serve(token='secret').port}"
    key = ("Authorization", "Api-Key secret")
    hops = [("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-For", "10.0.0.2")]
    with connect(address, additional_headers=[key, *hops]) as client:
        client.recv()
    with pytest.raises(InvalidStatus, match="401"):
        connect(address, additional_headers=[key, ("Authorization", "Api-Key other")])


def test_a_state_that_is_not_finite_is_said_to_be_so(serve: Serve):
    given = {"observation/state": np.full(42, np.nan), "prompt": "reach"}
    with pytest.raises(BadMessage, match="observation/state has numbers that are not finite"):
        serve().policy.expected.observation(given)
    with pytest.raises(BadMessage, match="no valid msgpack: damaged"):
        codec.unpack(b"\xc1")


def test_a_taken_port_is_an_error_with_its_fix(serve: Serve):
    running = serve()
    other = serve()
    other.server.address = type(other.server.address)(port=running.port)
    with pytest.raises(UserError, match=r"--port 0 takes a free one"):
        asyncio.run_coroutine_threadsafe(other.server.open(), other.loop).result(300)


def test_only_addresses_of_this_machine_go_without_a_key():
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost")] == [True] * 3
    assert not any(is_loopback(host) for host in ("0.0.0.0", "", "10.0.0.1", "example.org"))
