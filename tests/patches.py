"""Pictures that overlap, blended into a new array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from igneous_ng.kernels.blending import Patch, Window, blend


def blended(patches: Sequence[Patch], window: Window, background: float, dtype: str, channels: int = 1) -> np.ndarray:
    """What they show in ``window``, ``[x, y, channel]``."""
    out = np.empty((window[2] - window[0], window[3] - window[1], channels), dtype, order="F")
    blend(patches, window, background, out)
    return out
