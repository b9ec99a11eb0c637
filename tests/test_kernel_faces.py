"""Contacts of labels are those of a definition over whole arrays, for any cells; areas are those of known shapes."""

from __future__ import annotations

import math
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.geometry import Vec3, Vec3f, vec
from igneous_ng.kernels import faces
from igneous_ng.kernels.crofton import DIRECTIONS, Measure, measure
from igneous_ng.kernels.faces import Place
from tests.contact_pairs import blobs, cells, defined, nm2

Array = npt.NDArray[Any]
ODD = (16.0, 15.5, 40.25)


def rows_of(labels: Array, resolution: Vec3f, side: Vec3 | None = None) -> dict[str, Array]:
    """The rows of whole labels, of cells of ``side`` voxels, each two once."""
    shape = vec(labels.shape)
    found = []
    for start, own in cells(shape, side or shape):
        part = labels[tuple(slice(a, a + n + 1) for a, n in zip(start, own, strict=True))]
        rows = faces.found(np.asfortranarray(part), Place(start, own), measure(resolution), 1 << 20)
        assert rows is not None
        found.append(rows)
    return faces.summed(found)


def check(labels: Array, first: Vec3, resolution: Vec3f, side: Vec3) -> None:
    expected = defined(labels, first, resolution)
    rows = rows_of(labels, resolution, side)
    assert list(zip(rows["segment"].tolist(), rows["partner"].tolist(), strict=True)) == sorted(expected)
    assert rows["area"].tolist() == [expected[pair]["area"] for pair in sorted(expected)]
    both = faces.summed([faces.both_ways(rows)])
    made = faces.contacts(both, measure(resolution), first)
    pairs = {pair: one for pair, one in expected.items() if pair[0] and any(one["counts"][:3])}
    ways = sorted([*pairs, *((b, a) for a, b in pairs)])
    assert list(zip(made["segment"].tolist(), made["partner"].tolist(), strict=True)) == ways
    for number, way in enumerate(ways):
        one = pairs[min(way), max(way)]
        assert made["area"][number] == nm2(one["area"])
        assert [made[f"faces_{axis}"][number] for axis in "xyz"] == one["counts"][:3]
        assert [made[axis][number] for axis in "xyz"] == one["place"]
        assert [made[f"{end}_{axis}"][number] for end in ("lo", "hi") for axis in "xyz"] == one["lo"] + one["hi"]
    again = faces.once(both)
    order = np.lexsort((again["partner"], again["segment"]))
    assert all(np.array_equal(again[name][order], rows[name]) for name in rows)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    side=st.tuples(*[st.integers(1, 7)] * 3),
    count=st.integers(1, 30),
)
def test_any_cells_give_the_contacts_of_the_definition(seed: int, shape: Vec3, side: Vec3, count: int) -> None:
    check(blobs(shape, count, seed), (seed % 7, -5, 1000), ODD, side)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_noise_of_every_type(dtype: str) -> None:
    labels = np.random.default_rng(1).integers(0, 5, (5, 4, 6)).astype(dtype)
    check(np.asfortranarray(labels), (0, 0, 0), (4.0, 4.0, 40.0), (4, 3, 6))


def test_faces_are_those_of_cc3d() -> None:
    labels = np.asfortranarray(np.unique(blobs((30, 26, 23), 50, 3), return_inverse=True)[1].reshape(30, 26, 23) + 0)
    labels = np.asfortranarray(labels.astype(np.uint32))
    rows = rows_of(labels, (16.0, 16.0, 40.0), (16, 16, 16))
    own = (rows["segment"] > 0) & faces.touching(rows)
    area = sum(rows[f"faces_{axis}"][own] * side for axis, side in zip("xyz", (640, 640, 256), strict=True))
    pairs = zip(rows["segment"][own].tolist(), rows["partner"][own].tolist(), strict=True)
    expected = cc3d.contacts(labels, connectivity=6, surface_area=True, anisotropy=(16, 16, 40))
    assert dict(zip(pairs, np.asarray(area).tolist(), strict=True)) == pytest.approx(expected, rel=1e-5)
    assert len(expected) > 100


