"""Gatan's DM3 and DM4: a tree of tags, in which the pixels are one tag among others.

Gatan publishes no description; the layout is that of C. B. Boothroyd, "Digital Micrograph file format"
(https://www.er-c.org/cbb/info/dmformat/). Lengths and names of tags are big-endian, values as the header says; DM4 has
eight bytes for what has four in DM3, and the length of each tag before it. Pixels of other tags are never read.
"""

from __future__ import annotations

import datetime
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from igneous_ng.formats.planes import Planes

_GROUP, _DATA = 20, 21
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_NUMBERS = {2: "i2", 3: "i4", 4: "u2", 5: "u4", 6: "f4", 7: "f8", 8: "u1", 9: "u1", 10: "u1", 11: "i8", 12: "u8"}
_PIXELS = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8"}
_UNITS = {"nm": 1.0, "µm": 1e3, "μm": 1e3, "um": 1e3, "mm": 1e6, "m": 1e9, "Å": 0.1, "A": 0.1, "pm": 1e-3}
_DEEPEST = 64  # groups in groups
_LONGEST = 1 << 16  # bytes of a text, of a name, or of a type
_EPOCH = datetime.datetime(1601, 1, 1)  # from which Windows counts

Group = dict[str, Any]


@dataclass(frozen=True)
class Block:
    """An array of numbers that was not read."""

    start: int
    stop: int
    order: str
    """Of its bytes: ``<`` or ``>``."""


def parse(file: BinaryIO) -> Planes:
    """Where the picture of a file is: the largest of its images, and of images of one size the last.

    ValueError where the file is torn, or holds no image of plain numbers. The others are its thumbnail, in colours.
    """
    tree = _Tags(file).root()
    found = [planes for image in _groups(tree, "ImageList") if (planes := _planes(image, file)) is not None]
    if not found:
        raise ValueError("there is no image of plain numbers in it, of two or three axes")
    best = max(enumerate(found), key=lambda one: (one[1].stop - one[1].start, one[0]))[1]
    end = file.seek(0, 2)
    if end < best.stop:
        raise ValueError(f"it has {end} bytes and its pixels end at {best.stop}")
    return best


def _planes(image: Group, file: BinaryIO) -> Planes | None:
    """Of one image; None where its pixels are colours or complex numbers, or it is a spectrum or has none."""
    data = image.get("ImageData")
    if not isinstance(data, dict) or not isinstance(data.get("Data"), Block):
        return None
    block, code, sides = data["Data"], data.get("DataType"), list(_group(data, "Dimensions").values())
    if code not in _PIXELS or not 2 <= len(sides) <= 3 or not all(isinstance(n, int) for n in sides):
        return None
    dtype = np.dtype(block.order + _PIXELS[code])
    planes = Planes(block.start, (*[1] * (3 - len(sides)), *sides[::-1], 1), dtype, _pixel(data, file), _time(image))
    if planes.stop != block.stop:
        raise ValueError(f"its image of sizes {sides} and type {dtype} has {block.stop - block.start} bytes")
    return planes


def _pixel(data: Group, file: BinaryIO) -> float | None:
    """nm, where the scale is the same along x and y, in a unit of length."""
    scales = _groups(_group(data, "Calibrations"), "Dimension")[:2]
    found = [(one.get("Scale"), _UNITS.get(_text(one.get("Units"), file))) for one in scales]
    sizes = [abs(scale) * unit for scale, unit in found if isinstance(scale, float) and unit is not None]
    if len(sizes) != 2 or not 0 < sizes[0] < np.inf or abs(sizes[0] - sizes[1]) > 1e-4 * sizes[0]:
        return None
    return float(sizes[0])


def _time(image: Group) -> str:
    """The clock of the system when it was taken, in ticks of 100 ns."""
    ticks = _group(_group(image, "ImageTags"), "DataBar").get("Acquisition Time (OS)")
    if not isinstance(ticks, float) or not 0 < ticks < 2.6e18:
        return ""
    return (_EPOCH + datetime.timedelta(microseconds=round(ticks / 10))).isoformat(timespec="seconds")


