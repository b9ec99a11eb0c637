"""How alike patches of two pictures are at each shift of a search, by blocks that patches share."""

import numpy as np
from numpy.typing import NDArray

def correlated(
    a: NDArray[np.float32],
    in_a: NDArray[np.bool_],
    b: NDArray[np.float32],
    in_b: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    weights: NDArray[np.float32],
    manner: tuple[int, int, float],
) -> NDArray[np.float32]:
    """Correlations float32 [n, dy, dx] of the nodes that are wanted, row by row, shifts from -reach to reach.

    ``a`` [y, x]: a picture cut into square blocks, of which each patch has as many along an axis as ``weights`` has
    entries; patches begin every two blocks, one for each of ``wanted`` [y, x]. ``b``: another picture, larger by the
    reach on each side. ``in_a``, ``in_b``: what counts of each. ``manner``: pixels along a block, the reach, and the
    share of a patch's weight that must count in both; where it is less the correlation is NaN.
    """

def peaks(surfaces: NDArray[np.float32], apart: int) -> NDArray[np.float64]:
    """Of each surface [n, dy, dx] ten figures: [n, 10].

    The top's shift x and y and height, of the surface interpolated around the highest sample; the highest sample
    more than ``apart`` from it along an axis, at least 0; the root mean square there; the second derivatives at the
    top, xx, xy, yy; 1 where all samples around the highest are known, else 0; the share of samples that are known.
    All but the last two are NaN where none is.
    """

def smoothed(picture: NDArray[np.float32], taps: NDArray[np.float32], before: int, step: int) -> NDArray[np.float32]:
    """Sums of a picture [y, x] under ``taps`` along both axes, at every ``step``-th pixel; 0 is beyond it.

    The first sum begins ``before`` pixels before the picture. A picture of odd size loses its last row or column.
    """
