"""A small driver of a headless Chromium over the DevTools protocol: just what the report's tests need."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

ARGV = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars",
    "--remote-debugging-port=0", "--remote-allow-origins=*", "--disable-dev-shm-usage",
)  # fmt: skip
DEADLINE_S = 60.0  # for what hangs


def executable() -> str | None:
    """Where Chromium is; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One tab. Console messages, exceptions and requests are kept as they come."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=DEADLINE_S)
        self._next = 0
        self.problems: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """Send one command and return its result; raises RuntimeError with the browser's own words."""
        self._next += 1
        self._socket.send(json.dumps({"id": self._next, "method": method, "params": params}))
        while True:
            message = self._receive()
            if message.get("id") == self._next:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv())
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.problems.append(f"console.{params['type']}: {params['args']}")
        elif method == "Log.entryAdded":
            self.problems.append(f"{params['entry']['level']}: {params['entry']['text']}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        return message

    def open(self, path: Path) -> None:
        """Load a file and wait until its script says that everything is drawn."""
        self.call("Page.navigate", url=path.as_uri())
        self.wait("document.documentElement?.dataset.drawn === 'yes'")

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript condition holds; raises TimeoutError with what went wrong in the page."""
        deadline = time.monotonic() + DEADLINE_S
        while not self.evaluate(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never true within {DEADLINE_S} s: {condition}; {self.problems}")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; it may be a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def resize(self, width: int, height: int) -> None:
        """Make the window so large, in CSS pixels, and wait until the page has drawn itself anew."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, scheme: str, media: str = "screen") -> None:
        """`light` or `dark`; on `screen` or in `print`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def screenshot(self, path: Path, top: int = 0, height: int = 1400, width: int = 1200) -> None:
        """A PNG of a part of the whole page."""
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        shot = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """The page as it prints."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


@contextmanager
def browser(program: str, profile: Path) -> Iterator[Page]:
    """A browser with one page; ended when the block is left."""
    with (profile / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *ARGV, f"--user-data-dir={profile / 'profile'}", "about:blank"], stdout=log, stderr=log
        )
    try:
        page = Page(_page_address(process, profile))
        try:
            yield page
        finally:
            page.close()
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _page_address(process: subprocess.Popen[bytes], profile: Path) -> str:
    """The tab's WebSocket: Chromium writes its port into its profile once it listens."""
    port_file = profile / "profile" / "DevToolsActivePort"
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(
                f"chromium ended: {(profile / 'chromium.log').read_text(errors='replace')[-2000:]}"
            )
        if port_file.exists() and len(lines := port_file.read_text().split()) == 2:
            return _first_page(f"ws://127.0.0.1:{lines[0]}{lines[1]}")
        time.sleep(0.05)  # polls a file: there is no event to wait for
    raise TimeoutError(f"chromium did not listen within {DEADLINE_S} s")


def _first_page(browser_address: str) -> str:
    """From the browser's own address to that of its first tab."""
    socket = websocket.create_connection(browser_address, timeout=DEADLINE_S)
    try:
        socket.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
        while (answer := json.loads(socket.recv())).get("id") != 1:
            pass
    finally:
        socket.close()
    target = next(t for t in answer["result"]["targetInfos"] if t["type"] == "page")
    return browser_address.rsplit("/devtools/", 1)[0] + f"/devtools/page/{target['targetId']}"
