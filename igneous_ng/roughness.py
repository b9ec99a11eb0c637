"""From pairs of sections to how each lies in the volume: links, what the operator says, one solution, what is odd."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import pairings
from igneous_ng.alignment import Alignment, Rough, decode_rough
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import placements
from igneous_ng.formats.placements import Placement
from igneous_ng.io import IO
from igneous_ng.kernels import stack_gauge, stack_links, stack_solving
from igneous_ng.kernels.affine import Affine, fit_affine
from igneous_ng.kernels.stack_links import Laid, Links
from igneous_ng.miniatures import FOLDER
from igneous_ng.pairings import Pairing

Array = npt.NDArray[Any]
_NAME = re.compile(r"z(-?\d+)-z(-?\d+)\.json")
_LEAST = 0.25  # pixels of the small pictures: a residual that is none
_LOOP = 10.0  # pixels of the small pictures by which a loop may be open
_SAID = 1e4  # how much more a match of the operator counts
_DOUBT = 1e-3  # how much less a link counts that loops contradict
_EVEN = 64.0  # the weight of a pair's points that makes a link of strength 1


@dataclass(frozen=True)
class Section:
    """What `align sections` says of one: whether it is empty, and points around its tissue [n, 2]."""

    empty: bool
    outline: Array


@dataclass(frozen=True)
class Stack:
    """All that is known of a stack before it is solved; sections are numbered from 0 here."""

    alignment: Alignment
    factor: int
    """Pixels of mip 0 in one of the small pictures."""
    sections: list[Section]
    pairs: list[Pairing]
    said: tuple[Placement, ...] = ()
    locked: dict[int, Rough] = field(default_factory=dict)
    """Maps that stay, by place."""

    @property
    def first(self) -> int:
        """The z of section 0."""
        return self.alignment.bounds.lo[2]

    @cached_property
    def middle(self) -> Array:
        """Of the sections' frame, which becomes 0."""
        lo, hi = (np.array(one[:2], np.float64) for one in (self.alignment.bounds.lo, self.alignment.bounds.hi))
        return np.asarray((lo + hi - 1) / 2)

    @cached_property
    def radius(self) -> float:
        """From the middle to a corner, which becomes 1."""
        return max(1.0, float(np.hypot(*self.alignment.bounds.shape[:2])) / 2)

    def inner(self, affine: Affine) -> Affine:
        """A map of mip 0 in these units."""
        return Affine(affine.matrix, (affine(self.middle) - self.middle) / self.radius)

    def outer(self, affine: Affine) -> Affine:
        """The way back."""
        moved = self.middle + affine.shift * self.radius
        return Affine(affine.matrix, moved - affine.matrix @ self.middle)

    @cached_property
    def out(self) -> Array:
        """Which sections are not aligned, bool [n]: empty or excluded."""
        found = np.array([one.empty for one in self.sections], bool)
        for one in self.said:
            if one.action == "exclude":
                found[one.z - self.first] = True
        return found

    @cached_property
    def sources(self) -> list[int]:
        """Which section the operator wants at each place."""
        found = list(range(len(self.sections)))
        for one in self.said:
            n = one.z - self.first
            if one.action == "source" and one.source is not None:
                found[n] = one.source - self.first
            if one.action == "swap" and one.other is not None:
                m = one.other - self.first
                found[n], found[m] = found[m], found[n]
        return found

    @cached_property
    def used(self) -> list[tuple[Pairing, bool]]:
        """Pairs that say something, and whether the operator says so; both sections are aligned."""
        found = {(one.z, one.other): (one, False) for one in self.pairs if one.sure}
        for one in self.said:
            key = (max(one.z, one.other), min(one.z, one.other)) if one.other is not None else (0, 0)
            if one.action == "ignore":
                found.pop(key, None)
            if one.action == "match":
                before = found.get(key)
                found[key] = self._matched(one, before[0].inverted if before else False), True
        return [
            row
            for (z, other), row in sorted(found.items())
            if not self.out[z - self.first] | self.out[other - self.first]
        ]

    def _matched(self, one: Placement, inverted: bool) -> Pairing:
        """A pair as the operator has it; the later section first."""
        assert one.other is not None
        if one.points:
            p, q = np.split(np.array(one.points), 2, axis=1)
            affine = fit_affine(p, q, np.ones(len(p)))
        else:
            affine = Affine(np.array(one.matrix).reshape(2, 2), np.array(one.shift))
            corners = np.array([[x, y] for x in (-0.7, 0, 0.7) for y in (-0.7, 0, 0.7)])
            p = self.middle + self.radius * corners
            q = affine(p)
        z, other = one.z, one.other
        if z < other:
            z, other, p, q, affine = other, z, q, p, affine.inverse
        mirrored = bool(np.linalg.det(affine.matrix) < 0)
        rows = np.column_stack([p, q, np.full(len(p), _EVEN / len(p))])
        return Pairing(z, other, "said", affine, mirrored, inverted, 1.0, rows)

    @cached_property
    def links(self) -> Links:
        """The pairs that are used, as equations."""
        rows = [one for one, _ in self.used]
        inner = [self.inner(one.affine) for one in rows]
        sums = np.array([self._sums(one) for one in rows]).reshape(-1, 3, 3)
        return Links(
            a=np.array([one.z - self.first for one in rows], np.int64),
            b=np.array([one.other - self.first for one in rows], np.int64),
            matrix=np.array([one.matrix for one in inner]).reshape(-1, 2, 2),
            shift=np.array([one.shift for one in inner]).reshape(-1, 2),
            inverted=np.array([one.inverted for one in rows], bool),
            strength=np.array([_SAID if said else 1.0 for _, said in self.used]),
            moments=sums,
        )

    def _sums(self, one: Pairing) -> Array:
        """Products of a pair's points in its first section."""
        points = (one.points[:, :2] - self.middle) / self.radius
        u = np.column_stack([points, np.ones(len(points))])
        return np.asarray((one.points[:, 4, None, None] / _EVEN * u[:, :, None] * u[:, None]).sum(axis=0))

    @cached_property
    def held(self) -> dict[int, tuple[Array, Array, bool]]:
        """Sections whose maps are given: locked, or said."""
        found: dict[int, tuple[Array, Array, bool]] = {}
        for rough in self.locked.values():
            if rough.source >= 0:
                inner = self.inner(Affine(rough.matrix, rough.shift))
                found[rough.source - self.first] = inner.matrix, inner.shift, rough.inverted
        for one in self.said:
            if one.action == "place":
                inner = self.inner(Affine(np.array(one.matrix).reshape(2, 2), np.array(one.shift)))
                found[one.z - self.first] = inner.matrix, inner.shift, False
        return {n: row for n, row in found.items() if not self.out[n]}


