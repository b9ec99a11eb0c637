"""Which sections of a stack hang together, through which pairs, and which pairs the others contradict.

Sections are numbered from 0. A link says that what lies at p in section ``a`` lies at ``matrix p + shift`` in ``b``;
all in frames whose middle is 0 and whose corners are about 1 away. Three sections that are linked all around close a
loop: one wrong link spoils every loop through it, and of its neighbours only that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels.affine import polar

Array = npt.NDArray[Any]
_PROBES = np.array([[0.0, 0.0], [0.7, 0.7], [-0.7, 0.7], [0.7, -0.7], [-0.7, -0.7]])


@dataclass(frozen=True)
class Links:
    """``a`` and ``b`` [m]; ``matrix`` [m, 2, 2], ``shift`` [m, 2]; ``inverted`` bool [m]; ``strength`` [m].

    ``moments`` [m, 3, 3]: of the points (x, y, 1) in ``a`` that a link rests on, the weighted sum of products.
    """

    a: Array
    b: Array
    matrix: Array
    shift: Array
    inverted: Array
    strength: Array
    moments: Array

    def __len__(self) -> int:
        return len(self.a)


def loops(links: Links, tolerance: float) -> tuple[Array, Array]:
    """How many loops of three each link closes, and how many it does not, within ``tolerance``."""
    place = {(int(a), int(b)): n for n, (a, b) in enumerate(zip(links.a, links.b, strict=True))}
    lower: dict[int, list[int]] = {}
    for a, b in place:
        lower.setdefault(a, []).append(b)
    triples = [
        (place[a, c], place[c, b], n) for (a, b), n in place.items() for c in sorted(lower[a]) if (c, b) in place
    ]
    good, bad = np.zeros(len(links), np.int64), np.zeros(len(links), np.int64)
    if triples:
        first, second, whole = np.array(triples).T
        around = _mapped(links, second, _mapped(links, first, _PROBES))
        off = np.sqrt(((around - _mapped(links, whole, _PROBES)) ** 2).sum(axis=-1).mean(axis=-1))
        closed = (off <= tolerance) & (links.inverted[first] ^ links.inverted[second] ^ ~links.inverted[whole])
        for part in (first, second, whole):
            np.add.at(good, part[closed], 1)
            np.add.at(bad, part[~closed], 1)
    return good, bad


def _mapped(links: Links, which: Array, points: Array) -> Array:
    return np.asarray((links.matrix[which][:, None] * points[..., None, :]).sum(axis=-1) + links.shift[which][:, None])


@dataclass(frozen=True)
class Laid:
    """Of each section: the component, a rigid map, and whether its contrast is opposite to the root's."""

    component: Array
    matrix: Array
    shift: Array
    inverted: Array


def joined(count: int, links: Links, order: Array, held: dict[int, tuple[Array, Array, bool]]) -> Laid:
    """All sections laid along the links that come first in ``order`` and close no ring (Kruskal 1956).

    Rigid, so that no stretch adds up along the stack; each component starts from its first ``held`` section, else
    from its middle one, which lies as it is.
    """
    near, component = _forest(count, links, order)
    laid = Laid(component, np.tile(np.eye(2), (count, 1, 1)), np.zeros((count, 2)), np.zeros(count, bool))
    for members in _members(component):
        fixed = [n for n in members if n in held]
        root = fixed[0] if fixed else members[len(members) // 2]
        if fixed:
            laid.matrix[root], laid.shift[root], laid.inverted[root] = held[root]
        _spread(laid, links, near, root)
    for n, (matrix, shift, inverted) in held.items():
        laid.matrix[n], laid.shift[n], laid.inverted[n] = matrix, shift, inverted
    return laid


def _forest(count: int, links: Links, order: Array) -> tuple[list[list[int]], Array]:
    """The links of the forest at each section, and components, numbered by their first sections."""
    parent = list(range(count))

    def top(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    near: list[list[int]] = [[] for _ in range(count)]
    for n in order.tolist():
        a, b = int(links.a[n]), int(links.b[n])
        x, y = top(a), top(b)
        if x != y:
            parent[max(x, y)] = min(x, y)
            near[a].append(n)
            near[b].append(n)
    return near, np.unique([top(n) for n in range(count)], return_inverse=True)[1]


def _members(component: Array) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(int(component.max(initial=-1)) + 1)]
    for n, one in enumerate(component.tolist()):
        found[one].append(n)
    return found


def _spread(laid: Laid, links: Links, near: list[list[int]], root: int) -> None:
    """Lay all that hangs on ``root``: the middle of a link's points comes to lie where the other section has it."""
    waiting, seen = [root], {root}
    while waiting:
        known = waiting.pop()
        for n in near[known]:
            a, b = int(links.a[n]), int(links.b[n])
            new = a if known == b else b
            if new in seen:
                continue
            matrix = links.matrix[n] if new == a else np.linalg.inv(links.matrix[n])
            laid.matrix[new] = polar(laid.matrix[known] @ matrix)[1]
            own = links.moments[n, :2, 2] / links.moments[n, 2, 2]
            other = links.matrix[n] @ own + links.shift[n]
            p, q = (own, other) if new == a else (other, own)
            laid.shift[new] = laid.matrix[known] @ q + laid.shift[known] - laid.matrix[new] @ p
            laid.inverted[new] = laid.inverted[known] ^ links.inverted[n]
            waiting.append(new)
            seen.add(new)
