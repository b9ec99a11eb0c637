"""Removal of levels, or of the chunks in a box."""

from dataclasses import dataclass, replace
from math import prod
from typing import Any

from igneous_ng import levels
from igneous_ng.deriving import chunks
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import info as infos
from igneous_ng.formats.info import Info, Scale, chunk_name, chunk_range
from igneous_ng.geometry import Box, Grid, vec
from igneous_ng.io import IO
from igneous_ng.levels import Levels, Unit
from igneous_ng.stage import LayerUrl, Stage, arg, opt

_SIDE = 16  # chunks of one task along each axis
_NAME_BYTES = 1000  # of the name of a chunk, in every list and record that holds it
_SHARDS = 100_000  # of a level at most
_REMOVED = "igneous_ng_removed"


@dataclass(frozen=True, kw_only=True)
class Delete(Stage, name="image delete"):
    """Remove levels of a layer, or with a box only the chunks that lie wholly in it.

    Levels are named by their keys, such as 8_8_40, for their numbers change when one goes. A level leaves the list in
    `info` in one step, when the first task runs and before any chunk goes: readers see all of it or nothing. At least
    one level must stay; to remove a layer, remove its folder.
    """

    example = "./em --keys 8_8_40 --box 0:512,0:512,0:64"

    layer: LayerUrl = arg("Layer to remove from.")
    keys: tuple[str, ...] = opt((), "Keys of the levels to remove, or to remove chunks of, as info names them.")
    box: Box | None = opt(None, "Only chunks wholly inside, in voxels of the first of these levels; levels stay.")

    def check(self) -> None:
        """Levels are named."""
        if not self.keys or len(set(self.keys)) < len(self.keys):
            raise SpecError(f"{self.name}.keys: {','.join(self.keys) or '(none)'}; name one or more levels, once each")

    def home(self) -> str:
        """Records lie with the layer."""
        return self.layer

    def units(self, io: IO) -> Levels:
        """Cells of whole chunks, of each level; all of a sharded level at once."""
        info = io.info(self.layer)
        scales = self._scales(info)
        if self.box is None and all(scale.key in self.keys for scale in info.scales):
            raise SpecError(f"{self.name}: {self.layer} would have no level left; remove its folder instead")
        grids = {}
        for index, scale in enumerate(scales):
            inside = self._inside(scales, scale)
            if inside.voxels:
                cell = scale.bounds.shape if scale.sharded else vec(n * _SIDE for n in scale.chunk)
                grids[index] = Grid(scale.bounds, cell, inside)
        return Levels(grids)

    def peak_bytes(self, unit: Unit, io: IO) -> int:
        """The names of what goes."""
        scale = self._scales(io.info(self.layer))[unit[0]]
        return _NAME_BYTES * (_SHARDS if scale.sharded else prod(chunk_range(scale, unit[1]).shape))

    def execute(self, unit: Unit, io: IO) -> None:
        """Hide the levels if they are still shown, then remove the chunks of one cell."""
        info = io.info(self.layer)
        scales = self._scales(info)
        if self.box is None:
            self._hide(info, scales, io)
        index, cell = unit
        names = self._names(io, info, scales, index, cell)
        for name in names:
            io.delete(f"{self.layer}/{name}")
        io.note(level=scales[index].key, objects=len(names))

    def finish(self, io: IO) -> None:
        """Forget the levels that are gone."""
        info = io.info(self.layer)
        left = [raw for raw in info.extra.get(_REMOVED, []) if raw["key"] not in self.keys]
        if self.box is None and _REMOVED in info.extra:
            self._write(info, info.scales, left, io)

    def forecast(self, io: IO) -> tuple[str, ...]:
        """What would go."""
        scales, lines = self._scales(io.info(self.layer)), []
        for scale in scales:
            inside = self._inside(scales, scale)
            what = "the level" if self.box is None else f"in {inside}"
            count = prod(chunk_range(scale, inside).shape)
            lines.append(f"{self.layer}/{scale.key}: {what}, {count:,} chunks where all are stored")
        return tuple(lines)

    def _scales(self, info: Info) -> list[Scale]:
        """The levels named, shown or hidden by a task before."""
        known = {scale.key: scale for scale in (*_removed(info), *info.scales)}
        for key in self.keys:
            if key not in known:
                raise SpecError(f"{self.name}: {self.layer} has no level {key}; there are: {', '.join(known)}")
        if self.box is not None and any(known[key].sharded for key in self.keys):
            raise SpecError(f"{self.name}: {self.layer} has shards, of which no part is removed; ask without --box")
        return [known[key] for key in self.keys]

    def _inside(self, scales: list[Scale], scale: Scale) -> Box:
        return scale.bounds if self.box is None else levels.inner(self.box, scales[0], scale)

    def _names(self, io: IO, info: Info, scales: list[Scale], index: int, cell: Box) -> list[str]:
        scale = scales[index]
        if scale.sharded:
            return [f"{scale.key}/{name}" for name in io.list(f"{self.layer}/{scale.key}")]
        volume = io.volume(self.layer, index, info=replace(info, scales=tuple(scales)))
        inside = cell & self._inside(scales, scale)
        return [chunk_name(scale, chunk) for chunk in chunks(volume, inside)] if inside.voxels else []

    def _hide(self, info: Info, scales: list[Scale], io: IO) -> None:
        shown = tuple(scale for scale in info.scales if scale.key not in self.keys)
        if not shown:
            raise DataError(f"{self.layer} lost its other levels meanwhile, and one must stay; nothing was removed")
        if shown != info.scales:
            others = [raw for raw in info.extra.get(_REMOVED, []) if raw["key"] not in self.keys]
            self._write(info, shown, [*others, *(scale.to_json() for scale in scales)], io)

    def _write(self, info: Info, shown: tuple[Scale, ...], removed: list[dict[str, Any]], io: IO) -> None:
        extra = {key: value for key, value in info.extra.items() if key != _REMOVED}
        new = replace(info, scales=shown, extra={**extra, _REMOVED: removed} if removed else extra)
        io.put(f"{self.layer}/info", infos.encode(new))


def _removed(info: Info) -> tuple[Scale, ...]:
    """Levels that are hidden from readers until their chunks are gone."""
    raw = info.extra.get(_REMOVED)
    return infos.parse({**info.to_json(), "scales": raw}, _REMOVED).scales if raw else ()
