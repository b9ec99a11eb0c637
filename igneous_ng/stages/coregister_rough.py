"""Where a volume lies in another, roughly: what is known beforehand, or a search all over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng import moved
from igneous_ng.coregistration import GRAIN, Coregistration, Through
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import landmarks
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box, vec
from igneous_ng.io import IO
from igneous_ng.kernels import coarse_search, likeness, space_maps
from igneous_ng.kernels.coarse_search import Place, Turns
from igneous_ng.kernels.likeness import Measure
from igneous_ng.kernels.space_maps import Affine
from igneous_ng.moved import Moved
from igneous_ng.stage import Layer, LayerUrl, Stage, arg, opt
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_MOST = 2**23  # voxels of the padded volumes, where the level is chosen
_BASE = 100_000_000
_CLEAR = 1.15  # times as good as any other place
_GREY = 40  # bytes of each voxel that is measured


@dataclass(frozen=True, kw_only=True)
class Rough(Stage, name="coregister rough"):
    """Begin to bring a volume to another: find roughly where it lies, from what is known or by looking everywhere.

    Both volumes lie in nm, as their infos have it, unless --matrix or --landmarks say better. By default, where
    neither is given, all shifts are tried at a coarse level; with --turns also all quarter turns, or these and mirror
    images. Where no place is clearly better than others it fails and says so.
    """

    example = "./light ./em ./to-light --turns turns"

    moving: LayerUrl = arg("Layer that is brought to the other.")
    fixed: LayerUrl = arg("Layer that stays as it is.")
    folder: LayerUrl = arg("Folder to create, for all that is learnt about the two.")
    matrix: tuple[float, ...] = opt((), "Where a point of FIXED lies in MOVING, nm: three rows of four numbers.")
    landmarks: str = opt(
        "", "Table of places that are the same, nm: columns x, y, z (FIXED), moving_x, moving_y, moving_z."
    )
    search: Literal["auto", "always", "never"] = opt(
        "auto", "Try all shifts; auto does where neither a matrix nor landmarks are given."
    )
    turns: Turns = opt("none", "Also try the 24 quarter turns, or those and their mirror images.")
    mip: int | None = opt(None, "Level of FIXED at which shifts are tried; by default one that is small enough.")
    overlap: float = opt(0.3, "How much of the smaller volume lies in the other, at least.")
    measure: Measure = opt("edges", "What is compared: edges, which serve for any contrast, or values.")
    channel: int = opt(0, "The channel of MOVING that is compared, here and later.")
    to_channel: int = opt(0, "The channel of FIXED that it is compared with.")
    fill_missing: bool = opt(False, "Take missing chunks for void instead of failing.")

    def check(self) -> None:
        """What is known is said once, and the fields are real."""
        if self.matrix and self.landmarks:
            raise SpecError("coregister rough: a matrix and landmarks; give one of them")
        if self.matrix:
            try:
                Affine.parse(self.matrix)
            except ValueError as error:
                raise SpecError(
                    f"coregister rough.matrix: {len(self.matrix)} numbers are not three rows of four ({error})"
                ) from None
        if not 0.05 <= self.overlap <= 1:
            raise SpecError(f"coregister rough.overlap: {self.overlap}; give a part of the volume, 0.05 to 1")
        if min(self.channel, self.to_channel) < 0:
            raise SpecError("coregister rough: channels are counted from 0")
        if self.turns != "none" and not self._searches:
            raise SpecError("coregister rough.turns: nothing is searched; leave it out, or give --search always")
        if len({self.moving, self.fixed, self.folder}) < 3:
            raise SpecError("coregister rough: MOVING, FIXED and FOLDER are three places; name another folder")

    def home(self) -> str:
        """The new folder."""
        return self.folder

    def places(self, io: IO) -> tuple[str, ...]:
        """What the folder is about, and the first map."""
        return f"{self.folder}/coregistration.json", f"{self.folder}/rounds/0"

    def prepare(self, io: IO) -> None:
        """Refuse what cannot be compared; write which two layers these are."""
        for layer, channel in ((self.moving, self.channel), (self.fixed, self.to_channel)):
            info = io.info(layer)
            if channel >= info.channels:
                raise SpecError(f"coregister rough: {layer} has {info.channels} channels and no channel {channel}")
        self._known_before(io)
        url, new = f"{self.folder}/coregistration.json", self._known.to_json()
        if (old := io.store.get_json(url)) not in (None, new):
            raise SpecError(f"{url}: this folder is about other layers: {old}; choose another folder")
        io.put_json(url, new)

    def units(self, io: IO) -> Sequence[int]:
        """One."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The two volumes at the level, and what a comparison of them takes."""
        if not self._searches:
            return _BASE
        volume, guesses = self._level(io)
        most = max(prod(self._cycle(io, volume, guess)) for guess in guesses)
        seen = [self._moved(io, volume, guess) for guess in guesses]
        read = max(
            one.reads(self._window(io, volume, one.through.affine)).voxels * one.volume.voxel_bytes for one in seen
        )
        own = volume.bounds.voxels * (volume.voxel_bytes + _GREY)
        return _BASE + most * coarse_search.BYTES + 2 * read + own

    def execute(self, unit: int, io: IO) -> None:
        """Find the map, and write it."""
        map_, figures = self._found(io) if self._searches else (self._known_before(io), dict[str, Any]())
        scale = io.info(self.fixed).scales[0]
        corners = _corners(scale.bounds) * np.array(scale.resolution)
        exact = space_maps.rounded(map_, corners, min(scale.resolution) / GRAIN)
        io.put_json(f"{self._known.folder(0)}/affine.json", {"matrix": exact.to_json(), "figures": figures})
        io.note(**figures)

    def said(self, io: IO) -> str:
        """The map in words, and how sure it is."""
        raw = io.store.get_json(f"{self._known.folder(0)}/affine.json")
        if raw is None:
            return ""
        shift = io.info(self.fixed).scales[0]
        middle = _corners(shift.bounds).mean(axis=0) * np.array(shift.resolution)
        map_ = Affine.parse(raw["matrix"])
        told = f"MOVING is {space_maps.words(map_)}; the middle of FIXED lies in it at {_nm(map_(middle))} nm"
        figures = raw["figures"]
        if not figures:
            return f"{told}, as given"
        return f"{told}; correlation {figures['correlation']:.2f}, {figures['ratio']:.2f} times that of any other place"

    @property
    def _searches(self) -> bool:
        given = bool(self.matrix or self.landmarks)
        return self.search == "always" or (self.search == "auto" and not given)

    @cached_property
    def _known(self) -> Coregistration:
        return Coregistration(
            self.folder, self.moving, self.fixed, self.channel, self.to_channel, self.fill_missing
        )  # fmt: skip

    def _known_before(self, io: IO) -> Affine:
        """What was given; else nm are nm."""
        if self.landmarks:
            url = Layer.parse(self.landmarks)
            data = io.get(url)
            if data is None:
                raise DataError(f"{url}: there is no such file; give a table of landmarks")
            return space_maps.from_landmarks(*landmarks.parse(data, url))
        return Affine.parse(self.matrix) if self.matrix else Affine(np.eye(3), np.zeros(3))

    def _found(self, io: IO) -> tuple[Affine, dict[str, Any]]:
        """The best of all places."""
        volume, guesses = self._level(io)
        still = likeness.measured(*moved.fixed(io, volume, self.to_channel, volume.bounds), self.measure)
        places = [self._place(io, volume, still, guess) for guess in guesses]
        best = max(range(len(places)), key=lambda n: places[n].score)
        place = places[best]
        rest = max([place.rest, *(one.score for n, one in enumerate(places) if n != best)])
        ratio = place.score / max(rest, 1e-6)
        if place.score <= 0 or ratio < _CLEAR:
            raise DataError(
                f"{self.moving}: fits {self.fixed} nowhere much better than elsewhere ({ratio:.2f} times, at mip "
                f"{volume.mip}); give --landmarks or --matrix, another --measure, or other --turns"
            )
        window = self._window(io, volume, guesses[best])
        low = zip(place.shift, volume.bounds.lo, window.lo, strict=True)
        shift = np.array([d + a - b for d, a, b in low]) * np.array(volume.resolution)
        guess = guesses[best]
        map_ = Affine(guess.matrix, guess.shift - guess.matrix @ shift)
        return map_, {"correlation": round(place.value, 4), "ratio": round(min(ratio, 100.0), 4), "mip": volume.mip}

    def _place(self, io: IO, volume: Volume, still: tuple[Array, Array], guess: Affine) -> Place:
        shown = self._moved(io, volume, guess).seen(self._window(io, volume, guess))
        return coarse_search.placed(still, likeness.measured(*shown, self.measure), self.overlap)

    def _moved(self, io: IO, volume: Volume, guess: Affine) -> Moved:
        return Moved(Through(io, self._known, 0, guess), self.moving, volume.resolution)

    def _level(self, io: IO) -> tuple[Volume, list[Affine]]:
        """The level of FIXED at which shifts are tried, and a map for each turn that brings middle upon middle."""
        info = io.info(self.fixed)
        guesses = self._guesses(io, info)
        levels = range(len(info.scales)) if self.mip is None else [self.mip]
        for mip in levels:
            volume = io.volume(self.fixed, mip, self.fill_missing, info)
            if max(prod(self._cycle(io, volume, guess)) for guess in guesses) <= _MOST:
                break
        return volume, guesses

    def _guesses(self, io: IO, info: Info) -> list[Affine]:
        base = self._known_before(IO(io.store))
        middles = [_middle(one) for one in (info, io.info(self.moving))]
        found = [base.matrix @ turn for turn in coarse_search.turned(self.turns)]
        return [Affine(one, middles[1] - one @ middles[0]) for one in found]

    def _cycle(self, io: IO, volume: Volume, guess: Affine) -> tuple[int, ...]:
        return coarse_search.padded(volume.bounds.shape, self._window(io, volume, guess).shape)

    def _window(self, io: IO, volume: Volume, guess: Affine) -> Box:
        """The voxels of the level in which MOVING lies by ``guess``."""
        scale = io.info(self.moving).scales[0]
        at = guess.inverse(_corners(scale.bounds) * np.array(scale.resolution)) / np.array(volume.resolution)
        return Box(vec(np.floor(at.min(axis=0) + 1e-6)), vec(np.ceil(at.max(axis=0) - 1e-6)))


def _corners(box: Box) -> Array:
    return np.array(list(product(*zip(box.lo, box.hi, strict=True))), np.float64)


def _middle(info: Info) -> Array:
    scale = info.scales[0]
    found: Array = _corners(scale.bounds).mean(axis=0) * np.array(scale.resolution)
    return found


def _nm(point: Array) -> str:
    x, y, z = (f"{value:,.0f}" for value in point)
    return f"{x}, {y}, {z}"
