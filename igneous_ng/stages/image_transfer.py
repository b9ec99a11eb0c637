"""Copies of image layers: cut out, moved, chunked, encoded, typed or pooled otherwise."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng import imaging, passes
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import settings
from igneous_ng.formats.codecs import DTYPES
from igneous_ng.formats.info import Info, Scale, is_aligned, new_info
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.imaging import Read
from igneous_ng.io import IO
from igneous_ng.kernels.casting import exactly, rescaled
from igneous_ng.masks import Masked
from igneous_ng.passes import Pass
from igneous_ng.sources.layers import LayerSource, open_layer
from igneous_ng.stage import LayerUrl, arg, opt
from igneous_ng.store import Compression
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Transfer(Masked, name="image transfer"):
    """Copy a level of a layer to another layer: all or a part of it, as it is or otherwise.

    Where chunks need not change, their bytes are copied and never decoded; where only the compression does, that
    alone is done anew. Values are kept exactly or the transfer stops, unless a window is given. The new levels are
    shown to readers when all of them are written. A missing chunk of the source stops the transfer. What a mask, laid
    over the source, leaves out becomes zero.
    """

    example = "./em s3://bucket/em --chunk 128,128,64 --sharded -p 4"

    source: LayerUrl = arg("Layer to read.")
    layer: LayerUrl = arg("Layer to create, or to extend by coarser levels.")
    format: Literal["precomputed", "zarr", "n5", "graphene", "bossdb"] = opt(
        "precomputed", "What the source is; zarr is an OME-Zarr, bossdb is bossdb://COLLECTION/EXPERIMENT/CHANNEL."
    )
    kind: Literal["auto", "image", "segmentation"] = opt(
        "auto", "What the values are: intensities or labels; auto is what the source says."
    )
    mip: int = opt(0, "Level of the source to read.")
    roi: Box | None = opt(None, "Only this box, in voxels of the level read; by default all.")
    translate: Vec3 = opt((0, 0, 0), "Move by this many voxels of the level read.")
    chunk: Vec3 | None = opt(None, "Shape of a chunk in voxels; by default the source's.")
    encoding: tuple[str, ...] = opt(
        (), "Encodings of the levels in order, the last one of all above; by default the source's."
    )
    settings: tuple[str, ...] = opt(
        (), "Settings of encodings, such as jpeg_quality=85; for each level whose encoding has it."
    )
    compress: Compression = opt("gzip", "How chunks are stored; none for readers that cannot undo it.")
    sharded: bool = opt(False, "Put chunks together in shards, as large as memory allows; by default one object each.")
    dtype: str = opt("", "Data type of the new layer, by default the source's; values must fit exactly.")
    window: tuple[float, float] | None = opt(
        None, "Spread these two values over the data type, round, and clip what is outside: images only."
    )
    fill_missing: bool = opt(False, "Read missing chunks as zeros instead of failing; the record counts them.")
    delete_background: bool = opt(False, "Store no chunk that holds only zeros; readers must then fill them in.")
    num_mips: int = opt(0, "How many coarser levels to make in the same pass.")
    factor: Vec3 = opt((2, 2, 1), "Shrink each axis by this much from level to level.")
    method: Literal["auto", "average", "mode", "min", "max", "stride"] = opt(
        "auto", "How to pool; auto averages images and takes the most common label of segmentations."
    )
    sparse: bool = opt(False, "When pooling, ignore zeros where a block holds anything else.")

    def check(self) -> None:
        """The fields fit each other, and a layer is not copied onto itself."""
        super().check()
        if self.source.startswith("bossdb://") and self.format != "bossdb":
            raise SpecError(f"image transfer: {self.source} is read with --format bossdb; say so")
        imaging.check_pooling(self.name, self.factor, self.method, self.sparse)
        if self.source == self.layer:
            raise SpecError(f"image transfer: {self.layer} cannot be copied onto itself; name another place")
        if self.mip < 0 or self.num_mips < 0:
            raise SpecError(f"image transfer: {self.num_mips} mips above mip {self.mip}; both count from 0 up")
        settings.parse(self.settings)
        if self.sharded:
            imaging.packing_of(self.name, self.compress)
        if len(self.encoding) > self.num_mips + 1:
            raise SpecError(
                f"image transfer: {len(self.encoding)} encodings for {self.num_mips + 1} levels; "
                "name at most one for each"
            )
        if self.dtype and self.dtype not in DTYPES:
            raise SpecError(f"image transfer: Precomputed volumes hold no {self.dtype!r}; use {', '.join(DTYPES)}")
        if self.window and not self.window[0] < self.window[1]:
            raise SpecError(f"image transfer: window {self.window}: the first value must be below the second")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def prepare(self, io: IO) -> None:
        """Refuse what cannot be made; the layer is published only at the end."""
        self._pass(io)

    def units(self, io: IO) -> Grid:
        """Cells of the coarsest new level."""
        return self._pass(io).units()

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """A few copies of one cell, in the wider of both data types, and one more where these differ."""
        made = self._pass(io)
        source, new, read = self._source(io), made.info.dtype.itemsize, made.first(unit)
        scaling = np.dtype(np.float64).itemsize if self.window else 0
        widest = max(source.dtype.itemsize, scaling, new)
        converted = read.voxels * source.channels * widest if source.dtype != made.info.dtype else 0
        masked = self.mask_bytes(io, self._back(read), source.scales[self.mip].resolution)
        return made.peak_bytes(unit) * widest // new + converted + masked

    def execute(self, unit: Box, io: IO) -> None:
        """Copy the chunks of one cell, or read, convert, pool and write it."""
        made, source = self._pass(io), self._source(io)
        if self._as_stored(made.scales[0], made.info, source):
            self._copy(unit, self._volume(io), io.volume(self.layer, made.mip, info=made.info), io)
            return
        read = self._reader(io)

        def converted(box: Box) -> Array:
            box = self._back(box)
            return self._convert(self.seen(io, source, self.mip, box, read)[0], made.info.dtype, box)

        made.make(io, unit, converted, self.compress, self.delete_background)

    def finish(self, io: IO) -> None:
        """Show the new levels."""
        made = self._pass(io)
        if io.exists(f"{self.layer}/info"):
            io.edit_info(self.layer, *made.scales)
        else:
            io.create_layer(self.layer, made.info)

    def _pass(self, io: IO) -> Pass:
        source = self._source(io)
        if not self.mip < len(source.scales):
            raise SpecError(f"{self.source} has no mip {self.mip}; there are mips 0 to {len(source.scales) - 1}")
        above = tuple(imaging.encoding_of(self.encoding, level) for level in range(1, self.num_mips + 1))
        info = imaging.raised(self._new_info(source), 0, self.factor, above, settings.parse(self.settings), self.layer)
        made = Pass(
            layer=self.layer,
            info=info,
            mip=0,
            count=self.num_mips,
            factor=self.factor,
            method=imaging.method_of(info, self.method),
            sparse=self.sparse,
            base=True,
            memory=self.room,
            piece=passes.PIECE_VOXELS if self._over(source.scales[self.mip], info.scales[0]) else passes.TASK_VOXELS,
        )
        if self.sharded:
            made = made.in_shards(0, imaging.packing_of(self.name, self.compress))
        return made.placed(io.info(self.layer)) if io.exists(f"{self.layer}/info") else made

    def _over(self, old: Scale, new: Scale) -> bool:
        """Whether the chunks of both begin together: then small pieces decode none of them twice."""
        apart = (a - b for a, b in zip(self._back(new.bounds).lo, old.bounds.lo, strict=True))
        return not any(n % c for n, c in zip(apart, old.chunk, strict=True))

    def _source(self, io: IO) -> Info:
        """What is to be read."""
        return io.info(self.source) if self.format == "precomputed" else self._foreign(io).info

    def _foreign(self, io: IO) -> LayerSource:
        assert self.format != "precomputed"
        with io.away():
            return open_layer(self.source, self.format, io.store)

    def _volume(self, io: IO) -> Volume:
        return io.volume(self.source, self.mip, self.fill_missing)

    def _reader(self, io: IO) -> Read:
        if self.format == "precomputed":
            return imaging.reader(io, self._volume(io))
        foreign = self._foreign(io)

        def read(box: Box) -> Array:
            with io.away():
                voxels = foreign.read(self.mip, box)
            io.saw(self.source, box, voxels)
            return voxels

        return read

    def _new_info(self, source: Info) -> Info:
        """The new layer, of one level."""
        scale, kind = source.scales[self.mip], source.kind if self.kind == "auto" else self.kind
        if self.window and kind != "image":
            raise SpecError(f"{self.source} holds labels, and a window would change them; leave it out")
        part = self.roi & scale.bounds if self.roi else scale.bounds
        if not part.voxels:
            raise SpecError(f"image transfer: {self.roi} has no part of {self.source} mip {self.mip}, {scale.bounds}")
        encoding = imaging.encoding_of(self.encoding, 0) or scale.encoding
        old = scale.parameters if encoding == scale.encoding else {}
        info = new_info(
            kind=kind,
            dtype=self.dtype or source.dtype.name,
            channels=source.channels,
            bounds=part.shift(self.translate),
            resolution=scale.resolution,
            chunk=self.chunk or scale.chunk,
            encoding=encoding,
            parameters={**old, **settings.fitting(settings.parse(self.settings), encoding)},
        )
        if encoding == scale.encoding:  # with keys that only its writer knows
            kept = {**scale.with_sharding(None).extra, **info.scales[0].extra}
            info = replace(info, scales=(replace(info.scales[0], extra=kept),))
        return info

    def _as_stored(self, new: Scale, info: Info, source: Info) -> bool:
        """Whether each new chunk is one of the source's, as it is coded there."""
        old = source.scales[self.mip]
        apart = self.format == "precomputed" and not (old.sharded or new.sharded)
        whole = apart and is_aligned(old, self._back(new.bounds))
        same = (old.chunk, old.encoding, old.extra, source.dtype) == (new.chunk, new.encoding, new.extra, info.dtype)
        return whole and same and not (self.window or self.num_mips or self.delete_background or self.mask)

    def _copy(self, unit: Box, volume: Volume, new: Volume, io: IO) -> None:
        chunks = list(new.chunks(unit))
        pairs = [(volume.url(self._back(chunk)), new.url(chunk)) for chunk in chunks]
        there = io.copy(pairs, self.compress)
        io.wrote_box(new, unit)
        missing = [chunk for chunk, found in zip(chunks, there, strict=True) if not found]
        if not self.fill_missing:
            imaging.refuse_missing(volume, self._back(unit), [self._back(chunk) for chunk in missing])
            return
        for chunk in missing:
            io.write(new, chunk, np.zeros((*chunk.shape, new.channels), new.dtype), self.compress)
        imaging.note_missing(io, len(missing))

    def _back(self, box: Box) -> Box:
        """Where ``box`` lies in the source."""
        return box.shift(vec(-by for by in self.translate))

    def _convert(self, voxels: Array, dtype: np.dtype[Any], box: Box) -> Array:
        try:
            return rescaled(voxels, *self.window, dtype) if self.window else exactly(voxels, dtype)
        except DataError as error:
            raise DataError(
                f"{self.source} mip {self.mip}: {box}: {error}; give another --dtype, or a --window to scale them"
            ) from None
