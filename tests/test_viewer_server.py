"""The server, rule by rule, over real connections."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.errors import SpecError
from igneous_ng.viewer.doors import Door
from igneous_ng.viewer.server import LayerServer, accepted, byte_range, stored
from igneous_ng.viewer.view import client_folder

DATA = bytes(range(100))
MISSING = "/layers/0/mesh/999:0"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


Ask = Callable[..., Answer]


@contextmanager
def running(root: Path, door: Door | None = None) -> Iterator[LayerServer]:
    with LayerServer({"/layers/0/": root}, door=door) as server:
        server.publish("/state.json", b'{"layers": []}')
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def asking(server: LayerServer) -> Iterator[Ask]:
    """Requests over one connection: that it lasts is part of every test."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)

    def ask(path: str, method: str = "GET", **headers: str) -> Answer:
        connection.putrequest(method, path, skip_accept_encoding=True, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())

    try:
        yield ask
    finally:
        connection.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    layer = tmp_path / "layer"
    (layer / "mesh").mkdir(parents=True)
    (layer / "skeletons").mkdir()
    (layer / "info").write_bytes(b"{}")
    (layer / "chunk").write_bytes(DATA)
    (layer / "empty").write_bytes(b"")
    (layer / "zipped.gz").write_bytes(gzip.compress(DATA, mtime=0))
    (layer / "torn.gz").write_bytes(gzip.compress(DATA, mtime=0)[:-9])
    (layer / "brotli.br").write_bytes(b"as it lies")
    (layer / "mesh" / "123:0").write_bytes(b'{"fragments": []}')
    (layer / "skeletons" / "123").write_bytes(b"bones")
    (tmp_path / "secret").write_bytes(b"secret")
    return layer


@pytest.fixture
def ask(root: Path) -> Iterator[Ask]:
    with running(root) as server, asking(server) as ask:
        yield ask


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/layers/0/info", "application/json", b"{}"),
        ("/layers/0/chunk", "application/octet-stream", DATA),
        ("/layers/0/empty", "application/octet-stream", b""),
        ("/layers/0/mesh/123:0", "application/json", b'{"fragments": []}'),
        ("/layers/0/mesh/123%3A0", "application/json", b'{"fragments": []}'),
        ("/layers/0/skeletons/123", "application/octet-stream", b"bones"),
        ("/layers/0/info?version=2", "application/json", b"{}"),
        ("/state.json", "application/json", b'{"layers": []}'),
    ],
)
def test_objects_come_whole_with_their_type(ask: Ask, path: str, kind: str, body: bytes) -> None:
    answer = ask(path)
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, kind, body)
    assert answer.headers["Content-Length"] == str(len(body))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("asked", "body", "content_range"),
    [
        ("bytes=10-19", DATA[10:20], "bytes 10-19/100"),
        ("bytes=5-5", DATA[5:6], "bytes 5-5/100"),
        ("bytes=90-", DATA[90:], "bytes 90-99/100"),
        ("bytes=-16", DATA[-16:], "bytes 84-99/100"),
        ("bytes=90-1000", DATA[90:], "bytes 90-99/100"),
        ("bytes=-1000", DATA, "bytes 0-99/100"),
    ],
)
def test_a_range_is_exactly_that_part(ask: Ask, asked: str, body: bytes, content_range: str) -> None:
    answer = ask("/layers/0/chunk", Range=asked)
    assert (answer.status, answer.body) == (206, body)
    assert answer.headers["Content-Range"] == content_range
    assert answer.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize(
    ("path", "asked", "size"),
    [
        ("/layers/0/chunk", "bytes=100-", 100),
        ("/layers/0/chunk", "bytes=100-200", 100),
        ("/layers/0/chunk", "bytes=-0", 100),
        ("/layers/0/empty", "bytes=0-0", 0),
    ],
)
def test_a_range_beyond_the_end_is_416(ask: Ask, path: str, asked: str, size: int) -> None:
    answer = ask(path, Range=asked)
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=9-5", "bytes=a-b", "lines=0-1", "bytes=0-1,5-6", "x"])
def test_a_range_that_means_nothing_here_is_ignored(ask: Ask, asked: str) -> None:
    answer = ask("/layers/0/chunk", Range=asked)
    assert (answer.status, answer.body) == (200, DATA)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 100))
def test_a_range_selects_what_slicing_does(start: int, length: int, size: int) -> None:
    data, last = DATA[:size], start + length
    first = data[start : last + 1]
    assert byte_range(f"bytes={start}-{last}", size) == ((start, start + len(first)) if first else (0, 0))
    assert byte_range(f"bytes={start}-", size) == ((start, size) if start < size else (0, 0))
    tail = data[-length:] if length else b""
    assert byte_range(f"bytes=-{length}", size) == ((size - len(tail), size) if tail else (0, 0))


def test_head_says_what_get_would_send(ask: Ask) -> None:
    head, get = ask("/layers/0/chunk", "HEAD"), ask("/layers/0/chunk")
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Accept-Ranges"):
        assert head.headers[name] == get.headers[name]
    assert ask(MISSING, "HEAD").status == 404


