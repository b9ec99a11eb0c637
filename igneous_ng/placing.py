"""What is shown at each place of a stack, how large all is, and what is odd: for programs and for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import words
from igneous_ng.alignment import Rough
from igneous_ng.geometry import Box
from igneous_ng.kernels import stack_order
from igneous_ng.kernels.affine import polar
from igneous_ng.roughness import Solution, Stack

Array = npt.NDArray[Any]
_LARGE, _GRAIN, _FINE_GRAIN = 4096, 1024, 64  # pixels of mip 0
_TURNED = 10.0  # degrees
_STRETCHED = 0.1


def placed(stack: Stack, solution: Solution, swaps: Sequence[int]) -> list[Rough]:
    """The records of all places; each of ``swaps`` (from 0) is shown in the place of the next section, and that in its.

    Places that are locked stay as they are. Where none is shown, the map lies between those of the nearest that are.
    """
    sources = list(stack.sources)
    for n in swaps:
        sources[n], sources[n + 1] = sources[n + 1], sources[n]
    found: list[Rough | None] = []
    for place, n in enumerate(sources):
        if (fixed := stack.locked.get(place + stack.first)) is not None:
            found.append(fixed)
        elif stack.out[n]:
            found.append(None)
        else:
            one = solution.maps[n]
            found.append(Rough(one.matrix, one.shift, solution.component[n], n + stack.first, solution.inverted[n]))
    return _bridged(stack, found)


def _bridged(stack: Stack, found: list[Rough | None]) -> list[Rough]:
    shown = [n for n, one in enumerate(found) if one is not None]
    made: list[Rough] = []
    for n, one in enumerate(found):
        if one is not None:
            made.append(one)
            continue
        low = max((m for m in shown if m < n), default=None)
        high = min((m for m in shown if m > n), default=None)
        made.append(_between(stack, n, [(m, found[m]) for m in (low, high) if m is not None]))
    return made


def _between(stack: Stack, n: int, near: list[tuple[int, Rough | None]]) -> Rough:
    """The map of a place where nothing is shown: between two of one component that lie alike, else as the first."""
    (m, one), *rest = [(m, one) for m, one in near if one is not None] or [(n, Rough(np.eye(2), np.zeros(2)))]
    hidden = replace(one, source=-1, inverted=False)
    if not rest:
        return hidden
    other = rest[0][1]
    share = (n - m) / (rest[0][0] - m)
    matrix = (1 - share) * one.matrix + share * other.matrix
    alike = np.linalg.norm(one.matrix - other.matrix) < 0.5 and one.component == other.component
    if not alike:
        return hidden
    centre = (1 - share) * one.aligned(stack.middle) + share * other.aligned(stack.middle)
    return replace(hidden, matrix=matrix, shift=centre - matrix @ stack.middle)


def extent(stack: Stack, places: Sequence[Rough], before: Box | None) -> Box:
    """The pixels of mip 0 that tissue covers, outwards to a round number, with those that were locked."""
    bounds = stack.alignment.bounds
    parts = [
        one.aligned(stack.sections[one.source - stack.first].outline)
        for one in places
        if one.source >= 0 and one.source - stack.first in range(len(stack.sections))
    ]
    points = np.concatenate([np.zeros((0, 2)), *parts])
    if not len(points):
        points = np.array([bounds.lo[:2], bounds.hi[:2]], np.float64) - 0.5
    low, high = points.min(axis=0) + 0.5, points.max(axis=0) + 0.5
    grain = _GRAIN if max(high - low) >= _LARGE else _FINE_GRAIN
    lo, hi = ([int(cut(v / grain)) * grain for v in one] for cut, one in ((math.floor, low), (math.ceil, high)))
    found = Box((lo[0], lo[1], bounds.lo[2]), (hi[0], hi[1], bounds.hi[2]))
    return found if before is None else found | Box((*before.lo[:2], bounds.lo[2]), (*before.hi[:2], bounds.hi[2]))


def swapped(stack: Stack) -> list[int]:
    """Sections, from 0, that seem to be exchanged with the next; none that is locked or that the operator moved."""
    alike = {(one.z - stack.first, one.other - stack.first): one for one in stack.pairs}
    placed = {n for n, source in enumerate(stack.sources) if n != source} | {z - stack.first for z in stack.locked}

    def like(a: int, b: int) -> float | None:
        one = alike.get((a, b))
        if one is None or one.status == "empty" or stack.out[a] or stack.out[b]:
            return None
        return one.correlation if one.sure else 0.0

    found = stack_order.swapped(len(stack.sections), like)
    return [n for n in found if n not in placed and n + 1 not in placed]


def report(stack: Stack, solution: Solution, swaps: Sequence[int], bounds: Box) -> dict[str, Any]:
    """The content of ``rough.json``."""
    odd = {n: _odd(stack, solution, n) for n in range(len(stack.sections))}
    for n in swaps:
        odd[n]["swapped"], odd[n + 1]["swapped"] = n + 1 + stack.first, n + stack.first
    members: dict[int, list[int]] = {}
    for n, one in enumerate(solution.component):
        members.setdefault(one, []).append(n + stack.first)
    return {
        "bounds": str(bounds),
        "sections": {str(n + stack.first): one for n, one in odd.items() if one},
        "components": [
            {"number": one, "sections": len(zs), "first": zs[0], "last": zs[-1]}
            for one, zs in sorted(members.items())
            if one >= 0
        ],
        "pairs": _of_pairs(stack, solution),
    }


def _odd(stack: Stack, solution: Solution, n: int) -> dict[str, Any]:
    """What is odd about a section."""
    found: dict[str, Any] = {}
    for line in stack.said:
        if line.z - stack.first == n and line.action in ("exclude", "place"):
            found["excluded" if line.action == "exclude" else "placed"] = f"override, line {line.line}"
    if stack.sources[n] != n:
        found["shows"] = stack.sources[n] + stack.first
    if stack.sections[n].empty:
        found["empty"] = True
    return found if stack.out[n] else {**found, **_lies_oddly(solution, n)}


def _lies_oddly(solution: Solution, n: int) -> dict[str, Any]:
    """What is odd about how a section lies."""
    found: dict[str, Any] = {}
    stretch, turn = polar(solution.maps[n].matrix)
    mirrored = bool(np.linalg.det(turn) < 0)
    degrees = math.degrees(math.atan2(turn[1, 0], turn[0, 0]))
    sizes = np.linalg.eigvalsh(stretch)
    if mirrored:
        found["mirrored"] = True
    if abs(degrees) > _TURNED:
        found["turned"] = round(degrees, 1)
    if np.abs(sizes - 1).max() > _STRETCHED:
        found["stretched"] = np.round(sizes, 3).tolist()
    if solution.inverted[n]:
        found["inverted"] = True
    if solution.component[n] > 0:
        found["component"] = solution.component[n]
    return found


def _of_pairs(stack: Stack, solution: Solution) -> dict[str, Any]:
    rows = [one for one, _ in stack.used]
    apart = np.array([one.z - one.other for one in rows], np.int64)
    residual = {str(k): round(float(np.median(solution.residual[apart == k])), 2) for k in np.unique(apart).tolist()}
    return {
        "compared": len(stack.pairs),
        "used": len(rows),
        "failed": [one.words for one in stack.pairs if one.status == "failed"],
        "wrong": [one.words for one, wrong in zip(rows, solution.wrong.tolist(), strict=True) if wrong],
        "residual": residual,
    }


_TOLD = {
    "empty": "empty",
    "excluded": "excluded",
    "turned": "turned",
    "mirrored": "mirrored",
    "inverted": "inverted",
    "stretched": "stretched",
    "swapped": "swapped, it seems",
    "shows": "shown at another place",
    "component": "not connected with most",
}


def told(found: dict[str, Any]) -> str:
    """A report in a few lines, for people."""
    sections, pairs = found["sections"], found["pairs"]
    parts = words.count(len(found["components"]), "piece")
    lines = [f"{pairs['used']:,} of {words.count(pairs['compared'], 'pair')} used; {parts}; bounds {found['bounds']}"]
    for key, text in _TOLD.items():
        numbers = sorted(int(z) for z, one in sections.items() if key in one)
        if numbers:
            lines.append(f"{text}: {words.listed(numbers)}")
    if pairs["wrong"]:
        lines.append(f"pairs that all others contradict: {words.listed(pairs['wrong'])}")
    return "\n".join(lines)
