"""Pages opened in a headless Chromium."""

import base64
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import pytest


def installed_browser() -> str:
    """A Chromium, or a skip that says which programs were looked for."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser to draw the page: none of {', '.join(names)} is installed")
    return found


def opened(browser: str, page: Path, script: str = "") -> dict[str, str]:
    """Open a page with an additional script at its end; the ``data-`` attributes of its root element once all is drawn."""
    source = page.read_text(encoding="utf-8")
    probed = page.with_name("probed.html")
    probed.write_text(
        source.replace("</body>\n</html>", f"<script>{script}</script></body>\n</html>"),
        encoding="utf-8",
    )
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
    ]
    flags += [f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=15000", "--dump-dom"]
    done = subprocess.run(
        [browser, *flags, probed.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    root = re.search(r"<html[^>]*>", done.stdout)
    assert root, done.stdout[:500] + done.stderr[-2000:]
    return dict(re.findall(r'data-([a-z-]+)="([^"]*)"', root.group()))


class Window:
    """A page in a window of its own, in real time: what scripts in it return, a mouse, and pictures.

    Speaks the DevTools protocol over two pipes, which the browser expects as files 3 and 4.
    """

    def __init__(self, browser: str, page: Path, size: tuple[int, int] = (1280, 900)) -> None:
        told, self._out = os.pipe()
        self._in, heard = os.pipe()
        # Out of the way of 3 and 4, to which the child copies them.
        far = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (told, heard)]
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
        ]
        flags += [f"--user-data-dir={page.parent / 'profile'}", "--remote-debugging-pipe"]
        copy = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
        start = [sys.executable, "-c", copy, *map(str, far), browser, *flags]
        self._process = subprocess.Popen(start, stderr=subprocess.DEVNULL, pass_fds=far)
        for end in (told, heard, *far):
            os.close(end)
        self._number, self._session, self._rest = 0, "", b""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        shape = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **shape)
        self.show(page)

    def show(self, page: Path) -> None:
        """Go to a page, and wait until it is loaded."""
        self._call("Page.navigate", url=page.as_uri())
        wait = "new Promise((done) => setTimeout(done, 50))"
        there = f"document.readyState === 'complete' && location.href === {json.dumps(page.as_uri())}"
        self.evaluate(f"while (!({there})) await {wait};")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def evaluate(self, script: str) -> Any:
        """What an async function with this body returns (JSON values)."""
        asked = {"expression": f"(async () => {{{script}}})()", "awaitPromise": True, "returnByValue": True}
        found = self._call("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, clicks: int = 1) -> None:
        """A real event of the left button: ``mousePressed``, ``mouseReleased`` or ``mouseMoved``."""
        self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=clicks)

    def picture(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot")["data"])

    def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                part = os.read(self._in, 1 << 16)
                assert part, "the browser has ended"
                self._rest += part
            line, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
