"""What is wrong with the objects that one page of a ledger names, or with what it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from igneous_ng import folders, ledger
from igneous_ng.decoding import WRONG, Decoder
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.inputs import UNKNOWN, Inputs
from igneous_ng.ledger import Entry, Page
from igneous_ng.records import Line
from igneous_ng.store import Store, digest

_PIECE = 32 << 20  # bytes of an object that are held at once
_AT_ONCE = 4096  # objects
MISSING, OTHER, THERE = "missing", "other bytes", "not removed"
UNREADABLE, UNDECODABLE, CHANGED = "cannot be read", "cannot be decoded", "input changed"


@dataclass(frozen=True)
class Wrong:
    """What is wrong with the object ``url``, or a box of voxels: why, what was expected, and what was found."""

    url: str
    cause: str
    expected: str
    found: str


@dataclass
class Audit:
    """Looks at pages; counts ``objects`` that were looked for, those whose bytes were ``read``, and these ``bytes``.

    The bytes of a fraction ``sample`` of objects are read, chosen by their names; what is ``decoded`` is among these.
    Where ``inputs`` tell digests, what each page says that it read is looked at, too.
    """

    store: Store
    sample: float = 1.0
    decode: bool = False
    inputs: Inputs | None = None
    objects: int = 0
    read: int = 0
    bytes: int = 0
    _decoder: Decoder = field(init=False)

    def __post_init__(self) -> None:
        self._decoder = Decoder(self.store)

    def of(self, page: Page) -> list[Wrong]:
        """What is wrong with one page."""
        found = list[Wrong]()
        for start in range(0, len(page.newest), _AT_ONCE):
            part = page.newest[start : start + _AT_ONCE]
            looked = self.store.map(self._object, part)
            found += [one for one in looked if one is not None]
            self.objects += len(part)
            read = [entry for entry in part if "digest" in entry and self._chosen(entry["url"])]
            self.read, self.bytes = self.read + len(read), self.bytes + sum(entry["bytes"] for entry in read)
        if self.decode and page.newest and not found:  # what has other bytes is known to be wrong
            found += self._boxes(page.line)
        if self.inputs is not None and page.unit >= 0:
            found += changed(page.line, self.inputs)
        return found

    def _chosen(self, name: str) -> bool:
        """Whether the bytes of an object, or of the chunks of a box, are read: the same each time."""
        return int.from_bytes(blake3(name.encode()).digest(4)) < self.sample * (1 << 32)

    def _object(self, entry: Entry) -> Wrong | None:
        url = entry["url"]
        try:
            return self._gone(url) if "deleted" in entry else self._there(entry)
        except (DataError, SpecError) as error:
            return Wrong(url, UNREADABLE, entry.get("digest", ""), str(error))

    def _gone(self, url: str) -> Wrong | None:
        return Wrong(url, THERE, "no object", "one") if self.store.exists(url) else None

    def _there(self, entry: Entry) -> Wrong | None:
        url, size = entry["url"], entry["bytes"]
        if not self._chosen(url) or size > _PIECE:
            found = folders.size(url)
            if found is None:
                return Wrong(url, MISSING, entry["digest"], "no object")
            if found != size:
                return Wrong(url, OTHER, f"{size} bytes", f"{found} bytes")
            if not self._chosen(url):
                return None
        stored = self._digest(url, size)
        if stored is None:
            return Wrong(url, MISSING, entry["digest"], "no object")
        if stored != entry["digest"]:
            return Wrong(url, OTHER, entry["digest"], stored)
        return self._decoded(url) if self.decode else None

    def _digest(self, url: str, size: int) -> str | None:
        """The digest of an object as it is stored; a large one that is stored plain is read piece by piece."""
        if size > _PIECE:
            try:
                hasher = blake3()
                for start in range(0, size, _PIECE):
                    hasher.update(self.store.get(url, (start, min(size, start + _PIECE))) or b"")
                return hasher.hexdigest(length=16)
            except DataError:  # compressed: it has no ranges
                pass
        found = self.store.stored(url)
        return None if found is None else digest(found[0])

    def _decoded(self, url: str) -> Wrong | None:
        try:
            self._decoder.check(url)
        except WRONG as error:
            return Wrong(url, UNDECODABLE, "", str(error))
        return None

    def _boxes(self, line: Line) -> Iterator[Wrong]:
        for cover in line.get("covers", ()):
            where = f"{cover['layer']} mip {cover['mip']} {cover['box']}"
            if self._chosen(where):
                try:
                    self._decoder.check_box(cover["layer"], int(cover["mip"]), Box.parse(cover["box"]))
                except WRONG as error:
                    yield Wrong(where, UNDECODABLE, "", str(error))


def changed(line: Line, inputs: Inputs) -> Iterator[Wrong]:
    """What a unit read and what is another now, but for what it changed itself."""
    for entry in line.get("reads", ()):
        if not own(entry, line) and (now := digest_now(entry, inputs)) not in (entry["digest"], UNKNOWN):
            yield Wrong(named(entry), CHANGED, entry["digest"], now)


def digest_now(read: Mapping[str, Any], inputs: Inputs) -> str:
    """The digest that what was read has now; why it cannot be read, where it cannot."""
    try:
        return inputs.digest(read)
    except (DataError, SpecError) as error:
        return str(error)


def own(read: Mapping[str, Any], line: Line) -> bool:
    """Whether a unit that read this wrote it, too."""
    if "layer" in read:
        box = Box.parse(read["box"])
        boxes = (one["box"] for one in line["covers"] if (one["layer"], one["mip"]) == (read["layer"], read["mip"]))
        return any((Box.parse(other) & box).voxels for other in boxes)
    urls = (entry["url"] for entry in ledger.writes(line))
    if "list" in read:
        return any(url.rpartition("/")[0] == read["list"] for url in urls)
    return any(url == read["url"] for url in urls)


def named(read: Mapping[str, Any]) -> str:
    """What was read, in words."""
    if "layer" in read:
        return f"{read['layer']} mip {read['mip']} {read['box']}"
    if "list" in read:
        return f"the names in {read['list']}"
    parts: Sequence[str] = [f"{key} {read[key]}" for key in ("part", "box") if key in read]
    return " ".join([str(read["url"]), *parts])
