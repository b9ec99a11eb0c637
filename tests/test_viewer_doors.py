"""Who is let in by the server of layers, and who is not."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from igneous_ng.errors import SpecError
from igneous_ng.viewer.doors import Door, is_loopback
from igneous_ng.viewer.server import LayerServer


@contextmanager
def running(root: Path, door: Door) -> Iterator[LayerServer]:
    with LayerServer({"/layers/0/": root}, door=door) as server:
        server.publish("/state.json", b"{}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server: LayerServer, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    (tmp_path / "info").write_bytes(b"{}")
    return tmp_path


def test_loopback_needs_no_token_and_all_else_does() -> None:
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        assert is_loopback(host)
        assert Door(host).token == ""
    tokens = {Door(host).token for host in ("0.0.0.0", "", "10.0.0.5", "example.org", "::", "127.0.0.1.example.org")}
    assert len(tokens) == 6
    assert all(len(token) == 32 for token in tokens)


@pytest.mark.parametrize("path", ["/", "/layers/0/info", "/state.json", "/api/layers", "/v/1/", "/nothing"])
def test_without_the_token_nothing_is_answered(layer: Path, path: str) -> None:
    with running(layer, Door("0.0.0.0")) as server:
        port, token = server.server_port, server.door.token
        wrong: list[dict[str, str]] = [
            {}, {"Authorization": "Bearer"}, {"Authorization": f"Bearer {token[:-1]}"},
            {"Authorization": f"Basic {token}"},
            {"Cookie": f"igneous_ng_{port}={token}x"}, {"Cookie": f"igneous_ng_{port + 1}={token}"}, {"Cookie": token},
            {"Authorization": "Bearer \xe9"}, {"Cookie": f"igneous_ng_{port}="}, {"Host": "localhost"},
        ]  # fmt: skip
        for headers in wrong:
            for method in ("GET", "HEAD"):
                status, told, body = ask(server, path, method, **headers)
                assert (status, told["WWW-Authenticate"]) == (401, "Bearer")
                assert token not in str(told) + body.decode()
        assert ask(server, f"{path}?token={token[::-1]}")[0] == 401


def test_the_printed_url_lets_a_browser_in_and_a_header_a_program(layer: Path) -> None:
    with running(layer, Door("0.0.0.0")) as server:
        token = server.door.token
        status, told, _ = ask(server, f"/?token={token}")
        assert (status, told["Location"]) == (303, "/v/1/")
        cookie = told["Set-Cookie"]
        assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")
        assert ask(server, "/layers/0/info", Cookie=cookie.partition(";")[0])[2] == b"{}"
        assert ask(server, "/layers/0/info", Cookie=f"other=1; {cookie.partition(';')[0]}")[0] == 200
        assert ask(server, "/layers/0/info", Authorization=f"Bearer {token}")[2] == b"{}"
        assert ask(server, "/layers/0/info", Authorization=f"Bearer {token}", Host="any.example")[0] == 200


def test_the_token_is_in_no_log(layer: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with running(layer, Door("0.0.0.0")) as server:
        token = server.door.token
        for path in (f"/?token={token}", f"/layers/0/info?token={token}", f"/nothing?x=1&token={token}"):
            ask(server, path, Authorization=f"Bearer {token}")
    assert "GET /layers/0/info" in caplog.text
    assert token not in caplog.text
    assert token not in repr(server.door)


def test_a_rebound_name_is_refused_on_loopback(layer: Path) -> None:
    with running(layer, Door()) as server:
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost@evil.example", "[::1]"):
            assert ask(server, "/layers/0/info", Host=host)[0] == 421
        assert ask(server, "/layers/0/info", Host=f"127.0.0.1:{server.server_port}")[0] == 200


def test_the_url_has_a_name_that_others_can_open(layer: Path) -> None:
    with running(layer, Door("0.0.0.0")) as server:
        assert server.url == f"http://{socket.gethostname()}:{server.server_port}"


def test_paths_that_leave_a_layer_are_refused_however_they_are_written(layer: Path) -> None:
    (layer.parent / "secret").write_text("x")
    (layer / "link").symlink_to(layer.parent / "secret")
    with running(layer, Door()) as server:
        for path in (
            "/..%2fsecret",
            "/%2e%2e/secret",
            "/%2e%2e%2fsecret",
            "/link",
            "/a/../../secret",
            "/%00",
            "//etc/passwd",
        ):
            status, _, body = ask(server, f"/layers/0{path}")
            assert status in (403, 404), path
            assert body != b"x"


@pytest.mark.parametrize(
    "origin", ["*", "https://*.example", "friend.example", "https://friend.example/", "file://", ""]
)
def test_origins_are_named_one_by_one(origin: str) -> None:
    with pytest.raises(SpecError, match="--cors"):
        Door(origins=(origin,))


def test_pages_of_other_origins_are_told_nothing(layer: Path) -> None:
    friend = "https://friend.example"
    with running(layer, Door(origins=(friend,))) as server:
        assert ask(server, "/layers/0/info", Origin=friend)[1]["Access-Control-Allow-Origin"] == friend
        for origin in ("https://evil.example", "null", f"{friend}.evil.example", "http://friend.example"):
            for method in ("GET", "OPTIONS"):
                _, told, _ = ask(server, "/layers/0/info", method, Origin=origin)
                assert not any(name.startswith("Access-Control") for name in told)
                assert told["Cross-Origin-Resource-Policy"] == "same-origin"
