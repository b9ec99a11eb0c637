"""Layers behind http://: read by any stage, from our server and from others, and never written to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import folders, run
from igneous_ng.cli import main
from igneous_ng.errors import DataError, SpecError, TransientError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_transfer import Transfer
from igneous_ng.store import Store
from igneous_ng.viewer.server import LayerServer
from tests import clouds
from tests.layers import files

STORE = Store()


class Quiet(SimpleHTTPRequestHandler):
    """A plain server of files: no ranges, no encodings, no lists that a program could read."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def plain(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def ours(folder: Path) -> Iterator[str]:
    with LayerServer({"/layers/": folder}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"{server.url}/layers"
        server.shutdown()
    thread.join()


@pytest.fixture
def tissue(tmp_path: Path) -> Path:
    """A folder with a layer in chunks, gzip and all, and the same in shards, and without gzip."""
    voxels = np.random.default_rng(0).integers(0, 9, (24, 20, 8)).repeat(2, 0).astype(np.uint32)
    np.save(tmp_path / "a.npy", voxels)
    common: dict[str, Any] = {"source": f"{tmp_path}/a.npy", "axes": "xyz", "resolution": (4, 4, 40)}
    chunk: dict[str, Any] = {"chunk": (16, 16, 8), "kind": "segmentation"}
    run.inline(Create(layer=f"{tmp_path}/web/packed", **common, **chunk))
    run.inline(Create(layer=f"{tmp_path}/web/flat", compress="none", **common, **chunk))
    run.inline(Create(layer=f"{tmp_path}/web/shards", sharded=True, **common, **chunk))
    return tmp_path / "web"


@pytest.mark.parametrize(("name", "serve"), [
    ("packed", ours), ("shards", ours), ("flat", ours), ("flat", plain), ("shards", plain),
])  # fmt: skip
def test_a_layer_is_transferred_from_any_server(tissue: Path, tmp_path: Path, name: str, serve: Any) -> None:
    run.inline(Transfer(source=f"file://{tissue}/{name}", layer=f"{tmp_path}/near", num_mips=1))
    with serve(tissue) as url:
        run.inline(Transfer(source=f"{url}/{name}", layer=f"{tmp_path}/far", num_mips=1))
        assert STORE.get(f"{url}/{name}/none") is None
        assert not STORE.exists(f"{url}/{name}/none")
        assert folders.size(f"{url}/{name}/none") is None
        assert folders.size(f"{url}/{name}/info") == (tissue / name / "info").stat().st_size
        for span in ((0, 10), (20, 50), (100_000, 100_010), (4, 4)):
            assert STORE.get(f"{url}/{name}/info", span) == (tissue / name / "info").read_bytes()[span[0] : span[1]]
    assert files(tmp_path / "far") == files(tmp_path / "near")
    io = IO()
    box = Box((0, 0, 0), (48, 20, 8))
    assert (io.volume(f"{tmp_path}/far", 0).read(box)[0][..., 0] == np.load(tmp_path / "a.npy")).all()


def test_a_missing_chunk_is_named_and_a_server_that_fails_is_asked_again(
    tissue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("igneous_ng.remote.trying._FIRST_S", 0.0)
    with plain(tissue) as url, clouds.proxied(url, clouds.now_and_then(0.3, 3)) as proxy:
        run.inline(Transfer(source=f"{proxy.url}/flat", layer=f"{tmp_path}/copy"))
        assert files(tmp_path / "copy").keys() == {f"{n}.gz" if "_" in n else n for n in files(tissue / "flat")}
        assert proxy.met
        chunk = next(name for name in files(tissue / "flat") if "_" in name)
        (tissue / "flat" / chunk).unlink()
        with pytest.raises(DataError, match="flat"):
            run.inline(Transfer(source=f"{proxy.url}/flat", layer=f"{tmp_path}/other"))
        proxy.plan = lambda _: "401 Unauthorized"
        with pytest.raises(SpecError, match="cannot be read .*401.*check the permissions"):
            STORE.get(f"{proxy.url}/flat/info")
        proxy.plan = lambda _: "500 InternalError"
        with pytest.raises(TransientError, match="was not read .*500.*will be tried again"):
            STORE.get(f"{proxy.url}/flat/info")


@pytest.mark.parametrize("words", [
    ["image", "downsample", "LAYER"],
    ["image", "transfer", "NEAR", "LAYER"],
    ["mesh", "forge", "LAYER"],
    ["skeleton", "forge", "LAYER"],
    ["image", "create", "NPY", "LAYER", "--axes", "xyz", "--resolution", "4,4,40"],
])  # fmt: skip
@pytest.mark.parametrize("queued", [False, True])
def test_writing_there_is_refused_before_anything_is_done(
    tissue: Path, tmp_path: Path, words: list[str], queued: bool
) -> None:
    before = files(tmp_path)
    with plain(tissue) as url, clouds.proxied(url) as proxy:
        names = {"LAYER": f"{proxy.url}/flat", "NEAR": str(tissue / "flat"), "NPY": str(tmp_path / "a.npy")}
        more = ["--queue", f"fq://{tmp_path}/queue"] if queued else []
        done = CliRunner().invoke(main, [*(names.get(word, word) for word in words), *more])
        assert done.exit_code == 2, done.output
        assert "/flat: http is read-only; write to file://, s3:// or gs://" in done.output
        assert {asked.verb for asked in proxy.asked} <= {"GET", "HEAD"}
        assert len(proxy.asked) <= 2
    assert files(tmp_path) == before
