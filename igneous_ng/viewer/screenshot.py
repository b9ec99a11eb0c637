"""Pictures of a view, by a Chromium without a window that chromedriver steers (W3C WebDriver over HTTP).

WebGL is drawn by SwiftShader, on the CPU, so that no graphics card is needed. Where the surfaces
of meshes touch, a few pixels may differ from one picture to the next.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from igneous_ng.errors import ConfigurationError, DataError, TransientError

log = logging.getLogger(__name__)

SIZE = (1200, 800)
"""Width and height of a picture, in pixels."""

_T = TypeVar("_T")
_LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy is set
_POLL = 0.2  # seconds
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--hide-scrollbars",
    "--mute-audio",
    "--force-device-scale-factor=1",
)
_PATIENCE = 5.0  # seconds at rest until what has not come is taken for missing
# Pending are sources whose metadata is on its way, and chunks, meshes and skeletons of the visible tier
# (0 of 3) that are downloading, queued or new (states 3 to 5). `isReady` alone is not enough: it is true
# while the layers of a state are not there yet, and never where a selected label has no mesh.
_PROGRESS = """
const done = arguments[arguments.length - 1], viewer = window.viewer;
if (!viewer) { done(null); return; }
const layers = viewer.layerManager.managedLayers.filter(l => l.layer);
const sources = layers.flatMap(l => l.layer.dataSources.map(s => [l.name, s.loadState]));
const errors = sources.filter(([, s]) => s && s.error).map(([name, s]) => name + ": " + s.error.message);
let pending = sources.filter(([, s]) => !s).length;
viewer.chunkQueueManager.getStatistics().then(all => {
  for (const counts of all.values()) {
    for (let state = 3; state <= 5; ++state) pending += counts[3 * state];
  }
  const lost = viewer.display.gl.isContextLost();
  done({errors, pending, lost, ready: viewer.isReady(), layers: layers.length});
}, error => done(null));
"""


class ScreenshotUnavailable(ConfigurationError):
    """Screenshots need programs that this machine does not have."""


@dataclass(frozen=True)
class _Driver:
    """A WebDriver client: one running chromedriver, and the path of a session in it."""

    url: str

    def call(self, method: str, path: str, body: Any = None, timeout: float = 60.0) -> Any:
        data = None if body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, kind, method=method)  # noqa: S310  (loopback)
        try:
            with _LOOPBACK.open(request, timeout=timeout) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            raise TransientError(f"chromedriver refused {method} {path}: {_reason(text)}; try again") from error
        except OSError as error:
            raise TransientError(f"chromedriver did not answer {method} {path} ({error}); try again") from error


def capture(url: str, layers: int, hosts: Sequence[str] = (), timeout: float = 120.0) -> bytes:
    """The PNG picture of a view at ``url`` once all it shows has arrived: ``SIZE`` pixels.

    ``layers`` is how many layers its state has. Only the host of ``url`` and ``hosts`` are reachable.
    ScreenshotUnavailable without Chromium, DataError for a layer that the client cannot read,
    TransientError where the picture is not complete within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    with (
        _chromedriver(deadline) as driver,
        _session(driver, [urlsplit(url).hostname or "", *hosts]) as session,
    ):
        session.call("POST", "/url", {"url": url})
        _await_layers(session, layers, deadline)
        return _still_picture(session, deadline)


def write_png(path: Path, png: bytes) -> None:
    """Store the picture whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        temporary.write_bytes(png)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def programs() -> tuple[str, str]:
    """The paths of Chromium and chromedriver; ScreenshotUnavailable says how to get them."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing = " and ".join(n for n, p in (("chromium", chromium), ("chromedriver", driver)) if p is None)
        raise ScreenshotUnavailable(
            f"a screenshot needs {missing}, not found on PATH; on Debian: apt-get install chromium chromium-driver"
        )
    return chromium, driver


@contextlib.contextmanager
def _chromedriver(deadline: float) -> Iterator[_Driver]:
    """A chromedriver on a port that the system chose, ended by its process id whatever happens."""
    _, program = programs()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([program, "--port=0"], stdin=subprocess.DEVNULL, stdout=output, stderr=output)

        def port() -> str | None:
            # pread leaves the position alone: the child shares it and appends there.
            found = re.search(rb"success\w* on port ([0-9]+)", os.pread(output.fileno(), 1 << 16, 0))
            return found[1].decode() if found else None

        try:
            number = _until(port, deadline, lambda: f"chromedriver did not start (exit status {process.poll()})")
            yield _Driver(f"http://127.0.0.1:{number}")
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def _session(driver: _Driver, hosts: Sequence[str]) -> Iterator[_Driver]:
    """A Chromium with an empty profile that reaches ``hosts`` only."""
    chromium, _ = programs()
    with tempfile.TemporaryDirectory(prefix="igneous-ng-view-", ignore_cleanup_errors=True) as profile:
        resolver = ", ".join(["MAP * ~NOTFOUND", *(f"EXCLUDE {host}" for host in hosts)])
        own = (
            f"--user-data-dir={profile}",
            f"--host-resolver-rules={resolver}",
            f"--window-size={SIZE[0]},{SIZE[1]}",
        )
        options = {"binary": chromium, "args": [*_FLAGS, *own]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options}
        opened = driver.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        session = _Driver(f"{driver.url}/session/{opened['sessionId']}")
        try:
            # Without a window the size given above counts the frame of one.
            picture = {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False}
            command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": picture}
            session.call("POST", "/goog/cdp/execute", command)
            yield session
        finally:
            with contextlib.suppress(TransientError):
                session.call("DELETE", "", timeout=10)
            _end(opened["capabilities"].get("goog:processID"))


def _end(pid: int | None) -> None:
    """End a browser that outlived its session."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _progress(session: _Driver) -> Any:
    return session.call("POST", "/execute/async", {"script": _PROGRESS, "args": []})


def _await_layers(session: _Driver, layers: int, deadline: float) -> None:
    """Return once all that the view shows is in GPU memory, or will never be."""
    busy = time.monotonic()

    def complete() -> bool:
        nonlocal busy
        seen = _progress(session)
        if seen and seen["errors"]:
            raise DataError(f"the client cannot read a layer: {'; '.join(seen['errors'])}; check its info file")
        if not seen or seen["lost"] or seen["pending"] or seen["layers"] < layers:
            busy = time.monotonic()
            return False
        return bool(seen["ready"]) or time.monotonic() - busy > _PATIENCE

    _until(complete, deadline, lambda: f"still {_progress(session)}")
    if not _progress(session)["ready"]:
        log.warning("the picture is not complete: some chunks, meshes or skeletons could not be loaded")


def _still_picture(session: _Driver, deadline: float) -> bytes:
    """The picture, once two in a row are the same."""
    last: list[bytes] = []

    def settled() -> bytes | None:
        last.append(base64.b64decode(session.call("GET", "/screenshot")))
        return last[-1] if last[-2:-1] == [last[-1]] else None

    return _until(settled, deadline, lambda: "the picture does not come to rest")


def _until(probe: Callable[[], _T | None], deadline: float, complaint: Callable[[], str]) -> _T:
    """What ``probe`` returns as soon as that is something; TransientError after ``deadline``."""
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise TransientError(f"no screenshot in time: {complaint()}; try again, or show less")
        time.sleep(_POLL)
    return found


def _reason(text: str) -> str:
    try:
        return str(json.loads(text)["value"]["message"]).partition("\n")[0]
    except (ValueError, KeyError, TypeError):
        return text[:200]
