"""A wide stack of few slices from a deep one of real tissue, for benchmarks of alignment."""

from __future__ import annotations

import numpy as np


def spread(voxels: np.ndarray, side: int, slices: int) -> np.ndarray:
    """A wide stack of few slices: parts of a deep one, each as it is, turned and mirrored, side by side.

    Nothing comes twice in the same way, for sections of a pattern that repeats lie on each other in many ways.
    """
    width, rows = voxels.shape[0], -(-side // voxels.shape[0])
    parts = []
    for n in range(rows * rows):
        way, start = n % 8, n // 8 * slices
        part = np.rot90(voxels[:, :, start : start + slices], way % 4)
        parts.append(part[::-1] if way >= 4 else part)
    wide = np.stack(parts).reshape(rows, rows, width, width, slices).swapaxes(1, 2)
    return wide.reshape(rows * width, rows * width, slices)[:side, :side]
