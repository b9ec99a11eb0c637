"""Files of microscopes whose pixels lie plain behind a header: FIB-SEM ``.dat``, Gatan's DM3 and DM4, MRC."""

from __future__ import annotations

from pathlib import Path

from igneous_ng.formats import fibsem, gatan, mrc
from igneous_ng.sources.base import reading
from igneous_ng.sources.mapped import Labelled

MRCS = (".mrc", ".mrcs", ".rec", ".st")
PICTURES = (".dat", ".dm3", ".dm4")


def open_planes(path: Path) -> Labelled:
    """A stack [z, y, x], or [z, y, x, c] where pixels have several values; DataError where the file is cut short."""
    suffix = path.suffix.lower()
    with reading(str(path), RuntimeError), path.open("rb") as file:
        if suffix in MRCS:
            found = mrc.parse(file.read(mrc.HEADER))
        elif suffix == ".dat":
            found = fibsem.parse(file.read(fibsem.HEADER)).planes
        else:
            found = gatan.parse(file)
    axes = "zyx" if found.shape[3] == 1 else "zyxc"
    mapped = Labelled(str(path), path, found.shape[: len(axes)], found.dtype, found.start, axes=axes)
    mapped.check()
    return mapped
