"""How sections of a stack lie on each other, roughly: made small, matched in pairs, and all solved at once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from igneous_ng import miniatures, pairings, placing, roughness, words
from igneous_ng.alignment import Alignment, encode_rough
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import IMAGE
from igneous_ng.formats.sections import name
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import section_pairs
from igneous_ng.miniatures import FOLDER, Camera
from igneous_ng.stage import Chain, Layer, LayerUrl, Stage, arg, opt, sampled

_SMALL = 150_000_000  # bytes: what libraries keep, descriptors at work
_PIXEL = 110  # bytes of a small picture's pixel, with all that is made of it
_PAIR = 260  # the same of two pictures that are compared
_LINK = 6_000  # bytes of a pair, as text and as equations
_MOST = 100  # sections of a distance, at most
_NAMED = 12


@dataclass(frozen=True, kw_only=True)
class Aligning(Stage):
    """What the stages share: the folder of the alignment, which keeps the records."""

    alignment: LayerUrl = arg("Folder of the alignment.")

    def home(self) -> str:
        """Records lie with the alignment."""
        return self.alignment


@dataclass(frozen=True, kw_only=True)
class Smaller(Stage):
    """What sections are made small from."""

    layer: LayerUrl = arg("Layer of sections: an image, each z a section.")
    alignment: LayerUrl = arg("Folder of the alignment.")
    mask: Layer | None = opt(None, "Layer of codes over the same sections: 0 tissue, 1 void, 2 fold, 3 crack.")
    fill_missing: bool = opt(False, "Take chunks that are missing for void.")
    side: int = opt(1024, "The longest side of a section's small picture, in pixels, at most.")

    def home(self) -> str:
        """Records lie with the alignment."""
        return self.alignment

    def check(self) -> None:
        """A picture has a size."""
        super().check()
        if not 64 <= self.side <= 8192:
            raise SpecError(f"{self.name}.side: {self.side} pixels; give 64 to 8192")


@dataclass(frozen=True, kw_only=True)
class Sections(Smaller, name="align sections"):
    """Begin an alignment: make each section small, and find the points by which it is known again.

    Read from the coarsest level that is fine enough, window by window. A pixel of the small picture is tissue where
    most of it is neither void (zeros that fill 5 x 5 pixels) nor masked. Sections without tissue are marked, not
    refused.
    """

    example = "./sections ./alignment --side 512"

    def places(self, io: IO) -> tuple[str, ...]:
        """The small sections."""
        return (f"{self.alignment}/{FOLDER}",)

    def prepare(self, io: IO) -> None:
        """Refuse what cannot be aligned, and write down which stack it is."""
        begun = self._begun(io)
        info = io.info(self.layer)
        x, y, _ = begun.resolution
        if info.kind != IMAGE:
            raise SpecError(f"{self.layer}: is a layer of labels; align the image, then render labels through its maps")
        if x != y:
            raise SpecError(
                f"{self.layer}: pixels are {x:g} by {y:g} nm; alignment turns sections, and wants square ones"
            )
        if not begun.bounds.voxels:
            raise SpecError(f"{self.layer}: has no voxels")
        if self.mask is not None and io.info(self.mask).scales[0].bounds.shape[2] == 0:
            raise SpecError(f"{self.mask}: has no sections")
        url = f"{self.alignment}/alignment.json"
        if not io.create(url, (json.dumps(begun.to_json(), indent=2) + "\n").encode()):
            raise SpecError(
                f"{url}: another stack, mask or treatment of missing chunks was begun here; choose another folder"
            )

    def units(self, io: IO) -> Sequence[int]:
        """The sections, by z."""
        return list(self._begun(io).zs)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A window of the level, and what is made of the small picture."""
        camera, info = Camera(io, self._begun(io), self.side), io.info(self.layer)
        w, h, _ = camera.bounds.shape
        return _SMALL + _PIXEL * w * h + camera.window_pixels * (2 * info.dtype.itemsize * info.channels + 30)

    def execute(self, unit: int, io: IO) -> None:
        """One section."""
        begun = Alignment.open(io, self.alignment)
        camera = Camera(io, begun, self.side)
        taken = camera.take(unit)
        figures = taken.figures()
        told = {"empty": taken.blank, "factor": taken.factor, **figures, "outline": taken.outline()}
        io.put(begun.url(FOLDER, unit, ".cols"), taken.pack())
        io.put_json(begun.url(FOLDER, unit, ".json"), told)
        io.note(empty=taken.blank, mip=camera.mip, **figures)

    def said(self, io: IO) -> str:
        """How many sections there are, and which are empty."""
        begun = Alignment.open(io, self.alignment)
        zs = begun.zs
        found = io.store.map(lambda z: io.store.get_json(begun.url(FOLDER, z, ".json")), zs)
        empty = [z for z, one in zip(zs, found, strict=True) if one is not None and one["empty"]]
        return words.count(len(zs), "section") + (f"; empty: {words.listed(empty)}" if empty else "; none is empty")

    def _begun(self, io: IO) -> Alignment:
        scale = io.info(self.layer).scales[0]
        return Alignment(self.alignment, self.layer, scale.resolution, scale.bounds, self.mask or "", self.fill_missing)