def contact(labels: Array, resolution: Vec3f) -> dict[str, int]:
    """The one contact of labels 1 and 2."""
    made = faces.contacts(faces.both_ways(rows_of(labels, resolution)), measure(resolution), (0, 0, 0))
    (row,) = np.flatnonzero((made["segment"] == 1) & (made["partner"] == 2))
    return {name: int(column[row]) for name, column in made.items()}


@pytest.mark.parametrize("axis", range(3))
def test_boxes_that_touch_have_the_area_of_their_side(axis: int) -> None:
    labels = np.zeros((30, 30, 30), np.uint32, order="F")
    box = [slice(4, 24), slice(6, 20), slice(3, 27)]
    for label, part in ((1, slice(2, 11)), (2, slice(11, 29))):
        box[axis] = part
        labels[tuple(box)] = label
    found = contact(labels, (16.0, 8.0, 40.0))
    sizes = [20 * 16, 14 * 8, 24 * 40]
    assert found["face_area"] == math.prod(size for a, size in enumerate(sizes) if a != axis)
    place = [14 * 16, 13 * 8, 15 * 40]
    place[axis] = 11 * (16, 8, 40)[axis]
    assert [found[name] for name in "xyz"] == place
    assert found["faces_x"] + found["faces_y"] + found["faces_z"] == found[f"faces_{'xyz'[axis]}"]


@pytest.mark.parametrize(("resolution", "error"), [((10.0, 10.0, 10.0), 0.01), ((16.0, 16.0, 40.0), 0.01),
                                                   ((4.0, 4.0, 40.0), 0.015)])  # fmt: skip
def test_a_ball_in_a_shell_has_the_area_of_its_sphere(resolution: Vec3f, error: float) -> None:
    radius = 7 * max(resolution)
    shape = [2 * math.ceil(1.3 * radius / side) + 1 for side in resolution]
    grids = np.meshgrid(
        *[(np.arange(n) - n / 2 + 0.35) * s for n, s in zip(shape, resolution, strict=True)], indexing="ij"
    )
    distance = np.sqrt(sum(grid**2 for grid in grids))
    found = contact(np.asfortranarray(np.where(distance < radius, 1, 2).astype(np.uint8)), resolution)
    assert found["area"] == pytest.approx(4 * math.pi * radius**2, rel=error)
    assert found["face_area"] > 1.45 * 4 * math.pi * radius**2


@pytest.mark.parametrize("resolution", [(10.0, 10.0, 10.0), (16.0, 16.0, 40.0), (4.0, 4.0, 40.0)])
def test_tilted_planes_are_within_the_stated_error(resolution: Vec3f) -> None:
    least, greatest = Measure(resolution).flat
    rng, seen = np.random.default_rng(2), []
    for normal in rng.normal(size=(8, 3)):
        way = normal / np.linalg.norm(normal)
        expected = sum(abs(float(np.dot(way, step := np.multiply(d, resolution)))) / math.hypot(*step) * 2 * share
                       for d, share in zip(DIRECTIONS, Measure(resolution).shares, strict=True))  # fmt: skip
        assert least - 0.002 <= expected <= greatest + 0.002
        seen.append(_ratio(way, resolution))
        assert seen[-1] == pytest.approx(expected, rel=0.02)
    assert max(seen) < greatest + 0.03
    assert min(seen) > least - 0.03


