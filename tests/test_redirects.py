"""Redirects of servers: followed where that is harmless, and refused by name where it is not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from igneous_ng.errors import SpecError
from igneous_ng.remote import redirects, web


class Sending(BaseHTTPRequestHandler):
    """Sends /to/X to X, /ring to itself, /down/N to /down/N-1; elsewhere answers with the path."""

    def do_GET(self) -> None:
        head, _, rest = self.path[1:].partition("/")
        target = {"to": rest, "ring": "/ring", "down": f"/down/{int(rest) - 1}" if rest.isdecimal() else ""}.get(head)
        if head == "down" and rest == "0":
            target = "end"
        self.send_response(302 if target else 200)
        if target:
            self.send_header("Location", target)
        self.end_headers()
        self.wfile.write(b"" if target else self.path.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sending)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_redirect_is_followed_also_to_another_server() -> None:
    with serving() as one, serving() as other:
        found = web.get(f"{one}/to/{other}/there")
        assert found is not None
        assert found.stored == b"/there"
        deep = web.get(f"{one}/down/3")
        assert deep is not None
        assert deep.stored == b"/down/end"


def test_one_who_is_sent_round_stops() -> None:
    with serving() as one, pytest.raises(SpecError, match="this is redirect number 6"):
        web.get(f"{one}/ring")


def test_from_outside_nobody_is_sent_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is taken for one of the internet; it names this machine by another of its addresses."""
    inside = redirects._inside
    monkeypatch.setattr(redirects, "_inside", lambda host: host != "127.0.0.1" and inside(host))
    with serving() as one, pytest.raises(SpecError, match="name the last place itself"):
        web.get(f"{one}/to/http://localhost:1/secret")


@pytest.mark.parametrize(
    ("url", "location", "why"),
    [
        ("https://8.8.8.8/a", "http://8.8.8.8/a", "without encryption"),
        ("http://8.8.8.8/a", "file:///etc/passwd", "only http and https"),
        ("http://8.8.8.8/a", "http://169.254.169.254/latest/meta-data", "who sends there is outside"),
        ("http://8.8.8.8/a", "http://[::1]/", "who sends there is outside"),
        ("http://8.8.8.8/a", "http://10.1.2.3/", "who sends there is outside"),
    ],
)
def test_what_is_refused(url: str, location: str, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        redirects.followed(url, location, 0)


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("http://8.8.8.8/a/b", "c", "http://8.8.8.8/a/c"),
        ("http://8.8.8.8/a", "https://1.1.1.1/b", "https://1.1.1.1/b"),
        ("http://10.1.2.3/a", "http://127.0.0.1/b", "http://127.0.0.1/b"),
    ],
)
def test_what_is_followed(url: str, location: str, target: str) -> None:
    assert redirects.followed(url, location, 0) == target


def test_a_name_without_an_address_is_left_to_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: Any, **__: Any) -> Any:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    assert redirects.followed("http://a.example/x", "http://b.example/x", 0) == "http://b.example/x"
