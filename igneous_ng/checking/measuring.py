"""All that is measured of one section of an aligned volume."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.checking import blocks, fields
from igneous_ng.checking.blocks import Lattice
from igneous_ng.checking.fields import Stack
from igneous_ng.formats.checks import Check
from igneous_ng.windows import Windows

Array = npt.NDArray[Any]


def measure(stack: Stack, windows: Windows, lattice: Lattice, z: int, allowed: float) -> tuple[Check, Array]:
    """The figures of section ``z`` and its part of the heat map, float32 ``[x, y, 1, channel]``.

    ``windows`` are those of the final maps; a block more than ``allowed`` pixels of mip 0 off, for each section that
    the other is away, is misaligned.
    """
    rough = stack.alignment.rough(stack.io, z)
    found = Check(z=z, round=stack.lattice.number, source=rough.source, component=rough.component)
    wide, high, _ = lattice.box.shape
    heat = np.full((wide, high, 1, len(blocks.CHANNELS)), blocks.UNKNOWN, np.float32, order="F")
    if rough.source < 0:
        return found, heat
    figures, parts = fields.shape(stack, z, windows.mip)
    heat[:, :, 0, 2] = blocks.strains(parts, lattice, stack.lattice.step)
    found = replace(found, **fields.links(stack, z), **figures)
    below = stack.below(z)
    if below is None:
        return found, heat
    measured = blocks.compare(windows, lattice, (z, below), allowed * (z - below))
    heat[:, :, 0, 0], heat[:, :, 0, 1] = measured.off, measured.gap
    return replace(found, against=below, **measured.figures, **fields.jitter(stack, z, below)), heat
