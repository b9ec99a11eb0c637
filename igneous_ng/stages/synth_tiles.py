"""Tiles as a microscope would leave them, cut from a finished image, with all that is wrong with them known."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng import solutions
from igneous_ng.errors import SpecError
from igneous_ng.formats import pictures
from igneous_ng.formats.info import Info
from igneous_ng.formats.sections import name
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import synth_tiles as making
from igneous_ng.kernels.synth_tiles import Scan, Shot
from igneous_ng.stage import LayerUrl, Stage, arg, opt

Array = npt.NDArray[Any]
_PIXEL_BYTES = 160  # of a tile: coordinates, powers of a lens and splines, in float64
_KEPT = 0.6  # of a truncated file


@dataclass(frozen=True, kw_only=True)
class SynthTiles(Stage, name="synth tiles"):
    """Cut each section of an image into overlapping tiles, with errors and faults, and write down the truth.

    Writes `raw/` with the pictures, `positions/` with what the stage says (FEABAS coordinate files), and `truth/` with
    the map of each tile, its gain and offset, and its fault. Tiles that are lost are listed and not there.
    """

    example = "./specimen/image ./tiles --tile 512,512"

    image: LayerUrl = arg("Image layer to cut; each of its sections becomes one of tiles.")
    out: LayerUrl = arg("Folder to write to.")
    tile: tuple[int, int] = opt((512, 512), "Pixels of a tile, x,y.")
    overlap: float = opt(0.1, "Fraction of a tile that it shares with the next.")
    stage_error: float = opt(20.0, "How far tiles lie from where the stage says, at most, in pixels along each axis.")
    gain: float = opt(0.2, "How much the gain of tiles differs from 1, at most.")
    offset: float = opt(15.0, "How much is added to all pixels of a tile, at most, in grey levels.")
    noise: float = opt(6.0, "Standard deviation of the noise, in grey levels.")
    shading: float = opt(0.0, "How much darker the corners are than the middle, as a fraction.")
    lens: float = opt(0.0, "How far the camera's lens bends a tile, at most, in pixels.")
    distortion: float = opt(0.0, "How far each tile is bent in its own way, at most, in pixels.")
    lost: float = opt(0.0, "Fraction of the tiles of a section that are not there; at least one unless 0.")
    duplicate: float = opt(0.0, "Fraction that was taken twice; at least one unless 0.")
    truncated: float = opt(0.0, "Fraction whose file is cut short; at least one unless 0.")
    faulty: tuple[int, ...] = opt((), "Sections with lost, doubled and truncated tiles; by default all.")
    format: Literal["png", "tiff"] = opt("png", "What the pictures are.")
    seed: int = opt(0, "Which errors and faults; the same seed and image give the same bytes.")

    def check(self) -> None:
        """The tiles hold something, overlap, and are not all spoilt."""
        if min(self.tile) < 16 or not 0 <= self.overlap <= 0.5:
            raise SpecError(
                f"synth tiles: {self.tile} pixels with an overlap of {self.overlap}; "
                "give at least 16 pixels and an overlap from 0 to 0.5"
            )
        shares = (self.lost, self.duplicate, self.truncated)
        if min(shares) < 0 or sum(shares) > 0.9 or not 0 <= self.gain < 1 or not 0 <= self.shading < 1:
            raise SpecError(
                "synth tiles: lost, duplicate and truncated are fractions, together at most 0.9; "
                "gain and shading are fractions below 1"
            )
        if min(self.stage_error, self.offset, self.noise, self.lens, self.distortion, self.seed) < 0:
            raise SpecError("synth tiles: errors, noise, bends and the seed cannot be negative")

    def home(self) -> str:
        """Records lie with the tiles."""
        return self.out

    def prepare(self, io: IO) -> None:
        """Tiles fit into the image, which can be put into pictures."""
        info = io.info(self.image)
        if info.dtype not in (np.uint8, np.uint16):
            raise SpecError(f"{self.image}: is {info.dtype}; pictures hold uint8 or uint16")
        x, y, _ = info.scales[0].resolution
        if x != y:
            raise SpecError(f"{self.image}: pixels are {x} x {y} nm; tiles of a microscope have square ones")
        self._scan().lattice(*info.scales[0].bounds.shape[:2])

    def units(self, io: IO) -> range:
        """Tiles, row by row, section by section."""
        bounds = io.info(self.image).scales[0].bounds
        columns, rows = self._scan().lattice(*bounds.shape[:2])
        return range(columns * rows * bounds.shape[2])

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The tile's coordinates, and the part of the image that it shows."""
        channels = io.info(self.image).channels
        return self.tile[0] * self.tile[1] * (_PIXEL_BYTES + 16 * channels) + 50_000_000

    def execute(self, unit: int, io: IO) -> None:
        """Draw one tile, once or twice, unless it is lost."""
        info = io.info(self.image)
        z, place = self._place(unit, info)
        shot = self._shots(z, info)[place]
        if shot.fault == "lost":
            return
        picture, lo = self._part(io, info, shot, z)
        for take in range(2 if shot.fault == "duplicate" else 1):
            for channel in range(info.channels):
                drawn = making.drawn(self._scan(), shot, picture[..., channel], lo, (z, place, take, channel))
                data = pictures.encode(drawn, self.format)
                cut = len(data) if shot.fault != "truncated" else int(len(data) * _KEPT)
                io.put(f"{self.out}/{self._path(z, shot, take, channel, info)}", data[:cut])

    def finish(self, io: IO) -> None:
        """Write what the stage says, and the truth."""
        info = io.info(self.image)
        bounds = info.scales[0].bounds
        for z in range(bounds.lo[2], bounds.hi[2]):
            found = self._shots(z, info)
            io.put(f"{self.out}/positions/{name(z)}.txt", self._positions(z, found, info).encode())
            maps = [shot.map for shot in found]
            io.put(f"{self.out}/truth/{name(z)}.maps", solutions.encode(maps, [0] * len(maps)))
            io.put_json(f"{self.out}/truth/{name(z)}.json", self._truth(z, found, info))

    def _scan(self) -> Scan:
        names = Scan.__dataclass_fields__.keys() - {"size"}
        return Scan(size=self.tile, **{key: getattr(self, key) for key in names})

    def _shots(self, z: int, info: Info) -> list[Shot]:
        width, height, _ = info.scales[0].bounds.shape
        scan = self._scan()
        if self.faulty and z not in self.faulty:
            scan = replace(scan, lost=0.0, duplicate=0.0, truncated=0.0)
        return making.shots(scan, z, width, height)

    def _place(self, unit: int, info: Info) -> tuple[int, int]:
        bounds = info.scales[0].bounds
        columns, rows = self._scan().lattice(*bounds.shape[:2])
        section, place = divmod(unit, columns * rows)
        return bounds.lo[2] + section, place

    def _part(self, io: IO, info: Info, shot: Shot, z: int) -> tuple[Array, tuple[int, int]]:
        """The part of the image under a tile, ``[x, y, channel]``, and its first pixel, counted from the image's."""
        bounds = info.scales[0].bounds
        (x0, y0), (x1, y1) = making.window(shot)
        under = Box((x0, y0, z - bounds.lo[2]), (x1, y1, z - bounds.lo[2] + 1)).shift(bounds.lo) & bounds
        voxels = io.read(io.volume(self.image, 0, info=info), under)
        return voxels[:, :, 0], (under.lo[0] - bounds.lo[0], under.lo[1] - bounds.lo[1])

    def _path(self, z: int, shot: Shot, take: int, channel: int, info: Info) -> str:
        more = f"_k{channel}" if info.channels > 1 else ""
        return f"raw/{name(z)}/{name(z)}_r{shot.row:03d}_c{shot.col:03d}_t{take}{more}.{self.format}"

    def _files(self, z: int, shot: Shot, info: Info) -> Iterator[str]:
        for take in range(2 if shot.fault == "duplicate" else 1):
            for channel in range(info.channels):
                yield self._path(z, shot, take, channel, info)

    def _positions(self, z: int, found: list[Shot], info: Info) -> str:
        """A coordinate file of FEABAS: paths and pixels, TILE_SIZE as height, width."""
        head = [
            f"{{ROOT_DIR}}\t{self.out.removeprefix('file://')}",
            f"{{RESOLUTION}}\t{info.scales[0].resolution[0]:g}",
            f"{{TILE_SIZE}}\t{self.tile[1]}\t{self.tile[0]}",
        ]
        rows = [f"{path}\t{s.stage[0]}\t{s.stage[1]}" for s in found for path in self._files(z, s, info)]
        return "\n".join([*head, *rows]) + "\n"

    def _truth(self, z: int, found: list[Shot], info: Info) -> dict[str, Any]:
        """Tiles in the order of the maps; positions are counted from the image's first voxel."""
        return {
            "z": z,
            "tiles": [
                {
                    "files": list(self._files(z, shot, info)),
                    "row": shot.row,
                    "col": shot.col,
                    "stage": list(shot.stage),
                    "shift": shot.map.shift.tolist(),
                    "gain": shot.gain,
                    "offset": shot.offset,
                    "fault": shot.fault,
                }
                for shot in found
            ],
        }
