"""Spanning forests and connected parts of graphs."""

from typing import Any

from numpy.typing import NDArray

def spanning(edges: NDArray[Any], order: NDArray[Any], count: int) -> NDArray[Any]:
    """Which of ``edges`` [m, 2] between ``count`` vertices are kept, if they are taken in ``order`` [m] and those that
    would close a loop are left out.

    ValueError for vertices or an order that are not there.
    """

def parts(edges: NDArray[Any], count: int) -> NDArray[Any]:
    """The number of the connected part of each vertex; parts are counted by their first vertices."""