def test_a_stored_gzip_goes_out_as_it_lies(ask: Ask, root: Path) -> None:
    answer = ask("/layers/0/zipped", Accept_Encoding="deflate, gzip;q=0.5")
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip")
    assert answer.body == (root / "zipped.gz").read_bytes()
    assert answer.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("accept", [{}, {"Accept_Encoding": "identity"}, {"Accept_Encoding": "gzip;q=0"}])
def test_a_stored_gzip_is_unpacked_for_others(ask: Ask, accept: dict[str, str]) -> None:
    answer = ask("/layers/0/zipped", **accept)
    assert (answer.status, answer.body) == (200, DATA)
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_compressed_object_is_never_sliced(ask: Ask, encoding: str) -> None:
    whole = ask("/layers/0/zipped", Accept_Encoding=encoding)
    part = ask("/layers/0/zipped", Accept_Encoding=encoding, Range="bytes=0-3")
    assert (part.status, part.body) == (200, whole.body)
    assert part.headers["Accept-Ranges"] == "none"


def test_the_two_forms_of_an_object_have_different_tags(ask: Ask) -> None:
    packed = ask("/layers/0/zipped", Accept_Encoding="gzip").headers["ETag"]
    assert packed != ask("/layers/0/zipped").headers["ETag"]


def test_brotli_goes_only_to_those_who_read_it(ask: Ask) -> None:
    answer = ask("/layers/0/brotli", Accept_Encoding="gzip, br")
    assert (answer.status, answer.headers["Content-Encoding"], answer.body) == (200, "br", b"as it lies")
    refused = ask("/layers/0/brotli", Accept_Encoding="gzip")
    assert refused.status == 406
    assert b"does not accept" in refused.body


def test_a_torn_gzip_is_an_error_not_a_short_answer(ask: Ask) -> None:
    answer = ask("/layers/0/torn")
    assert answer.status == 500
    assert b"not a whole gzip stream" in answer.body


def test_a_plain_object_wins_over_a_compressed_one(root: Path) -> None:
    (root / "chunk.gz").write_bytes(gzip.compress(b"older"))
    assert stored(root / "chunk") == (root / "chunk", "")
    assert stored(root / "zipped") == (root / "zipped.gz", "gzip")
    assert stored(root / "mesh") is None


@pytest.mark.parametrize(
    ("header", "encoding", "yes"),
    [
        ("gzip", "gzip", True),
        ("GZIP", "gzip", True),
        ("br;q=1.0, gzip;q=0.8", "gzip", True),
        ("*", "br", True),
        ("*;q=0", "br", False),
        ("gzip;q=0, *", "gzip", False),
        ("gzip;q=zero", "gzip", False),
        ("x-gzip", "gzip", False),
        ("", "gzip", False),
        (None, "gzip", False),
    ],
)
def test_accept_encoding(header: str | None, encoding: str, yes: bool) -> None:
    assert accepted(header, encoding) is yes


@pytest.mark.parametrize("path", ["/layers/0/chunk", "/state.json"])
def test_what_is_known_is_not_sent_again(ask: Ask, path: str) -> None:
    tag = ask(path).headers["ETag"]
    for asked in (tag, f'"other", W/{tag}', "*"):
        again = ask(path, If_None_Match=asked)
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert ask(path, If_None_Match='"other"').status == 200


def test_a_rewritten_object_has_another_tag(ask: Ask, root: Path) -> None:
    tag = ask("/layers/0/chunk").headers["ETag"]
    (root / "new").write_bytes(DATA[::-1])
    (root / "new").replace(root / "chunk")
    answer = ask("/layers/0/chunk", If_None_Match=tag)
    assert (answer.status, answer.body) == (200, DATA[::-1])


def test_a_range_of_an_older_object_gets_the_whole_new_one(ask: Ask) -> None:
    tag = ask("/layers/0/chunk").headers["ETag"]
    assert ask("/layers/0/chunk", Range="bytes=0-3", If_Range=tag).status == 206
    assert ask("/layers/0/chunk", Range="bytes=0-3", If_Range='"old"').body == DATA


@pytest.mark.parametrize(
    "path",
    [
        "/layers/0/../secret",
        "/layers/0/%2e%2e/secret",
        "/layers/0/mesh/..%2f../../secret",
        "/layers/0//etc/passwd",
        "/layers/0/%2fetc/passwd",
        "/layers/0/mesh/../info",
        "/layers/0/info%00",
    ],
)
def test_a_path_that_leaves_its_folder_is_refused(ask: Ask, path: str) -> None:
    answer = ask(path)
    assert answer.status == 403
    assert b"secret" not in answer.body


@pytest.mark.parametrize("name", ["file", "packed", "folder/secret"])
def test_links_out_of_the_folder_are_refused(ask: Ask, root: Path, name: str) -> None:
    (root / "file").symlink_to(root.parent / "secret")
    (root / "packed.gz").symlink_to(root.parent / "secret")
    (root / "folder").symlink_to(root.parent)
    answer = ask(f"/layers/0/{name}", Accept_Encoding="gzip")
    assert (answer.status, answer.body[:4]) == (403, b"403 ")


