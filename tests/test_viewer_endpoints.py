"""Questions to `view`, one rule after the other, over real connections."""

from __future__ import annotations

import io
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.renaming import Renaming
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.synapses import LEFT_OUT
from igneous_ng.viewer.doors import RefusedError
from igneous_ng.viewer.endpoints import Answers
from igneous_ng.viewer.server import LayerServer
from igneous_ng.viewer.view import Asked, serving
from tests import synaptic
from tests.layers import create, whole
from tests.test_stage_graph_build import built
from tests.test_viewer_server import Answer, Ask, asking, running

LO = (-5, 7, 100)
SHAPE = (11, 6, 5)
BIG = (1 << 63) + 1
LIMIT = 600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of two channels and one of one, a segmentation of two levels, a hole in another, tables of labels."""
    folder, rng = tmp_path_factory.mktemp("served"), np.random.default_rng(1)
    labels = rng.integers(0, 4, (*SHAPE, 1)).astype(np.uint64) + np.uint64(BIG)
    seg = create(folder / "seg", labels, LO, kind="segmentation", resolution=(8.0, 8.0, 30.0))
    run.inline(Downsample(layer=str(seg), num_mips=1))
    create(folder / "em", rng.integers(0, 256, (*SHAPE, 1)).astype(np.uint8), LO)
    create(folder / "colour", rng.integers(0, 256, (*SHAPE, 3)).astype(np.uint8), LO)
    holes = create(folder / "holes", labels, LO, kind="segmentation")
    next(holes.glob("*_*_*/-5--1_7-11_100-104*")).unlink()
    linked = create(folder / "linked", labels, LO, kind="segmentation")
    level = next(linked.glob("*_*_*"))
    level.rename(folder / "outside")
    level.symlink_to(folder / "outside")
    old = np.unique(labels)[:2]
    (folder / "roots.csv").write_text("old,new\n" + "".join(f"{a},{a + np.uint64(10)}\n" for a in old))
    Renaming(IO(), f"file://{folder}/parts").split(old, old + np.uint64(20))
    return folder


def answers(folder: Path, remaps: tuple[str, ...] = ("roots.csv", "parts"), most: int = LIMIT) -> Answers:
    layers = {name: f"file://{folder}/{name}" for name in ("seg", "em", "colour", "holes", "linked")}
    return Answers(layers, {"g": "file:///graph"}, {name: f"file://{folder}/{name}" for name in remaps}, most)


@contextmanager
def serve(folder: Path, found: Answers) -> Iterator[LayerServer]:
    with running(folder / "seg") as server:
        server.answer = found.answer
        yield server


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[LayerServer]:
    with serve(folder, answers(folder)) as server:
        yield server


@pytest.fixture
def ask(server: LayerServer) -> Iterator[Ask]:
    with asking(server) as ask:
        yield ask


def told(answer: Answer, status: int = 200) -> Any:
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    value = json.loads(answer.body)
    assert status == 200 or (value["status"] == status and value["error"])
    return value


def place(voxel: Vec3) -> str:
    return ",".join(map(str, voxel))


def test_the_label_of_each_voxel_is_that_of_the_layer(ask: Ask, folder: Path) -> None:
    for mip in (0, 1):
        box, labels = IO().volume(f"file://{folder}/seg", mip).bounds, whole(folder / "seg", mip)
        for index in np.ndindex(*labels.shape[:3]):
            voxel = tuple(int(a + b) for a, b in zip(index, box.lo, strict=True))
            found = told(ask(f"/api/segment?layer=seg&at={place(voxel)}&mip={mip}"))  # type: ignore[arg-type]
            assert (found["segment"], found["voxel"], found["mip"]) == (str(labels[index][0]), list(voxel), mip)


@given(nm=st.tuples(st.floats(-40, 48), st.floats(56, 104), st.floats(3000, 3150)))
def test_a_place_in_nm_is_the_voxel_that_holds_it(folder: Path, nm: tuple[float, ...]) -> None:
    inside = all(lo <= at < hi for at, lo, hi in zip(nm, (-40, 56, 3000), (48, 104, 3150), strict=True))
    query = f"layer=0&units=nm&at={','.join(map(repr, nm))}"
    if not inside:
        with pytest.raises(RefusedError, match="is not inside seg"):
            answers(folder).answer("segment", query)
        return
    found = json.loads(answers(folder).answer("segment", query).body.read())
    voxel = [int(at // side) for at, side in zip(nm, (8, 8, 30), strict=True)]
    assert found["voxel"] == voxel
    assert found["segment"] == str(whole(folder / "seg")[tuple(a - b for a, b in zip(voxel, LO, strict=True))][0])
    assert found["nm"] == [(at + 0.5) * side for at, side in zip(voxel, (8, 8, 30), strict=True)]


@pytest.mark.parametrize(("table", "more"), [("roots.csv", 10), ("parts", 20)])
def test_a_supervoxel_is_told_with_what_it_became(ask: Ask, folder: Path, table: str, more: int) -> None:
    labels = whole(folder / "seg")[..., 0]
    listed = np.unique(labels)[:2]
    seen = set()
    for index in np.ndindex(*labels.shape):
        voxel = tuple(int(a + b) for a, b in zip(index, LO, strict=True))
        found = told(ask(f"/api/supervoxel?layer=seg&remap={table}&at={place(voxel)}"))  # type: ignore[arg-type]
        label = labels[index]
        assert found["supervoxel"] == str(label)
        assert found["segment"] == str(label + np.uint64(more if label in listed else 0))
        assert found["listed"] is bool(label in listed)
        seen.add(found["segment"])
    assert len(seen) == 4
    only = answers(folder, (table,)).answer("supervoxel", f"layer=seg&at={place(LO)}")
    assert json.loads(only.body.read())["remap"] == table


@pytest.mark.parametrize("layer", ["seg", "em", "colour"])
@pytest.mark.parametrize(
    "box", [Box(LO, (-2, 10, 102)), Box((-4, 8, 101), (-3, 13, 102)), Box((0, 7, 100), (6, 9, 103))]
)
def test_a_cutout_is_those_voxels(ask: Ask, folder: Path, layer: str, box: Box) -> None:
    array = whole(folder / layer)[box.slices(LO)]
    answer = ask(f"/api/cutout?layer={layer}&box={box}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream")
    found = np.load(io.BytesIO(answer.body))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array if layer == "colour" else array[..., 0])
    answer = ask(f"/api/cutout?layer={layer}&box={box}&format=tiff")
    assert answer.headers["Content-Type"] == "image/tiff"
    with tifffile.TiffFile(io.BytesIO(answer.body)) as file:
        pages = np.stack([page.asarray() for page in file.pages])
    assert pages.dtype == array.dtype
    expected = array.transpose(2, 1, 0, 3)
    assert np.array_equal(pages, expected if layer == "colour" else expected[..., 0])


def test_a_cutout_of_a_coarser_level(ask: Ask, folder: Path) -> None:
    bounds = IO().volume(f"file://{folder}/seg", 1).bounds
    box = Box(bounds.lo, (bounds.lo[0] + 3, *bounds.hi[1:]))
    found = np.load(io.BytesIO(ask(f"/api/cutout?layer=seg&mip=1&box={box}").body))
    assert np.array_equal(found, whole(folder / "seg", 1)[:3, ..., 0])


def test_too_large_a_cutout_is_413_and_the_largest_is_not(ask: Ask) -> None:
    exactly, more = Box.sized(LO, (5, 3, 5)), Box.sized(LO, (4, 4, 5))
    assert exactly.voxels * 8 == LIMIT
    assert ask(f"/api/cutout?layer=seg&box={exactly}").status == 200
    assert "640 bytes, and an answer at most 600" in told(ask(f"/api/cutout?layer=seg&box={more}"), 413)["error"]
    assert ask(f"/api/cutout?layer=em&box={more}").status == 200


def test_what_there_is_can_be_asked(ask: Ask) -> None:
    found = told(ask("/api/layers"))
    assert [layer["name"] for layer in found["layers"]] == ["seg", "em", "colour", "holes", "linked"]
    seg = found["layers"][0]
    assert (seg["type"], seg["data_type"], seg["channels"], len(seg["mips"])) == ("segmentation", "uint64", 1, 2)
    assert seg["mips"][0] == {"bounds": "-5:6,7:13,100:105", "resolution": [8, 8, 30]}
    assert (found["graphs"], found["remaps"]) == (["g"], ["roots.csv", "parts"])


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("nothing", 404, "is no question; there are: layers, segment"),
        ("", 404, "is no question"),
        ("segment/", 404, "is no question"),
        ("../layers/0/info", 404, "is no question"),
        ("segment", 400, "say layer="),
        ("segment?at=1,2,3", 400, "say layer="),
        ("segment?layer=no&at=1,8,101", 404, "no layer is called 'no'; there are: seg, em"),
        ("segment?layer=5&at=1,8,101", 404, "no layer is called '5'"),
        ("segment?layer=../seg&at=1,8,101", 404, "no layer is called '../seg'"),
        ("segment?layer=file:///etc&at=1,8,101", 404, "no layer is called"),
        ("segment?layer=seg", 400, "say at="),
        ("segment?layer=seg&at=1,8", 400, "three whole numbers"),
        ("segment?layer=seg&at=1.0,8,101", 400, "three whole numbers"),
        ("segment?layer=seg&at=a,8,101", 400, "three whole numbers"),
        ("segment?layer=seg&at=1,8,%C2%B2", 400, "three whole numbers"),
        ("segment?layer=seg&at=1,8,101&at=1,8,101", 400, "asked twice"),
        ("segment?layer=seg&at=nan,8,101&units=nm", 400, "three numbers"),
        ("segment?layer=seg&at=1e999,8,101&units=nm", 400, "three numbers"),
        ("segment?layer=seg&at=1,8,101&units=um", 400, "give voxel or nm"),
        ("segment?layer=seg&at=6,8,101", 404, "voxel [6, 8, 101] is not inside seg, mip 0: -5:6"),
        ("segment?layer=seg&at=-999999999999999999,8,101", 404, "is not inside"),
        ("segment?layer=seg&at=1,8,101&mip=2", 404, "seg has mips 0 to 1, and no 2"),
        ("segment?layer=seg&at=1,8,101&mip=-1", 400, "whole number from 0"),
        ("segment?layer=seg&at=1,8,101&mip=x", 400, "whole number from 0"),
        ("segment?layer=seg&at=1,8,101&more=1", 400, "more: means nothing"),
        ("segment?layer=em&at=1,8,101", 400, "em is an image"),
        ("segment?" + "&".join(f"a{i}=1" for i in range(40)), 400, "cannot be read"),
        ("segment?layer=%ff&at=1,8,101", 400, "cannot be read"),
        ("segment?layer=holes&at=-5,7,100", 404, "is missing"),
        ("segment?layer=linked&at=-5,7,100", 403, "lies outside of its layer"),
        ("supervoxel?layer=seg&at=1,8,101", 400, "say remap="),
        (
            "supervoxel?layer=seg&at=1,8,101&remap=x",
            404,
            "no table of labels is called 'x'; there are: roots.csv, parts",
        ),
        ("cutout?layer=seg", 400, "say box="),
        ("cutout?layer=seg&box=1:2,8:9", 400, "is not a box"),
        ("cutout?layer=seg&box=2:1,8:9,101:102", 400, "a side ends before it starts"),
        ("cutout?layer=seg&box=1:1,8:9,101:102", 400, "holds no voxel"),
        ("cutout?layer=seg&box=0:7,8:9,101:102", 404, "is not inside seg"),
        ("cutout?layer=seg&box=0:1,8:9,101:102&format=png", 400, "give npy or tiff"),
        ("cutout?layer=linked&box=0:1,8:9,101:102", 403, "lies outside of its layer"),
        ("layers?x=1", 400, "x: means nothing"),
        ("partners?graph=h&segment=1", 404, "no graph is called 'h'"),
        ("partners?graph=g", 400, "say segment="),
        ("partners?graph=g&segment=-1", 400, "give a label"),
        (f"partners?graph=g&segment={1 << 64}", 400, "give a label"),
        ("partners?graph=g&segment=1&direction=up", 400, "give out or in or both"),
        ("partners?graph=g&segment=1&limit=x", 400, "whole number"),
    ],
)
def test_what_is_wrong_is_said_in_json(ask: Ask, query: str, status: int, said: str) -> None:
    assert said in told(ask(f"/api/{query}"), status)["error"]
    head = ask(f"/api/{query}", "HEAD")
    assert (head.status, head.body) == (status, b"")


def test_missing_chunks_are_background_if_so_asked(ask: Ask) -> None:
    assert told(ask("/api/segment?layer=holes&at=-5,7,100&fill_missing=1"))["segment"] == "0"


def test_partners_come_from_the_graph(folder: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra `parquet` is optional")
    rows = synaptic.table(f"file://{folder}/table")
    built(folder)
    edge = (rows["flags"] & LEFT_OUT == 0) & (rows["pre"] != rows["post"])
    hub = Counter(rows["pre"][edge].tolist()).most_common(1)[0][0]
    counts = Counter(rows["post"][edge & (rows["pre"] == hub)].tolist())
    graph = {"g": f"file://{folder}/graph"}
    with serve(folder, Answers({}, graph, {}, 1 << 20)) as server, asking(server) as ask:
        found = told(ask(f"/api/partners?segment={hub}"))
        assert (found["graph"], found["segment"], found["out_total"]) == ("g", str(hub), len(counts))
        assert {int(one["segment"]): one["count"] for one in found["out"]} == counts
        assert sorted((one["count"] for one in found["out"]), reverse=True) == [one["count"] for one in found["out"]]
        few = told(ask(f"/api/partners?graph=g&segment={hub}&direction=out&limit=2"))
        assert (few["out"], few["out_total"], "in" in few) == (found["out"][:2], len(counts), False)
        assert "5" in told(ask("/api/partners?graph=g&segment=5"), 404)["error"]


def test_answers_are_known_again_and_other_methods_are_as_elsewhere(ask: Ask) -> None:
    path = f"/api/segment?layer=seg&at={place(LO)}"
    first, head = ask(path), ask(path, "HEAD")
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", first.headers["ETag"])
    assert head.headers["Content-Length"] == str(len(first.body))
    assert ask(path, If_None_Match=first.headers["ETag"]).status == 304
    options = ask(path, "OPTIONS")
    assert (options.status, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    assert ask(path, "PUT").status == 501
    assert ask(path, Host="evil.example").status == 421
    box = Box.sized(LO, (2, 2, 2))
    whole_body = ask(f"/api/cutout?layer=seg&box={box}").body
    assert ask(f"/api/cutout?layer=seg&box={box}", Range="bytes=3-9").body == whole_body[3:10]


def test_a_server_of_no_questions_has_none(folder: Path) -> None:
    with running(folder / "seg") as server, asking(server) as ask:
        told(ask("/api/layers"), 404)


def test_many_ask_at_once(server: LayerServer, folder: Path) -> None:
    labels, wrong = whole(folder / "seg")[..., 0], []

    def look(seed: int) -> None:
        rng = np.random.default_rng(seed)
        with asking(server) as ask:
            for _ in range(25):
                index = tuple(int(n) for n in rng.integers(0, SHAPE))
                voxel = tuple(a + b for a, b in zip(index, LO, strict=True))
                found = told(ask(f"/api/segment?layer=seg&at={place(voxel)}"))  # type: ignore[arg-type]
                if found["segment"] != str(labels[index]):
                    wrong.append(voxel)

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_view_answers_of_what_it_serves(folder: Path) -> None:
    urls = [f"file://{folder}/{name}" for name in ("seg", "em")]
    with serving(urls, asked=Asked((), (f"file://{folder}/roots.csv",))) as url:
        origin = url.partition("/v/1/")[0]
        with urlopen(f"{origin}/api/supervoxel?layer=0&at={place(LO)}", timeout=10) as answer:
            found = json.loads(answer.read())
    assert (found["layer"], found["supervoxel"]) == ("seg", str(whole(folder / "seg")[0, 0, 0, 0]))
