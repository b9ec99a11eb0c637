"""What a name may be, and where a confined process may read and write: at every door."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from igneous_ng import fences, folders, records, remote, rollback, run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import compression
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.meshes import Folder
from igneous_ng.records import Message, Run
from igneous_ng.sources import open_source
from igneous_ng.sources.layers import open_layer
from igneous_ng.stage import Layer
from igneous_ng.stages.image_create import Create
from igneous_ng.store import Store
from igneous_ng.worker.child import Server

UP = ("../x", "a/../../x", "..", "a/..", "nul\0", "new\nline", "\x1b[31m", "\ud800")


def test_suffixes_are_those_of_the_store() -> None:
    assert tuple(filter(None, compression.SUFFIXES.values())) == fences.SUFFIXES


@pytest.mark.parametrize("name", UP)
def test_no_store_takes_a_name_that_leads_out(tmp_path: Path, name: str) -> None:
    calls: list[Callable[[str], object]] = [
        Store().get, Store().exists, Store().list, Store().delete, Store().stored, folders.size, folders.remove,
        lambda url: Store().put(url, b""), lambda url: Store().create(url, b""), lambda url: list(folders.walk(url)),
        lambda url: list(folders.urls(url)), remote.exists, remote.delete, remote.names,
        lambda url: remote.read(url, None),
    ]  # fmt: skip
    for top in (f"file://{tmp_path}", "s3://bucket/layer", "mem://layer"):
        for call in calls:
            with pytest.raises(DataError, match="nothing of such a name"):
                call(f"{top}/{name}")
    assert list(tmp_path.iterdir()) == []


def test_what_web_servers_decode_is_seen_through() -> None:
    for name in ("%2e%2e/x", "%2E./x", "a/%252e%252e/x", "..%5cx", "..\\x", "%2e%2e%2fx"):
        with pytest.raises(DataError, match="leads out"):
            fences.check_name(f"https://host/layer/{name}")
    for name in ("a..b", "...", "%2e", "100%25", "x%2fy"):
        fences.check_name(f"https://host/layer/{name}")
    fences.check_name("file:///data/%2e%2e/x")  # a name like others, where nobody decodes it


@pytest.mark.parametrize("name", ["nul\0byte", "new\nline", "s3://bucket/../x", "https://host/%2e%2e/x"])
def test_no_layer_has_such_a_name(name: str) -> None:
    with pytest.raises(SpecError, match="name"):
        Layer.parse(name)


def layer(folder: Path, **changes: object) -> str:
    scale = {"key": "4_4_4", "size": [8, 8, 8], "voxel_offset": [0, 0, 0], "resolution": [4, 4, 4],
             "chunk_sizes": [[8, 8, 8]], "encoding": "raw"}  # fmt: skip
    info = {"type": "segmentation", "data_type": "uint32", "num_channels": 1, "scales": [{**scale, **changes}]}
    folder.mkdir(exist_ok=True)
    (folder / "info").write_text(json.dumps(info))
    return f"file://{folder}"


def test_a_level_whose_key_leads_out_is_neither_read_nor_written(tmp_path: Path) -> None:
    url = layer(tmp_path / "layer", key="../secret")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "0-8_0-8_0-8").write_bytes(bytes(2048))
    volume, box = IO().volume(url, 0), Box((0, 0, 0), (8, 8, 8))
    with pytest.raises(DataError, match="leads out"):
        IO().read(volume, box)
    with pytest.raises(DataError, match="leads out"):
        IO().write(volume, box, np.ones((8, 8, 8, 1), np.uint32, order="F"))
    assert (tmp_path / "secret" / "0-8_0-8_0-8").read_bytes() == bytes(2048)


def test_a_fragment_of_a_mesh_whose_name_leads_out_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    (tmp_path / "mesh" / "7:0").write_text('{"fragments": ["../secret"]}')
    with pytest.raises(DataError, match="leads out"):
        Folder.open(IO(), f"file://{tmp_path}/mesh").read(7)
    (tmp_path / "mesh" / "7:0").write_text('{"fragments": ["/etc/passwd"]}')
    with pytest.raises(DataError, match="mesh//etc/passwd: this fragment"):
        Folder.open(IO(), f"file://{tmp_path}/mesh").read(7)


@pytest.mark.parametrize("path", ["../../secret", "s0|http://127.0.0.1:9"])
def test_a_level_of_a_zarr_that_leads_out_is_not_read(tmp_path: Path, path: str) -> None:
    axes = [{"name": letter, "type": "space", "unit": "nanometer"} for letter in "zyx"]
    level = {"path": path, "coordinateTransformations": [{"type": "scale", "scale": [4, 4, 4]}]}
    (tmp_path / ".zattrs").write_text(json.dumps({"multiscales": [{"axes": axes, "datasets": [level]}]}))
    with pytest.raises(DataError, match=r"leads out|not read"):
        open_layer(f"file://{tmp_path}", "zarr", Store())


def test_hdf5_that_points_into_other_files_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.arange(8)
    (tmp_path / "raw").write_bytes(bytes(range(64)))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["link"] = h5py.ExternalLink(str(secret), "x")
        file.create_dataset("raw", (64,), "u1", external=[(str(tmp_path / "raw"), 0, 64)])
        layout = h5py.VirtualLayout((8,), "i8")
        layout[:] = h5py.VirtualSource(str(secret), "x", (8,))
        file.create_virtual_dataset("virtual", layout)
        file["own"] = np.arange(8)
    for dataset in ("raw", "virtual"):
        with pytest.raises(DataError, match="in other files"):
            open_source(str(tmp_path / "a.h5"), axes="x", dataset=dataset)
    with pytest.raises(SpecError, match="no dataset"):
        open_source(str(tmp_path / "a.h5"), axes="x", dataset="link")
    assert open_source(str(tmp_path / "a.h5"), axes="x", dataset="own").shape == (8, 1, 1)


# Confinement: in a process of its own, for it stays.

CONFINED = """
import sys, json
from pathlib import Path
from igneous_ng import fences, folders
from igneous_ng.errors import SpecError
from igneous_ng.sources import open_source
from igneous_ng.store import Store
root, urls = sys.argv[1], json.loads(sys.argv[2])
fences.confine((root,))
fences.confine(())
for url in urls:
    for call in (Store().get, Store().exists, Store().list, Store().delete, folders.size,
                 lambda u: Store().put(u, b"x"), lambda u: list(folders.walk(u)),
                 lambda u: open_source(u.removeprefix("file://"), axes="zyx")):
        try:
            call(url)
        except SpecError as error:
            assert "--root" in str(error), error
        else:
            raise AssertionError((url, call))
