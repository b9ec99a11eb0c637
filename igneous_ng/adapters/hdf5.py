"""HDF5: a dataset z, y, x, in a file or in several of a folder, whose planes are sections of one tile.

The size of a pixel is that of the dataset's attribute ``resolution``, nm along its axes, where x and y are alike, as in
the files of CREMI (https://cremi.org/data). A dataset of two axes is one section.
"""

from __future__ import annotations

from collections.abc import Iterator

from igneous_ng import pictures
from igneous_ng.adapters import stacks
from igneous_ng.adapters.base import Choices
from igneous_ng.errors import SpecError
from igneous_ng.formats.hdf5_planes import Dataset
from igneous_ng.formats.tiles import Picture, Tile
from igneous_ng.io import IO

NAME = "hdf5"
_SUFFIXES = (".h5", ".hdf5", ".hdf")


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """A tile a plane. SpecError where files have several datasets and none was chosen."""

    def look(url: str) -> stacks.Stack:
        found = _chosen(pictures.datasets(io, Picture(url)), choices.dataset.strip("/"), url)
        return stacks.Stack(found.parts, [found.size] * len(found.parts), found.pixel)

    return stacks.tiles(io, source, choices, _SUFFIXES, look)


def _chosen(found: list[Dataset], wanted: str, url: str) -> Dataset:
    """The dataset that is wanted, or the only one."""
    named = [one for one in found if one.name == wanted or (not wanted and len(found) == 1)]
    if not named:
        names = ", ".join(one.name for one in found) or "(none has pictures)"
        what = f"has no pictures called {wanted!r}" if wanted else "does not say which of its datasets is meant"
        raise SpecError(f"{url}: {what}; give --dataset, one of: {names}")
    return named[0]
