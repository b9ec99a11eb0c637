"""What the tests of object stores share: an S3 on loopback, and a proxy before it that fails as networks do."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.queue_harness import use_emulator

FAULTS = ("503 SlowDown", "500 InternalError", "reset", "late", "cut", "lost")
"""Refusals, with the name that S3 gives them; a reset, a late answer, half of one, one that is lost after the work."""


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    verb: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


Plan = Callable[[Asked], str | None]
"""Which fault a request meets; None: none."""


@dataclass
class Proxy:
    """Hands requests on to ``origin``, unless the plan has a fault for them; keeps what was asked and what failed."""

    origin: str
    plan: Plan = lambda _: None
    asked: list[Asked] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def handle_any(self) -> None:
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body)
        self.proxy.asked.append(asked)
        with _WRITES if self.command in ("PUT", "POST") else nullcontext():
            self._answer(asked, self.proxy.plan(asked))

    def _answer(self, asked: Asked, fault: str | None) -> None:
        if fault:
            self.proxy.met[fault] += 1
        if fault and fault[0].isdigit():
            status, _, name = fault.partition(" ")
            self._send(int(status), f"<Error><Code>{name}</Code><Message>as planned</Message></Error>".encode())
        elif fault == "reset":
            self._reset()
        else:
            self._forward(asked.body, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815 - as http.server calls them

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = b""  # as they came: the headers are handed on, too
        while True:
            line = self.rfile.readline()
            parts += line
            length = int(line.split(b";")[0], 16)
            parts += self.rfile.read(length + 2) if length else self.rfile.readline()
            if not length:
                return parts

    def _forward(self, body: bytes, fault: str | None) -> None:
        where = urllib.parse.urlsplit(self.proxy.origin)
        there = http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)
        there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("connection", "expect"):
                there.putheader(name, value)
        there.endheaders(body or None)
        answer = there.getresponse()
        content = answer.read()
        there.close()
        if fault == "lost":
            self._reset()
            return
        if fault == "late":
            time.sleep(0.3)
        self._send(answer.status, content, answer.getheaders(), fault == "cut")

    def _send(
        self, status: int, content: bytes, headers: list[tuple[str, str]] | None = None, cut: bool = False
    ) -> None:
        own = [(name, value) for name, value in headers or [] if name.lower() not in _OWN]
        told = next((value for name, value in headers or [] if name.lower() == "content-length"), str(len(content)))
        self.send_response_only(status)
        for name, value in [*own, ("Content-Length", told if self.command == "HEAD" else str(len(content)))]:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self._reset()

    def _reset(self) -> None:
        """End the connection by RST, as a machine does that has lost it."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def finish(self) -> None:
        with suppress(OSError):  # it was reset
            super().finish()


_OWN = ("content-length", "transfer-encoding", "connection")
_WRITES = threading.Lock()  # emulators look at a condition and store in two steps; others must not come between


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that went away


@contextmanager
def proxied(origin: str, plan: Plan = lambda _: None) -> Iterator[Proxy]:
    """A proxy on loopback, before ``origin``."""
    proxy = Proxy(origin, plan)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def now_and_then(share: float, seed: int, faults: tuple[str, ...] = FAULTS) -> Plan:
    """A fault of these for a share of all requests."""
    chance, guard = random.Random(seed), threading.Lock()

    def plan(_: Asked) -> str | None:
        with guard:
            return chance.choice(faults) if chance.random() < share else None

    return plan


def first(fault: str, verb: str, times: int = 1) -> Plan:
    """A fault for the first requests of a kind."""
    left, guard = [times], threading.Lock()

    def plan(asked: Asked) -> str | None:
        with guard:
            if asked.verb != verb or not left[0]:
                return None
            left[0] -= 1
            return fault

    return plan


def s3(monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The address of an S3 on loopback that the environment points to, and a new bucket there. Tries do not pause."""
    address = use_emulator(monkeypatch)
    monkeypatch.setattr("igneous_ng.remote.trying._FIRST_S", 0.0)
    return address, bucket(address)


@cache
def _boto(address: str) -> Any:
    import boto3

    return boto3.session.Session("test", "test", region_name="us-east-1").client("s3", endpoint_url=address)


def bucket(address: str) -> str:
    """A new bucket."""
    name = f"bucket-{uuid.uuid4().hex}"
    _boto(address).create_bucket(Bucket=name)
    return name


def objects(address: str, name: str) -> dict[str, bytes]:
    """Every object in a bucket."""
    pages = _boto(address).get_paginator("list_objects_v2").paginate(Bucket=name)
    keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
    return {key: _boto(address).get_object(Bucket=name, Key=key)["Body"].read() for key in keys}
