"""What stages share that show a volume as a new layer: how that is stored, its levels, and how it is cut into tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import lcm

import numpy as np

from igneous_ng import imaging
from igneous_ng.errors import SpecError
from igneous_ng.formats import settings
from igneous_ng.formats.info import IMAGE, Info, new_info
from igneous_ng.geometry import Box, Vec3, Vec3f, vec
from igneous_ng.io import IO
from igneous_ng.kernels.pooling import Method
from igneous_ng.mosaics import ROUND
from igneous_ng.passes import PIECE_VOXELS, Pass
from igneous_ng.stage import Stage, opt
from igneous_ng.store import Compression

CELL = 8192
"""Voxels of a task along x and y: more of them decode less twice."""
_SHARE = 4  # what the levels of a task, or what a piece is made of, may take of memory: a quarter


@dataclass(frozen=True)
class Kind:
    """What the voxels of a new layer are."""

    dtype: str
    channels: int
    resolution: Vec3f
    """Of a voxel, in nm."""
    kind: str = IMAGE
    method: Method = "average"
    """How it is pooled."""

    @property
    def voxel_bytes(self) -> int:
        """Bytes of a voxel, all its channels."""
        return np.dtype(self.dtype).itemsize * self.channels


@dataclass(frozen=True, kw_only=True)
class Shown(Stage):
    """The fields of a stage that shows a volume as the layer at its :meth:`home`, and what they mean."""

    bounds: Box | None = opt(None, "Bounds of the layer in voxels; by default all there is. Rounded outwards.")
    encoding: tuple[str, ...] = opt((), "Encodings of the levels in order, the last one of all above; by default raw.")
    settings: tuple[str, ...] = opt(
        (), "Settings of encodings, such as jpeg_quality=85; for each level whose encoding has it."
    )
    compress: Compression = opt("gzip", "How chunks are stored; none for readers that cannot undo it.")
    chunk: Vec3 = opt((512, 512, 1), "Shape of a chunk in voxels.")
    num_mips: int = opt(4, "How many coarser levels to make in the same pass.")
    factor: Vec3 = opt((2, 2, 1), "Shrink each axis by this much from level to level.")

    def check(self) -> None:
        """The fields fit each other."""
        super().check()
        imaging.check_pooling(self.name, self.factor, "average", sparse=False)
        if self.num_mips < 0 or min(self.chunk) < 1:
            raise SpecError(f"{self.name}: {self.num_mips} mips of chunks {self.chunk}; both must be positive")
        if len(self.encoding) > self.num_mips + 1:
            raise SpecError(
                f"{self.name}: {len(self.encoding)} encodings for {self.num_mips + 1} levels; name at most one for each"
            )
        settings.parse(self.settings)

    def create(self, io: IO, made: Pass) -> None:
        """Write the layer's info, of its finest level."""
        io.create_layer(self.home(), Info(made.info.kind, made.info.dtype, made.info.channels, made.scales[:1]))

    def over(self, kind: Kind, bounds: Box, pixel: int) -> Pass:
        """The layer of ``bounds``; what a piece is made of takes ``pixel`` bytes for each of its voxels."""
        info = self._info(kind, bounds)
        return Pass(
            layer=self.home(),
            info=info,
            mip=0,
            count=self.num_mips,
            factor=self.factor,
            method=kind.method,
            sparse=False,
            base=True,
            memory=self.memory // _SHARE,
            piece=min(PIECE_VOXELS, self.memory // (_SHARE * pixel)),
        )

    def _info(self, kind: Kind, bounds: Box) -> Info:
        tuned = settings.parse(self.settings)
        encoding = imaging.encoding_of(self.encoding, 0) or "raw"
        info = new_info(
            kind=kind.kind,
            dtype=kind.dtype,
            channels=kind.channels,
            bounds=bounds,
            resolution=kind.resolution,
            chunk=self.chunk,
            encoding=encoding,
            parameters=settings.fitting(tuned, encoding),
        )
        above = tuple(imaging.encoding_of(self.encoding, level) for level in range(1, self.num_mips + 1))
        return imaging.raised(info, 0, self.factor, above, tuned, self.home())


@dataclass(frozen=True, kw_only=True)
class ShownSections(Shown):
    """The fields of a stage that shows sections so, and what they mean."""

    background: int = opt(0, "What is shown where nothing is.")

    def begin(self, io: IO, made: Pass, hull: Callable[[], Box], what: str) -> None:
        """Write the layer's info, of its finest level; SpecError where ``what`` now reaches beyond it, to ``hull``."""
        if self.bounds is None and (reached := hull()) not in made.scales[0].bounds:
            raise SpecError(
                f"{self.home()}: has {made.scales[0].bounds}, and {what} now reach {reached}; "
                "render another layer, or give --bounds"
            )
        self.create(io, made)

    def placed(self, io: IO, over: Callable[[Box], Pass], hull: Callable[[], Box]) -> Pass:
        """The layer, as it is there or is to be made: ``over`` bounds, those asked for, or of whole ``hull``."""
        if not io.exists(f"{self.home()}/info"):
            return over(self._new_bounds(hull))
        old = io.info(self.home())
        bounds = self._new_bounds(hull) if self.bounds is not None else old.scales[0].bounds
        return over(bounds).placed(old)

    def over(self, kind: Kind, bounds: Box, pixel: int) -> Pass:
        """As of any volume, in tasks of :data:`CELL` voxels a side."""
        return replace(super().over(kind, bounds, pixel), cell=(CELL, CELL, 1))

    def check_background(self, kind: Kind) -> None:
        """SpecError where voxels of this kind cannot be the background."""
        limits = np.iinfo(kind.dtype) if np.dtype(kind.dtype).kind != "f" else None
        if limits and not limits.min <= self.background <= limits.max:
            raise SpecError(f"{self.name}: {kind.dtype} has no background {self.background}")

    def fine(self, unit: Box) -> Box:
        """The box of the finest level under a unit."""
        return unit * vec(f**self.num_mips for f in self.factor)

    def _new_bounds(self, hull: Callable[[], Box]) -> Box:
        """What is asked for, or all there is; whole voxels of the coarsest level, and so of all."""
        ratio = [f**self.num_mips for f in self.factor]
        if self.bounds is None:
            ratio[:2] = (lcm(n, ROUND) for n in ratio[:2])
        return (self.bounds or hull()) // vec(ratio) * vec(ratio)