def _group(tags: Group, name: str) -> Group:
    found = tags.get(name)
    return found if isinstance(found, dict) else {}


def _groups(tags: Group, name: str) -> list[Group]:
    return [one for one in _group(tags, name).values() if isinstance(one, dict)]


def _text(value: Any, file: BinaryIO) -> str:
    """Texts are arrays of UTF-16."""
    if not isinstance(value, Block) or value.stop - value.start > _LONGEST:
        return ""
    file.seek(value.start)
    data = file.read(value.stop - value.start)
    return data.decode("utf-16-be" if value.order == ">" else "utf-16-le", "replace").rstrip("\0")


class _Tags:
    """The tags of a file, from its beginning to its end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0)
        (version,) = struct.unpack(">I", self._read(4))
        if version not in (3, 4):
            raise ValueError(f"it begins with version {version}; DM3 and DM4 are read")
        self._wide = version == 4
        self._count()  # bytes of all tags
        (little,) = struct.unpack(">I", self._read(4))
        if little not in (0, 1):
            raise ValueError(f"its byte order is {little}; expected 0 or 1")
        self._order = "<" if little else ">"

    def root(self) -> Group:
        """All tags; those without a name are called by their number. ValueError where the file is torn."""
        return self._group(0)

    def _group(self, depth: int) -> Group:
        if depth > _DEEPEST:
            raise ValueError(f"its tags lie more than {_DEEPEST} deep")
        self._read(2)  # sorted, open
        tags: Group = {}
        for n in range(self._count()):
            kind, length = struct.unpack(">BH", self._read(3))
            name = self._read(length).decode("latin-1") or str(n)
            if self._wide:
                self._count()  # bytes of this tag
            if kind == _GROUP:
                tags[name] = self._group(depth + 1)
            elif kind == _DATA:
                tags[name] = self._value()
            else:
                raise ValueError(f"tag {name!r} is of kind {kind}; expected {_GROUP} or {_DATA}")
        return tags

    def _value(self) -> Any:
        if (mark := self._read(4)) != b"%%%%":
            raise ValueError(f"found {mark!r} where a value should begin")
        length = self._count()
        if not 1 <= length <= _LONGEST:
            raise ValueError(f"a type has {length} words")
        words = [self._count() for _ in range(length)]
        if words[0] in _NUMBERS and length == 1:
            dtype = np.dtype(self._order + _NUMBERS[words[0]])
            return np.frombuffer(self._read(dtype.itemsize), dtype)[0].item()
        if words[0] == _ARRAY:
            return self._skip(_bytes(words[1:-1]) * words[-1])
        if words[0] == _STRING and length == 2:
            return self._skip(words[1])
        return self._skip(_bytes(words))

    def _skip(self, length: int) -> Block:
        start = self._file.tell()
        if length:
            self._file.seek(start + length - 1)
            self._read(1)
        return Block(start, start + length, self._order)

    def _count(self) -> int:
        """A length: four bytes, eight in DM4."""
        return int.from_bytes(self._read(8 if self._wide else 4), "big")

    def _read(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) != length:
            raise ValueError("it ends inside its tags")
        return data


def _bytes(words: list[int]) -> int:
    """Of a number, or of a struct: 15, length of its name, fields, and for each the length of its name and its type."""
    types = words if len(words) == 1 else words[4::2]
    if not words or (len(words) > 1 and (words[0] != _STRUCT or len(words) < 3 or words[2] != len(types))):
        raise ValueError(f"a value has the unknown type {words[:8]}")
    if unknown := [one for one in types if one not in _NUMBERS]:
        raise ValueError(f"a value has numbers of the unknown type {unknown[0]}")
    return sum(np.dtype(_NUMBERS[one]).itemsize for one in types)
