"""Correlation of blocks by torch, on a graphics processor where there is one: ``native/blocks.cpp`` in whole arrays.

Sums go in another order than there, so that correlations differ in their last digits, and vectors by far less than
0.01 pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import ConfigurationError
from igneous_ng.kernels.block_matching import LEAST, Manner, Picture

Array = npt.NDArray[Any]
_KINDS = 6  # products, b, b b, pixels, a, a a
_LEAST = 1e-8  # of a product of variances, as a part of that of sums of squares
_AT_ONCE = 16  # shifts along x
_FLOATS = 8  # for each pixel of a picture, beside those for each shift


def gpu() -> bool:
    """Whether torch is installed and sees a graphics processor."""
    try:
        return bool(_torch().cuda.is_available())
    except ConfigurationError:
        return False


def device() -> str:
    """What torch computes on: ``cuda`` or ``cpu``."""
    return "cuda" if _torch().cuda.is_available() else "cpu"


def device_bytes(shape: tuple[int, int], reach: int) -> int:
    """Bytes on the device for a first picture of ``shape`` pixels and shifts up to ``reach``."""
    pixels = (shape[0] + 2 * reach) * (shape[1] + 2 * reach)
    return 4 * pixels * (_FLOATS + 2 * _AT_ONCE) + 500_000_000


def correlated(a: Picture, b: Picture, wanted: Array, manner: Manner) -> Array:
    """As :func:`igneous_ng.kernels.block_matching.correlated`."""
    with _torch().no_grad():
        return _Correlation(a, b, manner).surfaces(wanted.T)


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ConfigurationError("the torch back end needs torch; pip install igneous-ng[torch]") from None
    return torch


class _Correlation:
    """Two pictures on the device."""

    def __init__(self, a: Picture, b: Picture, manner: Manner) -> None:
        self._torch, self._side, self._reach = _torch(), manner.side, manner.reach
        self._whole = bool(a.tissue.all() and b.tissue.all())
        self._a, self._b = self._planes(a), self._planes(b)
        self._weights = self._torch.as_tensor(manner.weights, device=device())

    def surfaces(self, wanted: Array) -> Array:
        """Correlations ``[n, dy, dx]`` of the nodes that are wanted."""
        shifts = range(2 * self._reach + 1)
        keep = self._torch.as_tensor(np.ascontiguousarray(wanted), device=device())
        rows = [
            self._torch.cat([self._row(dy, at)[:, keep] for at in _groups(len(shifts))]).T  # [n, dx]
            for dy in shifts
        ]
        found: Array = self._torch.stack(rows, dim=1).cpu().numpy()
        return found

    def _planes(self, of: Picture) -> tuple[Any, Any, Any]:
        """The picture, its square and its mask, ``[y, x]``."""
        values, ones = (np.ascontiguousarray(one.T, np.float32) for one in (of.values, of.tissue))
        own, mask = (self._torch.as_tensor(one, device=device()) for one in (values, ones))
        return own * mask, own * own * mask, mask

    def _row(self, dy: int, shifts: range) -> Any:
        """Correlations ``[dx, y, x]`` at all nodes, of some shifts along x."""
        (a, aa, ma), (b, bb, mb) = self._a, tuple(self._moved(one, dy, shifts) for one in self._b)
        if self._whole:
            mb = mb[:1]
        ab, sb, sbb = (self._patches(one) for one in (a * b, b * ma, bb * ma))
        n, sa, saa = (self._patches(one * mb) for one in (ma, a, aa))
        va, vb = saa - sa * sa / n.clamp_min(1e-20), sbb - sb * sb / n.clamp_min(1e-20)
        says = (va > 0) & (vb > 0) & (va * vb > _LEAST * saa * sbb)
        value = (ab - sa * sb / n.clamp_min(1e-20)) / self._torch.sqrt(self._torch.where(says, va * vb, 1))
        full = float(self._weights.sum()) ** 2 * self._side**2
        value = self._torch.where(says, value, 0)
        return self._torch.where(n < LEAST * full, self._torch.nan, value)

    def _moved(self, plane: Any, dy: int, shifts: range) -> Any:
        """The part that lies over the first picture at each shift, ``[dx, y, x]``: a view."""
        height, width = self._a[0].shape
        rows = plane[dy : dy + height, shifts.start : shifts.stop - 1 + width]
        return rows.unfold(1, width, 1).transpose(0, 1)

    def _patches(self, pixels: Any) -> Any:
        """Weighted sums over each patch, ``[dx, node y, node x]``."""
        shifts, height, width = pixels.shape
        side = self._side
        sums = pixels.reshape(shifts, height // side, side, width // side, side).sum(dim=(2, 4))
        for _ in range(2):
            sums = (sums.unfold(1, len(self._weights), 2) * self._weights).sum(dim=-1).transpose(1, 2)
        return sums


def _groups(count: int) -> list[range]:
    return [range(n, min(n + _AT_ONCE, count)) for n in range(0, count, _AT_ONCE)]
