"""How well an aligned volume is aligned: figures, pages, a layer to look at, and whether it may be published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

import numpy.typing as npt

from igneous_ng import words
from igneous_ng.alignment import CHUNK, Alignment
from igneous_ng.checking import blocks, fields, judging
from igneous_ng.checking.blocks import Lattice
from igneous_ng.checking.fields import Stack
from igneous_ng.checking.judging import Bounds
from igneous_ng.checking.measuring import measure
from igneous_ng.checking.pictures import overlays
from igneous_ng.errors import DataError, SpecError
from igneous_ng.figures import Figure
from igneous_ng.formats import info as infos
from igneous_ng.formats.checks import Check
from igneous_ng.formats.info import IMAGE, Info, new_info
from igneous_ng.formats.sections import name
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.pages import aligned
from igneous_ng.pages.aligned import Overlay, Shown
from igneous_ng.pages.heat import coloured
from igneous_ng.stage import LayerUrl, Stage, arg, opt
from igneous_ng.windows import Windows

Array = npt.NDArray[Any]
_BASE = 60_000_000  # bytes: windows of a block, its transforms, what libraries keep
_CHUNKS = 12  # of the layer that are decoded at once
_NODE = 500  # bytes for each node of a part of the fields
_KEPT = 40  # bytes that are kept of each node of a section
_NEAR = 2.0  # pixels of the level, or what processes move: a block is where it should be
_MUCH = 4.0  # the same, of what the worst twentieth of places may be off
_WORST = 12  # sections with pictures in the page of all


@dataclass(frozen=True, kw_only=True)
class AlignCheck(Stage, name="align check"):
    """Measure how well sections lie on each other after a round; show it, and say whether it may be published.

    Beside what the solution leaves of its own displacements, blocks between its nodes are compared anew through the
    final maps. `checks/` holds figures of each section, `heat` is a layer over the aligned volume (channels:
    pixels off, correlation gained by a better place, strain), `report/index.html` shows both, and `verdict.json`
    says whether `align render` may go on. Lengths are pixels of mip 0; bounds hold for neighbours, and k times as much
    for sections k apart.
    """

    example = "./alignment --round 2 --mip 2"
    makes_data = False
    quality = MappingProxyType(
        {
            "off": Figure("pixels of mip 0 by which the best place is off: what alignment left"),
            "gap": Figure("correlation that a better place would gain"),
            "strain": Figure("strain: stretch or compression of lengths"),
        }
    )
    quality_layer = "heat"

    alignment: LayerUrl = arg("Folder of the alignment, in which `align relax` has solved the round.")
    round: int = opt(1, "The round whose maps are checked.")
    mip: int | None = opt(None, "Level of the layer that is compared; by default that of the round.")
    channel: int = opt(0, "The channel that is compared.")
    blocks: int = opt(256, "Blocks of a section that are compared at most; so many voxels its heat map has.")
    held_out_p95: float | None = opt(
        None, "Of 95 of 100 blocks the best place may be so far off; by default 4 pixels of the level, or 4 times what "
        "processes move between sections (0.3 of their distance), whichever is more."
    )  # fmt: skip
    residual_p95: float | None = opt(
        None, "The solution may leave so much of 95 of 100 displacements; by default as much."
    )
    misaligned: float = opt(0.1, "Share of blocks that may lie clearly better 2 pixels away, or twice what is moved.")
    alike: float = opt(0.5, "Share of blocks that must find something alike within 8 pixels.")
    good: float = opt(0.5, "Share of nodes with something to see that must have a good displacement.")
    folded: int = opt(0, "Cells of a section that may be folded, but for folds and cracks that the mask knows.")
    breaks: int = opt(0, "Places between sections across which no displacement need lead.")
    spared: float = opt(0.01, "Share of sections that may be beyond these bounds; folded cells and breaks never are.")
    accept: bool = opt(False, "Publish all the same what was checked before; nothing is measured again.")
    because: str = opt("", "Why, and who says so; it is recorded in the verdict.")

    def check(self) -> None:
        """Bounds that can be kept, and a reason for what is accepted."""
        if self.round < 1:
            raise SpecError(f"align check.round: {self.round}; rounds are counted from 1")
        if self.blocks < 1:
            raise SpecError(f"align check.blocks: {self.blocks}; give at least 1")
        if self.channel < 0:
            raise SpecError(f"align check.channel: {self.channel}; channels are counted from 0")
        for key in ("held_out_p95", "residual_p95"):
            if (value := getattr(self, key)) is not None and value <= 0:
                raise SpecError(f"align check.{key}: {value}; give some pixels, more than 0")
        for key in ("misaligned", "alike", "good", "spared"):
            if not 0 <= getattr(self, key) <= 1:
                raise SpecError(f"align check.{key}: {getattr(self, key)}; a share is from 0 to 1")
        if min(self.folded, self.breaks) < 0:
            raise SpecError("align check: folded and breaks are counts; give 0 or more")
        if self.accept != bool(self.because.strip()):
            raise SpecError("align check: what is accepted needs a reason, and a reason --accept; give both or neither")

    def home(self) -> str:
        """The alignment keeps what is found."""
        return self.alignment

    def places(self, io: IO) -> tuple[str, ...]:
        """Figures, the heat map, pages, the verdict."""
        return tuple(f"{self.alignment}/{one}" for one in ("checks", "heat", "report", "verdict.json"))

    def prepare(self, io: IO) -> None:
        """See that the round was solved, the level is there, and make the heat map's layer."""
        ready = self._stack(io)
        for what in ("flow/1", "forward", "inverse"):
            if not io.exists(f"{ready.url(what)}/info"):
                raise DataError(f"{ready.url(what)}: is not there; run `align relax --round {self.round}` first")
        info = io.info(ready.alignment.layer)
        ready.alignment.factor(info, self._windows(ready).mip)
        if self.channel >= info.channels:
            said = words.count(info.channels, "channel")
            raise SpecError(f"align check.channel: {self.channel}, and {ready.alignment.layer} has {said}")
        if self.accept:
            self._read(io, ready.alignment.zs[0])
        else:  # of another round it may be coarser or finer: it is made anew, and all its chunks are
            io.put(f"{self._heat}/info", infos.encode(_heat(ready.alignment, self._lattice(ready))))

    def units(self, io: IO) -> Sequence[int]:
        """The sections; of what is accepted one, at which nothing is done."""
        zs = Alignment.open(io, self.alignment).zs
        return zs[:1] if self.accept else zs

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A part of the fields, a few bytes of each node, and a block."""
        ready = self._stack(io)
        wide, high, _ = ready.lattice.box.shape
        part = min(wide, fields.SPAN) * min(high, fields.SPAN)
        volume = io.volume(ready.alignment.layer, self._windows(ready).mip)
        chunk = prod(volume.chunk) * volume.voxel_bytes
        return _BASE + _CHUNKS * chunk + _NODE * part + _KEPT * wide * high

    def execute(self, unit: int, io: IO) -> None:
        """Check one section."""
        if self.accept:
            return
        ready = self._stack(io)
        lattice, bounds, windows = self._lattice(ready), self._bounds(ready), self._windows(ready)
        found, heat = measure(ready, windows, lattice, unit, bounds.off)
        (x0, y0, _), (x1, y1, _) = lattice.box.lo, lattice.box.hi
        box = Box((x0, y0, unit), (x1, y1, unit + 1))
        io.write(io.volume(self._heat, 0, info=_heat(ready.alignment, lattice)), box, heat)
        io.put_json(self._url(unit, "checks", ".json"), found.to_json())
        self._page(ready, found, heat)
        io.note(**found.figures())

    def finish(self, io: IO) -> None:
        """Judge the stack, and draw the page of all."""
        ready = self._stack(io)
        checks, bounds = [self._read(io, z) for z in ready.alignment.zs], self._bounds(ready)
        verdict = judging.judge(checks, bounds, self.because.strip() if self.accept else None).to_json()
        io.put_json(f"{self.alignment}/verdict.json", verdict)
        compared = sorted((one for one in checks if one.against is not None), key=lambda c: -judging.score(c, bounds))
        worst = [Shown(one, judging.wrong(one, bounds), self._overlays(ready, one, 1)) for one in compared[:_WORST]]
        drawn = aligned.draw(checks, verdict, judging.demands(checks, bounds), worst)
        io.put(f"{self.alignment}/report/index.html", drawn)

    def said(self, io: IO) -> str:
        """The verdict in words."""
        raw = io.get_json(f"{self.alignment}/verdict.json")
        return "" if raw is None else judging.words(raw, f"{self.alignment}/report/index.html")

    def _stack(self, io: IO) -> Stack:
        made = Alignment.open(io, self.alignment)
        return Stack(io, made, made.round(io, self.round))

    def _windows(self, ready: Stack) -> Windows:
        mip = ready.lattice.mip if self.mip is None else self.mip
        return Windows(ready.io, ready.alignment, mip, self.round, self.channel)

    def _lattice(self, ready: Stack) -> Lattice:
        return Lattice.of(ready.lattice, self.blocks)

    def _bounds(self, ready: Stack) -> Bounds:
        """What is demanded, in pixels of mip 0."""
        pixel, moves = self._windows(ready).factor, ready.moves()
        held_out = self.held_out_p95 or _MUCH * max(pixel, moves)
        return Bounds(
            off=_NEAR * max(pixel, moves),
            held_out=held_out,
            residual=self.residual_p95 or held_out,
            misaligned=self.misaligned,
            alike=self.alike,
            good=self.good,
            folded=self.folded,
            breaks=self.breaks,
            spared=self.spared,
        )

    @property
    def _heat(self) -> str:
        return f"{self.alignment}/heat"

    def _url(self, z: int, folder: str, suffix: str) -> str:
        return f"{self.alignment}/{folder}/{name(z)}{suffix}"

    def _read(self, io: IO, z: int) -> Check:
        """What was found of a section in this round; DataError where that is nothing."""
        url = self._url(z, "checks", ".json")
        raw = io.get_json(url)
        if raw is None or raw.get("round") != self.round:
            raise DataError(f"{url}: says nothing of round {self.round}; run `align check --round {self.round}` first")
        return Check.from_json(raw, url)

    def _overlays(self, ready: Stack, found: Check, most: int) -> list[Overlay]:
        (x0, y0, _), (x1, y1, _) = ready.lattice.box.lo, ready.lattice.box.hi
        middle = (x0 + x1) * ready.lattice.step // 2, (y0 + y1) * ready.lattice.step // 2
        return overlays(self._windows(ready), found, middle, most)

    def _page(self, ready: Stack, found: Check, heat: Array) -> None:
        """A page where something is wrong, and none where nothing is."""
        url, bounds = self._url(found.z, "report", ".html"), self._bounds(ready)
        wrong = judging.wrong(found, bounds)
        if not wrong:
            if ready.io.exists(url):
                ready.io.delete(url)
            return
        tops = {"Off, px": 2 * bounds.off, "Correlation gained elsewhere": 0.3, "Strain": 0.2}
        maps = {
            f"{what}: blue 0, red {top:.3g}": coloured(heat[:, :, 0, n], top)
            for n, (what, top) in enumerate(tops.items())
        }
        ready.io.put(url, aligned.section(found, wrong, maps, self._overlays(ready, found, blocks.NAMED)))


def _heat(made: Alignment, lattice: Lattice) -> Info:
    """The layer of the heat map; a section of it is as many chunks as it needs."""
    x, y, z = made.resolution
    return new_info(
        kind=IMAGE,
        dtype="float32",
        channels=len(blocks.CHANNELS),
        bounds=lattice.box,
        resolution=(x * lattice.pitch, y * lattice.pitch, z),
        chunk=(CHUNK, CHUNK, 1),
        encoding="raw",
    )
