"""A real browser without a window, driven through chromedriver's HTTP interface (W3C WebDriver)."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

PROGRAMS = {
    "chromedriver": shutil.which("chromedriver"),
    "browser": shutil.which("chromium") or shutil.which("google-chrome"),
}
MISSING = (
    ""
    if all(PROGRAMS.values())
    else ("needs Chromium and chromedriver on PATH: apt-get install chromium chromium-driver")
)
"""Why there is no browser here; empty where there is one."""
PATIENCE_S = 60.0
KEYS = {"left": "\ue012", "right": "\ue014", "escape": "\ue00c", "tab": "\ue004"}


class Browser:
    """One window."""

    def __init__(self, address: str, session: str) -> None:
        self._base = f"{address}/session/{session}"

    def open(self, address: str) -> None:
        """Goes to a page."""
        _call(f"{self._base}/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script of the page returns."""
        return _call(f"{self._base}/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        """The text that an element shows; "" without one."""
        found = "const e = document.querySelector(arguments[0]); return e ? e.innerText : ''"
        return str(self.run(found, selector))

    def until(self, script: str, *arguments: Any) -> Any:
        """Waits until a script returns something true, and returns that."""
        ends = time.monotonic() + PATIENCE_S
        while not (found := self.run(script, *arguments)):
            if time.monotonic() > ends:
                raise TimeoutError(f"never true: {script} {arguments}; {self.complaints()}")
            time.sleep(0.05)
        return found

    def press(self, *keys: str) -> None:
        """Presses and releases keys, one after the other."""
        strokes = [
            {"type": kind, "value": KEYS.get(key, key)}
            for key in keys
            for kind in ("keyDown", "keyUp")
        ]
        keyboard = {"type": "key", "id": "keyboard", "actions": strokes}
        _call(f"{self._base}/actions", {"actions": [keyboard]})

    def resize(self, width: int, height: int) -> None:
        """Makes the page that large, in pixels, also narrower than a window may be."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, scheme: str) -> None:
        """Sets the colours that the user prefers: light or dark."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._devtools("Emulation.setEmulatedMedia", {"features": [feature]})

    def screenshot(self, path: Path) -> None:
        """Writes what the window shows as PNG."""
        path.write_bytes(base64.b64decode(_call(f"{self._base}/screenshot")))

    def complaints(self) -> list[str]:
        """Errors and warnings of the page since the last call."""
        return [entry["message"] for entry in _call(f"{self._base}/se/log", {"type": "browser"})]

    def _devtools(self, command: str, parameters: dict[str, Any]) -> None:
        _call(f"{self._base}/goog/cdp/execute", {"cmd": command, "params": parameters})


@contextmanager
def browser(*arguments: str) -> Iterator[Browser]:
    """A browser until the end of the block, started with more arguments of Chromium's."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        [str(PROGRAMS["chromedriver"]), f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _until_answers(lambda: _call(f"{address}/status"))
        options = {
            "binary": PROGRAMS["browser"],
            "args": [
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *arguments,
            ],
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = _call(f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})
        try:
            yield Browser(address, session["sessionId"])
        finally:
            _call(f"{address}/session/{session['sessionId']}", method="DELETE")
    finally:
        driver.terminate()
        driver.wait()


def _until_answers(ask: Callable[[], Any]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            ask()
            return
        except (URLError, ConnectionError):
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)


def _call(address: str, body: Any = None, method: str | None = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = Request(address, content, {"Content-Type": "application/json"}, method=method)
    with urlopen(request, timeout=2 * PATIENCE_S) as answer:
        return json.loads(answer.read())["value"]