@dataclass(frozen=True, kw_only=True)
class Paired(Aligning):
    """Which sections are compared."""

    distances: tuple[int, ...] = opt((1, 2, 3), "How far apart sections are that are compared.")

    def check(self) -> None:
        """Distances are counted from 1."""
        super().check()
        if not self.distances or not all(1 <= k <= _MOST for k in self.distances):
            raise SpecError(f"{self.name}.distances: {self.distances}; give some of 1 to {_MOST}")
        if len(set(self.distances)) < len(self.distances):
            raise SpecError(f"{self.name}.distances: {self.distances}; one is given twice")


@dataclass(frozen=True, kw_only=True)
class Pairs(Paired, name="align pairs"):
    """Find how sections lie on each other: turned, mirrored, of the opposite contrast, whatever it is.

    Points that both have are matched, and a map is sought that many agree with (RANSAC); where there is none, all
    turns are tried. An affine map is then fitted to blocks that are correlated. A pair is believed only if blocks
    over 30 % of the tissue that both have agree with it; else its status is failed.
    """

    example = "./alignment --distances 1,2"

    def places(self, io: IO) -> tuple[str, ...]:
        """The pairs."""
        return (f"{self.alignment}/pairs",)

    def prepare(self, io: IO) -> None:
        """Sections must be small."""
        begun = Alignment.open(io, self.alignment)
        names = set(io.store.list(f"{self.alignment}/{FOLDER}"))
        for z in begun.zs:
            if f"{name(z)}.json" not in names:
                raise DataError(
                    f"{begun.url(FOLDER, z, '.json')}: this section was not made small; run `align sections` first"
                )

    def units(self, io: IO) -> Sequence[tuple[int, int]]:
        """A section and one before it."""
        zs = Alignment.open(io, self.alignment).zs
        return [(z, z - k) for z in zs for k in sorted(self.distances) if z - k in zs]

    def peak_bytes(self, unit: tuple[int, int], io: IO) -> int:
        """Two small pictures, and what is made of them."""
        begun = Alignment.open(io, self.alignment)
        return _SMALL + _PAIR * max(miniatures.size(io, begun, z) for z in unit) // 4

    def execute(self, unit: tuple[int, int], io: IO) -> None:
        """One pair."""
        begun = Alignment.open(io, self.alignment)
        a, b = (miniatures.known(io, begun, z) for z in unit)
        laid = section_pairs.NOTHING if a.blank or b.blank else section_pairs.laid(a.sight, b.sight, unit)
        told = pairings.told(laid, a.low, b.low, a.factor)
        io.put_json(pairings.url(begun, *unit), told)
        io.note(**{key: told[key] for key in ("status", "mirrored", "inverted", "inliers", "agreement", "correlation")})

    def said(self, io: IO) -> str:
        """What came of how many pairs, of all or, where these are many, of some."""
        begun, units = Alignment.open(io, self.alignment), self.units(io)
        found = io.store.map(lambda unit: io.store.get_json(pairings.url(begun, *unit)), sampled(units))
        count = Counter(one["status"] for one in found if one is not None)
        scope = " looked at" if len(units) > len(found) else ""
        parts = [f"{count[key]} {text}" for key, text in _SAID.items() if count[key]]
        return f"{words.count(len(found), 'pair')}{scope}: {', '.join(parts) or 'nothing to be compared'}"


