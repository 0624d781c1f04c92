"""Several machines on one: each has network, address and Ray session of its own, as root of it.

They are Linux namespaces, joined by virtual cables. Nothing of Ray is imitated: raylets talk over
TCP, and what one of them stores the others have to fetch.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil

PORT = 6379
STARTED = "Ray runtime started"  # what `ray start` says once the node has joined
START_S = 300
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    # Ray counts a node as lost after five looks in a row that failed. They fail at once where its
    # process is gone; one that is slow has 10 s for each.
    "RAY_health_check_period_ms": "500",
}


class Machine:
    """A process that keeps the namespaces alive, and everything that runs in them."""

    def __init__(self, address: str, folder: Path, inside: Machine | None = None) -> None:
        """
        Args:
            folder: is `/tmp/ray` of this machine.
            inside: the machine with the user namespace in which this one is made.
        """
        self.address, self.log = address, folder.with_suffix(".log")
        self.token = folder.parent / "auth_token"
        self.token.write_text("0" * 64)
        folder.mkdir()
        Path("/tmp/ray").mkdir(exist_ok=True)
        prepare = f"mount --bind {folder} /tmp/ray && ip link set lo up && echo ready && sleep inf"
        new = ["unshare", "-Urnm"] if inside is None else [*inside.enter(), "unshare", "-nm"]
        self.keeper = subprocess.Popen(
            [*new, "sh", "-c", prepare], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.keeper.stdout is not None
        if self.keeper.stdout.readline() != "ready\n":
            raise OSError("this machine allows no namespaces")
        self.started: list[subprocess.Popen[str]] = []

    def enter(self) -> list[str]:
        """Words in front of a command that make it run on this machine."""
        return ["nsenter", "-t", str(self._inside()), "-U", "-n", "-m", "--preserve-credentials"]

    @property
    def variables(self) -> dict[str, str]:
        """Of the environment of all that speaks with this machine's Ray."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token)}

    def run(self, *command: str) -> None:
        """Runs a command on this machine to its end."""
        subprocess.run([*self.enter(), *command], check=True, capture_output=True, text=True)

    def plug(self, *others: Machine) -> None:
        """Lays a cable to each of some other machines; what they send each other passes here."""
        self.run("ip", "link", "add", "cable", "type", "bridge")
        for index, other in enumerate(others):
            pid, port = str(other._inside()), f"port{index}"
            self.run("ip", "link", "add", port, "type", "veth", "peer", "cable", "netns", pid)
            self.run("ip", "link", "set", port, "master", "cable")
            self.run("ip", "link", "set", port, "up")
        for machine in (self, *others):
            machine.run("ip", "addr", "add", f"{machine.address}/24", "dev", "cable")
            machine.run("ip", "link", "set", "cable", "up")
            machine.run("ip", "route", "add", "default", "dev", "cable")

    def sent(self) -> int:
        """Bytes that this machine has sent to others."""
        devices = Path(f"/proc/{self._inside()}/net/dev").read_text()
        (counts,) = re.findall(r"^ *cable: *(.*)$", devices, re.MULTILINE)
        return int(counts.split()[8])

    def start_ray(self, head: Machine | None = None) -> None:
        """Starts a node of Ray; without `head` it is the head."""
        if head is None:
            join = ["--head", f"--port={PORT}", "--include-dashboard=false"]
        else:
            join = [f"--address={head.address}:{PORT}"]
        options = ["--num-cpus=0", "--num-gpus=0", "--include-log-monitor=false"]
        ray = str(Path(sys.executable).parent / "ray")
        command = [ray, "start", "--block", f"--node-ip-address={self.address}", *join, *options]
        before, deadline = self._said(STARTED), time.monotonic() + START_S
        node = self.start(*command)
        while self._said(STARTED) == before:
            assert time.monotonic() < deadline, self.log.read_text()
            if node.poll() is not None:  # Ray waits 30 s for itself, too little on a busy machine
                self.started.remove(node)
                node = self.start(*command)
            time.sleep(0.2)

    def lose(self) -> None:
        """Ends everything that runs on this machine, without a word to anybody."""
        for process in self.started:
            end(process)
        self.started.clear()

    def close(self) -> None:
        """The machine, and all that runs on it, is gone."""
        self.lose()
        end(self.keeper)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Starts a program on this machine, whose output goes to its log file."""
        self.started.append(
            subprocess.Popen(
                [*self.enter(), *command],
                stdout=self.log.open("a"),
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                env={**os.environ, **_SETTINGS, **self.variables},
            )
        )
        return self.started[-1]

    def _said(self, words: str) -> int:
        """How often something stands in the log."""
        return self.log.read_text().count(words) if self.log.exists() else 0

    def _inside(self) -> int:
        """The innermost process of the keeper, which is in all namespaces."""
        process = psutil.Process(self.keeper.pid)
        while children := process.children():
            process = children[0]
        return process.pid


def end(process: subprocess.Popen[str]) -> None:
    """Kills a process and all it has started."""
    if process.poll() is None:
        victims = psutil.Process(process.pid).children(recursive=True)
        for victim in victims:
            victim.kill()
        process.kill()
        process.wait()
        psutil.wait_procs(victims, timeout=10)
