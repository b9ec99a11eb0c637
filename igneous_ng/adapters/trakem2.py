"""TrakEM2: the layers of a project and their patches, each with an affine, in pixels.

Read of the XML are ``t2_layer`` (z) and ``t2_patch`` (title, oid, file_path, width, height,
``transform="matrix(a,b,c,d,e,f)"``: x' = a x + c y + e, y' = b x + d y + f, as in Java's ``AffineTransform``); see
``Patch.java`` of https://github.com/trakem2/TrakEM2. Patches that are also bent (``ict_transform``, ``ct_id``),
and slices of image stacks (a path that ends with ``-----#slice=N``), are refused. So are XML entities: a project has
none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from igneous_ng.adapters import texts
from igneous_ng.adapters.base import Choices
from igneous_ng.errors import DataError
from igneous_ng.formats.tiles import Tile, checked
from igneous_ng.io import IO

NAME = "trakem2"
_MATRIX = re.compile(r"\s*matrix\(([^()]*)\)\s*")
_NEEDED = ("file_path", "transform")
_STEP = 1 << 16  # bytes that the parser is given at once


@dataclass
class _Reader:
    """Takes what the parser meets, and keeps the patches."""

    url: str
    parser: Any = field(default_factory=expat.ParserCreate)
    patches: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Where each was found, z as it is written, and its attributes."""
    _z: str | None = None
    _root: bool = False

    def __post_init__(self) -> None:
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.EntityDeclHandler = self._entity
        self.parser.buffer_text = True

    @property
    def where(self) -> str:
        """The file and line that are read just now."""
        return f"{self.url}, line {self.parser.CurrentLineNumber}"

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._root and name != "trakem2":
            raise DataError(f"{self.where}: expected a project of TrakEM2, found the element {name!r}")
        self._root = True
        if name == "t2_layer":
            self._z = attributes.get("z")
        elif name == "t2_patch":
            self._patch(attributes)
        elif name.startswith(("ict_transform", "iict_transform")) and self._z is not None:
            raise DataError(
                f"{self.where}: a patch is bent by {attributes.get('class', name)}; only affine patches are read"
            )

    def _patch(self, attributes: dict[str, str]) -> None:
        if self._z is None:
            raise DataError(f"{self.where}: a patch outside of a layer with a z")
        if "ct_id" in attributes:
            raise DataError(f"{self.where}: a patch is bent (ct_id); only affine patches are read")
        if missing := [key for key in _NEEDED if not attributes.get(key)]:
            raise DataError(f"{self.where}: a patch without {missing[0]}")
        self.patches.append((self.where, self._z, attributes))

    def _end(self, name: str) -> None:
        if name == "t2_layer":
            self._z = None

    def _entity(self, name: str, *_: object) -> None:
        raise DataError(f"{self.where}: declares the entity {name!r}; projects of TrakEM2 have none, so it is refused")


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """The patches of the project ``source``, an XML file."""
    data = io.get(source)
    if data is None:
        raise DataError(f"{source}: there is no such file; give a project of TrakEM2")
    pixel = texts.pixel(choices, None, f"{source}, whose calibration is that of a display,")
    reader, count = _Reader(source), 0
    for start in range(0, len(data) + 1, _STEP):
        part = data[start : start + _STEP]
        try:
            reader.parser.Parse(part, len(part) < _STEP)
        except expat.ExpatError as error:
            raise DataError(f"{source}, line {error.lineno}: is no XML ({expat.ErrorString(error.code)})") from None
        for where, z, said in reader.patches:
            yield checked(_tile(source.rpartition("/")[0], z, said, (pixel, choices.z), where), where)
        count += len(reader.patches)
        reader.patches.clear()
    if not count:
        raise DataError(f"{source}: no layer has a patch")


def _tile(folder: str, z: str, said: dict[str, str], given: tuple[float, int], where: str) -> Tile:
    pixel, first = given
    hit = _MATRIX.fullmatch(said["transform"])
    words = hit[1].split(",") if hit else []
    if len(words) != 6:
        raise DataError(f"{where}: transform is {said['transform']!r}; expected matrix(a,b,c,d,e,f)")
    a, b, c, d, x, y = (texts.number(word, "transform", where) for word in words)
    path = said["file_path"]
    if "-----#slice=" in path:
        raise DataError(f"{where}: {path!r} is a slice of a stack; export the slices as files, or ingest the stack")
    width, height = (said.get(f"o_{key}", said.get(key)) for key in ("width", "height"))
    return Tile(
        tile=f"{said['title']}#{said['oid']}" if said.get("title") and said.get("oid") else texts.stem(path),
        z=texts.whole(z, "z", where) + first,
        x=x * pixel,
        y=y * pixel,
        pixel=pixel,
        url=texts.picture(path, folder, where),
        width=None if width is None else texts.whole(width, "width", where),
        height=None if height is None else texts.whole(height, "height", where),
        matrix=(a, c, b, d),
    )
