"""A robot that asks `rlinf serve` what to do. Copy this file and fill in `Robot`.

rlinf serve logs/RUN                                   where the policy is
python examples/serving/robot.py --prompt "push the cube to the goal"

It needs openpi-client, whose dependencies are old: pip install --no-deps openpi-client, then
pip install msgpack websockets typing-extensions dm-tree pillow numpy
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy


class Robot:
    """Yours goes here. This one sees black pictures, stands still, and prints what it is to do."""

    def __init__(self, about: dict[str, Any]) -> None:
        self.about = about  # what the policy expects; `GET /metadata` shows it, too

    def observe(self) -> dict[str, np.ndarray]:
        """Pictures [H, W, 3] uint8 of the size that the policy expects, and the state."""
        height, width = self.about["image_size"] or (64, 64)
        pictures = {
            f"observation/{view}": np.zeros((height, width, 3), np.uint8)
            for view in self.about["views"]
        }
        state = {
            f"observation/{name}": np.zeros(size, np.float32) for name, size in self.about["state"]
        }
        return {**pictures, **state}

    def step(self, action: np.ndarray) -> None:
        """Executes one action [A] float32, for 1 / control_hz seconds."""
        names = self.about["action_names"] or [f"action {i}" for i in range(len(action))]
        print("  ".join(f"{name} {value:+.3f}" for name, value in zip(names, action, strict=True)))


def drive(robot: Robot, policy: WebsocketClientPolicy, prompt: str, chunks: int, hz: float) -> int:
    """Observes, asks for a chunk of actions, executes it, and again; returns how many it did."""
    done = 0
    for _ in range(chunks):
        reply = policy.infer({**robot.observe(), "prompt": prompt})
        for action in reply["actions"]:  # [C, A]: the policy sees nothing between them
            begun = time.monotonic()
            robot.step(action)
            done += 1
            time.sleep(max(0.0, 1 / hz - (time.monotonic() - begun)))
    return done


def main() -> None:
    """Connects and drives the robot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--prompt", default="", help="the instruction")
    parser.add_argument("--chunks", type=int, default=5, help="how often the policy is asked")
    arguments = parser.parse_args()
    key = os.environ.get("RLINF_SERVE_TOKEN")  # where the server asks for one
    policy = WebsocketClientPolicy(arguments.host, arguments.port, api_key=key)
    about = policy.get_server_metadata()
    for name, value in about.items():
        print(f"{name}: {value}")
    hz = about["control_hz"] or 10.0
    drive(Robot(about), policy, arguments.prompt, arguments.chunks, hz)


if __name__ == "__main__":
    main()