def test_links_inside_the_folder_and_a_linked_folder_are_served(root: Path) -> None:
    (root / "alias").symlink_to("chunk")
    (root.parent / "link").symlink_to(root)
    with running(root.parent / "link") as server, asking(server) as ask:
        assert ask("/layers/0/alias").body == DATA


@pytest.mark.parametrize("path", [MISSING, "/", "/layers/", "/layers/1/info", "/layers/0/mesh", "/layers/0/", "/etc"])
def test_what_is_not_there_is_404(ask: Ask, path: str) -> None:
    assert ask(path).status == 404


def test_a_name_too_long_for_a_file_is_404(ask: Ask) -> None:
    assert ask("/layers/0/" + "x" * 5000).status == 404


def test_options_is_204_without_body(ask: Ask) -> None:
    answer = ask("/layers/0/chunk", "OPTIONS", Origin="http://elsewhere")
    assert (answer.status, answer.body, answer.headers["Allow"]) == (204, b"", "GET, HEAD, OPTIONS")
    assert not any(name.startswith("Access-Control") for name in answer.headers)


def test_other_origins_read_only_with_cors(root: Path, ask: Ask) -> None:
    assert "Access-Control-Allow-Origin" not in ask("/layers/0/info").headers
    friend = "https://friend.example"
    with running(root, Door(origins=(friend,))) as server, asking(server) as open_ask:
        for path, status in (("/layers/0/info", 200), (MISSING, 404)):
            answer = open_ask(path, Origin=friend)
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, friend)
        preflight = open_ask("/layers/0/info", "OPTIONS", Origin=friend)
        assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, friend)
        assert "Range" in preflight.headers["Access-Control-Allow-Headers"]


def test_a_foreign_host_name_is_refused(ask: Ask) -> None:
    assert ask("/layers/0/info", Host="evil.example:80").status == 421
    assert ask("/layers/0/info", Host="localhost:80").status == 200


def test_writing_is_not_a_method(ask: Ask, root: Path) -> None:
    assert ask("/layers/0/info", "PUT").status == 501
    assert (root / "info").read_bytes() == b"{}"


def test_an_unread_body_ends_the_connection(root: Path) -> None:
    smuggled = b"GET /layers/0/chunk HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"GET /layers/0/info HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    with running(root) as server, socket.create_connection(("127.0.0.1", server.server_port), 10) as client:
        client.sendall(head + smuggled)
        received = b""
        try:
            while block := client.recv(1 << 16):
                received += block
        except ConnectionResetError:
            pass
    assert received.count(b"HTTP/1.1 ") <= 1
    assert DATA not in received


def test_one_connection_serves_many_requests(root: Path) -> None:
    with running(root) as server, socket.create_connection(("127.0.0.1", server.server_port), 10) as client:
        client.sendall(b"GET /layers/0/info HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        received = b""
        while received.count(b"\r\n\r\n{}") < 3:
            block = client.recv(1 << 16)
            assert block
            received += block
    assert received.count(b"HTTP/1.1 200 OK") == 3


def test_slow_clients_do_not_stop_others(root: Path) -> None:
    with running(root) as server, socket.create_connection(("127.0.0.1", server.server_port), 10) as slow:
        slow.sendall(b"GET /layers/0/in")
        with asking(server) as ask:
            assert ask("/layers/0/info").status == 200


def test_closing_ends_idle_connections_and_their_threads(root: Path) -> None:
    before = threading.active_count()
    with running(root) as server:
        idle = socket.create_connection(("127.0.0.1", server.server_port), 10)
        with asking(server) as ask:
            ask("/layers/0/info")
    with idle:
        assert idle.recv(1) == b""
    assert threading.active_count() == before


def test_it_listens_on_loopback_only(root: Path) -> None:
    with running(root) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"
        assert server.url == f"http://127.0.0.1:{server.server_port}"


def test_a_port_that_is_taken_or_absurd_is_a_wrong_request(root: Path) -> None:
    with running(root) as server, pytest.raises(SpecError, match=f"port {server.server_port} of 127"):
        LayerServer({}, server.server_port)
    with pytest.raises(SpecError, match="port 70000"):
        LayerServer({}, 70_000)


def test_the_client_comes_whole_and_without_its_event_source(root: Path) -> None:
    with running(root) as server, asking(server) as ask:
        server.publish_client(client_folder())
        for path in ("/v/1/", "/v/1/index.html"):
            index = ask(path)
            assert index.headers["Content-Type"] == "text/html; charset=utf-8"
            assert index.body.startswith(b"<!doctype html><html><head><script>window.EventSource=")
        scripts = [part.split(b'"')[0].decode() for part in index.body.split(b'src="')[1:]]
        assert scripts
        for name in scripts:
            script = ask(f"/v/1/{name}")
            assert script.body == (client_folder() / name).read_bytes()
            assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
        wasm = next(client_folder().glob("*.wasm")).name
        assert ask(f"/v/1/{wasm}").headers["Content-Type"] == "application/wasm"
        assert ask("/v/1/../../__init__.py").status == 403
