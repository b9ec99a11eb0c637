"""Sections as they would come from a microtome: how each is bent, torn and turned, and where tissue is missing.

Everything follows from a seed and the number of the section, so that sections can be made piece by piece. A point x
of a section, in pixels, shows the place p of the registered stack: ``y = frame (x - c) + c``, torn to ``y'``, and
``p = matrix (y' - c) + c + shift + g(y')``, where c is the centre and g a field that is known at the nodes of a
lattice of :data:`STEP` pixels and bilinear between them (``kernels/fields.py``). Points are ``[..., 2]``, x and y, and
are counted from the first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels import fields
from igneous_ng.kernels.affine import linear

Array = npt.NDArray[Any]
Matrix = tuple[float, float, float, float]
STEP = 16
"""Pixels between nodes of the field g."""
TISSUE, VOID, FOLD, CRACK = range(4)
_TEARS = {"folded": FOLD, "cracked": CRACK}
_FOLD_HALF = 6.0  # pixels from the line of a fold, in which tissue lies over tissue
_SMOOTH = ((90.0, 1.0), (35.0, 0.25))  # sigma of the fields in pixels, and their shares of the amplitude
_REACH = 4  # sigma, where the Gaussian is cut
_BLOCK = 64  # nodes a side that are drawn together
_PLANTED, _NODES = 0, 1  # streams of random numbers; of nodes there is one for each sigma


@dataclass(frozen=True)
class Scatter:
    """How far sections differ. Lengths are pixels, levels those of the image's type."""

    warp: float
    shift: float
    turn: float
    """Degrees, at most."""
    stretch: float
    """Of the length along each axis and of the angle between them, at most."""
    gain: float
    offset: float
    share: float
    """Of a section that is void where it is masked."""
    angle: float
    jump: float
    seed: int


@dataclass(frozen=True)
class Tear:
    """A fold or a crack: ``code``, and the line of points y with ``normal . (y - c) = place``.

    Across a fold places jump on by ``jump`` pixels, for that much tissue is hidden. A crack is as wide a gap.
    """

    code: int
    normal: tuple[float, float]
    place: float
    jump: float

    @property
    def half(self) -> float:
        """Half the width of what is masked."""
        return _FOLD_HALF if self.code == FOLD else self.jump / 2

    def torn(self, y: Array, apart: Array) -> Array:
        """The points y', from y and their distances ``apart`` from the line."""
        side = self.jump / 2
        moved = np.where(apart < 0, -side, side) if self.code == FOLD else -np.clip(apart, -side, side)
        found: Array = y + moved[..., np.newaxis] * np.array(self.normal)
        return found


