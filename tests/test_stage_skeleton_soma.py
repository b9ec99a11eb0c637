from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.errors import DataError, SpecError
from igneous_ng.forging import Bucket, Shelf
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.run import inline
from igneous_ng.somata import regions
from igneous_ng.stage import Layer
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from igneous_ng.stages.skeleton_soma import SkeletonSoma
from tests.test_forging import PLAN, files, make_layer, run
from tests.test_stage_skeleton import parts, read

Array = npt.NDArray[Any]
LO: Vec3 = (-20, 7, 3)
RESOLUTION = (100.0, 100.0, 100.0)
CELL = (16, 16, 16)
RULES: dict[str, Any] = {
    "const": 300.0,
    "soma_detection": 500.0,
    "soma_acceptance": 1000.0,
    "soma_invalidation_scale": 1.0,
}
BIG = 2**64 - 2


def cell_body() -> Array:
    """A ball of radius 12 in the middle of 80^3 voxels, four neurites that leave it, and a fibre far away."""
    x, y, z = np.ogrid[:80, :80, :80]
    labels = np.where((x - 40) ** 2 + (y - 40) ** 2 + (z - 40) ** 2 < 12**2, BIG, 0).astype(np.uint64)
    labels[:, 38:43, 38:43] = BIG
    labels[38:43, :, 38:43] = BIG
    labels[2:5, 2:5, :] = 5
    return labels


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    layer = make_layer(tmp_path, cell_body(), LO, RESOLUTION)
    inline(Downsample(layer=layer, num_mips=2, factor=(2, 2, 2)))
    return layer


def forged(layer: Layer, folder: str, seed: int = 0, **soma: Any) -> dict[str, int]:
    noted = run(SkeletonForge(layer=layer, dir=folder, cell=CELL, defer=900.0, **RULES), seed)
    run(SkeletonSoma(layer=layer, dir=folder, **soma), seed)
    return noted


@pytest.mark.long
@pytest.mark.parametrize("mip", [0, 1])
def test_a_soma_of_many_cells_has_one_centre_and_its_neurites(layer: Layer, mip: int) -> None:
    noted = forged(layer, "s", mip=mip)
    assert noted["deferred"] == 1
    run(SkeletonMerge(layer=layer, dir="s"))
    vertices, edges, radii = read(layer, BIG, "s")
    centre = (np.array(LO) + 40.5) * RESOLUTION
    degree = np.bincount(edges.ravel())
    assert parts(vertices, edges) == 1
    assert len(edges) == len(vertices) - 1
    ends = (vertices[degree == 1] - centre) / RESOLUTION
    assert len(ends) == 4
    assert sorted(np.abs(ends).argmax(axis=1).tolist()) == [0, 0, 1, 1]
    assert (np.abs(ends).max(axis=1) > 38).all()
    (body,) = np.flatnonzero(radii > 1000)
    assert np.abs(vertices[body] - centre).max() <= 100 * 2**mip
    assert radii[body] == pytest.approx(1200, abs=100 * 2**mip)
    assert degree[body] == 4
    inside = cell_body()[tuple((np.floor(vertices / RESOLUTION).astype(int) - LO).T)] == BIG
    assert inside.mean() > 0.95 if mip else inside.all()
    fibre, fibre_edges, _ = read(layer, 5, "s")
    assert len(fibre) == 80 == len(fibre_edges) + 1


def test_without_context_it_falls_to_pieces_that_look_like_no_soma(layer: Layer) -> None:
    run(SkeletonForge(layer=layer, dir="n", cell=CELL, **RULES))
    run(SkeletonMerge(layer=layer, dir="n"))
    _, edges, _ = read(layer, BIG, "n")
    assert np.count_nonzero(np.bincount(edges.ravel()) == 1) > 4


@pytest.mark.long
def test_bytes_depend_on_neither_order_nor_repetition(layer: Layer) -> None:
    made = []
    for folder, seed in (("a", 0), ("b", 1)):
        forged(layer, folder, seed)
        run(SkeletonSoma(layer=layer, dir=folder), seed + 5)
        run(SkeletonMerge(layer=layer, dir=folder), seed)
        made.append(files(Path(layer.removeprefix("file://")) / folder))
    assert made[0] == made[1]


