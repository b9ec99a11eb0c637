"""The handle that a stage gets: all reading and writing goes through it and is entered in its ledger."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from igneous_ng import fences, local, spelling
from igneous_ng.errors import DataError, IgneousError, SpecError
from igneous_ng.formats import codecs
from igneous_ng.formats import info as infos
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box, Vec3f
from igneous_ng.store import Compression, Store, Written, digest, digest_of, parsed
from igneous_ng.volume import Output, Volume

Array = npt.NDArray[Any]


@dataclass
class Ledger:
    """What one task read and wrote, with digests, and the quality figures that it noted: ``docs/design/017``.

    ``reads`` say what the result depends on, ``writes`` what became of objects, ``covers`` of which boxes.
    """

    reads: list[dict[str, Any]] = field(default_factory=list)
    writes: list[dict[str, Any]] = field(default_factory=list)
    covers: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)


Method = TypeVar("Method", bound=Callable[..., Any])


def _waits(method: Method) -> Method:
    """A method that waits for storage: others may compute meanwhile."""

    @functools.wraps(method)
    def waiting(self: IO, *args: Any, **kwargs: Any) -> Any:
        with self.away():
            return method(self, *args, **kwargs)

    return cast(Method, waiting)


class IO:
    """Layers, arrays and objects, by URL. One instance serves one task at a time.

    ``away`` makes a context that is entered around each wait for storage.
    """

    def __init__(
        self, store: Store | None = None, away: Callable[[], AbstractContextManager[Any]] = nullcontext
    ) -> None:
        self.store = store or Store()
        self.away = away
        self.ledger = Ledger()

    @_waits
    def info(self, layer: str) -> Info:
        """The parsed ``info`` of a volume layer; DataError where there is none."""
        return _info(self.store.get(f"{layer}/info"), f"{layer}/info")

    def volume(self, layer: str, mip: int, fill_missing: bool = False, info: Info | None = None) -> Volume:
        """Level ``mip`` of ``layer``; ``info`` stands in for the published one where given."""
        return Volume(layer, mip, info or self.info(layer), self.store, fill_missing)

    @_waits
    def read(self, volume: Volume, box: Box, out: Array | None = None) -> Array:
        """The voxels of ``box``, ``[x, y, z, c]`` in Fortran order, or in ``out``; DataError for a missing chunk."""
        array, fingerprint = volume.read(box, out)
        self.ledger.reads.append({"layer": volume.path, "mip": volume.mip, "box": str(box), "digest": fingerprint})
        return array

    def saw(self, url: str, box: Box, array: Array) -> None:
        """Enter what was read by other means: ``array`` from ``box`` of the file at ``url``."""
        whole = array if array.flags.c_contiguous else np.ascontiguousarray(array.T)  # no copy of what lies in order
        stored = whole.data.cast("B")
        self.ledger.reads.append({"url": url, "box": str(box), "digest": digest(stored)})

    def saw_part(self, url: str, part: int, identity: bytes) -> None:
        """Enter that the result depends on one part of the container at ``url``, of which this is the identity."""
        self.ledger.reads.append({"url": url, "part": part, "digest": digest(identity)})

    def wrote_box(self, volume: Volume, box: Box) -> None:
        """Enter that the chunks of ``box`` were written by other means than :meth:`write`."""
        self.ledger.covers.append({"layer": volume.path, "mip": volume.mip, "box": str(box)})

    def write(
        self, volume: Volume, box: Box, array: Array, compress: Compression = "gzip", delete_background: bool = False
    ) -> None:
        """Write ``array`` ``[x, y, z, c]``; ``box`` is made of whole chunks, or shards.

        Pictures are never compressed again. With ``delete_background`` chunks of zeros are left out.
        """
        with self.writing(volume, box, compress, delete_background) as put:
            put(box, array)

    @contextmanager
    def writing(
        self, volume: Volume, box: Box, compress: Compression = "gzip", delete_background: bool = False
    ) -> Iterator[Callable[[Box, Array], None]]:
        """A function that writes parts of ``box``, each of whole chunks; shards are stored at the end."""
        if codecs.compact(volume.scale.encoding):
            compress = "none"
        output = Output(volume, box, compress, delete_background)

        def put(part: Box, array: Array) -> None:
            with self.away():
                self._enter(output.put(part, np.asarray(array)))

        yield put
        with self.away():
            self._enter(output.close())
        self.wrote_box(volume, box)

    @_waits
    def copy(self, pairs: Sequence[tuple[str, str]], compress: Compression) -> list[bool]:
        """Copy objects from the first URL to the second without looking inside; False for those that are not there."""
        copied = self.store.map(lambda pair: self.store.copy(pair[0], pair[1], compress), pairs)
        for (source, _), found in zip(pairs, copied, strict=True):
            if found is not None:
                fingerprint, as_stored, made = found
                more = {"stored": True} if as_stored else {}
                self.ledger.reads.append({"url": source, "digest": fingerprint, **more})
                self._enter([made])
        return [found is not None for found in copied]

    @_waits
    def create_layer(self, layer: str, info: Info) -> None:
        """Write the ``info`` of a new layer; the same again is fine, another one is a SpecError."""
        url, wanted = f"{layer}/info", infos.encode(info)
        found = self.store.get(url)
        if found is None:
            self._enter([self.store.put(url, wanted)])
        elif _holds(infos.parse(self.store.get_json(url), layer), info):
            self._found(url)
        else:
            told = infos.difference(infos.parse(self.store.get_json(url), layer), info)
            raise SpecError(f"{layer}: another layer is already here: {told}; choose another place or remove it")

    @_waits
    def edit_info(self, layer: str, *scales: infos.Scale, **keys: Any) -> None:
        """Add ``scales`` and ``keys`` to the layer's ``info``; nothing is written where they are there.

        Stages that publish in one layer at once do not undo each other. Keys are kept in alphabetical order, so that it
        does not matter who comes first.
        """
        url = f"{layer}/info"

        def change(data: bytes | None) -> bytes:
            old = _info(data, url)
            new = dataclasses.replace(old.with_scales(*scales), extra=dict(sorted({**old.extra, **keys}.items())))
            return infos.encode(new) if new != old or data is None else data

        self.edit(url, change)

    @_waits
    def put(self, url: str, data: bytes, compress: Compression = "none") -> None:
        """Store an object whole."""
        self._enter([self.store.put(url, data, compress)])

    @_waits
    def edit(self, url: str, change: Callable[[bytes | None], bytes]) -> None:
        """Store what ``change`` makes of an object's content, so that nobody's is undone: :meth:`Store.edit`."""
        made = self.store.edit(url, change)
        if made is not None:
            self._enter([made])
        else:
            self._found(url)

    @_waits
    def create(self, url: str, data: bytes) -> bool:
        """Store an object if there is none of its name; whether what is there now is ``data``. Nothing is replaced."""
        if self.store.create(url, data):
            self._enter([Written(url, data, digest(data))])
            return True
        same = self.store.get(url) == data
        if same:
            self._found(url)
        return same

    @_waits
    def get(self, url: str, span: tuple[int, int] | None = None) -> bytes | None:
        """An object's content, or None; ``span`` is ``[start, stop)`` of an object stored plain."""
        data = self.store.get(url, span)
        part = {} if span is None else {"span": list(span)}
        self.ledger.reads.append({"url": url, "digest": digest_of(data), **part})
        return data

    @_waits
    def peek(self, url: str, span: tuple[int, int] | None = None) -> bytes | None:
        """As :meth:`get`, of what the ledger tells otherwise, or what no result depends on."""
        return self.store.get(url, span)

    @_waits
    def delete(self, url: str) -> None:
        """Remove an object, if it is there."""
        self._enter([self.store.delete(url)])

    @_waits
    def exists(self, url: str) -> bool:
        """Whether there is an object of this name."""
        return self.store.exists(url)

    @_waits
    def list(self, url: str) -> list[str]:
        """Names directly in the folder ``url``, sorted, without compression suffix."""
        names = self.store.list(url)
        self.ledger.reads.append({"list": url, "digest": digest("\n".join(names).encode())})
        return names

    @_waits
    def put_json(self, url: str, value: Any) -> None:
        """Store a JSON value."""
        self._enter([self.store.put_json(url, value)])

    @_waits
    def get_json(self, url: str) -> Any | None:
        """A stored JSON value, or None."""
        data = self.store.get(url)
        self.ledger.reads.append({"url": url, "digest": digest_of(data)})
        return None if data is None else parsed(data, url)

    def note(self, **figures: Any) -> None:
        """Enter quality figures in the record of this task."""
        self.ledger.notes.update(figures)

    def note_place(self, box: Box, resolution: Vec3f) -> None:
        """Enter which voxels, of so many nm, the figures are of, where neither the unit nor what is covered tells."""
        self.note(place={"box": str(box), "resolution": list(resolution)})

    def _enter(self, made: Iterable[Written]) -> None:
        for one in made:
            before = {word: True for word in ("replaced", "same") if getattr(one, word)}
            if one.stored is None:
                self.ledger.writes.append({"url": one.url, "deleted": True, **before})
            else:
                figures = {"bytes": len(one.stored), "digest": one.digest}
                self.ledger.writes.append({"url": one.url, **figures, **before})

    def _found(self, url: str) -> None:
        """Enter an object that is there already, as it should be: as somebody's, or this run's from another attempt."""
        found = self.store.stored(url)
        if found is not None:
            figures = {"bytes": len(found[0]), "digest": digest(found[0])}
            whose = "replaced" if self.store.has_replaced(url) else "kept"
            self.ledger.writes.append({"url": url, **figures, whose: True})


def _info(data: bytes | None, url: str) -> Info:
    """The ``info`` in the content of ``url``."""
    if data is None:
        raise DataError(f"{url}: there is no layer here; {_similar(url)}check the path, or create the layer first")
    return infos.parse(parsed(data, url), url)


def _similar(url: str) -> str:
    """A guess at the layer that is meant by ``url``, from the names beside it on a disk."""
    folder, _, name = url.removesuffix("/info").rpartition("/")
    near: list[str] = []
    with suppress(IgneousError):
        if folder.startswith("file://"):
            near = spelling.nearest(name, local.names(fences.passed(folder).removeprefix("file://")), 1)
    return f"did you mean {folder}/{near[0]}? Else " if near else ""


def _holds(old: Info, new: Info) -> bool:
    """Whether ``old`` is ``new``, perhaps extended by later stages with levels and keys."""
    same = (old.kind, old.dtype, old.channels) == (new.kind, new.dtype, new.channels)
    return same and old.scales[: len(new.scales)] == new.scales
