"""SWC, the text format of traced neurons: one node a line, with its type, position, radius and parent.

Source: Cannon, Turner, Pyapali & Wheal 1998 (J Neurosci Methods 84:49); positions and radii are in micrometres, as
most readers take them. A tree is written parent before child; a graph with loops is cut to a tree, one of several
parts becomes several trees of one file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
_NM = 1000.0  # in a micrometre
_SOMA = 1


def encode(points: Array, edges: Array, radii: Array, types: Array) -> bytes:
    """A graph in nm as SWC: ``points`` [n, 3], ``edges`` [m, 2], ``radii`` [n], ``types`` [n].

    A part begins at its soma, else at its end of the lowest index. Of a loop the edge that is met last, breadth
    first, is left out.
    """
    order, parent = _walked(len(points), np.asarray(edges, np.int64), np.asarray(types))
    place = np.empty(len(points), np.int64)
    place[order] = np.arange(1, len(points) + 1)
    lines = ["# node type x_um y_um z_um radius_um parent"]
    above = np.where(parent < 0, -1, place[parent])
    for row in order.tolist():
        x, y, z, r = (f"{value / _NM:.6g}" for value in (*points[row].tolist(), float(radii[row])))
        lines.append(f"{place[row]} {int(types[row])} {x} {y} {z} {r} {above[row]}")
    return ("\n".join(lines) + "\n").encode()


def _walked(count: int, edges: Array, types: Array) -> tuple[Array, Array]:
    """Vertices in an order in which parents come first, and the parent of each, -1 for none."""
    near: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges.tolist():
        near[a].append(b)
        near[b].append(a)
    # each part is entered by the first of its vertices in this order
    starts = sorted(range(count), key=lambda v: (types[v] != _SOMA, len(set(near[v])) > 1, v))
    parent, seen, order = np.full(count, -1), np.zeros(count, bool), list[int]()
    for start in starts:
        if seen[start]:
            continue
        seen[start], first = True, len(order)
        order.append(start)
        while first < len(order):
            here, first = order[first], first + 1
            for onward in sorted(near[here]):
                if not seen[onward]:
                    seen[onward], parent[onward] = True, here
                    order.append(onward)
    return np.array(order, np.int64), parent


def decode(data: bytes, where: str) -> tuple[Array, Array, Array, Array]:
    """Points [n, 3], edges [m, 2], radii [n], in nm if the file is in micrometres, and types [n]; DataError if torn."""
    try:
        rows = [line.split() for line in data.decode().splitlines() if line.strip() and not line.startswith("#")]
        table = np.array([row[:7] for row in rows], np.float64).reshape(-1, 7)
    except (UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{where}: not an SWC file ({error}); export it again") from error
    place = {node: i for i, node in enumerate(table[:, 0].astype(np.int64).tolist())}
    pairs = [(i, p) for i, p in enumerate(table[:, 6].astype(np.int64).tolist()) if p >= 0]
    if len(place) < len(table) or any(parent not in place for _, parent in pairs):
        raise DataError(f"{where}: not an SWC file: nodes twice, or parents that are not there; export it again")
    edges = np.array([(i, place[p]) for i, p in pairs], np.int64).reshape(-1, 2)
    return table[:, 2:5] * _NM, edges, table[:, 5] * _NM, table[:, 1].astype(np.int64)
