"""MRC: the header of an image stack, as MRC2014 has it (Cheng et al., J. Struct. Biol. 192 (2015) 146-150).

What it leaves open follows IMOD (https://bio3d.colorado.edu/imod/doc/mrc_format.txt): mode 0 is unsigned where IMOD's
stamp is there without the flag for signed bytes.
"""

from __future__ import annotations

import struct

import numpy as np

from igneous_ng.formats.planes import Planes

HEADER = 1024
"""Bytes before the extended header."""
_TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_OTHERS = {3: "complex integers", 4: "complex numbers", 16: "RGB", 101: "four bits a pixel"}
_STAMPS = {b"\x44\x44": "<", b"\x44\x41": "<", b"\x11\x11": ">"}
_IMOD = 1146047817
_SIGNED = 1


def parse(data: bytes) -> Planes:
    """Where the slices of a file are, from its first bytes; ValueError where they are not those of an MRC.

    The size of a pixel is that along x, where it is the same along y, and known.
    """
    if len(data) < HEADER:
        raise ValueError(f"it has {len(data)} bytes of its header of {HEADER}")
    order = _order(data)
    columns, rows, planes, mode = struct.unpack(f"{order}4i", data[:16])
    if mode not in _TYPES:
        raise ValueError(f"its pixels are of mode {mode} ({_OTHERS.get(mode, 'unknown')}); read are {[*_TYPES]}")
    axes = struct.unpack(f"{order}3i", data[64:76])
    if axes not in ((1, 2, 3), (0, 0, 0)):
        raise ValueError(f"its columns, rows and slices run along axes {axes}; expected (1, 2, 3)")
    (extended,) = struct.unpack(f"{order}i", data[92:96])
    if extended < 0:
        raise ValueError(f"its extended header has {extended} bytes")
    stamp, flags = struct.unpack(f"{order}2i", data[152:160])
    unsigned = mode == 0 and stamp == _IMOD and not flags & _SIGNED
    dtype = np.dtype(order + ("u1" if unsigned else _TYPES[mode]))
    return Planes(HEADER + extended, (planes, rows, columns, 1), dtype, _pixel(data, order))


def _order(data: bytes) -> str:
    """The byte order: its stamp, or, in files older than the stamp, the one in which the axes are 1, 2 and 3."""
    if data[208:212] == b"MAP ":
        if data[212:214] in _STAMPS:
            return _STAMPS[data[212:214]]
        raise ValueError(f"its machine stamp is {data[212:216].hex()}, of no byte order")
    for order in "<>":
        if struct.unpack(f"{order}3i", data[64:76]) == (1, 2, 3):
            return order
    raise ValueError("there is neither the word MAP nor the axes 1, 2, 3 in its header")


def _pixel(data: bytes, order: str) -> float | None:
    """nm, from the cell in Angstrom and its intervals."""
    x, y = struct.unpack(f"{order}2i", data[28:36])
    width, height = struct.unpack(f"{order}2f", data[40:48])
    if x < 1 or y < 1 or not (0 < width < np.inf and 0 < height < np.inf):
        return None
    across, down = width / x / 10, height / y / 10
    return across if abs(across - down) < 1e-4 * across else None