def read_stack(io: IO, alignment: Alignment, overrides: str | None) -> Stack:
    """What the files say."""
    zs = alignment.zs
    raw = io.store.map(lambda z: io.get_json(alignment.url(FOLDER, z, ".json")), zs)
    for z, one in zip(zs, raw, strict=True):
        if one is None:
            raise DataError(f"{alignment.url(FOLDER, z, '.json')}: was not made small; run `align sections` first")
    sections = [Section(one["empty"], np.array(one["outline"]).reshape(-1, 2)) for one in raw if one is not None]
    pairs = pairings.read(io, alignment, listed_pairs(io, alignment))
    locked: dict[int, Rough] = {}
    where = f"{alignment.home}/locked/rough.affines"
    if (data := io.get(where)) is not None:
        first, maps = decode_rough(data, where)
        locked = {first + n: one for n, one in enumerate(maps) if first + n in zs}
    factor = max((int(one["factor"]) for one in raw if one is not None), default=1)
    return Stack(alignment, factor, sections, pairs, said(io, alignment, overrides), locked)


def listed_pairs(io: IO, alignment: Alignment) -> list[tuple[int, int]]:
    """The pairs that were compared."""
    names = (_NAME.fullmatch(one) for one in io.list(f"{alignment.home}/{pairings.FOLDER}"))
    found = sorted((int(one[1]), int(one[2])) for one in names if one is not None)
    if not found and len(alignment.zs) > 1:
        raise DataError(f"{alignment.home}/{pairings.FOLDER}: no pair was compared; run `align pairs` first")
    return [(z, other) for z, other in found if z in alignment.zs and other in alignment.zs]


