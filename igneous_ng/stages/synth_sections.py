"""Sections as they would be before alignment, cut from a registered stack, with all that is wrong with them known."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.alignment import CHUNK
from igneous_ng.errors import SpecError
from igneous_ng.formats.info import IMAGE, Info, new_info
from igneous_ng.geometry import Box, Grid, ceil_div
from igneous_ng.io import IO
from igneous_ng.kernels import synth_warps as making
from igneous_ng.kernels.synth_warps import FOLD, TISSUE, Scatter, Section
from igneous_ng.stage import LayerUrl, Stage, arg, opt

Array = npt.NDArray[Any]
_PIECE = 512  # pixels a side of a chunk, which is drawn at once
_HALO = 16  # pixels around what is shown, beyond which cubic splines have forgotten
_PIXEL_BYTES, _SOURCE_BYTES = 250, 40  # of a piece, and of the part of the stack that it shows
_SMALL = 50_000_000  # bytes: nodes and their noise, what libraries keep
_DARK = 0.3  # brightness of a fold
_NOISE = 99  # stream of random numbers, of pixels
_FAULTS = ("lost", "masked", "inverted", "turned", "flipped", "swapped", "folded", "cracked")


@dataclass(frozen=True, kw_only=True)
class SynthSections(Stage, name="synth sections"):
    """Cut slices of a registered stack into sections, each bent at random, and write down the truth.

    Writes the layers `image`, `mask` (1 void, 2 fold, 3 crack) and `truth/field`, and `truth.json`. Section z shows at
    its point x the place p of its slice: y = frame (x - c) + c; at a fold or crack y' jumps by so many pixels; p =
    matrix (y' - c) + c + shift + g(y'). c is the centre; g is bilinear between the nodes of `truth/field`, which are
    centres of 16 by 16 pixels; all in pixels from the first of the stack. The image begins at 0,0,0.
    """

    example = "./specimen/image ./bent --every 4"

    image: LayerUrl = arg("Image layer of a registered stack.")
    out: LayerUrl = arg("Folder to create the layers in.")
    every: int = opt(4, "Slices from section to section; 0: the same slice again and again.")
    first: int = opt(0, "The slice of the first section, counted from the first of the stack.")
    count: int | None = opt(None, "How many sections; by default as many as the stack has.")
    warp: float = opt(2.0, "Root mean square of the bends along each axis, in pixels.")
    shift: float = opt(8.0, "How far a section lies from its place, at most, in pixels along each axis.")
    turn: float = opt(0.0, "How far a section is turned, at most, in degrees.")
    stretch: float = opt(0.0, "How much a section is stretched or sheared, at most, as a fraction.")
    gain: float = opt(0.2, "How much the gain of sections differs from 1, at most.")
    offset: float = opt(15.0, "How much is added to all pixels of a section, at most, in grey levels.")
    noise: float = opt(6.0, "Standard deviation of the noise, in grey levels.")
    lost: tuple[int, ...] = opt((), "Sections that are lost: nothing is there.")
    masked: tuple[int, ...] = opt((), "Sections of which a part is void.")
    inverted: tuple[int, ...] = opt((), "Sections of inverted contrast.")
    turned: tuple[int, ...] = opt((), "Sections that lie turned by the angle.")
    flipped: tuple[int, ...] = opt((), "Sections that lie on their other side: x is mirrored.")
    swapped: tuple[int, ...] = opt((), "Sections that are exchanged with the next.")
    folded: tuple[int, ...] = opt((), "Sections with a fold: a strip of tissue is hidden.")
    cracked: tuple[int, ...] = opt((), "Sections with a crack: a gap in the tissue.")
    share: float = opt(0.3, "How much of a masked section is void, as a fraction.")
    angle: float = opt(90.0, "By how much sections are turned that are, in degrees.")
    jump: float = opt(20.0, "Width of the strip that a fold hides, and of the gap of a crack, in pixels.")
    cell: tuple[int, int] = opt((2048, 2048), "Pixels of a task, x,y; rounded up to multiples of 1024.")
    seed: int = opt(0, "Which bends and places of faults; the same seed and stack give the same bytes.")

    def check(self) -> None:
        """There are sections, and nothing is beyond measure; no section has two faults."""
        if min(self.every, self.first, self.seed, self.warp, self.shift, self.turn, self.offset, self.noise) < 0:
            raise SpecError("synth sections: slices, bends, noise and the seed cannot be negative")
        if self.every == 0 and self.count is None:
            raise SpecError("synth sections.count: one slice gives as many sections as you like; say how many")
        if not (0 <= self.gain < 1 and 0 <= self.stretch < 0.5 and 0 < self.share < 1 and self.jump > 0):
            raise SpecError("synth sections: gain, stretch (below 0.5) and share are fractions; a jump is positive")
        if min(self.cell) < 1 or (self.count is not None and self.count < 1):
            raise SpecError(f"synth sections: {self.count} sections in cells of {self.cell}; give at least 1")
        named = [z for kind in _FAULTS for z in getattr(self, kind)] + [z + 1 for z in self.swapped]
        if twice := sorted({z for z in named if named.count(z) > 1}):
            raise SpecError(f"synth sections: section {twice[0]} has two faults; give each one of its own")

    def home(self) -> str:
        """Records lie with the image."""
        return f"{self.out}/image"

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of all layers."""
        return (self.out,)

    def prepare(self, io: IO) -> None:
        """Sections and faults are in the stack; write the infos, other layers in their place being refused."""
        stack = io.info(self.image)
        if stack.dtype not in (np.uint8, np.uint16):
            raise SpecError(f"{self.image}: is {stack.dtype}; sections are uint8 or uint16")
        x, y, _ = stack.scales[0].resolution
        if x != y:
            raise SpecError(f"{self.image}: pixels are {x} x {y} nm; sections that turn have square ones")
        count, deep = self._count(stack), stack.scales[0].bounds.shape[2]
        if count < 1 or self.first + (count - 1) * self.every >= deep:
            raise SpecError(
                f"synth sections: {count} sections from slice {self.first} on, each {self.every} further, and "
                f"{self.image} has {deep} slices; ask for fewer"
            )
        strange = [z for z in self._faults() if not 0 <= z < count]
        if strange:
            raise SpecError(f"synth sections: a fault in section {strange[0]}, and there are 0 to {count - 1}")
        for name, info in self._infos(stack).items():
            io.create_layer(f"{self.out}/{name}", info)

    def units(self, io: IO) -> Grid:
        """Cells of each section, of whole chunks of the image and of the field."""
        whole = CHUNK * making.STEP
        x, y = (ceil_div(n, whole) * whole for n in self.cell)
        return Grid(self._bounds(io.info(self.image)), (x, y, 1))

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """One piece, and the part of the stack that it shows, for the widest turn."""
        stack = io.info(self.image)
        widest = int(1.5 * (1 + self.stretch) * _PIECE + 8 * self.warp + 2 * self.jump) + 2 * _HALO
        source = min(widest, stack.scales[0].bounds.shape[0]) * min(widest, stack.scales[0].bounds.shape[1])
        return _SMALL + _PIECE**2 * (_PIXEL_BYTES + 16 * stack.channels) + source * _SOURCE_BYTES * stack.channels

    def execute(self, unit: Box, io: IO) -> None:
        """Draw the chunks of one cell, and write its nodes."""
        stack = io.info(self.image)
        infos, section = self._infos(stack), self._section(stack, unit.lo[2])
        volumes = {name: io.volume(f"{self.out}/{name}", 0, info=info) for name, info in infos.items()}
        with io.writing(volumes["image"], unit) as image, io.writing(volumes["mask"], unit) as mask:
            for piece in volumes["image"].chunks(unit):
                values, codes = self._drawn(io, stack, section, piece)
                image(piece, values[:, :, np.newaxis])
                mask(piece, codes[:, :, np.newaxis, np.newaxis])
        cell = unit // (making.STEP, making.STEP, 1)
        nodes = making.nodes(self._scatter(), section.z, cell.lo[:2], cell.hi[:2])
        io.write(volumes["truth/field"], cell, np.asfortranarray(nodes[:, :, np.newaxis]))

    def finish(self, io: IO) -> None:
        """Write down what was planted."""
        stack = io.info(self.image)
        sections = [dataclasses.asdict(self._section(stack, z)) for z in range(self._count(stack))]
        raw = {"stack": self.image, "bounds": str(stack.scales[0].bounds), "step": making.STEP, "sections": sections}
        io.put_json(f"{self.out}/truth.json", raw)

    def said(self, io: IO) -> str:
        """How many sections, and what is wrong with which."""
        faults = self._faults()
        told = [f"{z} {kind}" for z, kind in sorted(faults.items())]
        return f"{self._count(io.info(self.image))} sections; {', '.join(told) or 'no faults'}"

    def _scatter(self) -> Scatter:
        return Scatter(**{key: getattr(self, key) for key in Scatter.__dataclass_fields__})

    def _count(self, stack: Info) -> int:
        if self.count is not None:
            return self.count
        return ceil_div(stack.scales[0].bounds.shape[2] - self.first, self.every)

    def _bounds(self, stack: Info) -> Box:
        x, y, _ = stack.scales[0].bounds.shape
        return Box((0, 0, 0), (x, y, self._count(stack)))

    def _faults(self) -> dict[int, str]:
        """What is wrong with which section."""
        found = {z: kind for kind in _FAULTS for z in getattr(self, kind)}
        return found | {z + 1: "swapped" for z in self.swapped}

    def _section(self, stack: Info, z: int) -> Section:
        x, y, _ = stack.scales[0].bounds.shape
        shown = z + 1 if z in self.swapped else z - 1 if z - 1 in self.swapped else z
        slice_ = self.first + shown * self.every
        return making.planted(self._scatter(), z, slice_, (x, y), self._faults().get(z, ""))

    def _infos(self, stack: Info) -> dict[str, Info]:
        bounds, (x, y, z) = self._bounds(stack), stack.scales[0].resolution
        common: dict[str, Any] = {"kind": IMAGE, "encoding": "raw"}
        pixels: dict[str, Any] = {
            "bounds": bounds,
            "resolution": (x, y, z * max(self.every, 1)),
            "chunk": (_PIECE, _PIECE, 1),
        }
        field: dict[str, Any] = {
            "bounds": bounds // (making.STEP, making.STEP, 1),
            "resolution": (x * making.STEP, y * making.STEP, z * max(self.every, 1)),
            "chunk": (CHUNK, CHUNK, 1),
        }
        return {
            "image": new_info(dtype=stack.dtype.name, channels=stack.channels, **common, **pixels),
            "mask": new_info(dtype="uint8", channels=1, **common, **pixels),
            "truth/field": new_info(dtype="float32", channels=2, **common, **field),
        }

    def _drawn(self, io: IO, stack: Info, section: Section, piece: Box) -> tuple[Array, Array]:
        """A piece of a section, ``[x, y, channel]``, and its codes ``[x, y]``."""
        x, y = (np.arange(a, b, dtype=np.float64) for a, b in zip(piece.lo[:2], piece.hi[:2], strict=True))
        points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
        straight = section.straight(points)
        places = section.shown(straight, making.bends(self._scatter(), section, straight))
        codes = section.codes(points, places)
        values = np.zeros((*piece.shape[:2], stack.channels), stack.dtype, order="F")
        seen = (codes == TISSUE) | (codes == FOLD)
        if seen.any():
            values[seen] = self._seen(io, stack, section, places[seen], piece, codes[seen] == FOLD)
        return values, np.asfortranarray(codes)

    def _seen(self, io: IO, stack: Info, section: Section, places: Array, piece: Box, dark: Array) -> Array:
        """Grey values ``[n, channel]`` of ``places`` of the stack, as they are seen in a section; never 0."""
        from scipy import ndimage

        bounds = stack.scales[0].bounds
        places = np.clip(places, 0, np.array(bounds.shape[:2]) - 1)  # a fold may hide what the stack does not have
        lo, hi = (np.floor(places.min(axis=0)).astype(int) - _HALO, np.ceil(places.max(axis=0)).astype(int) + _HALO + 1)
        box = Box((*lo.tolist(), section.slice), (*hi.tolist(), section.slice + 1)).shift(bounds.lo) & bounds
        pixels = io.read(io.volume(self.image, 0, info=stack), box)[:, :, 0].astype(np.float64)
        at = (places - (np.array(box.lo[:2]) - np.array(bounds.lo[:2]))).T
        top, found = np.iinfo(stack.dtype).max, []
        for channel in range(stack.channels):
            seen = ndimage.map_coordinates(pixels[:, :, channel], at, order=3, mode="mirror")
            seen = seen * section.gain + section.offset + self._noisy(piece, channel, len(seen))
            seen = np.clip(np.rint(np.where(dark, seen * _DARK, seen)), 1, top)
            found.append(np.clip(top - seen, 1, top) if section.fault == "inverted" else seen)
        return np.stack(found, axis=-1).astype(stack.dtype)

    def _noisy(self, piece: Box, channel: int, count: int) -> Array:
        """The noise of a piece, drawn from a seed of its own."""
        key = (self.seed, _NOISE, *piece.lo, channel)
        return np.random.default_rng(key).normal(0, self.noise, count)
