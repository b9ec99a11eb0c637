"""TileSpec JSON of the render services (render, ASAP, EM_recon_pipeline): tiles with affine transforms, in pixels.

The format is told in :mod:`igneous_ng.formats.tilespecs`. Masks and intensity ranges are not taken over.
"""

from __future__ import annotations

from collections.abc import Iterator

from igneous_ng.adapters import texts
from igneous_ng.adapters.base import Choices
from igneous_ng.errors import DataError
from igneous_ng.formats import tilespecs
from igneous_ng.formats.tiles import Tile, checked
from igneous_ng.formats.tilespecs import TileSpec
from igneous_ng.io import IO

NAME = "render"


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """The tiles of a file of TileSpecs, or of all ``.json`` files in a folder."""
    pixel = texts.pixel(choices, None, source)
    urls = texts.files(io, source, r".*[.]json")
    if not urls:
        raise DataError(f"{source}: there is no .json here; give a file of TileSpecs, or a folder of them")
    for url in urls:
        data = io.get(url)
        for spec in tilespecs.decode(data or b"", url):
            where = f"{url}, tile {spec.tile!r}"
            for channel, path in enumerate(spec.urls):
                picture = texts.picture(path, url.rpartition("/")[0], where)
                yield checked(_tile(spec, channel, picture, (pixel, choices.z), where), where)


def _tile(spec: TileSpec, channel: int, url: str, given: tuple[float, int], where: str) -> Tile:
    pixel, first = given
    a, b, x, c, d, y = spec.affine
    if not spec.z.is_integer():
        raise DataError(f"{where}: lies at z {spec.z}; sections are whole numbers")
    return Tile(
        tile=spec.tile,
        z=int(spec.z) + first,
        x=x * pixel,
        y=y * pixel,
        pixel=pixel,
        url=url,
        channel=channel,
        width=spec.width,
        height=spec.height,
        row=spec.row,
        col=spec.col,
        matrix=(a, b, c, d),
        camera=spec.camera,
    )