Store().put(f"{root}/fine", b"x")
assert Store().get(f"{root}/inner/plain") == b"inside"
"""


def test_links_do_not_lead_out_of_a_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "inner", outside):
        folder.mkdir(parents=True)
    (outside / "file").write_bytes(b"secret")
    (root / "inner" / "file").write_bytes(b"inside")
    for name, target in {"folder": outside, "file": outside / "file", "zipped.gz": outside / "file",
                         "inner/plain": root / "inner" / "file", "up": tmp_path}.items():  # fmt: skip
        (root / name).symlink_to(target)
    inside = f"file://{root}"
    urls = [
        f"{inside}/{name}" for name in ("folder", "folder/file", "file", "zipped", "up/outside/file", "folder/new/x")
    ]
    urls += [f"file://{outside}/file", f"file://{root}x/file", "file:///etc/passwd", "file://", "file:///"]
    subprocess.run([sys.executable, "-c", CONFINED, inside, json.dumps(urls)], check=True, timeout=120)
    assert {path.name for path in outside.iterdir()} == {"file"}
    assert (outside / "file").read_bytes() == b"secret"


def test_a_root_may_itself_be_a_link_and_need_not_exist(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for root in ("link", "real"):
        fence = fences.Fence((f"file://{tmp_path}/{root}",))
        assert all(fence.holds(f"file://{tmp_path}/{name}/x") for name in ("link", "real"))
        assert not fence.holds(f"file://{tmp_path}/x")
    assert fences.Fence((f"file://{tmp_path}/new",)).holds(f"file://{tmp_path}/new/x")
    buckets = fences.Fence(("s3://bucket/root",))
    assert buckets.holds("s3://bucket/root/x")
    assert not any(
        map(buckets.holds, ("s3://bucket/rootx", "s3://bucket", "s3://bucke", "gs://bucket/root/x", "file:///x"))
    )


# Records lie where others may write.


def made(tmp_path: Path) -> Run:
    np.save(tmp_path / "labels.npy", np.ones((8, 8, 8), np.uint32))
    return run.inline(Create(source=str(tmp_path / "labels.npy"), layer=str(tmp_path / "layer"), kind="segmentation",
                             axes="xyz", resolution=(4, 4, 4), chunk=(8, 8, 8)))  # fmt: skip


def test_a_rollback_removes_nothing_that_records_only_claim(tmp_path: Path) -> None:
    ready, thesis = made(tmp_path), tmp_path / "thesis"
    thesis.write_bytes(b"years of work")
    folder = Path(ready.folder.removeprefix("file://"))
    (page,) = folder.glob("records/*/*.jsonl")
    line = json.loads(page.read_text())
    line["writes"].append({"url": f"file://{thesis}", "bytes": 1, "digest": "0" * 32})
    page.write_text(json.dumps(line) + "\n")
    with pytest.raises(SpecError, match="something else is now"):
        rollback.rollback(Store(), ready)
    assert thesis.read_bytes() == b"years of work"
    assert (tmp_path / "layer" / "info").exists()


def test_notes_on_failures_are_written_for_planned_runs_only(tmp_path: Path) -> None:
    ready, told = made(tmp_path), list[str]()
    server = Server((), None)  # type: ignore[arg-type]
    server._tell = lambda event, _: told.append(event)  # type: ignore[method-assign, assignment]
    request = {"lines": [], "failures": [], "given_up": [[0, 1, {"cause": "data"}]], "last": False, "owner": "x"}
    stranger = Run("20260101T000000.000000-abcdef01", f"file://{tmp_path}/etc", ready.stage, 1, 1)
    for one in (stranger, ready):
        server._note({**request, "message": Message(one, 0, 1).to_json()})
    assert told == ["noted", "noted"]
    assert not (tmp_path / "etc").exists()
    assert records.dead(Store(), ready) == [(0, 1)]
