"""Drive Chromium for tests by the WebDriver protocol of chromedriver: plain HTTP, so no package is needed for it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {
    "PageUp": "\ue00e", "PageDown": "\ue00f", "End": "\ue010", "Home": "\ue011",
    "ArrowLeft": "\ue012", "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015",
}  # fmt: skip


BOX = "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.x, b.y, b.width, b.height]"
READY = "return document.documentElement.dataset.ready === 'true' || !document.getElementById('scene')"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser for the session; tests that want it are skipped where there is none."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if absent:
        pytest.skip(f"needs {' and '.join(absent)} (Debian: apt-get install chromium chromium-driver)")
    with Browser() as started:
        yield started


class Browser:
    """One headless window with a fresh profile. Use as a context manager."""

    def __init__(self, width: int = 1280, height: int = 1000) -> None:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0", "--allowed-ips="], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if "successfully on port" in line:
                self._base = f"http://127.0.0.1:{int(line.strip().rstrip('.').rsplit(' ', 1)[-1])}/session"
                break
        flags = [*FLAGS, f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}"]
        options = {"args": flags, "binary": shutil.which("chromium")}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self._post(self._base, {"capabilities": {"alwaysMatch": wanted}})
        self._base += "/" + session["sessionId"]

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._send("DELETE", self._base)
        finally:
            self._driver.terminate()
            self._driver.communicate(timeout=20)
            self._profile.cleanup()

    def open(self, page: Path) -> None:
        """Load a file and wait until its images are unpacked."""
        self._post(f"{self._base}/url", {"url": page.resolve().as_uri()})
        deadline = time.monotonic() + 60
        while not self.run(READY):
            if time.monotonic() > deadline:
                raise TimeoutError(self.run("return document.body.innerText")[:500])
            time.sleep(0.05)
        self.settle()

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self._post(f"{self._base}/execute/sync", {"script": script, "args": list(arguments)})

    def wait_for(self, script: str, *arguments: Any) -> Any:
        """What a script hands to its last argument."""
        return self._post(f"{self._base}/execute/async", {"script": script, "args": list(arguments)})

    def settle(self) -> None:
        """Two frames later, everything asked for is drawn."""
        self.wait_for("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))")

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def press(self, *keys: str) -> None:
        """Keys go to what has the focus."""
        strokes = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keys", "actions": strokes})

    def focus(self, selector: str) -> None:
        self.run("document.querySelector(arguments[0]).focus()", selector)

    def click(
        self, selector: str, u: float = 0.5, v: float = 0.5, to: tuple[float, float] | None = None, button: int = 0
    ) -> None:
        """Press the mouse at a fraction (u, v) of an element's box, drag to another, and let go."""
        moves = [self._at(selector, u, v), {"type": "pointerDown", "button": button}]
        moves += [self._at(selector, *to)] if to else []
        self._act({"type": "pointer", "id": "mouse", "actions": [*moves, {"type": "pointerUp", "button": button}]})

    def wheel(self, selector: str, notches: int, u: float = 0.5, v: float = 0.5) -> None:
        place = self._at(selector, u, v)
        turn = {"type": "scroll", "x": place["x"], "y": place["y"], "deltaX": 0, "deltaY": 100 if notches > 0 else -100}
        self._act({"type": "wheel", "id": "wheel", "actions": [{**turn, "origin": "viewport"}] * abs(notches)})

    def touch(self, selector: str, *fingers: tuple[tuple[float, float], tuple[float, float]]) -> None:
        """Each finger goes down at one fraction of an element's box, moves to another and is lifted."""
        sources = []
        for k, (start, end) in enumerate(fingers):
            path = [[a + (b - a) * step / 4 for a, b in zip(start, end, strict=True)] for step in range(5)]
            moves: list[dict[str, Any]] = [self._at(selector, u, v) for u, v in path]
            moves.insert(1, {"type": "pointerDown", "button": 0})
            moves.append({"type": "pointerUp", "button": 0})
            kind = {"pointerType": "touch"}
            sources.append({"type": "pointer", "id": f"finger{k}", "parameters": kind, "actions": moves})
        self._act(*sources)

    def command(self, name: str, **arguments: Any) -> Any:
        """A command of the developer tools."""
        return self._post(f"{self._base}/goog/cdp/execute", {"cmd": name, "params": arguments})

    def errors(self) -> list[str]:
        """What the console complained of since the last call."""
        entries = self._post(f"{self._base}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def screenshot(
        self, path: Path, width: int, height: int | None = None, ratio: float = 1.0, mobile: bool = False
    ) -> None:
        """The page at a width, down to its end or to a height."""
        device = {"width": width, "height": height or 900, "deviceScaleFactor": ratio, "mobile": mobile}
        self.command("Emulation.setDeviceMetricsOverride", **device)
        self.settle()
        if height is None:
            device["height"] = min(int(self.run("return document.documentElement.scrollHeight")), 5000)
            self.command("Emulation.setDeviceMetricsOverride", **device)
            self.settle()
        shot = self.command("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def _at(self, selector: str, u: float, v: float) -> dict[str, Any]:
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'nearest'})", selector)
        left, top, width, height = self.run(BOX, selector)
        place = {"x": round(left + u * width), "y": round(top + v * height)}
        return {"type": "pointerMove", "duration": 0, "origin": "viewport", **place}

    def _act(self, *sources: dict[str, Any]) -> None:
        self._post(f"{self._base}/actions", {"actions": list(sources)})
        self.settle()

    def _post(self, url: str, body: dict[str, Any]) -> Any:
        return self._send("POST", url, body)

    def _send(self, verb: str, url: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=verb)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=90) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None