@dataclass(frozen=True)
class Section:
    """What was planted in section ``z``."""

    z: int
    slice: int
    """Which slice of the stack it shows, counted from its first."""
    size: tuple[int, int]
    fault: str = ""
    frame: Matrix = (1.0, 0.0, 0.0, 1.0)
    matrix: Matrix = (1.0, 0.0, 0.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)
    gain: float = 1.0
    offset: float = 0.0
    void: tuple[float, float, float, float] | None = None
    """A part without tissue: x0, y0, x1, y1, in pixels."""
    tear: Tear | None = None

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Section:
        """From what ``dataclasses.asdict`` gives, and JSON keeps."""
        keys: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
        if raw["tear"]:
            keys["tear"] = Tear(**{**raw["tear"], "normal": tuple(raw["tear"]["normal"])})
        return cls(**keys)

    @property
    def centre(self) -> Array:
        """Of the section, and of its frame."""
        return (np.array(self.size, np.float64) - 1) / 2

    def straight(self, points: Array) -> Array:
        """The points y' at which the field g is looked up."""
        y = self._upright(points)
        return y if self.tear is None else self.tear.torn(y, self._apart(y))

    def shown(self, straight: Array, bends: Array) -> Array:
        """The places p of the stack, from points y' and the field g there."""
        placed: Array = _linear(self.matrix, straight - self.centre) + self.centre + np.array(self.shift) + bends
        return placed

    def codes(self, points: Array, places: Array, margin: float = 0) -> Array:
        """What there is at points that show ``places``, uint8: as in a mask. Void is what the stack does not have.

        With ``margin`` so many pixels at the border of the section and of the stack are void, too.
        """
        far = np.array(self.size) - 1 - margin
        inside = ((points >= margin) & (points <= far) & (places >= margin) & (places <= far)).all(axis=-1)
        codes = np.where(inside & (self.fault != "lost"), TISSUE, VOID).astype(np.uint8)
        if self.void is not None:
            codes[_beyond(self.void, points) == 0] = VOID
        if self.tear is not None:
            codes[np.abs(self._apart(self._upright(points))) < self.tear.half] = self.tear.code
        return codes

    def beside(self, points: Array) -> Array:
        """How far points are from what was torn or taken away; infinite where nothing was."""
        found = np.full(points.shape[:-1], np.inf)
        if self.void is not None:
            found = np.minimum(found, _beyond(self.void, points))
        if self.tear is not None:
            away = np.abs(self._apart(self._upright(points))) - self.tear.half
            found = np.minimum(found, np.maximum(away, 0))
        return found

    def across(self, spacing: float, away: float) -> tuple[Array, Array]:
        """Pairs of points on the two sides of the tear, ``away`` pixels from what is masked, ``spacing`` apart."""
        assert self.tear is not None
        normal, reach = np.array(self.tear.normal), float(np.hypot(*self.size)) / 2
        along = np.arange(-reach, reach, spacing)[:, np.newaxis] * np.array([-normal[1], normal[0]])
        a, b, c, d = self.frame
        back = (a, c, b, d)  # a turn or a mirror: what undoes it is its transpose
        sides = (self.tear.place + side * (self.tear.half + away) for side in (-1, 1))
        low, high = (_linear(back, along + place * normal) + self.centre for place in sides)
        return low, high

    def _upright(self, points: Array) -> Array:
        found: Array = _linear(self.frame, np.asarray(points, np.float64) - self.centre) + self.centre
        return found

    def _apart(self, y: Array) -> Array:
        """Signed distances from the line of the tear."""
        assert self.tear is not None
        (nx, ny), off = self.tear.normal, y - self.centre
        found: Array = nx * off[..., 0] + ny * off[..., 1] - self.tear.place
        return found


def planted(scatter: Scatter, z: int, slice_: int, size: tuple[int, int], fault: str) -> Section:
    """Section ``z``: the same draws whatever its fault, so that a fault changes nothing else."""
    rng = np.random.default_rng([scatter.seed, _PLANTED, z])
    shift = rng.uniform(-scatter.shift, scatter.shift, 2)
    turn = np.radians(rng.uniform(-scatter.turn, scatter.turn))
    x, y, shear = rng.uniform(-scatter.stretch, scatter.stretch, 3)
    matrix = _rotation(turn) @ np.array([[1 + x, shear], [shear, 1 + y]])
    gain, offset = 1 + rng.uniform(-scatter.gain, scatter.gain), rng.uniform(-scatter.offset, scatter.offset)
    side, direction, place = int(rng.integers(4)), rng.uniform(0, np.pi), rng.uniform(-0.15, 0.15) * min(size)
    frame = {"turned": _rotation(np.radians(scatter.angle)), "flipped": np.diag([-1.0, 1.0])}.get(fault, np.eye(2))
    normal = float(np.cos(direction)), float(np.sin(direction))
    return Section(
        z=z,
        slice=slice_,
        size=size,
        fault=fault,
        frame=_floats(frame),
        matrix=_floats(matrix),
        shift=(float(shift[0]), float(shift[1])),
        gain=float(gain),
        offset=float(offset),
        void=_strip(size, scatter.share, side) if fault == "masked" else None,
        tear=Tear(_TEARS[fault], normal, float(place), scatter.jump) if fault in _TEARS else None,
    )


