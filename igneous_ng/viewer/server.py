"""A static web server, usually on 127.0.0.1, for layers in folders and for the Neuroglancer client, from one origin.

One origin means no CORS, no mixed content, no private-network prompt and no Internet. HTTP/1.1 with
connections kept alive; conditional and range requests follow RFC 9110. Objects stored compressed
(``chunk.gz``, ``chunk.br``, ``chunk.zstd``) are sent as they lie where the client can decode them.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import os
import re
import socket
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from socketserver import TCPServer
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from igneous_ng.errors import SpecError
from igneous_ng.redaction import redacted
from igneous_ng.viewer.doors import Door, RefusedError

log = logging.getLogger(__name__)

CLIENT = "/v/1/"
API = "/api/"
_ENCODINGS = {"": "", ".gz": "gzip", ".br": "br", ".zstd": "zstd"}
_BLOCK = 1 << 20
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_METHODS = "GET, HEAD, OPTIONS"
# The bundled client expects its Python server to send events; there is none, and without this stub
# (a source that opens and stays silent) it covers the view with a "Disconnected" banner.
_QUIET_EVENTS = (
    b"<head><script>window.EventSource=class extends EventTarget{constructor(url){super();this.url=url;"
    b"queueMicrotask(()=>this.onopen&&this.onopen(new Event('open')))}close(){}}</script>"
)


@dataclass(frozen=True)
class Content:
    """What one URL holds: an open ``body`` of ``size`` bytes; ``encoding`` is empty, ``gzip``, ``br`` or ``zstd``."""

    body: BinaryIO
    size: int
    etag: str
    kind: str
    encoding: str = ""
    sliceable: bool = True


Answer = Callable[[str, str], Content]


def stored(path: Path) -> tuple[Path, str] | None:
    """The file that holds object ``path``, and its content encoding: empty, ``gzip``, ``br`` or ``zstd``."""
    for suffix, encoding in _ENCODINGS.items():
        file = path.with_name(path.name + suffix)
        if file.is_file():
            return file, encoding
    return None


def accepted(header: str | None, encoding: str) -> bool:
    """Whether an ``Accept-Encoding`` header lets a content encoding through; no header lets none through."""
    weights: dict[str, float] = {}
    for item in (header or "").lower().split(","):
        name, _, parameter = item.partition(";")
        try:
            weights[name.strip()] = float(parameter.partition("=")[2]) if parameter else 1.0
        except ValueError:
            weights[name.strip()] = 0.0
    return weights.get(encoding, weights.get("*", 0.0)) > 0


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The half-open span that a ``Range`` header asks of ``size`` bytes; None where it is to be ignored.

    Ignored are other units, several ranges and malformed ones, as RFC 9110 section 14.2 allows. An
    empty span ``(0, 0)`` means that the range cannot be satisfied (416).
    """
    found = re.fullmatch(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", header or "", re.IGNORECASE)
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        start, stop = max(0, size - int(found[2])), size
    else:
        start = int(found[1])
        if found[2] and int(found[2]) < start:
            return None
        stop = min(size, int(found[2]) + 1) if found[2] else size
    return (start, stop) if start < stop else (0, 0)


class LayerServer(ThreadingHTTPServer):
    """Folders and pages at a port, 0 for a free one, of the address that the ``door`` says, which lets in whom it will.

    ``mounts`` maps URL prefixes such as ``/layers/0/`` to folders. SpecError where the port cannot be had.
    """

    daemon_threads = False  # server_close ends every connection and then joins its thread
    request_queue_size = 128

    def __init__(self, mounts: Mapping[str, Path], port: int = 0, door: Door | None = None) -> None:
        self.mounts = {prefix: folder.resolve() for prefix, folder in mounts.items()}
        self.pages: dict[str, bytes] = {}
        self.answer: Answer | None = None  # to what is asked below API, by name and query
        self.door = door or Door()
        self._open: set[socket.socket] = set()
        try:
            super().__init__((self.door.host, port), Handler)
        except (OSError, OverflowError) as error:
            raise SpecError(
                f"port {port} of {self.door.host} cannot be had ({error}); give another, or 0 for a free one"
            ) from error

    def server_bind(self) -> None:
        """Bind without the reverse look-up of the host's name, which may ask a name server."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.door.host, self.socket.getsockname()[1]

    @property
    def url(self) -> str:
        """The origin, without a slash at its end."""
        everywhere = self.door.host in ("", "0.0.0.0")  # noqa: S104 - what was asked for is not bound here
        return f"http://{socket.gethostname() if everywhere else self.door.host}:{self.server_port}"

    def publish(self, path: str, page: bytes) -> None:
        """Serve ``page`` at ``path``, which ends like a file of its type."""
        self.pages[path] = page

    def publish_client(self, folder: Path) -> None:
        """Serve the Neuroglancer client at :data:`CLIENT`; the ``1`` passes for its session token."""
        self.mounts[CLIENT] = folder.resolve()
        index = (folder / "index.html").read_bytes().replace(b"<head>", _QUIET_EVENTS, 1)
        self.publish(CLIENT, index)
        self.publish(f"{CLIENT}index.html", index)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection, so that it can be ended, and serve it in a thread."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End one connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """End every connection, idle ones too, and wait for their threads."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a failed request. Clients that hang up are ordinary: they cancel chunks that left the view."""
        error = sys.exception()
        level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
        log.log(level, "%s: the connection of %s ended early", request, client_address, exc_info=error)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: LayerServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # headers and a small body leave in one packet

    def do_GET(self) -> None:
        """Send an object, a part of it, or why not."""
        self._answer(send_body=True)

    def do_HEAD(self) -> None:
        """Send what GET would, less its body."""
        self._answer(send_body=False)

    def do_OPTIONS(self) -> None:
        """Say which methods there are."""
        preflight = self.server.door.preflight(self.headers.get("Origin"), _METHODS)
        self._head(HTTPStatus.NO_CONTENT, {"Allow": _METHODS, **preflight})

    def log_message(self, format: str, *args: Any) -> None:
        """Requests go to the log of this package, not to the terminal, and without the token."""
        log.debug("%s", redacted(format % args))

    def _answer(self, send_body: bool) -> None:
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # an unread body would be taken for the next request
        asked = urlsplit(self.path)
        if asked.path == "/" and (entered := self.server.door.entering(asked.query, self.server.server_port)):
            self._head(HTTPStatus.SEE_OTHER, {"Location": CLIENT, "Referrer-Policy": "no-referrer", **entered})
            return
        try:
            content = self._find(unquote(asked.path), asked.query)
        except RefusedError as refusal:
            log.debug("%s: %s", asked.path, refusal)
            self._refuse(refusal, send_body)
            return
        with content.body:
            self._send(content, send_body)

    def _find(self, path: str, query: str) -> Content:
        self.server.door.check(self.headers, self.server.server_port)
        if path.startswith(API) and self.server.answer is not None:
            return self.server.answer(path.removeprefix(API), query)
        if path in self.server.pages:
            return _page(self.server.pages[path], path)
        for prefix, folder in self.server.mounts.items():
            if path.startswith(prefix):
                return self._file(folder, path[len(prefix) :])
        raise RefusedError(HTTPStatus.NOT_FOUND, "nothing is served there")

    def _file(self, root: Path, relative: str) -> Content:
        if "\0" in relative or relative.startswith("/") or ".." in relative.split("/"):
            raise RefusedError(HTTPStatus.FORBIDDEN, "the path leaves its folder")
        try:
            found = stored(root / relative)
            if found is None:
                raise RefusedError(HTTPStatus.NOT_FOUND, "no such object")
            file, encoding = Path(os.path.realpath(found[0])), found[1]
            if not file.is_relative_to(root):
                raise RefusedError(HTTPStatus.FORBIDDEN, "a link leads out of its folder")
            return self._encoded(file.open("rb"), encoding, relative)
        except (OSError, ValueError) as error:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"cannot be read: {error}") from error

    def _encoded(self, body: BinaryIO, encoding: str, name: str) -> Content:
        status = os.fstat(body.fileno())
        tag = f"{status.st_mtime_ns:x}-{status.st_ino:x}-{status.st_size:x}"
        accepts = self.headers.get("Accept-Encoding")
        if not encoding or accepted(accepts, encoding):
            return Content(body, status.st_size, f'"{tag}"', _kind(name), encoding, not encoding)
        with body:
            if encoding != "gzip":
                raise RefusedError(HTTPStatus.NOT_ACCEPTABLE, f"stored as {encoding}, which the client does not accept")
            try:
                plain = gzip.decompress(body.read())
            except (OSError, EOFError, zlib.error) as error:
                raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, f"not a whole gzip stream: {error}") from error
        return Content(BytesIO(plain), len(plain), f'"{tag}-plain"', _kind(name), sliceable=False)

    def _send(self, content: Content, send_body: bool) -> None:
        head = {"ETag": content.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        known = {tag.strip().removeprefix("W/") for tag in self.headers.get("If-None-Match", "").split(",")}
        if known & {content.etag, "*"}:
            self._head(HTTPStatus.NOT_MODIFIED, head)
            return
        start, stop, status = 0, content.size, HTTPStatus.OK
        span = byte_range(self._range(content), content.size) if send_body else None
        if span == (0, 0):
            self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{content.size}"})
            return
        if span is not None:
            start, stop, status = *span, HTTPStatus.PARTIAL_CONTENT
            head["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size}"
        head["Content-Type"] = content.kind
        head["Accept-Ranges"] = "bytes" if content.sliceable else "none"
        if content.encoding:
            head["Content-Encoding"] = content.encoding
        self._head(status, head, stop - start)
        if send_body:
            self._copy(content.body, start, stop)

    def _range(self, content: Content) -> str | None:
        """The range asked, where a part makes sense: a slice of a compressed stream has no meaning."""
        if not content.sliceable or self.headers.get("If-Range", content.etag) != content.etag:
            return None
        return self.headers.get("Range")

    def _copy(self, body: BinaryIO, start: int, stop: int) -> None:
        body.seek(start)
        while start < stop:
            block = body.read(min(_BLOCK, stop - start))
            if not block:
                self.close_connection = True  # the file shrank: only hanging up tells the client
                return
            self.wfile.write(block)
            start += len(block)

    def _refuse(self, refusal: RefusedError, send_body: bool) -> None:
        if self.path.startswith(API):
            kind, said = "application/json", json.dumps({"status": refusal.status.value, "error": str(refusal)})
        else:
            kind, said = "text/plain; charset=utf-8", f"{refusal.status.value} {refusal}"
        text = f"{said}\n".encode()
        asking = {"WWW-Authenticate": "Bearer"} if refusal.status == HTTPStatus.UNAUTHORIZED else {}
        self._head(refusal.status, {"Content-Type": kind, **asking}, len(text))
        if send_body:
            self.wfile.write(text)

    def _head(self, status: HTTPStatus, headers: Mapping[str, str], length: int = 0) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self.send_header("Content-Length", str(length))
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in self.server.door.headers(self.headers.get("Origin")).items():
            self.send_header(name, value)
        self.end_headers()


def _page(page: bytes, path: str) -> Content:
    return Content(BytesIO(page), len(page), f'"{zlib.crc32(page):x}-{len(page):x}"', _kind(path))


def _kind(name: str) -> str:
    """The media type of an object, by its name; the parts of a Precomputed layer have no suffix."""
    last = name.rpartition("/")[2] or "index.html"
    if last in ("info", "provenance") or re.fullmatch(r"[0-9]+:[0-9]+", last):
        return "application/json"
    return _TYPES.get(Path(last).suffix, "application/octet-stream")
