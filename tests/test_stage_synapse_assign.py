"""`synapse assign` against scenes whose partners are known, and against plain Python over the whole volume."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.kernels.cleft_parts import quantised
from igneous_ng.siding import proximity, shifts
from igneous_ng.stages.synapse_assign import Assign, Contacts, Join, Partners, Spread, Table
from igneous_ng.synapses import AUTAPSE, DUPLICATE, NO_POST, NO_PRE, UNORIENTED, UNSURE, Synapses
from tests import assigned, layers
from tests.assigned import FIRST, SHAPE, Scene

CELLS: tuple[Vec3, ...] = ((20, 20, 20), (41, 17, 70), SHAPE, (23, 76, 19), (31, 29, 37))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scene")


@pytest.fixture(scope="module")
def scene(folder: Path) -> Scene:
    made = assigned.scene(folder)
    assigned.image(folder / "both", np.stack([made.pre, made.post], axis=-1))
    assigned.image(folder / "pre", made.pre)
    assigned.image(folder / "post", made.post)
    signed = (made.pre > 0) * np.int8(127) - (made.post > 0) * np.int8(127)
    assigned.image(folder / "signed", signed.astype(np.int8))
    assigned.image(folder / "middle", (signed.astype(np.int16) + 128).astype(np.uint8))
    assigned.image(folder / "nm", made.vectors)
    assigned.image(folder / "voxels", (made.vectors / 8).astype(np.int8))
    return made


EVIDENCE: list[dict[str, Any]] = [
    {"sides": "channels", "evidence": "both"},
    {"sides": "channels", "evidence": "pre", "post_evidence": "post"},
    {"sides": "proximity", "evidence": "signed"},
    {"sides": "proximity", "evidence": "middle"},
    {"sides": "vectors", "evidence": "nm", "reach": 40.0},
    {"sides": "vectors", "evidence": "voxels", "vectors_in": "voxels", "reach": 32.0},
]


def named(folder: Path, fields: dict[str, Any]) -> dict[str, Any]:
    """Fields whose layers are in a folder."""
    return {key: f"{folder}/{value}" if key.endswith("evidence") else value for key, value in fields.items()}


def test_the_scene_is_what_it_must_be(scene: Scene) -> None:
    inside = np.argwhere(scene.ids > 0)
    assert len(scene.known) >= 100
    assert sum(len(posts) > 1 for _, posts in scene.known.values()) >= 5
    assert (inside.min(axis=0) == 0).all()
    assert (inside.max(axis=0) == np.array(SHAPE) - 1).all()
    assert min(pre for pre, _ in scene.known.values()) > 1 << 53
    corners = [voxels for voxels in inside if not ((voxels + 1) % 20 > 1).any()]
    assert corners


@pytest.mark.parametrize("which", range(len(EVIDENCE)))
def test_perfect_evidence_finds_all_partners_and_no_others(folder: Path, scene: Scene, which: int) -> None:
    fields = named(folder, EVIDENCE[which])
    made = assigned.assign(folder, f"perfect-{which}", radius=24.0, polyadic=0.05, **fields)
    found = {(cleft, pair) for cleft, pairs in assigned.found(made).items() for pair in pairs}
    true = {(cleft, (pre, post)) for cleft, (pre, posts) in scene.known.items() for post in posts}
    precision, recall = len(found & true) / len(found), len(found & true) / len(true)
    assert (precision, recall, len(made["id"])) == (1.0, 1.0, len(true))
    assert not (made["flags"] & ~np.uint16(UNSURE)).any()
    assert (made["confidence"] > 0).all()
    for side in ("pre", "post"):
        at = made[f"{side}_place"] // 8 - np.array(FIRST)
        assert np.array_equal(scene.labels[tuple(at.T)], made[side]), "the anchor lies in the segment"


@pytest.mark.long
def test_one_digest_whatever_the_cells_and_blocks(folder: Path, scene: Scene) -> None:
    fields = named(folder, EVIDENCE[0]) | {"radius": 40.0, "polyadic": 0.3, "merge_distance": 120.0}
    digests = {
        assigned.sha(
            assigned.assign(folder, f"cells-{number}", cell=cell, block=(32, 64, 32, 64, 128)[number], **fields)
        )
        for number, cell in enumerate(CELLS)
    }
    assert len(digests) == 1


def test_any_order_and_repetition_leave_the_same_files(folder: Path, scene: Scene) -> None:
    fields = named(folder, EVIDENCE[4]) | {"radius": 40.0, "merge_distance": 250.0, "block": 32, "cell": (31, 29, 37)}
    assigned.assign(folder, "calm", **fields)
    chain = Assign(clefts=f"{folder}/clefts", segmentation=f"{folder}/seg", table=f"{folder}/wild", **fields)
    shuffle, names = random.Random(3), []
    for step in chain.steps(IO()):
        io = IO()
        step.prepare(io)
        units = [*step.units(io)] * 2
        shuffle.shuffle(units)
        for unit in units:
            step.execute(unit, IO())
        step.finish(io)
        names.append(step.name)
    assert set(names) == {"synapse contacts", "synapse partners", "synapse merge join", "synapse table"}
    assert layers.files(folder / "wild") == layers.files(folder / "calm")


NOISE: list[tuple[dict[str, Any], tuple[float, float, float]]] = [
    ({"sides": "channels", "polyadic": 0.6, "radius": 30.0}, (8.0, 8.0, 8.0)),
    ({"sides": "channels", "radius": 81.0}, (4.0, 4.0, 40.0)),
    ({"sides": "vectors", "radius": 25.0, "reach": 30.0, "polyadic": 0.2}, (7.301, 8.0, 9.5)),
    ({"sides": "nearest", "radius": 20.0, "polyadic": 0.5}, (8.0, 8.0, 8.0)),
]


def noise(folder: Path, resolution: tuple[float, float, float], fields: dict[str, Any]) -> dict[str, Any]:
    """Clefts, segments and evidence of no sense at all: what is wanted by definition."""
    rng, shape = np.random.default_rng(5), (31, 27, 22)
    marks = np.zeros(shape, np.int64)
    for mark in range(1, 26):
        lo, size = rng.integers(0, shape), rng.integers(1, 6, 3)
        marks[tuple(slice(a, a + n) for a, n in zip(lo, size, strict=True))] = mark
    labels = rng.choice((1 << 53) + np.arange(6, dtype=np.uint64), shape) * (rng.random(shape) < 0.8)
    labels = np.asfortranarray(np.kron(labels, np.ones((5, 4, 3), np.uint64))[: shape[0], : shape[1], : shape[2]])
    ids = assigned.cleft_layer(folder / "clefts", marks, resolution=resolution)
    assigned.segments(folder / "seg", labels, resolution=resolution)
    known: dict[str, Any] = {}
    if fields["sides"] == "channels":
        weights = rng.integers(0, 256, (*shape, 2), np.uint8)
        weights[rng.random(shape) < 0.9] = 0
        assigned.image(folder / "evidence", weights, resolution=resolution)
        known = {"pre": weights[..., 0], "post": weights[..., 1]}
    elif fields["sides"] == "vectors":
        vectors = rng.normal(0, 18, (*shape, 3)).astype(np.float32)
        vectors[rng.random(shape) < 0.5] = np.nan
        assigned.image(folder / "evidence", vectors, resolution=resolution)
        most = [int(fields["reach"] / side) for side in resolution]
        steps = np.rint(vectors / np.array(resolution))
        known = {"shift": np.where((np.abs(steps) <= most).all(axis=3, keepdims=True), steps, 0).astype(int)}
    return {"near": assigned.contacts(ids, labels, fields["radius"], resolution, **known), "ids": ids}


@pytest.mark.parametrize("which", range(len(NOISE)))
@pytest.mark.parametrize("cell", [(11, 13, 7), (64, 64, 64)])
def test_noise_is_judged_as_by_definition(tmp_path: Path, which: int, cell: Vec3) -> None:
    fields, resolution = NOISE[which]
    wanted = noise(tmp_path, resolution, fields)
    nearest = fields["sides"] == "nearest"
    more: dict[str, Any] = {} if nearest else {"evidence": f"{tmp_path}/evidence"}
    made = assigned.assign(tmp_path, cell=cell, **fields, **more)
    chosen = {
        cleft: assigned.partners(near, fields.get("polyadic", 0.0), nearest) for cleft, near in wanted["near"].items()
    }
    assert assigned.found(made) == {cleft: [pair[:2] for pair in pairs] for cleft, pairs in chosen.items()}
    flat = [(pre, post, flags) for cleft in sorted(chosen) for pre, post, flags in chosen[cleft]]
    for number, (pre, post, flags) in enumerate(flat):
        own = int(made["flags"][number])
        assert bool(own & NO_PRE) == (pre == 0)
        assert bool(own & NO_POST) == (post == 0)
        assert bool(own & AUTAPSE) == ("autapse" in flags) == (pre == post != 0)
        assert bool(own & UNORIENTED) == nearest
        near = wanted["near"][int(made["id"][number]) >> 8 << 8]
        for side, label in (("pre", pre), ("post", post)):
            said = near.get(label, assigned.Said()) if label else assigned.Said()
            assert made[f"{side}_contact"][number] == said.voxels
            assert made[f"{side}_score"][number] == getattr(said, side)
    for cleft in chosen:
        voxels = np.argwhere(wanted["ids"] == cleft)
        row = np.flatnonzero(made["id"] == cleft)[0]
        centre = (voxels.mean(axis=0) + FIRST + 0.5) * resolution
        assert np.abs(made["place"][row] - centre).max() <= 0.5001
        assert made["voxels"][row] == len(voxels)


def pairs_by_definition(rows: dict[str, np.ndarray], distance: float) -> dict[int, list[int]]:
    """Rows that are one with others, by the id of each: all ids of its group, by comparing every row with every one."""
    places, flags = rows["place"].astype(int), rows["flags"].tolist()
    apart = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    ways = list(zip(rows["pre"].tolist(), rows["post"].tolist(), strict=True))
    group = list(range(len(ways)))
    for one in range(len(ways)):
        for two in range(one):
            loose = flags[one] & UNORIENTED
            equal = sorted(ways[one]) == sorted(ways[two]) if loose else ways[one] == ways[two]
            if apart[one, two] < distance**2 and equal and not (flags[one] | flags[two]) & (NO_PRE | NO_POST):
                group = [group[two] if g == group[one] else g for g in group]
    members: dict[int, list[int]] = {}
    for row, g in enumerate(group):
        members.setdefault(g, []).append(row)
    return {row: rows_ for rows_ in members.values() for row in rows_}


@pytest.mark.parametrize("sides", ["channels", "nearest"])
def test_duplicates_are_groups_of_near_rows_of_equal_partners(tmp_path: Path, sides: str) -> None:
    rng, shape = np.random.default_rng(1), (44, 26, 20)
    marks = np.zeros(shape, np.int64)
    for mark in range(1, 110):
        lo = rng.integers(0, shape)
        marks[tuple(slice(a, a + n) for a, n in zip(lo, rng.integers(1, 5, 3), strict=True))] = mark
    marks[:, 13, 10] = 500  # its middle is far from its first voxel
    labels = np.asfortranarray(1 + (np.indices(shape)[1] // 13 + 2 * (np.indices(shape)[2] // 10)).astype(np.uint32))
    assigned.cleft_layer(tmp_path / "clefts", marks)
    assigned.segments(tmp_path / "seg", labels)
    assigned.image(
        tmp_path / "ev",
        np.repeat((labels % 2 * 255).astype(np.uint8)[..., None], 2, axis=3) ^ np.array([0, 255], np.uint8),
    )
    more: dict[str, Any] = {} if sides == "nearest" else {"evidence": f"{tmp_path}/ev"}
    plain = assigned.assign(tmp_path, "plain", sides=sides, radius=60.0, block=64, **more)
    for number, (distance, block) in enumerate([(60.5, 8), (60.5, 32), (3.0, 64)]):
        made = assigned.assign(tmp_path, f"merged-{number}", sides=sides, radius=60.0, block=block,
                               merge_distance=distance, **more)  # fmt: skip
        groups = pairs_by_definition(plain, distance)
        assert distance == 3.0 or max(map(len, groups.values())) > 3
        for row, members in groups.items():
            first = min(members, key=lambda at: (-int(plain["voxels"][at]), int(plain["id"][at])))
            assert made["id"][row] == plain["id"][row]
            if row == first:
                assert (made["merged_into"][row], made["flags"][row]) == (0, plain["flags"][row])
                assert made["voxels"][row] == plain["voxels"][members].sum()
                assert np.array_equal(made["lo"][row], plain["lo"][members].min(axis=0))
                assert np.array_equal(made["hi"][row], plain["hi"][members].max(axis=0))
            else:
                assert made["merged_into"][row] == plain["id"][first]
                assert made["flags"][row] == plain["flags"][row] | DUPLICATE


def small(folder: Path, marks: np.ndarray | None = None, **more: Any) -> dict[str, Any]:
    """Two segments and a cleft between them, and fields that name the layers."""
    labels = np.ones((16, 12, 10), np.uint64, order="F")
    labels[8:] = 2
    if marks is None:
        marks = np.zeros(labels.shape, np.int64)
        marks[7:9, 4:8, 3:7] = 1
    assigned.cleft_layer(folder / "clefts", marks)
    assigned.segments(folder / "seg", labels, **more)
    return {"clefts": f"{folder}/clefts", "segmentation": f"{folder}/seg", "table": f"{folder}/table"}


def test_no_clefts_are_an_empty_table(tmp_path: Path) -> None:
    small(tmp_path, np.zeros((16, 12, 10), np.int64))
    made = assigned.assign(tmp_path, merge_distance=30.0)
    assert len(made["id"]) == 0
    done = Table(table=f"{tmp_path}/table")
    assert done.said(IO()) == "0 synapses, 0 with two partners"


def test_a_segmentation_that_covers_a_part_leaves_the_rest_without_partners(tmp_path: Path) -> None:
    small(tmp_path)
    labels = np.full((12, 12, 10), 7, np.uint32, order="F")
    labels[:4] = 9
    assigned.segments(tmp_path / "part", labels, (FIRST[0] + 4, FIRST[1], FIRST[2]))
    chain = Assign(clefts=f"{tmp_path}/clefts", segmentation=f"{tmp_path}/part", table=f"{tmp_path}/some", radius=16.0)
    for step in chain.steps(IO()):
        run.inline(step)
    made = assigned.rows(f"file://{tmp_path}/some")
    assert {made["pre"][0], made["post"][0]} == {7, 9}
    assert layers.notes(tmp_path / "some")[-1]["synapses"] == 1


def test_kinds_by_channels_and_by_density(tmp_path: Path) -> None:
    small(tmp_path)
    shape = (16, 12, 10)
    sides = np.zeros((*shape, 2), np.uint8)
    sides[:8, ..., 0], sides[8:, ..., 1] = 255, 255
    assigned.image(tmp_path / "sides", sides)
    both = np.zeros((*shape, 2), np.uint8)
    both[..., 0], both[..., 1] = 10, 30
    assigned.image(tmp_path / "kinds", both)
    dark = np.full(shape, 200, np.uint8)
    dark[8:12] = 80
    assigned.image(tmp_path / "image", dark)
    more: dict[str, Any] = {"sides": "channels", "evidence": f"{tmp_path}/sides", "radius": 24.0}
    made = assigned.assign(tmp_path, "channels", kind=f"{tmp_path}/kinds", **more)
    assert (made["kind"][0], made["kind_confidence"][0]) == (2, 191)
    made = assigned.assign(tmp_path, "thick", kind=f"{tmp_path}/image", kind_from="image", **more)
    assert made["kind"][0] == 1
    assert made["kind_confidence"][0] > 250
    assigned.image(tmp_path / "plain", np.full(shape, 200, np.uint8))
    made = assigned.assign(tmp_path, "alike", kind=f"{tmp_path}/plain", kind_from="image", **more)
    assert (made["kind"][0], made["kind_confidence"][0]) == (2, round(255 / (1 + np.exp(-8 / 6))))
    assert assigned.assign(tmp_path, "none", **more)["kind"][0] == 0


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    fields = small(tmp_path)
    grey = assigned.image(tmp_path / "grey", np.zeros((16, 12, 10), np.uint8))
    assigned.segments(tmp_path / "coarse", np.ones((8, 6, 5), np.uint32), resolution=(16.0, 16.0, 16.0))
    assigned.segments(tmp_path / "away", np.ones((8, 6, 5), np.uint32), (900, 0, 0))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"clefts": f"{tmp_path}/seg"}, "not made by `synapse detect`.*run `synapse detect` on"),
        ({"segmentation": f"{tmp_path}/coarse"}, "voxels of 16 x 16 x 16 nm, and the clefts are of 8 x 8 x 8 nm"),
        ({"segmentation": f"{tmp_path}/away"}, "no voxel in common"),
        ({"segmentation": str(grey)}, "1 channel.s. of uint8; give a segmentation"),
        ({"sides": "channels", "evidence": str(grey)}, "has 1 channel.s., and sides are two"),
        ({"sides": "vectors", "evidence": str(grey)}, "holds uint8, and as vectors it must be of int8, int16, float32"),
        ({"sides": "proximity"}, "sides by proximity and no layer as --evidence"),
        ({"evidence": str(grey)}, "sides by nearest and"),
        ({"post_evidence": str(grey)}, "--post-evidence is of --sides channels"),
        ({"kind": str(grey)}, "has 1 channel.s., and channels are 2"),
        ({"radius": 0.0}, "0 nm; give a positive number"),
        ({"table": f"{tmp_path}/seg"}, "is a layer that is read"),
    ]
    for other, said in wrong:
        with pytest.raises(SpecError, match=said):
            run.inline(Contacts(**{**fields, **other}))
    asked: list[tuple[dict[str, Any], str]] = [
        ({"block": 48}, "power of two"),
        ({"polyadic": 0.12345}, "at most three decimals"),
        ({"polyadic": 1.5}, "0 to 1"),
        ({"merge_distance": -1.0}, "0 or a positive"),
        ({"kind_curve": (0.0, 0.0)}, "a width of 0"),
    ]
    for other, said in asked:
        with pytest.raises(SpecError, match=said):
            Assign(**{**fields, **other})
    assert not (tmp_path / "table").exists()


def test_phases_out_of_order_and_other_requests_are_refused(tmp_path: Path) -> None:
    fields = small(tmp_path)
    table = fields["table"]
    with pytest.raises(DataError, match="no plan.json; run `synapse contacts"):
        run.inline(Partners(table=table))
    Contacts(**fields).prepare(IO())
    with pytest.raises(DataError, match="`synapse contacts .*` has not finished"):
        run.inline(Partners(table=table))
    run.inline(Contacts(**fields))
    with pytest.raises(SpecError, match="radius 80.0 there, 40.0 asked for"):
        run.inline(Contacts(**fields, radius=40.0))
    with pytest.raises(SpecError, match="merge distance of 100 nm, and blocks of 8 voxels are 64 nm"):
        run.inline(Partners(table=table, block=8, merge_distance=100.0))
    run.inline(Partners(table=table, block=8, merge_distance=60.0))
    with pytest.raises(SpecError, match="polyadic 0 there, 500 asked for"):
        run.inline(Partners(table=table, block=8, merge_distance=60.0, polyadic=0.5))
    with pytest.raises(DataError, match="`synapse merge join .* --level 1` has not finished"):
        run.inline(Table(table=table))
    run.inline(Join(layer=table))
    with pytest.raises(SpecError, match="no level at all"):
        run.inline(Spread(layer=table))
    run.inline(Table(table=table))
    assert Synapses(IO(), table).frame.made["radius"] == 80.0
    (tmp_path / "clefts/synapse/clefts.json").unlink()
    with pytest.raises(DataError, match="clefts are not all found"):
        run.inline(Contacts(**{**fields, "table": f"{tmp_path}/again"}))


def test_evidence_is_quantised_voxel_by_voxel() -> None:
    pre, post = proximity(np.array([-128, -127, -1, 0, 1, 64, 127], np.int8))
    assert pre.tolist() == [0, 0, 0, 0, 2, 129, 255]
    assert post.tolist() == [255, 255, 2, 0, 0, 0, 0]
    pre, post = proximity(np.array([0, 1, 127, 128, 129, 255], np.uint8))
    assert (pre.tolist(), post.tolist()) == ([0, 0, 0, 0, 2, 255], [255, 255, 2, 0, 0, 0])
    pre, post = proximity(np.array([-32768, -129, 0, 32767], np.int16))
    assert (pre.tolist(), post.tolist()) == ([0, 0, 0, 255], [255, 1, 0, 0])
    pre, post = proximity(np.array([-2, -1, 0, 0.5, np.nan], np.float32))
    assert (pre.tolist(), post.tolist()) == (
        quantised(np.array([0, 0, 0, 0.5, 0], np.float32)).tolist(),
        [255, 255, 0, 0, 0],
    )
    vectors = np.array([[16.0, -3.9, 0.0], [17.0, 0, 0], [100, 0, 0], [np.nan, 0, 0]], np.float32)
    found = shifts(vectors.reshape(4, 1, 1, 3), (8.0, 8.0, 40.0), (2, 2, 2))
    assert [array.ravel().tolist() for array in found] == [[2, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