@pytest.mark.long
def test_chosen_objects_are_traced_whole(layer: Layer) -> None:
    noted = run(SkeletonForge(layer=layer, dir="c", cell=CELL, defer_labels=(5,), **RULES))
    assert noted["deferred"] == 5
    run(SkeletonSoma(layer=layer, dir="c", mip=1))
    run(SkeletonMerge(layer=layer, dir="c"))
    vertices, edges, _ = read(layer, 5, "c")
    assert parts(vertices, edges) == 1
    assert np.ptp(vertices[:, 2]) == 79 * 100


def test_a_level_is_chosen_by_memory(layer: Layer) -> None:
    run(SkeletonForge(layer=layer, dir="m", cell=CELL, defer=900.0, **RULES))
    stage = SkeletonSoma(layer=layer, dir="m", memory=3_000_000)
    peaks = [stage.peak_bytes(unit, IO()) for unit in stage.units(IO())]
    assert 500_000 < max(peaks) < 3_000_000
    with pytest.raises(DataError, match="no level holds"):
        run(SkeletonSoma(layer=layer, dir="m", memory=50_000))


@pytest.mark.long
def test_merging_waits_for_somata(layer: Layer) -> None:
    run(SkeletonForge(layer=layer, dir="w", cell=CELL, defer=900.0, roi=Box(LO, (30, 57, 53)), **RULES))
    with pytest.raises(DataError, match=f"label {BIG} was left for `skeleton soma`"):
        run(SkeletonMerge(layer=layer, dir="w"))
    run(SkeletonSoma(layer=layer, dir="w"))
    run(SkeletonMerge(layer=layer, dir="w"))
    run(SkeletonForge(layer=layer, dir="w", cell=CELL, defer=900.0, **RULES))
    with pytest.raises(DataError, match="run `skeleton soma` again"):
        run(SkeletonMerge(layer=layer, dir="w"))
    with pytest.raises(SpecError, match="count from 0"):
        SkeletonSoma(layer=layer, mip=-1)


def test_regions_do_not_touch_and_hold_their_faces() -> None:
    import dataclasses

    plan = dataclasses.replace(PLAN, bounds=Box((-2, 0, 0), (38, 4, 4)))  # ten cells along x
    one, two = regions(plan, np.array([1, 7]))
    assert np.flatnonzero(one.inside).tolist() == [0, 1, 2]
    assert np.flatnonzero(two.inside).tolist() == [6, 7, 8]
    assert one.box == Box((-2, 0, 0), (11, 4, 4))
    assert two.box == Box((22, 0, 0), (35, 4, 4))
    points = np.array([[x, 1, 1] for x in (0, 12, 13, 23, 24, 36, 37)])
    assert one.holds(points).tolist() == [True, True, False, False, False, False, False]
    assert two.holds(points).tolist() == [False, False, False, False, True, True, False]
    assert len(regions(plan, np.array([1, 4]))) == 1  # they would touch
    assert regions(plan, np.zeros(0, np.int64)) == []


def test_joints_are_where_lines_cross_the_faces(layer: Layer) -> None:
    run(SkeletonForge(layer=layer, dir="j", cell=CELL, defer=900.0, **RULES))
    shelf = Shelf(IO(), layer, "j")
    plan = shelf.plan("skeleton")
    from igneous_ng import somata

    for number in range(plan.buckets):
        bucket = Bucket(shelf, plan, number)
        for label, rows in bucket.objects():
            cells = somata.deferred(bucket, rows)
            assert (label == BIG) == bool(len(cells))
            for region in regions(plan, cells):
                joints = np.array(list(region.joints(bucket, rows)))
                assert sorted(map(tuple, joints.tolist())) == [(0, 48, 48), (48, 0, 48)] or len(joints) in (0, 4)


@pytest.mark.long
def test_objects_of_a_table_are_traced_as_one(layer: Layer, tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    table.write_text(f'{{"5": {BIG}}}')
    run(SkeletonForge(layer=layer, dir="r", cell=CELL, defer=900.0, remap=Layer.parse(str(table)), **RULES))
    run(SkeletonSoma(layer=layer, dir="r"))
    run(SkeletonMerge(layer=layer, dir="r"))
    vertices, edges, _ = read(layer, BIG, "r")
    assert parts(vertices, edges) == 2
    assert not IO().exists(f"{layer}/r/5")
