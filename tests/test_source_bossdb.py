"""BossDB: a loopback server speaks its REST protocol, and what comes of it are the voxels that it holds."""

from __future__ import annotations

import io
import json
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.errors import ConfigurationError, DataError, SpecError, TransientError
from igneous_ng.formats.info import Scale
from igneous_ng.geometry import Box
from igneous_ng.sources import bossdb
from igneous_ng.sources.bossdb import open_boss
from igneous_ng.stages.image_transfer import Transfer
from tests.layers import whole

START = (100, 40, 7)
SHAPE = (600, 70, 20)
TOKEN = "secret"
FULL = np.random.default_rng(0).integers(0, 2**16, SHAPE[::-1]).astype("uint16")  # z, y, x, as the service has it
COARSE = FULL[:, ::2, ::2]


class Server(ThreadingHTTPServer):
    """One channel, ``lab/mouse/em``; answers ``status`` to as many requests as ``broken`` says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.broken, self.body = 0, 0, b""
        self.asked = list[str]()
        self.documents: dict[str, Any] = {
            "/v1/collection/lab/experiment/mouse/channel/em/": {"type": "image", "datatype": "uint16"},
            "/v1/collection/lab/experiment/mouse/": {"coord_frame": "frame", "num_hierarchy_levels": 2},
            "/v1/coord/frame/": {
                **{f"{axis}_start": at for axis, at in zip("xyz", START, strict=True)},
                "voxel_unit": "micrometers",
            },
            "/v1/downsample/lab/mouse/em/": {
                "status": "DOWNSAMPLED",
                "num_hierarchy_levels": 2,
                "voxel_size": {"0": [0.004, 0.004, 0.04], "1": [0.008, 0.008, 0.04]},
                "extent": {"0": list(SHAPE), "1": [300, 35, 20]},
            },
        }

    def cutout(self, path: str) -> bytes:
        level, *sides = path.split("/")[6:10]
        (x0, x1), (y0, y1), (z0, z1) = ([int(n) for n in side.split(":")] for side in sides)
        assert x1 - x0 <= 512
        stored, (x, y, z) = (FULL, START) if level == "0" else (COARSE, (START[0] // 2, START[1] // 2, START[2]))
        assert 0 <= x0 - x < x1 - x <= stored.shape[2]
        file = io.BytesIO()
        np.save(file, stored[z0 - z : z1 - z, y0 - y : y1 - y, x0 - x : x1 - x])
        return zlib.compress(file.getvalue())


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.headers["Authorization"] not in ("Token public", f"Token {TOKEN}"):
            self.send_error(403)
        elif self.server.broken:
            self.server.broken -= 1
            self.answer(self.server.status, self.server.body)
        elif self.path.startswith("/v1/cutout/lab/mouse/em/"):
            assert self.headers["Accept"] == "application/npygz"
            self.answer(200, self.server.cutout(self.path))
        elif self.path in self.server.documents:
            self.answer(200, json.dumps(self.server.documents[self.path]).encode())
        else:
            self.send_error(404)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) or 9))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("BOSSDB_TOKEN", raising=False)
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def url(server: Server, path: str = "lab/mouse/em") -> str:
    return f"http://127.0.0.1:{server.server_port}/{path}"


@pytest.mark.parametrize("mip", [0, 1])
def test_a_channel_becomes_a_layer(server: Server, tmp_path: Path, mip: int) -> None:
    fields: dict[str, Any] = {"format": "bossdb", "mip": mip, "chunk": (64, 64, 16)}
    run.inline(Transfer(source=url(server), layer=str(tmp_path / "new"), **fields))
    stored = FULL if mip == 0 else COARSE
    assert np.array_equal(whole(tmp_path / "new")[..., 0], stored.T)


def test_levels_and_places_are_those_of_the_coordinate_frame(server: Server) -> None:
    info = open_boss(url(server)).info
    scales = [(scale.bounds, scale.resolution) for scale in info.scales]
    assert scales == [(Box.sized(START, SHAPE), (4, 4, 40)), (Box.sized((50, 20, 7), (300, 35, 20)), (8, 8, 40))]
    assert isinstance(info.scales[0], Scale)
    server.documents["/v1/downsample/lab/mouse/em/"]["status"] = "NOT_DOWNSAMPLED"
    server.documents["/v1/collection/lab/experiment/mouse/channel/em/"] = {"type": "annotation", "datatype": "uint64"}
    info = open_boss(url(server)).info
    assert (len(info.scales), info.kind, info.dtype.name) == (1, "segmentation", "uint64")


def test_the_public_service_has_a_scheme_of_its_own(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bossdb, "_SERVICE", url(server, "").rstrip("/"))
    source = open_boss("bossdb://lab/mouse/em")
    box = Box((150, 50, 9), (160, 55, 12))
    assert np.array_equal(source.read(0, box)[..., 0].T, FULL[2:5, 10:15, 50:60])
    with pytest.raises(SpecError, match="--format bossdb"):
        Transfer(source="bossdb://lab/mouse/em", layer="/tmp/new")
    with pytest.raises(DataError, match="name all three"):
        open_boss("bossdb://lab/mouse")


def test_the_token_comes_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOSSDB_TOKEN", TOKEN)
    assert open_boss(url(server)).info.scales
    monkeypatch.setenv("BOSSDB_TOKEN", "wrong")
    with pytest.raises(ConfigurationError, match="set BOSSDB_TOKEN"):
        open_boss(url(server))


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (429, b"slow down", TransientError, "429"),
        (503, b"away", TransientError, "503"),
        (400, b"no", DataError, "400"),
        (200, b"rubbish", DataError, "no cut-out"),
        (200, b"", TransientError, "was not read"),  # ends too early
        (200, zlib.compress(b"rubbish"), DataError, "no cut-out"),
    ],
)
def test_what_goes_wrong_says_whether_to_try_again(
    server: Server, status: int, body: bytes, error: type[Exception], words: str
) -> None:
    source = open_boss(url(server))
    server.status, server.body, server.broken = status, body, 1
    box = Box.sized(START, (3, 3, 3))
    with pytest.raises(error, match=words):
        source.read(0, box)
    assert np.array_equal(source.read(0, box)[..., 0].T, FULL[:3, :3, :3])
    with pytest.raises(DataError, match="not inside"):
        source.read(0, Box((0, 0, 0), (1, 1, 1)))


def test_what_is_not_there_and_who_does_not_answer(server: Server) -> None:
    with pytest.raises(DataError, match="404.*check the names"):
        open_boss(url(server, "lab/mouse/em2"))
    server.documents["/v1/coord/frame/"] = {}
    with pytest.raises(DataError, match="does not describe the channel"):
        open_boss(url(server))
    with pytest.raises(TransientError, match="was not read"):
        open_boss("http://127.0.0.1:9/lab/mouse/em")