_SAID = {
    "points": "by points",
    "turns": "by trying all turns",
    "failed": "that show nothing in common",
    "empty": "with an empty section",
}


@dataclass(frozen=True, kw_only=True)
class Placing(Aligning):
    """How sections are placed."""

    overrides: Layer | None = opt(None, "File of what the operator says of sections and pairs; it always wins.")
    reorder: bool = opt(False, "Show sections that seem to be swapped in each other's place; else it is only told.")


@dataclass(frozen=True, kw_only=True)
class RoughMaps(Placing, name="align rough"):
    """Find an affine map for each section, all at once, and tell what is odd about sections.

    Turns, mirror states and contrasts are those of most. Sections that nothing connects with the others are kept and
    told; where a section is empty, nothing is shown. What `align lock` locked stays.

    Overrides are lines of JSON, {"z": 12, "action": "exclude"}: exclude a section; place it (matrix: a, b, c, d and
    shift: x, y to a x + b y + shift, pixels of mip 0); source: another one is shown there; inverted, upright: its
    contrast. With "pair": [12, 11] instead of z: ignore a pair; match it (matrix and shift of points of the first to
    the second, or points: [x, y, x', y']); swap two neighbours.
    """

    example = "./alignment"

    def places(self, io: IO) -> tuple[str, ...]:
        """The maps, and what is odd."""
        return f"{self.alignment}/rough.affines", f"{self.alignment}/rough.json"

    def prepare(self, io: IO) -> None:
        """Pairs must be compared, and overrides be of what there is."""
        begun = Alignment.open(io, self.alignment)
        roughness.listed_pairs(io, begun)
        roughness.said(io, begun, self.overrides)

    def units(self, io: IO) -> Sequence[int]:
        """All sections at once."""
        return [0]

    def peak_bytes(self, unit: int, io: IO) -> int:
        """What grows with the pairs."""
        return _SMALL + _LINK * len(roughness.listed_pairs(io, Alignment.open(io, self.alignment)))

    def execute(self, unit: int, io: IO) -> None:
        """Solve the stack."""
        begun = Alignment.open(io, self.alignment)
        stack = roughness.read_stack(io, begun, self.overrides)
        solution = roughness.solved(stack)
        swaps = placing.swapped(stack)
        places = placing.placed(stack, solution, swaps if self.reorder else ())
        before = io.get_json(f"{self.alignment}/locked/rough.json")
        bounds = placing.extent(stack, places, None if before is None else Box.parse(before["bounds"]))
        report = placing.report(stack, solution, swaps, bounds)
        io.put(f"{self.alignment}/rough.affines", encode_rough(begun.zs.start, places))
        io.put_json(f"{self.alignment}/rough.json", report)
        wrong = len(report["pairs"]["wrong"])
        components = len(report["components"])
        io.note(odd=len(report["sections"]), components=components, wrong=wrong, residual=report["pairs"]["residual"])

    def said(self, io: IO) -> str:
        """What is odd, by sections."""
        return placing.told(io.get_json(f"{self.alignment}/rough.json") or {})


@dataclass(frozen=True, kw_only=True)
class Coarse(Placing, Paired, Smaller, Chain, name="align coarse"):
    """Align a stack roughly: make sections small, compare them in pairs, and find an affine map for each.

    Turned, mirrored, inverted, swapped, missing and unrelated sections are found and told. `align rough` says what a
    file of overrides holds.
    """

    example = "./sections ./alignment -p 4"

    def steps(self, io: IO) -> Iterator[Stage]:
        """Small sections; pairs, where there are any; maps."""
        yield self.step(Sections)
        pairs = self.step(Pairs)
        if pairs.units(io):
            yield pairs
        yield self.step(RoughMaps)
