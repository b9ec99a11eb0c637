"""Agglomeration of a graph of regions, of which some are known in part."""

from typing import Any

from numpy.typing import NDArray

GONE: int
KEPT: int
REFUSED: int

def agglomerate(
    nodes: dict[str, NDArray[Any]],
    table: dict[str, NDArray[Any]],
    linkage: int,
    quantile: int,
    limits: tuple[float, float, int, float, int],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Join regions over edges, the best first, and change all columns in place to what they became.

    ``nodes``: ``size``, ``parts``, ``reach`` (int64), ``weakest`` (float64), ``frozen`` (uint8). ``table``: ``u``,
    ``v`` (uint32, the places of regions), ``sum``, ``num``, ``key`` (int64), ``must``, ``max`` (uint8), and with
    quantiles ``bins`` (int32 [n, 32]); rows between the same regions are folded. ``linkage``: 0 mean, 1 maximum,
    2 quantile, in thousandths. ``limits``: the lowest score that counts, the threshold, size and threshold of the
    guard, size of small regions.

    Returns of each region the lowest place of those it was joined with, at which the columns say what they are
    together; and of each row whether it is GONE, KEPT, or was REFUSED. ValueError for columns that do not fit.
    """
