"""Where a section lies as a whole: links say only how tiles lie to each other, the stage says the rest.

The stage's places enter after all links are satisfied, by moving and turning whole components, so that their errors
bias no tile against its neighbour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from igneous_ng.kernels.tile_frames import Tiles

Array = npt.NDArray[Any]
_NEAREST = 4


def laid(tiles: Tiles, coef: Array, component: Array, turn: bool) -> Array:
    """``coef`` with each component where the stage has it on the mean: place and, if ``turn``, direction.

    What does not connect with the first component lies as far from the stage as the tiles of that nearest to it do.
    """
    moves, turns = _fits(tiles, coef, component, turn)
    turned = _about(tiles, coef, component, turns)
    return _beside(tiles, turned + _first(moves[component]), component)


def _first(moves: Array) -> Array:
    found = np.zeros((len(moves), 3, 2))
    found[:, 0] = moves
    return found


def _fits(tiles: Tiles, coef: Array, component: Array, turn: bool) -> tuple[Array, Array]:
    """Of each component, how to move ``[c, 2]`` and turn ``[c]`` it so that corners are nearest to the stage's."""
    count = int(component.max(initial=-1)) + 1
    own, wanted = corners(tiles, coef), corners(tiles, tiles.start)
    middle = [_means(points.mean(axis=1), component, count) for points in (own, wanted)]
    if not turn:
        return middle[1] - middle[0], np.zeros(count)
    a, b = own - middle[0][component][:, None], wanted - middle[1][component][:, None]
    dot = np.bincount(component, (a * b).sum(axis=(1, 2)), count)
    cross = np.bincount(component, (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(axis=1), count)
    return middle[1] - middle[0], np.arctan2(cross, dot)


def corners(tiles: Tiles, coef: Array) -> Array:
    """``[n, 4, 2]``: where maps put the corners."""
    u = tiles.corners
    return np.asarray(coef[:, None, 0] + coef[:, None, 1] * u[..., :1] + coef[:, None, 2] * u[..., 1:])


def _about(tiles: Tiles, coef: Array, component: Array, turns: Array) -> Array:
    """``coef`` with each component turned about the middle of its corners."""
    middle = _means(corners(tiles, coef).mean(axis=1), component, len(turns))[component]
    cos, sin = np.cos(turns)[component][:, None], np.sin(turns)[component][:, None]
    about = coef - _first(middle)
    x, y = about[..., 0], about[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1) + _first(middle)


def _beside(tiles: Tiles, coef: Array, component: Array) -> Array:
    main = np.flatnonzero(component == 0)
    if len(main) in (0, 1, len(tiles)):
        return coef
    tree = cKDTree(tiles.start[main, 0])
    _, near = tree.query(tiles.start[:, 0], k=min(_NEAREST, len(main)))
    offset = (coef[main, 0] - tiles.start[main, 0])[near].mean(axis=1)
    means = _means(offset, component, int(component.max()) + 1)
    means[0] = 0
    return np.asarray(coef + _first(means[component]))


def _means(values: Array, component: Array, count: int) -> Array:
    sizes = np.bincount(component, minlength=count)
    return np.stack([np.bincount(component, values[:, axis], count) / sizes for axis in (0, 1)], axis=1)
