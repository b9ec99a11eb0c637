"""Partners of clefts by definition: plain Python over a whole volume, and scenes whose partners are known."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import run
from igneous_ng.clefts import Clefts, Plan, rows_of
from igneous_ng.geometry import Box, Vec3, Vec3f, vec
from igneous_ng.io import IO
from igneous_ng.stages.synapse_assign import Assign
from igneous_ng.synapses import COLUMNS, Synapses, empty
from tests import layers

Array = npt.NDArray[Any]
FIRST: Vec3 = (-7, 12, 1003)
RESOLUTION: Vec3f = (8.0, 8.0, 8.0)


def cleft_layer(path: Path, labels: Array, lo: Vec3 = FIRST, resolution: Vec3f = RESOLUTION,
                cell: Vec3 = (16, 16, 16)) -> Array:  # fmt: skip
    """A layer of clefts, as `synapse detect` leaves it, of which each label is one; gives the ids [x, y, z]."""
    bounds = Box.sized(lo, vec(labels.shape))
    url, io = f"file://{path}", IO()
    plan = Plan(evidence="file:///e", mip=0, channels=(0,), least=128, bounds=bounds, resolution=resolution,
                chunk=(8, 8, 8), cell=cell, connectivity=26, split_by=None, split_mip=0, fill_missing=False,
                mask={"mask": None})  # fmt: skip
    voxels = np.argwhere(labels.T > 0)[:, ::-1]  # by place, x fastest
    _, first, which = np.unique(labels[tuple(voxels.T)], return_index=True, return_inverse=True)
    keys = np.ravel_multi_index(tuple(voxels[first].T), labels.shape, order="F").astype(np.uint64)
    count = np.bincount(which, minlength=len(first))
    payload = np.zeros((len(first), 12), np.int64)
    payload[:, 6:9] = 2**62
    payload[:, 0], payload[:, 1], payload[:, 2] = count, count * 200, 255
    for axis in range(3):
        np.add.at(payload[:, 3 + axis], which, voxels[:, axis])
        np.minimum.at(payload[:, 6 + axis], which, voxels[:, axis])
        np.maximum.at(payload[:, 9 + axis], which, voxels[:, axis] + 1)
    ids = np.zeros(labels.shape, np.uint64, order="F")
    ids[tuple(voxels.T)] = plan.ids(keys)[which]
    order = np.argsort(keys)
    rows = rows_of(plan, keys[order], payload[order])
    known, first_voxels = Clefts(io, url), plan.voxels(rows["key"])
    layers.create(path, ids[..., None], lo, (12, 12, 12), kind="segmentation", resolution=resolution)
    io.put_json(f"{url}/synapse/plan.json", plan.to_json())
    for box in plan.grid:
        inside = ((first_voxels >= box.lo) & (first_voxels < box.hi)).all(axis=1)
        known.write(plan.at(box), {name: column[inside] for name, column in rows.items()})
    io.put_json(f"{url}/synapse/clefts.json", {})
    return ids


def segments(path: Path, labels: Array, lo: Vec3 = FIRST, **more: Any) -> Path:
    """A segmentation."""
    fields: dict[str, Any] = {"kind": "segmentation", "resolution": RESOLUTION, "chunk": (12, 12, 12), **more}
    return layers.create(path, labels[..., None], lo, **fields)


def image(path: Path, array: Array, lo: Vec3 = FIRST, resolution: Vec3f = RESOLUTION) -> Path:
    """An image, [x, y, z] or [x, y, z, channel]."""
    return layers.create(path, array if array.ndim == 4 else array[..., None], lo, (12, 12, 12), resolution=resolution)


@dataclass
class Said:
    """What is known of one segment near one cleft."""

    voxels: int = 0
    pre: int = 0
    post: int = 0
    kinds: list[int] = field(default_factory=lambda: [0, 0])
    nearest: tuple[int, int] = (2**63 - 1, 2**64 - 1)

    def seen(self, far: int, place: int) -> None:
        self.nearest = min(self.nearest, (far, place))


def contacts(ids: Array, labels: Array, radius: float, resolution: Vec3f, pre: Array | None = None,
             post: Array | None = None, shift: Array | None = None,
             kinds: Array | None = None) -> dict[int, dict[int, Said]]:  # fmt: skip
    """For each cleft and label what the voxels within the radius say, one voxel after the other."""
    pitch = [round(Fraction(repr(side)) * 1000) for side in resolution]
    limit = round(Fraction(repr(radius)) * 1000) ** 2
    every = np.stack(np.unravel_index(np.arange(ids.size), ids.shape, order="F"), axis=1)
    found: dict[int, dict[int, Said]] = {}
    for cleft in np.unique(ids[ids > 0]).tolist():
        near: dict[int, Said] = defaultdict(Said)
        own = np.argwhere(ids == cleft)
        far = np.full(ids.size, 2**62)
        for voxel in own:
            far = np.minimum(far, (((every - voxel) * pitch) ** 2).sum(axis=1))
        for place in np.flatnonzero(far <= limit).tolist():
            at = tuple(every[place].tolist())
            said = near[int(labels[at])]
            said.voxels += 1
            said.seen(int(far[place]), place)
            said.pre += int(pre[at]) if pre is not None else 0
            said.post += int(post[at]) if post is not None else 0
            if kinds is not None:
                said.kinds = [a + int(b) for a, b in zip(said.kinds, kinds[at], strict=False)]
            if shift is not None and shift[at].any():
                there = tuple((np.array(at) + shift[at]).tolist())
                if all(-64 <= n < side + 64 for n, side in zip(there, ids.shape, strict=True)):
                    inside = all(0 <= n < side for n, side in zip(there, ids.shape, strict=True))
                    said.post += 255
                    other = near[int(labels[there]) if inside else 0]
                    other.pre += 255
                    other.seen(
                        2**63 - 1, int(np.ravel_multi_index(there, ids.shape, order="F")) if inside else 2**64 - 1
                    )
        found[cleft] = dict(near)
    return found


def partners(near: dict[int, Said], polyadic: float = 0.0, nearest: bool = False) -> list[tuple[int, int, set[str]]]:
    """Pre, post and flags, by the rules of `docs/design/027`, as if read aloud."""
    names = [label for label in near if label]
    if nearest:
        order = sorted(names, key=lambda label: (-near[label].voxels, label))
        order = [label for label in order if near[label].voxels]
        posts = [one for one in order[1:] if polyadic and near[one].voxels >= polyadic * near[order[1]].voxels]
        posts = posts or order[1:2]
        return [(order[0], post, {"unoriented"}) for post in posts] or [(order[0] if order else 0, 0, {"unoriented"})]
    most = {side: max(getattr(said, side) for said in near.values()) for side in ("pre", "post")}
    ranked = {
        side: sorted(
            (label for label in names if 0 < getattr(near[label], side) >= most[side] / 4),
            key=lambda label: (-getattr(near[label], side), -near[label].voxels, label),
        )
        for side in ("pre", "post")
    }
    pre = ranked["pre"][0] if ranked["pre"] else 0
    posts = [label for label in ranked["post"] if label != pre]
    flags: set[str] = set()
    if pre and not posts and ranked["post"]:
        said = near[pre]
        if len(ranked["pre"]) > 1:
            pre, posts = ranked["pre"][1], ranked["post"]
        elif said.pre <= 4 * said.post and said.post <= 4 * said.pre:
            posts, flags = [pre], {"autapse"}
        elif said.pre < said.post:
            pre, posts = 0, [pre]
    kept = [post for post in posts if polyadic and near[post].post >= polyadic * near[posts[0]].post] or posts[:1]
    return [(pre, post, flags) for post in kept] or [(pre, 0, flags)]


def assign(folder: Path, table: str = "table", **fields: Any) -> dict[str, Array]:
    """The table that `synapse assign` makes of the layers ``clefts`` and ``seg`` in a folder."""
    given = {"block": 32, "cell": (20, 20, 20), **fields}
    chain = Assign(clefts=f"{folder}/clefts", segmentation=f"{folder}/seg", table=f"{folder}/{table}", **given)
    for step in chain.steps(IO()):
        run.inline(step)
    return rows(f"file://{folder}/{table}")


def rows(url: str) -> dict[str, Array]:
    """All rows of a table, by ascending id."""
    known = Synapses(IO(), url)
    parts = [empty(), *(known.rows(at) for at in known.blocks())]
    return {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}


def sha(rows: dict[str, Array]) -> str:
    """One digest of all columns."""
    return hashlib.sha256(b"".join(rows[name].tobytes() for name in COLUMNS)).hexdigest()


def found(rows: dict[str, Array]) -> dict[int, list[tuple[int, int]]]:
    """Partners by cleft, in the order of rows."""
    by_cleft: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for one, pre, post in zip(rows["id"].tolist(), rows["pre"].tolist(), rows["post"].tolist(), strict=True):
        by_cleft[one >> 8 << 8].append((pre, post))
    return dict(by_cleft)


@dataclass(frozen=True)
class Scene:
    """A volume whose synapses are known: clefts between boxes of segments, and what perfect evidence would be.

    ``known`` has, by the id of the cleft, the presynaptic segment and all postsynaptic ones.
    """

    ids: Array
    labels: Array
    pre: Array
    post: Array
    vectors: Array
    known: dict[int, tuple[int, set[int]]]


SHAPE: Vec3 = (84, 76, 70)
_SIDE, _HALF, _APART = 12, 2, 7  # of boxes of segments; of clefts across them; the least between clefts


def scene(folder: Path, seed: int = 0, resolution: Vec3f = RESOLUTION, tries: int = 4000) -> Scene:
    """The scene, and its layers ``clefts`` and ``seg``."""
    rng = np.random.default_rng(seed)
    boxes = np.indices(SHAPE).transpose(1, 2, 3, 0) // _SIDE
    names = (1 << 60) + rng.choice(1 << 57, 1 << 12, replace=False)
    which = boxes @ np.array([1, 16, 256])
    which[(boxes.sum(axis=3) % 3 == 0) & (np.indices(SHAPE)[1] % _SIDE >= _SIDE // 2)] += 2048  # cut in two
    labels = np.asfortranarray(names[which].astype(np.uint64))
    marks, taken = np.zeros(SHAPE, np.int64), np.zeros(SHAPE, bool)
    pre, post = (np.zeros(SHAPE, np.uint8, order="F") for _ in range(2))
    vectors = np.zeros((*SHAPE, 3), np.float32, order="F")
    made: list[tuple[int, set[int]]] = []
    for axis, (lo, hi) in _plates(rng, tries):
        if taken[_grown(lo, hi, _APART)].any():
            continue
        first = lo[axis] if rng.random() < 0.5 else lo[axis] + 1
        before, after = (labels[_layer(lo, hi, axis, at)] for at in (first, 2 * lo[axis] + 1 - first))
        if len(np.unique(before)) > 1:
            continue
        wide = _grown(lo, hi, 3)
        taken[wide] = True
        marks[_grown(lo, hi, 0)] = len(made) + 1
        own, others = labels[wide] == before.flat[0], np.isin(labels[wide], after)
        pre[wide][own], post[wide][others] = 255, 255
        vectors[wide][others, axis] = (lo[axis] + 1 - first - (first - lo[axis])) * -4 * resolution[axis]
        made.append((int(before.flat[0]), set(after.ravel().tolist())))
    ids = cleft_layer(folder / "clefts", marks, resolution=resolution)
    segments(folder / "seg", labels, resolution=resolution)
    known = {int(ids[marks == mark][0]): one for mark, one in enumerate(made, 1)}
    return Scene(ids, labels, pre, post, vectors, known)


def _plates(rng: np.random.Generator, tries: int) -> list[tuple[int, tuple[Array, Array]]]:
    """Boxes of two voxels across an axis, at either side of a face of segments: some at each face of the volume."""
    found = []
    for turn in range(tries):
        axis = turn % 3
        middle = rng.integers(0, SHAPE)
        if turn < 60:
            side = (axis + 1 + turn // 3 % 2) % 3
            middle[side] = (0, SHAPE[side] - 1)[turn // 6 % 2]
        middle[axis] = rng.integers(1, SHAPE[axis] // _SIDE + 1) * _SIDE
        lo, hi = np.maximum(middle - _HALF, 0), np.minimum(middle + _HALF, SHAPE)
        lo[axis], hi[axis] = middle[axis] - 1, middle[axis] + 1
        if hi[axis] <= SHAPE[axis]:
            found.append((axis, (lo, hi)))
    return found


def _grown(lo: Array, hi: Array, by: int) -> tuple[slice, ...]:
    return tuple(slice(max(0, a - by), b + by) for a, b in zip(lo.tolist(), hi.tolist(), strict=True))


def _layer(lo: Array, hi: Array, axis: int, at: int) -> tuple[slice, ...]:
    """The voxels of a plate at one side of its face."""
    sides = [slice(a, b) for a, b in zip(lo.tolist(), hi.tolist(), strict=True)]
    sides[axis] = slice(at, at + 1)
    return tuple(sides)
