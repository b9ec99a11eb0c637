"""One page of a TIFF file: its size without its pixels, its pixels without those of other pages."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from igneous_ng.formats.picture_heads import PACKED, Size, check_room

if TYPE_CHECKING:
    import tifffile

Array = npt.NDArray[Any]
_PALETTE = 3  # TIFF 6.0: a photometric interpretation
_PLAIN = 1  # a compression: none


def parts(file: BinaryIO) -> list[tuple[str, Size]]:
    """Names and sizes of all pictures: pages, or planes of a stack behind one page, as ImageJ writes it above 4 GB.

    A page is called by its number and the byte of its description, ``3@1024``, since the way there goes through all
    pages before it. The number alone is enough; a picture that is all of its file has no name.
    """
    with _opened(file) as tif:
        stack = _stack(tif)
        if stack:
            return [(str(n), _size(_page(tif, str(n))[0])) for n in range(stack.count)]
        if len(tif.pages) == 1:
            return [("", _size(_page(tif, "")[0]))]
        found = []
        for n in range(len(tif.pages)):
            page = _page(tif, str(n))[0]
            found.append((f"{n}@{page.offset}", _size(page)))
        return found


def size(file: BinaryIO, part: str) -> Size:
    """What the header of page ``part`` says; of the only page, where it is empty.

    ValueError where there is no such page, or where pixels are not numbers of whole bytes; what tifffile raises for
    files that are torn.
    """
    with _opened(file) as tif:
        return _size(_page(tif, part)[0])


def read(file: BinaryIO, part: str) -> Array:
    """The pixels ``[y, x, channel]`` of a page, as :func:`size`."""
    with _opened(file) as tif:
        page, at = _page(tif, part)
        separate, _, rows, columns, samples = page.shaped
        if at is None:
            _whole(page)
            array = page.asarray(maxworkers=1)
        else:
            array = _plain(file, at, page)
        return np.moveaxis(array.reshape(separate, rows, columns, samples), 0, 2).reshape(rows, columns, -1)


def _size(page: tifffile.TiffPage) -> Size:
    separate, _, rows, columns, samples = page.shaped
    return Size(columns, rows, separate * samples, np.dtype(page.dtype).newbyteorder("="))


@dataclass(frozen=True)
class _Stack:
    """Planes that lie one after the other from byte ``start`` on."""

    start: int
    count: int


def _opened(file: BinaryIO) -> tifffile.TiffFile:
    import tifffile

    file.seek(0)
    return tifffile.TiffFile(file, is_ome=False)


def _stack(tif: tifffile.TiffFile) -> _Stack | None:
    """The planes of a file that describes them by one page only."""
    if not (tif.is_imagej or tif.is_shaped) or _has_second(tif):
        return None
    series = tif.series[0]
    planes = prod(series.shape) // max(1, prod(tif.pages.first.shape))
    return None if planes < 2 or series.dataoffset is None else _Stack(series.dataoffset, planes)


def _has_second(tif: tifffile.TiffFile) -> bool:
    """Whether there are several pages; asking how many there are would visit them all."""
    try:
        return tif.pages[1] is not None
    except IndexError:
        return False


def _page(tif: tifffile.TiffFile, part: str) -> tuple[tifffile.TiffPage, int | None]:
    """The page that describes picture ``part``, and the byte where its plane begins, if it is one of a stack."""
    number, at, offset = part.partition("@")
    if at:
        return _checked(_described(tif, number, offset)), None
    stack = _stack(tif)
    if not part and (stack or _has_second(tif)):
        raise ValueError(f"it has {stack.count if stack else len(tif.pages)} pages, and none was chosen")
    if stack is None:
        return _checked(_numbered(tif, part or "0")), None
    if not (part.isdecimal() and int(part) < stack.count):
        raise ValueError(f"it has {stack.count} pages, and no page {part!r}")
    page = _checked(tif.pages.first)
    return page, stack.start + int(part) * page.size * np.dtype(page.dtype).itemsize


def _numbered(tif: tifffile.TiffFile, number: str) -> Any:
    """A page by its number."""
    try:
        return tif.pages[int(number) if number.isdecimal() else len(tif.pages)]
    except IndexError:
        raise ValueError(f"it has {len(tif.pages)} pages, and no page {number!r}") from None


def _described(tif: tifffile.TiffFile, number: str, offset: str) -> Any:
    """A page by the byte of its description."""
    import tifffile

    if not (number.isdecimal() and offset.isdecimal()):
        raise ValueError(f"{number}@{offset} is no number and byte of a page")
    tif.filehandle.seek(int(offset))
    return tifffile.TiffPage(tif, index=int(number))


def _checked(page: Any) -> tifffile.TiffPage:
    """The page; ValueError where its pixels would not come out as they are stored."""
    if page.photometric == _PALETTE:
        raise ValueError("its pixels are numbers of palette colours; convert it to gray or RGB")
    if page.dtype is None or page.dtype.kind not in "uif" or page.bitspersample == 1:
        raise ValueError(f"its pixels have {page.bitspersample} bits; save it with 8 or 16")
    if page.shaped[1] != 1 or 0 in page.shaped:
        raise ValueError(f"its pixels have the shape {page.shaped}; pictures have rows and columns")
    most = 1 if page.compression == _PLAIN else PACKED
    piece = Size(prod(page.chunks), 1, 1, np.dtype(page.dtype))
    for size in (_size(page), piece):
        check_room(size, page.parent.filehandle.size, most)
    found: tifffile.TiffPage = page
    return found


def _whole(page: tifffile.TiffPage) -> None:
    """ValueError where the file ends before its pixels do."""
    ends = (at + length for at, length in zip(page.dataoffsets, page.databytecounts, strict=True))
    if (need := max(ends, default=0)) > page.parent.filehandle.size:
        raise ValueError(f"it has {page.parent.filehandle.size} bytes and its pixels end at {need}")


def _plain(file: BinaryIO, at: int, page: tifffile.TiffPage) -> Array:
    dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    file.seek(at)
    data = file.read(page.size * dtype.itemsize)
    if len(data) != page.size * dtype.itemsize:
        raise ValueError(f"it ends in its pixels, {len(data)} bytes after {at}")
    return np.frombuffer(data, dtype)
