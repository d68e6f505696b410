"""Headless Chromium, controlled by the DevTools protocol over a pipe; no other package is needed."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))),
    None,
)
_QUIET = (
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)


def _is_error(event: dict[str, Any]) -> bool:
    """Whether an event of the protocol tells an error of the page."""
    parameters = event.get("params", {})
    return (
        event.get("method") == "Runtime.exceptionThrown"
        or (event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] == "error")
        or (event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error")
    )


class Page:
    """A page in a window of a given size, in pixels."""

    def __init__(self, file: Path, width: int, height: int) -> None:
        self._profile = tempfile.TemporaryDirectory(
            ignore_cleanup_errors=True
        )  # the browser's children end a little later
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        def connect() -> None:  # the browser reads commands on descriptor 3 and answers on 4
            low = [os.dup(to_read), os.dup(to_write)]
            os.dup2(low[0], 3)
            os.dup2(low[1], 4)

        assert CHROMIUM is not None
        command = [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            *_QUIET,
        ]
        command += [f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}", "about:blank"]
        null = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command,
            stdin=null,
            stdout=null,
            stderr=null,
            pass_fds=(3, 4, to_read, to_write),
            preexec_fn=connect,
        )
        os.close(to_read)
        os.close(to_write)
        self._number, self._buffer, self._session = 0, b"", ""
        self.errors: list[str] = []  # that the page has thrown or written to the console
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.call("Page.navigate", url=file.resolve().as_uri())
        while not self.evaluate("location.protocol === 'file:' && document.readyState === 'complete'"):
            time.sleep(0.05)

    def __enter__(self) -> "Page":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)
        self._process.terminate()
        self._process.wait(20)
        os.close(self._read)
        self._profile.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol, and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                piece = os.read(self._read, 1 << 16)
                assert piece, "the browser has ended"
                self._buffer += piece
            line, self._buffer = self._buffer.split(b"\0", 1)
            answer = json.loads(line)
            if _is_error(answer):
                self.errors.append(json.dumps(answer["params"]))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str, times: int = 1) -> None:
        """Press and release a key, several times."""
        codes = {"Tab": 9, "ArrowLeft": 37, "ArrowRight": 39, "Home": 36, "End": 35}
        for _ in range(times):
            for kind in ("rawKeyDown", "keyUp"):
                self.call(
                    "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key]
                )
