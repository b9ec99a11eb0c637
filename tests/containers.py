"""Files of microscopes, made by their published descriptions: what readers are tested with."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_DM_PIXELS = {"i2": 1, "f4": 2, "u1": 6, "i4": 7, "i1": 9, "u2": 10, "u4": 11, "f8": 12}
_DM_NUMBERS = {"i2": 2, "i4": 3, "u2": 4, "u4": 5, "f4": 6, "f8": 7, "u1": 9, "i1": 10}


def dat(rows: Array, version: int, pixel: float = 8.0, first: tuple[int, int] = (0, 0), machine: bytes = b"") -> bytes:
    """Janelia's FIB-SEM format: ``rows`` [y, x, channel] of int16 or uint8."""
    head = bytearray(1024)
    height, width, channels = rows.shape
    struct.pack_into(">IHH10s", head, 0, 3555587570, version, 1, b"04/20/2021")
    struct.pack_into(">BB", head, 32, channels, rows.dtype == np.uint8)
    factors = [1.5, 2.5, 3.5, 4.5] + [0.0] * 12
    if version == 1:
        struct.pack_into(">8d", head, 36, *factors[:8])
    else:
        struct.pack_into(">16f", head, 36, *factors)
    if version >= 9:
        struct.pack_into(">ii", head, 70, *first)
    struct.pack_into(">II", head, 100, width, height)
    if version <= 2:
        struct.pack_into(">d", head, 416, pixel)
    else:
        struct.pack_into(">f", head, 464, pixel)
    head[800 : 800 + len(machine)] = machine
    return bytes(head) + rows.astype("u1" if rows.dtype == np.uint8 else ">i2").tobytes()


def mrc_bytes(stack: Array, mode: int, order: str = "<", nm: float = 4.0) -> bytes:
    """MRC2014: ``stack`` [z, y, x]."""
    head = bytearray(1024)
    sizes = stack.shape[::-1]
    struct.pack_into(f"{order}4i", head, 0, *sizes, mode)
    struct.pack_into(f"{order}3i3f", head, 28, *sizes, *(10 * nm * n for n in sizes))
    struct.pack_into(f"{order}3i", head, 64, 1, 2, 3)
    head[208:216] = b"MAP \x44\x44\0\0" if order == "<" else b"MAP \x11\x11\0\0"
    return bytes(head) + stack.astype(order + stack.dtype.str[1:]).tobytes()


def number(value: float, order: str, code: str = "f8") -> bytes:
    """The value of a DM3 tag: a number."""
    return struct.pack(">4s2I", b"%%%%", 1, _DM_NUMBERS[code]) + np.array(value, f"{order}{code}").tobytes()


def text(value: str, order: str) -> bytes:
    """The value of a DM3 tag: a text."""
    coded = np.array([ord(letter) for letter in value], f"{order}u2").tobytes()
    return struct.pack(">4s4I", b"%%%%", 3, 20, 4, len(value)) + coded


def array(values: Array, order: str) -> bytes:
    """The value of a DM3 tag: numbers."""
    code = _DM_NUMBERS[values.dtype.str[1:]]
    coded = values.astype(order + values.dtype.str[1:]).tobytes()
    return struct.pack(">4s4I", b"%%%%", 3, 20, code, values.size) + coded


Tags = dict[str, Any] | list[Any]


def image(
    pixels: Array, order: str, scale: float = 0.0, units: str = "", tags: Tags | None = None, code: int = 0
) -> Tags:
    """An entry of the ImageList, ``pixels`` [y, x] or [z, y, x]."""
    scales = [{"Scale": number(scale, order, "f4"), "Units": text(units, order)} for _ in pixels.shape]
    return {
        "ImageData": {
            "Calibrations": {"Dimension": scales},
            "Data": array(pixels, order),
            "DataType": number(code or _DM_PIXELS[pixels.dtype.str[1:]], order, "u4"),
            "Dimensions": [number(n, order, "u4") for n in pixels.shape[::-1]],
        },
        "ImageTags": tags or {},
    }


def dm(images: list[Tags], version: int, order: str, before: dict[str, Any] | None = None) -> bytes:
    """Gatan's DM3 or DM4."""
    tree = _group({**(before or {}), "ImageList": images}, version)
    length = struct.pack(">I" if version == 3 else ">Q", len(tree))
    return struct.pack(">I", version) + length + struct.pack(">I", order == "<") + tree + bytes(8)


def _group(tags: Tags, version: int) -> bytes:
    named = list(tags.items()) if isinstance(tags, dict) else [("", one) for one in tags]
    made = struct.pack(">BBI" if version == 3 else ">BBQ", 1, 0, len(named))
    for name, value in named:
        inside = _wide(value, version) if isinstance(value, bytes) else _group(value, version)
        made += struct.pack(">BH", 21 if isinstance(value, bytes) else 20, len(name)) + name.encode("latin-1")
        made += (struct.pack(">Q", len(inside)) if version == 4 else b"") + inside
    return made


def _wide(value: bytes, version: int) -> bytes:
    """The same value with the lengths of DM4."""
    if version == 3:
        return value
    (count,) = struct.unpack(">I", value[4:8])
    words = struct.unpack(f">{count}I", value[8 : 8 + 4 * count])
    return value[:4] + struct.pack(f">{count + 1}Q", count, *words) + value[8 + 4 * count :]
