"""A field whose steps are as wished, as nearly as may be, and that is small: a screened Poisson equation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

Array = npt.NDArray[Any]


def screened(along_x: Array, along_y: Array, screen: float) -> Array:
    """The h ``[x, y]``, float64, that makes sum (dh - wished)^2 + screen sum h^2 the least.

    ``along_x`` ``[nx - 1, ny]`` and ``along_y`` ``[nx, ny - 1]`` are the wished steps from a sample to the next;
    ``screen`` > 0. Its equations, (screen - Laplace) h = - div wished, are solved outright by cosine transforms,
    which know the free border (Bhat et al. 2008); steps die away over ``1 / sqrt(screen)`` samples.
    """
    nx, ny = along_y.shape[0], along_x.shape[1]
    source = np.zeros((nx, ny))
    source[1:] += along_x
    source[:-1] -= along_x
    source[:, 1:] += along_y
    source[:, :-1] -= along_y
    waves = fft.dctn(source, norm="ortho", overwrite_x=True)
    waves /= screen + _waves(nx)[:, None] + _waves(ny)
    return np.asarray(fft.idctn(waves, norm="ortho", overwrite_x=True))


def _waves(count: int) -> Array:
    """What the second difference makes of each term of a cosine series."""
    return np.asarray(2.0 - 2.0 * np.cos(np.pi * np.arange(count) / count))
