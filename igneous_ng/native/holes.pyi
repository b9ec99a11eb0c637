"""Holes in objects."""

from typing import Any

from numpy.typing import NDArray

def fill(mask: NDArray[Any]) -> int:
    """Set, in place, the zeros of ``mask`` that no path along faces connects to the outside; how many there were.

    ``mask`` is uint8 [x, y, z] in Fortran order; all that is not 0 becomes 1.
    """

def fill_plane(mask: NDArray[Any]) -> int:
    """As :func:`fill`, where no path leads out along z: for planes, ``mask`` [x, y, 1]."""