def _ratio(way: Array, resolution: Vec3f) -> float:
    """The area found of a plane, as a part of the true one; in a column that it leaves at the sides only."""
    axis = int(np.argmax(np.abs(way)))
    counts = [math.ceil(14 * max(resolution) / side) for side in resolution]
    rise = sum(abs(way[a]) * counts[a] * resolution[a] for a in range(3) if a != axis) / abs(way[axis])
    counts[axis] = math.ceil(rise / resolution[axis]) + 6
    axes = [(np.arange(n + 1) - n / 2) * s for n, s in zip(counts, resolution, strict=True)]
    high = sum(w * grid for w, grid in zip(way, np.meshgrid(*axes, indexing="ij"), strict=True))
    labels = np.asfortranarray(np.where(high < 0.3, 1, 2).astype(np.uint8))
    rows = faces.found(labels, Place((0, 0, 0), vec(counts)), measure(resolution), 10)
    assert rows is not None
    sides = [n * s for n, s in zip(counts, resolution, strict=True)]
    expected = math.prod(sides[a] for a in range(3) if a != axis) / abs(float(way[axis]))
    return int(rows["area"][0]) / 1e6 / expected


def testshares_of_cubes_are_those_of_the_literature() -> None:
    shares = Measure((7.0, 7.0, 7.0)).shares
    known = [2 * 0.04577789120476] * 3 + [2 * 0.03698062787608] * 6 + [2 * 0.03519563978232] * 4
    assert shares == pytest.approx(known, abs=2e-5)
    turned = Measure((16.0, 40.0, 16.0)).shares
    straight = Measure((16.0, 16.0, 40.0)).shares
    assert (turned[0], turned[1], turned[2]) == (straight[0], straight[2], straight[1])


def test_other_names_are_the_contacts_of_labels_so_named() -> None:
    labels = blobs((14, 13, 12), 25, 5)
    names = np.unique(labels)
    new = {int(name): int(names[k // 3]) if k else 0 for k, name in enumerate(names)}
    rows = rows_of(labels, ODD)
    became = [np.array([new[int(one)] for one in rows[name]], np.uint64) for name in ("segment", "partner")]
    renamed = np.asfortranarray(np.vectorize(new.get, otypes=[np.uint64])(labels))
    expected = rows_of(renamed, ODD)
    found = faces.named(rows, became[0], became[1])
    assert all(np.array_equal(found[name], expected[name]) for name in found)


def test_surfaces_are_towards_segments_and_towards_none() -> None:
    labels = np.zeros((12, 10, 10), np.uint8, order="F")
    labels[2:6, 2:8, 2:8], labels[6:9, 2:8, 2:8] = 1, 2
    rows = rows_of(labels, (10.0, 10.0, 10.0))
    found = faces.surfaces(faces.summed([faces.both_ways(rows)]))
    areas = {
        (int(a), int(b)): nm2(int(area))
        for a, b, area in zip(rows["segment"], rows["partner"], rows["area"], strict=True)
    }
    assert found["segment"].tolist() == [1, 2]
    assert found["contacts"].tolist() == [1, 1]
    assert found["contact_area"].tolist() == [areas[1, 2]] * 2
    assert found["background_area"].tolist() == [areas[0, 1], areas[0, 2]]


def test_touching_at_an_edge_is_no_contact() -> None:
    labels = np.zeros((2, 2, 1), np.uint8, order="F")
    labels[0, 0, 0], labels[1, 1, 0] = 1, 2
    rows = rows_of(labels, (1.0, 1.0, 1.0))
    assert ((rows["segment"] == 1) & (rows["partner"] == 2)).sum() == 1
    assert len(faces.contacts(faces.both_ways(rows), measure((1.0, 1.0, 1.0)), (0, 0, 0))["area"]) == 0


def test_more_pairs_than_allowed_are_told() -> None:
    labels = np.asfortranarray(np.arange(1, 1001, dtype=np.uint64).reshape(10, 10, 10))
    where = Place((0, 0, 0), (10, 10, 10))
    assert faces.found(labels, where, measure((1.0, 1.0, 1.0)), 1000) is None
    rows = faces.found(labels, where, measure((1.0, 1.0, 1.0)), 1 << 16)
    assert rows is not None
    assert len(rows["segment"]) == 3 * 900 + 6 * 810 + 4 * 729
