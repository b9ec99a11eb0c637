"""Tables of synapses for tests, and scenes with synapses that are known."""

from __future__ import annotations

from itertools import product

import numpy as np

from igneous_ng.geometry import Box, Vec3, Vec3f
from igneous_ng.io import IO
from igneous_ng.synapses import AUTAPSE, COLUMNS, DUPLICATE, NO_POST, NO_PRE, Frame, Synapses, empty


def drawn(frame: Frame, count: int, neurons: int, seed: int = 0) -> dict[str, np.ndarray]:
    """So many rows at different voxels, ascending by id, between labels above 2**53; some with each flag."""
    rng = np.random.default_rng(seed)
    rows = empty(count)
    place = rng.choice(frame.bounds.voxels, count, replace=False)
    voxels = np.stack(np.unravel_index(place, frame.bounds.shape, order="F"), axis=1) + frame.bounds.lo
    ids = frame.ids(voxels)
    order = np.argsort(ids)
    labels = (1 << 60) + np.unique(rng.integers(1, 1 << 58, 2 * neurons))[:neurons].astype(np.uint64)
    chance = 1 / np.arange(1, neurons + 1)
    rows["id"], voxels = ids[order], voxels[order]
    for side in ("pre", "post"):
        rows[side] = rng.choice(labels, count, p=chance / chance.sum())
        shift = rng.integers(-3, 4, (count, 3))
        rows[f"{side}_place"] = np.rint((voxels + 0.5 + shift) * frame.resolution)
        rows[f"{side}_contact"], rows[f"{side}_score"] = rng.integers(1, 500, (2, count))
    rows["place"] = np.rint((voxels + 0.5) * frame.resolution)
    rows["lo"], rows["hi"] = voxels - 2, voxels + 3
    rows["voxels"] = rng.integers(5, 5000, count)
    for name in ("mean", "peak", "confidence", "kind_confidence"):
        rows[name] = rng.integers(0, 256, count)
    rows["kind"] = rng.integers(0, 3, count)
    rows["flags"] = rng.choice([0, 0, 0, 0, 0, NO_PRE, NO_POST, AUTAPSE, DUPLICATE], count)
    rows["pre"][(rows["flags"] & NO_PRE) > 0] = 0
    rows["post"][(rows["flags"] & NO_POST) > 0] = 0
    same = (rows["flags"] & AUTAPSE) > 0
    rows["post"][same] = rows["pre"][same]
    double = np.flatnonzero(rows["flags"] & DUPLICATE)
    rows["merged_into"][double] = rows["id"][(double + 1) % count]
    return {name: rows[name].astype(kind) for name, kind in COLUMNS.items()}


def table(url: str, count: int = 1000, neurons: int = 40, *, box: Box | None = None, block: int = 64,
          resolution: Vec3f = (8.0, 8.0, 30.0), seed: int = 0) -> dict[str, np.ndarray]:  # fmt: skip
    """Write a table of drawn rows at ``url``, and give the rows."""
    frame = Frame(box or Box((-20, 7, 100), (180, 150, 163)), resolution, block, None, 0, {"by": "a test"})
    rows, desk = drawn(frame, count, neurons, seed), Synapses(IO(), url)
    blocks = frame.blocks_of(rows["id"])
    for box in frame.grid:
        at = frame.grid.at(box)
        inside = (blocks == at).all(axis=1)
        desk.write(at, {name: column[inside] for name, column in rows.items()})
    desk.finish(frame)
    return rows


def clefts(
    evidence: np.ndarray, lo: Vec3, least: int, connectivity: int, segments: np.ndarray | None = None
) -> tuple[np.ndarray, list[dict[str, object]]]:
    """The clefts of a whole volume of ``evidence``, uint8 [x, y, z] from ``lo`` on, by their definition.

    Voxels of at least ``least`` that are neighbours, and of one segment where there are segments, are of one cleft.
    Labels, uint64 [x, y, z], and a row of each cleft, as :data:`igneous_ng.clefts.COLUMNS` says, by ascending key.
    """
    steps = [s for s in product((-1, 0, 1), repeat=3) if 1 <= np.count_nonzero(s) <= {6: 1, 18: 2, 26: 3}[connectivity]]
    frame = Frame(Box.sized(lo, evidence.shape), (1.0, 1.0, 1.0), 1, None, 0, {})
    labels, rows = np.zeros(evidence.shape, np.uint64), []
    wide, deep, _ = evidence.shape
    left = {tuple(int(n) for n in v): None for v in np.argwhere((evidence >= least).T)[:, ::-1]}  # x fastest
    while left:
        first = next(iter(left))
        found, front = [first], [first]
        del left[first]
        while front:
            at = front.pop()
            beside = (tuple(a + d for a, d in zip(at, step, strict=True)) for step in steps)
            new = [v for v in beside if v in left and (segments is None or segments[v] == segments[at])]
            for voxel in new:
                left.pop(voxel, None)
            front += new
            found += new
        voxels, values = np.array(found), [int(evidence[v]) for v in found]
        name = int(frame.ids(voxels[:1] + lo)[0])
        labels[tuple(voxels.T)] = name
        rows.append(
            {
                "id": name,
                "key": first[0] + wide * (first[1] + deep * first[2]),
                "voxels": len(found),
                "sum": sum(values),
                "peak": max(values),
                "places": voxels.sum(axis=0).tolist(),
                "lo": (voxels.min(axis=0) + lo).tolist(),
                "hi": (voxels.max(axis=0) + 1 + lo).tolist(),
            }
        )
    return labels, rows