def said(io: IO, alignment: Alignment, overrides: str | None) -> tuple[Placement, ...]:
    """What the operator says; SpecError where a line is of nothing that there is."""
    if overrides is None:
        return ()
    data = io.get(overrides)
    if data is None:
        raise SpecError(f"{overrides}: there is no such file; give lines of JSON")
    found = placements.parse(data, overrides)
    pairs = set(listed_pairs(io, alignment)) if any(one.action == "ignore" for one in found) else set()
    for one in found:
        for z in (one.z, one.other, one.source):
            if z is not None and z not in alignment.zs:
                raise SpecError(
                    f"{overrides}, {one.words}: there is no section {z}; there are "
                    f"{alignment.zs.start} to {alignment.zs.stop - 1}"
                )
        key = (one.z, one.other or 0)
        if one.action == "ignore" and (max(key), min(key)) not in pairs:
            raise SpecError(f"{overrides}, {one.words}: this pair was not compared, so there is nothing to ignore")
    return found


@dataclass(frozen=True)
class Solution:
    """Of each section of a stack: its map (mip 0), component, contrast; of each link whether it is wrong."""

    maps: list[Affine]
    component: list[int]
    inverted: list[bool]
    residual: Array
    """Of each link, pixels of mip 0."""
    wrong: Array


def solved(stack: Stack) -> Solution:
    """The maps of all sections."""
    links, count = stack.links, len(stack.sections)
    tolerance = _LOOP * stack.factor / stack.radius
    good, bad = stack_links.loops(links, tolerance)
    order = np.lexsort((-links.moments[:, 2, 2], np.abs(links.a - links.b), bad > good, -links.strength))
    laid = stack_links.joined(count, links, order, stack.held)
    doubtful = (bad > good) & (links.strength < _SAID)
    links = replace(links, strength=np.where(doubtful, _DOUBT, links.strength))
    held = np.array([n in stack.held for n in range(count)], bool)
    found = stack_solving.solve(links, laid, held, _LEAST * stack.factor / stack.radius)
    component = _numbered(stack, laid)
    maps = [Affine(*one) for one in zip(found.matrix, found.shift, strict=True)]
    inverted = laid.inverted.copy()
    for one in range(max(component, default=-1) + 1):
        members = [n for n, own in enumerate(component) if own == one]
        if not members or any(n in stack.held for n in members):
            continue
        after = stack_gauge.gauge(found.matrix[members], found.shift[members])
        for n in members:
            maps[n] = after.after(maps[n])
        if inverted[members].sum() * 2 > len(members):
            inverted[members] = ~inverted[members]
    for line in stack.said:
        if line.action in ("inverted", "upright"):
            inverted[line.z - stack.first] = line.action == "inverted"
    wrong = (found.residual > tolerance) & (links.strength < _SAID)
    outer = [
        rounded(stack, stack.outer(one)) if n not in stack.held else _given(stack, n) for n, one in enumerate(maps)
    ]
    return Solution(outer, component, inverted.tolist(), found.residual * stack.radius, wrong)


def _given(stack: Stack, n: int) -> Affine:
    """The map of a section that is held, to the bit."""
    for one in reversed(stack.said):
        if one.action == "place" and one.z - stack.first == n:
            return Affine(np.array(one.matrix).reshape(2, 2), np.array(one.shift))
    rough = next(one for one in stack.locked.values() if one.source - stack.first == n)
    return Affine(rough.matrix, rough.shift)


def _numbered(stack: Stack, laid: Laid) -> list[int]:
    """The component of each section: those of locked ones as they are, the largest next; -1 of what is not aligned."""
    members: dict[int, list[int]] = {}
    for n, one in enumerate(laid.component.tolist()):
        if not stack.out[n]:
            members.setdefault(one, []).append(n)
    numbers: dict[int, int] = {}
    for rough in stack.locked.values():
        if rough.source >= 0 and not stack.out[rough.source - stack.first]:
            numbers.setdefault(int(laid.component[rough.source - stack.first]), rough.component)
    free = max(numbers.values(), default=-1) + 1
    for one in sorted(members.keys() - numbers.keys(), key=lambda key: (-len(members[key]), members[key][0])):
        numbers[one] = free
        free += 1
    return [-1 if stack.out[n] else numbers[one] for n, one in enumerate(laid.component.tolist())]


def rounded(stack: Stack, affine: Affine) -> Affine:
    """``affine`` so rounded that corners move by less than 1/4 pixel, and what hardly differs is the same."""
    w, h, _ = stack.alignment.bounds.shape
    step = 2.0 ** np.floor(np.log2(0.25 / max(w + h, 1)))  # half a step at half of w + h: 1/16 px
    matrix = np.round(affine.matrix / step) * step
    middle = np.round(affine(stack.middle) * 8) / 8
    return Affine(matrix, middle - matrix @ stack.middle)
