"""compressed_segmentation, the chunk encoding of labels."""

from typing import Any

from numpy.typing import NDArray

def encode(voxels: NDArray[Any], block: tuple[int, int, int]) -> bytes:
    """The bytes of one chunk: uint32 or uint64, [x, y, z, c], in any memory order."""

def decode(
    data: bytes,
    shape: tuple[int, int, int],
    block: tuple[int, int, int],
    start: tuple[int, int, int],
    out: NDArray[Any],
) -> None:
    """Write the voxels of a chunk of ``shape`` from ``start`` on to ``out``, [x, y, z, c], in any memory order.

    ValueError where the bytes are no such chunk; ``out`` may then be written in part.
    """
