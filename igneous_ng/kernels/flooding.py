"""Objects grown one after the other from seeds, by a model that looks at one field of view at a time.

The way of flood-filling networks (Januszewski et al. 2018, "High-precision automated reconstruction of neurons with
flood-filling networks"): a model sees grey values and what is known of one object, and says more of that object; the
field of view moves to where the object leaves it, and the voxels of an object that is finished are nobody else's.

All is done in one fixed order, one field of view at a time, so the same input gives the same labels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, log
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from igneous_ng.geometry import Box, Vec3, Vec3f, vec
from igneous_ng.kernels import components

Array = npt.NDArray[Any]
Step = Callable[[Array, Array], Array]
"""Of grey values and logits of a field of view [x, y, z], float32, the logits as they are then."""
_NOTHING, _SEED = 0.05, 0.95  # how surely voxels are of an object of which nothing is known but its seed
_COARSE = 49 / 6  # voxels over which gradients are compared with what is usual
_FINE = 16  # parts of a voxel that distances are counted in
_FAR = 1 << 20  # of these, the most


def logit(part: float) -> float:
    """What a model says of a voxel that is of the object with this probability."""
    return log(part / (1 - part)) if part < 1 else inf


@dataclass(frozen=True)
class Rules:
    """How objects grow.

    A ``field`` of view of odd sides; from its middle it moves by ``deltas`` where voxels are of the object at least by
    the logit ``move``; those of the logit ``claim`` become the object's. Objects of fewer than ``min_size`` voxels are
    no objects, but for those that reach one of the ``cut`` faces (x-, x+, y-, y+, z-, z+), beyond which they go on.
    """

    field: Vec3
    deltas: Vec3
    move: float
    claim: float
    min_size: int
    cut: tuple[bool, ...]

    @property
    def radius(self) -> Vec3:
        """Voxels at each side of the middle of a field."""
        return vec(n // 2 for n in self.field)


def edges(grey: Array) -> Array:
    """Where gradients are steeper than is usual around: bool [x, y, z]."""
    steep = ndimage.generic_gradient_magnitude(grey, ndimage.sobel)
    return np.asarray(steep > ndimage.gaussian_filter(steep, _COARSE))


def seeds(edge: Array, resolution: Vec3f) -> Array:
    """The voxels [n, 3] that are farther from edges than all their neighbours, the farthest first.

    ``edge`` is bool [x, y, z]. Voxels as far as others count by their place, x fastest: so each connected region that
    is no edge has one. None where there are no edges.
    """
    from igneous_ng.native import edt

    if not edge.any():
        return np.zeros((0, 3), np.int64)
    unit = min(resolution)
    inside = np.asfortranarray(~edge).astype(np.uint32, order="F")
    x, y, z = (float(r / unit) for r in resolution)
    far = edt.distances(inside, (x, y, z), False)
    steps = np.minimum(np.rint(far * np.float32(_FINE)), _FAR).astype(np.int64)
    place = np.arange(edge.size, dtype=np.int64).reshape(edge.shape, order="F")
    order = np.where(steps > 0, steps * edge.size + (edge.size - 1 - place), -1)
    best = np.flatnonzero(((order >= 0) & (order == ndimage.maximum_filter(order, 3))).ravel(order="F"))
    ranked = best[np.argsort(-order.ravel(order="F")[best], kind="stable")]
    return np.stack(np.unravel_index(ranked, edge.shape, order="F"), axis=1)


def flood(grey: Array, free: Array, starts: Array, step: Step, rules: Rules) -> tuple[Array, int]:
    """The objects that grow from ``starts``, in their order, and how often the model was asked.

    ``grey`` is float32 [x, y, z], larger than ``free`` by a radius at each side; ``free`` is bool, where objects may
    be. Labels are uint32 as ``free``, 1, 2, 3 ... in the order in which objects were found, 0 being none.
    """
    canvas = _Canvas(grey, free, step, rules)
    labels = np.zeros(free.shape, np.uint32, order="F")
    count = 0
    for start in map(vec, starts.tolist()):
        if not canvas.free[start]:
            continue
        box, mask = canvas.grown(start)
        if mask.any() and (np.count_nonzero(mask) >= rules.min_size or _reaches(mask, box, free.shape, rules.cut)):
            count += 1
            labels[box.slices()][mask] = count
            canvas.free[box.slices()][mask] = False
    return labels, canvas.steps


def consensus(one: Array, other: Array, rules: Rules) -> Array:
    """Objects on which two labellings agree: connected voxels that are one object in either, uint32 from 1.

    What one of them splits is split (Januszewski et al. 2018); small parts are dropped as objects are.
    """
    both = one.astype(np.uint64) << np.uint64(32) | other
    both[(one == 0) | (other == 0)] = 0
    found = components.painted(both, 26)
    sizes = np.bincount(found.ravel(order="K"))
    kept = sizes >= rules.min_size
    for axis, side in components.FACES:
        if rules.cut[2 * axis + (side > 0)]:
            kept[np.unique(components.face(found, axis, side))] = True
    kept[0] = False
    names = np.where(kept, np.cumsum(kept), 0).astype(np.uint32)
    return np.asfortranarray(names[found])


def agreeing(one: Array, other: Array) -> Array:
    """The pairs of labels [n, 2] that are one object in two labellings of the same voxels, ascending, each once.

    The connected parts of labels are compared, for what leaves the block and comes back may be two in one labelling and
    one in the other. Two parts agree if more than half of the voxels of either are the other's: so each has at most one
    other, and which is first does not matter.
    """
    (a, first_a), (b, first_b) = _parts(one), _parts(other)
    met = (a > 0) & (b > 0)
    pairs, counts = np.unique(a[met].astype(np.uint64) << np.uint64(32) | b[met], return_counts=True)
    i, j = (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
    same = (2 * counts > np.bincount(a)[i]) & (2 * counts > np.bincount(b)[j])
    found = np.stack([_at(one, first_a[i[same] - 1]), _at(other, first_b[j[same] - 1])], axis=1)
    return np.unique(found.astype(np.int64), axis=0)


def runs(labels: Array) -> tuple[Array, Array]:
    """Lengths and labels of the runs of equal labels, x fastest."""
    flat = labels.ravel(order="F")
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    return np.diff(np.append(starts, len(flat))).astype(np.uint32), flat[starts]


def firsts(labels: Array) -> tuple[Array, Array, Array]:
    """The labels of a block but 0, ascending; of each the linear index of the first voxel, x fastest, and the size."""
    flat = labels.ravel(order="F")
    sizes = np.bincount(flat)
    first = np.zeros(len(sizes), np.int64)
    first[flat[::-1]] = np.arange(len(flat) - 1, -1, -1)  # of several the last is kept: the first voxel
    there = np.flatnonzero(sizes)
    there = there[there > 0]
    return there, first[there], sizes[there].astype(np.int64)


class _Canvas:
    """What is known of one object, and where others are not."""

    def __init__(self, grey: Array, free: Array, step: Step, rules: Rules) -> None:
        self.grey, self.free, self.steps = grey, free.copy(order="F"), 0
        self._step, self._rules = step, rules
        self._faces = [_Face.of(rules, axis, side) for axis, side in components.FACES]
        self._nothing = np.float32(logit(_NOTHING))
        self._logits = np.full(grey.shape, self._nothing, np.float32, order="F")

    def grown(self, start: Vec3) -> tuple[Box, Array]:
        """The object of a seed: a box of voxels of ``free``, and which of them are the object's.

        Those are connected with the seed within ``free``: what the model saw to be joined beyond it is joined there.
        """
        rules, logits = self._rules, self._logits
        seed = Box.sized(start, (1, 1, 1)).grow((1, 1, 1), (1, 1, 1))  # a network learns to begin with 27 voxels sooner
        logits[seed.shift(rules.radius).slices()] = logit(_SEED)
        whole = Box((0, 0, 0), vec(self.free.shape))
        seen = Box(start, start)
        for at in self._walk(start):
            seen |= Box.sized(at, rules.field)
        known = seen.shift(vec(-r for r in rules.radius)) & whole  # fields begin a radius before their middles
        mask = logits[known.shift(rules.radius).slices()] >= rules.claim
        mask = _holding(mask & self.free[known.slices()], vec(a - o for a, o in zip(start, known.lo, strict=True)))
        logits[(seen | Box.sized(start, rules.field)).slices()] = self._nothing
        return known, mask

    def _walk(self, start: Vec3) -> Iterator[Vec3]:
        """Move the field of view through an object: the middles of the fields, in order."""
        rules = self._rules
        queue, met = deque([start]), {(0, 0, 0)}
        while queue:
            at = queue.popleft()
            window = Box.sized(at, rules.field).slices()
            middle = self._logits[window][rules.radius]
            if (at != start and middle < rules.move) or not self.free[at]:
                continue
            self.steps += 1
            found = self._step(self.grey[window], self._logits[window])
            self._logits[window] = found
            yield at
            for there in self._ways(found, at):
                cell = vec((t - s + d // 2) // d for t, s, d in zip(there, start, rules.deltas, strict=True))
                if cell not in met:
                    met.add(cell)
                    queue.append(there)

    def _ways(self, logits: Array, at: Vec3) -> list[Vec3]:
        """Where to go on: the surest voxel of each face of the box of deltas around the middle, the surest first."""
        found = []
        for number, face in enumerate(self._faces):
            values = logits[face.box.slices()].ravel(order="F")[face.order]
            best = int(values.argmax())
            there = vec(a + o for a, o in zip(at, face.offsets[best].tolist(), strict=True))
            inside = all(0 <= t < n for t, n in zip(there, self.free.shape, strict=True))
            if values[best] >= self._rules.move and inside and self.free[there]:
                found.append((-float(values[best]), number, there))
        return [there for _, _, there in sorted(found)]


@dataclass(frozen=True)
class _Face:
    """A face of the box of deltas: where it is in a field of view, and its voxels, those near its middle first.

    ``order`` are linear indices in the box, x fastest; ``offsets`` the places from the middle of the field, in order.
    """

    box: Box
    order: Array
    offsets: Array

    @classmethod
    def of(cls, rules: Rules, axis: int, side: int) -> _Face:
        """The face on one side."""
        lo, hi = [-d for d in rules.deltas], [d + 1 for d in rules.deltas]
        lo[axis] = side * rules.deltas[axis]
        hi[axis] = lo[axis] + 1
        box = Box(vec(lo), vec(hi))
        places = np.indices(box.shape).reshape(3, -1, order="F").T + np.array(lo)
        order = np.argsort((places**2).sum(axis=1), kind="stable")
        return cls(box.shift(rules.radius), order, places[order])


def _holding(mask: Array, at: Vec3) -> Array:
    """The connected part of ``mask`` that holds a voxel; nothing where that is not in it."""
    if not mask.size or not mask[at]:
        return np.zeros_like(mask)
    parts = components.painted(mask.view(np.uint8), 26)
    return np.asarray(parts == parts[at])


def _reaches(mask: Array, box: Box, shape: tuple[int, ...], cut: tuple[bool, ...]) -> bool:
    """Whether an object goes on beyond the block."""
    for number, (axis, side) in enumerate(components.FACES):
        outermost = box.lo[axis] == 0 if side < 0 else box.hi[axis] == shape[axis]
        if cut[number] and outermost and components.face(mask, axis, side).any():
            return True
    return False


def _parts(labels: Array) -> tuple[Array, Array]:
    """The connected parts of labels, by voxel, flat, x fastest; and the first voxel of each."""
    found, parts = components.label(labels, 26)
    names = np.arange(len(parts.first) + 1, dtype=np.uint32)
    return found.paint(names, vec(labels.shape)).ravel(order="F"), parts.first


def _at(labels: Array, places: Array) -> Array:
    return labels.ravel(order="F")[places]