def nodes(scatter: Scatter, z: int, low: tuple[int, int], high: tuple[int, int]) -> Array:
    """The field g of section ``z`` at nodes ``low`` to ``high``, the last not included: float32 ``[nx, ny, 2]``.

    White noise through Gaussians, each so that its root mean square is what is asked for.
    """
    found = np.zeros((high[0] - low[0], high[1] - low[1], 2))
    for stream, (sigma, share) in enumerate(_SMOOTH, _NODES):
        reach = int(np.ceil(_REACH * sigma / STEP))
        taps = np.exp(-((np.arange(-reach, reach + 1) * STEP / sigma) ** 2) / 2)
        taps /= np.sqrt((taps**2).sum())
        key = scatter.seed, stream, z
        noise = _noise(key, (low[0] - reach, low[1] - reach), (high[0] + reach, high[1] + reach))
        found += share * scatter.warp * _filtered(_filtered(noise, taps).swapaxes(0, 1), taps).swapaxes(0, 1)
    return found.astype(np.float32)


def bends(scatter: Scatter, section: Section, straight: Array) -> Array:
    """The field g at points y', bilinear between its nodes, and beyond the section as at its border."""
    at = fields.places(straight, STEP)
    x0, y0, x1, y1 = fields.around(at, (0, 0, *lattice(section.size)))
    return fields.bilinear(nodes(scatter, section.z, (x0, y0), (x1, y1)).astype(np.float64), (x0, y0), at)


def lattice(size: tuple[int, int]) -> tuple[int, int]:
    """Nodes along x and y that cover a section."""
    return -(-size[0] // STEP), -(-size[1] // STEP)


def _filtered(values: Array, taps: Array) -> Array:
    """Along the first axis, only where all taps find values; tap after tap, so that no sum depends on a window."""
    count = len(values) - len(taps) + 1
    found = np.zeros((count, *values.shape[1:]))
    for k, tap in enumerate(taps.tolist()):
        found += tap * values[k : k + count]
    return found


def _noise(key: tuple[int, ...], low: tuple[int, int], high: tuple[int, int]) -> Array:
    """White noise at nodes ``[nx, ny, 2]``, block by block, each from a seed of its own."""
    found = np.empty((high[0] - low[0], high[1] - low[1], 2))
    (i0, i1), (j0, j1) = ((a // _BLOCK, -(-b // _BLOCK)) for a, b in zip(low, high, strict=True))
    for i in range(i0, i1):
        for j in range(j0, j1):
            block = np.random.default_rng([*key, i % 2**32, j % 2**32]).standard_normal((_BLOCK, _BLOCK, 2))
            x0, y0 = i * _BLOCK, j * _BLOCK
            a, b = max(x0, low[0]), max(y0, low[1])
            c, d = min(x0 + _BLOCK, high[0]), min(y0 + _BLOCK, high[1])
            found[a - low[0] : c - low[0], b - low[1] : d - low[1]] = block[a - x0 : c - x0, b - y0 : d - y0]
    return found


def _strip(size: tuple[int, int], share: float, side: int) -> tuple[float, float, float, float]:
    """A share of the section at one of its four sides."""
    x0, y0, x1, y1 = 0.0, 0.0, size[0] - 1.0, size[1] - 1.0
    wide, high = share * size[0], share * size[1]
    sides = ((x0, y0, wide, y1), (x1 - wide, y0, x1, y1), (x0, y0, x1, high), (x0, y1 - high, x1, y1))
    return sides[side]


def _beyond(box: tuple[float, float, float, float], points: Array) -> Array:
    """How far points are from a box; 0 inside."""
    x0, y0, x1, y1 = box
    x, y = points[..., 0], points[..., 1]
    away = (np.maximum(np.maximum(low - v, v - high), 0) for v, low, high in ((x, x0, x1), (y, y0, y1)))
    return np.asarray(np.hypot(*away))


def _rotation(angle: float) -> Array:
    quarters = angle / (np.pi / 2)
    c, s = np.cos(angle), np.sin(angle)
    if quarters == round(quarters):  # without what rounding leaves
        c, s = np.round(c), np.round(s)
    return np.array([[c, -s], [s, c]])


def _floats(matrix: Array) -> Matrix:
    a, b, c, d = matrix.ravel().tolist()
    return a, b, c, d


def _linear(matrix: Matrix, points: Array) -> Array:
    return linear(np.reshape(matrix, (2, 2)), points)
