"""Contacts against every voxel compared with every voxel of each object."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.kernels.contacts import Evidence, Labels, Radius, centroids, contacts, evidence, nanometres, summed
from igneous_ng.siding import around
from tests import assigned

LO: Vec3 = (-3, 5, 70)
sides = st.tuples(*[st.integers(1, 9)] * 3)
resolutions = st.sampled_from([(8.0, 8.0, 8.0), (4.0, 4.0, 40.0), (3.58, 7.301, 12.5)])


def by_cells(ids: np.ndarray, labels: np.ndarray, cell: Vec3, radius: Radius, known: list[np.ndarray],
             shift: np.ndarray | None, shape: Vec3) -> dict[str, np.ndarray]:  # fmt: skip
    """Contacts found cell by cell and summed."""
    whole, found = Box.sized(LO, shape), []
    for z in range(0, shape[2], cell[2]):
        for y in range(0, shape[1], cell[1]):
            for x in range(0, shape[0], cell[0]):
                box = Box.sized(vec(np.add(LO, (x, y, z))), cell) & whole
                wide = around(box, radius.margin, whole)
                far = box.grow((3, 3, 3), (3, 3, 3))
                padded = np.pad(labels, 3)[far.slices(vec(np.subtract(LO, 3)))]
                own = box.slices(LO)
                leads = [] if shift is None else [np.asfortranarray(shift[own][..., axis]) for axis in range(3)]
                said = Evidence([weights[own] for weights in known], leads)
                some = contacts(Labels(wide, ids[wide.slices(LO)]), Labels(far, padded), box, whole, said, radius)
                found.append(evidence(some, shift is None))
    return summed(found)


@settings(max_examples=80)
@given(st.data())
def test_cells_of_any_shape_sum_to_what_single_voxels_say(data: st.DataObject) -> None:
    shape, cell, resolution = data.draw(sides), data.draw(sides), data.draw(resolutions)
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    ids = (rng.integers(0, 3, shape) * (rng.random(shape) < 0.3) + (1 << 62)).astype(np.uint64)
    ids[ids == 1 << 62] = 0
    labels = rng.integers(0, 4, shape).astype(data.draw(st.sampled_from(["uint32", "uint64"])))
    if labels.dtype == np.uint64:
        labels[labels > 0] += np.uint64(1 << 63)
    radius = Radius(data.draw(st.sampled_from([3.58, 8.0, 13.7, 40.0, 100.0])), resolution)
    shift = None
    weights = list(np.moveaxis(rng.integers(0, 256, (*shape, 4), np.uint8), 3, 0))
    if data.draw(st.booleans()):
        shift = rng.integers(-3, 4, (*shape, 3)).astype(np.int16)
        weights = weights[2:]
    found = by_cells(ids, labels, cell, radius, weights, shift, shape)
    pre, post = (None, None) if shift is not None else weights[:2]
    kinds = np.stack(weights[-2:], axis=-1)
    known = assigned.contacts(ids, labels, radius.nm, resolution, pre, post, shift, kinds)
    expected = [
        (cleft, label, said.voxels, said.pre, said.post, *said.kinds)
        for cleft, near in sorted(known.items())
        for label, said in sorted(near.items())
    ]
    names = ("object", "segment", "voxels", "pre", "post")
    kept = [*(found[name].tolist() for name in names), *found["kinds"].T.tolist()]
    assert list(zip(*kept, strict=True)) == expected
    nearest = [said.nearest for _, near in sorted(known.items()) for label, said in sorted(near.items()) if label]
    inside = found["segment"] > 0
    assert list(zip(found["distance"][inside].tolist(), found["place"][inside].tolist(), strict=True)) == nearest


def test_centroids_and_places_are_whole_nanometres_halves_upwards() -> None:
    assert nanometres(np.array([[0, 1, -1]]), (3.0, 8.0, 3.0)).tolist() == [[2, 12, -1]]
    places = np.array([[1 << 60, 0, 3]])
    found = centroids(places, np.array([1 << 40]), (-5, 0, 0), (4.0, 8.0, 40.0))
    assert found.tolist() == [[4 * ((1 << 20) - 5) + 2, 4, 20]]


def test_a_radius_reaches_as_many_voxels_as_it_holds() -> None:
    assert Radius(80.0, (8.0, 4.0, 40.0)).margin == (10, 20, 2)
    assert Radius(79.999, (8.0, 4.0, 40.0)).margin == (9, 19, 1)
