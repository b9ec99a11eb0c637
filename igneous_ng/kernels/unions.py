"""Sets of elements that are found part by part: one node of a tree of union-finds. Arrays in, arrays out.

An element has a key, unique among all elements anywhere, and a payload of integers. Elements of different parts are
tied by *links*. Neither part knows the other, so each holds one half of a link: its own element and the link's name, a
pair of uint64 that both parts derive alike. :func:`join` puts parts together: where both halves of a link are there,
their elements become one set. A set that holds no other half is *closed*: nothing elsewhere can reach it, and it is
kept out of what goes up to the next node. :func:`settle` is the way down: what became of each key in the end.

A set is called by its smallest key. Payloads are reduced by sums, minima or maxima of integers, so nothing depends on
the order or the shape of the tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.native import components as native

Array = npt.NDArray[Any]
Reduction = Literal["sum", "min", "max", "then"]
"""How a column is put together; then: the least of those whose column before is the least, which is a ``min``."""
_REDUCE = {"sum": np.add, "min": np.minimum, "max": np.maximum, "then": np.minimum}


@dataclass(frozen=True)
class Table:
    """What a part tells its parent: elements, and the halves of the links that lead out of it.

    keys: uint64 [n], unique. payload: int64 [n, columns].
    owners: uint64 [h], the element of each half. names: uint64 [h, 2], its link.
    """

    keys: Array
    payload: Array
    owners: Array
    names: Array


@dataclass(frozen=True)
class Answer:
    """For each key (ascending) the smallest key of its set, and the payload of the whole set."""

    keys: Array
    roots: Array
    payload: Array

    def of(self, keys: Array) -> tuple[Array, Array]:
        """The roots and payloads of ``keys``, all of which must be here."""
        at = find(self.keys, keys)
        if (at < 0).any():
            raise DataError(f"the tree has no element {keys[at < 0][0]}; run its stages again, from the first on")
        return self.roots[at], self.payload[at]


def join(tables: Sequence[Table], reductions: Sequence[Reduction]) -> tuple[Answer, Table]:
    """What is known of the elements of ``tables`` once these are together, and the sets that are still open."""
    keys = np.concatenate([table.keys for table in tables])
    order = np.argsort(keys)
    keys, payload = keys[order], np.concatenate([table.payload for table in tables])[order]
    owners = find(keys, np.concatenate([table.owners for table in tables]))
    names = np.concatenate([table.names for table in tables])
    order = np.lexsort((names[:, 1], names[:, 0]))
    owners, names = owners[order], names[order]
    same = (names[1:] == names[:-1]).all(axis=1)
    roots = native.sets(len(keys), owners[:-1][same], owners[1:][same])
    totals = _reduced(payload, roots, reductions)
    met = np.zeros(len(names), bool)
    met[:-1] |= same
    met[1:] |= same
    leading = roots[owners[~met]]
    still = np.unique(leading)
    found = Answer(keys, keys[roots], totals[roots])
    return found, Table(keys[still], totals[still], keys[leading], names[~met])


def settle(found: Answer, above: Answer) -> Answer:
    """What becomes of the keys of a node, from what became of those that went up from it to ``above``."""
    at = find(above.keys, found.roots)
    up = at >= 0
    roots, payload = found.roots.copy(), found.payload.copy()
    roots[up], payload[up] = above.roots[at[up]], above.payload[at[up]]
    return Answer(found.keys, roots, payload)


def find(keys: Array, wanted: Array) -> Array:
    """Where in the ascending ``keys`` each of ``wanted`` is, -1 where it is not."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)


def _reduced(payload: Array, roots: Array, reductions: Sequence[Reduction]) -> Array:
    """The payload of each set, in the row of its root."""
    order = np.argsort(roots, kind="stable")
    starts = np.flatnonzero(np.diff(roots[order], prepend=-1))
    totals = payload.copy()
    for column, how in enumerate(reductions if len(starts) else ()):
        values = payload[order, column]
        if how == "then":
            values[payload[order, column - 1] > totals[roots[order], column - 1]] = np.iinfo(np.int64).max
        totals[roots[order][starts], column] = _REDUCE[how].reduceat(values, starts)
    return totals
