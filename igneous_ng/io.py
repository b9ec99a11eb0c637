"""The handle that a stage gets: all reading and writing goes through it and is entered in its ledger."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import codecs
from igneous_ng.formats import info as infos
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box
from igneous_ng.store import Compression, Store, digest
from igneous_ng.volume import Output, Volume

Array = npt.NDArray[Any]


@dataclass
class Ledger:
    """What one task read and wrote, with digests, and the quality figures that it noted."""

    reads: list[dict[str, Any]] = field(default_factory=list)
    writes: list[dict[str, Any]] = field(default_factory=list)
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
        raw = self.store.get_json(f"{layer}/info")
        if raw is None:
            raise DataError(f"{layer}/info: there is no layer here; check the path, or create the layer first")
        return infos.parse(raw, f"{layer}/info")

    def volume(self, layer: str, mip: int, fill_missing: bool = False, info: Info | None = None) -> Volume:
        """Level ``mip`` of ``layer``; ``info`` stands in for the published one where given."""
        return Volume(layer, mip, info or self.info(layer), self.store, fill_missing)

    @_waits
    def read(self, volume: Volume, box: Box) -> Array:
        """The voxels of ``box``, ``[x, y, z, c]`` in Fortran order; DataError for a missing chunk."""
        array, fingerprint = volume.read(box)
        self.ledger.reads.append({"layer": volume.path, "mip": volume.mip, "box": str(box), "digest": fingerprint})
        return array

    def saw(self, url: str, box: Box, array: Array) -> None:
        """Enter what was read by other means: ``array`` from ``box`` of the file at ``url``."""
        stored = np.ascontiguousarray(array.T).data.cast("B")  # in Fortran order, without a copy where it is so already
        self.ledger.reads.append({"url": url, "box": str(box), "digest": digest(stored)})

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

    @_waits
    def copy(self, pairs: Sequence[tuple[str, str]], compress: Compression) -> list[bool]:
        """Copy objects from the first URL to the second without looking inside; False for those that are not there."""
        copied = self.store.map(lambda pair: self.store.copy(pair[0], pair[1], compress), pairs)
        for (source, target), found in zip(pairs, copied, strict=True):
            if found is not None:
                self.ledger.reads.append({"url": source, "digest": found[0]})
                self._wrote(target, found[1])
        return [found is not None for found in copied]

    @_waits
    def create_layer(self, layer: str, info: Info) -> None:
        """Write the ``info`` of a new layer; the same again is fine, another one is a SpecError."""
        wanted = infos.encode(info)
        found = self.store.get(f"{layer}/info")
        if found is None:
            self._wrote(f"{layer}/info", self.store.put(f"{layer}/info", wanted))
        elif not _holds(infos.parse(self.store.get_json(f"{layer}/info"), layer), info):
            raise SpecError(
                f"{layer}: another layer is already here, of another shape, type or encoding; "
                "choose another place or remove it"
            )

    @_waits
    def edit_info(self, layer: str, *scales: infos.Scale, **keys: Any) -> None:
        """Add ``scales`` and ``keys`` to the layer's ``info``; nothing is written where they are there.

        On ``file://`` stages that publish in one layer at once do not undo each other. Keys are kept in alphabetical
        order, so that it does not matter who comes first.
        """
        with self.store.alone(f"{layer}/info"):
            old = self.info(layer)
            new = dataclasses.replace(old.with_scales(*scales), extra=dict(sorted({**old.extra, **keys}.items())))
            if new != old:
                self._wrote(f"{layer}/info", self.store.put(f"{layer}/info", infos.encode(new)))

    @_waits
    def put(self, url: str, data: bytes, compress: Compression = "none") -> None:
        """Store an object whole."""
        self._wrote(url, self.store.put(url, data, compress))

    @_waits
    def get(self, url: str, span: tuple[int, int] | None = None) -> bytes | None:
        """An object's content, or None; ``span`` is ``[start, stop)`` of an object stored plain."""
        data = self.store.get(url, span)
        if data is not None:
            part = {} if span is None else {"span": list(span)}
            self.ledger.reads.append({"url": url, "digest": digest(data), **part})
        return data

    @_waits
    def delete(self, url: str) -> None:
        """Remove an object, if it is there."""
        self.store.delete(url)
        self.ledger.writes.append({"url": url, "deleted": True})

    @_waits
    def exists(self, url: str) -> bool:
        """Whether there is an object of this name."""
        return self.store.exists(url)

    @_waits
    def list(self, url: str) -> list[str]:
        """Names directly in the folder ``url``, sorted, without compression suffix."""
        return self.store.list(url)

    @_waits
    def put_json(self, url: str, value: Any) -> None:
        """Store a JSON value."""
        self._wrote(url, self.store.put_json(url, value))

    @_waits
    def get_json(self, url: str) -> Any | None:
        """A stored JSON value, or None."""
        return self.store.get_json(url)

    def note(self, **figures: Any) -> None:
        """Enter quality figures in the record of this task."""
        self.ledger.notes.update(figures)

    def _enter(self, written: Iterable[tuple[str, bytes]]) -> None:
        for url, stored in written:
            self._wrote(url, stored)

    def _wrote(self, url: str, stored: bytes) -> None:
        self.ledger.writes.append({"url": url, "bytes": len(stored), "digest": digest(stored)})


def _holds(old: Info, new: Info) -> bool:
    """Whether ``old`` is ``new``, perhaps extended by later stages with levels and keys."""
    same = (old.kind, old.dtype, old.channels) == (new.kind, new.dtype, new.channels)
    return same and old.scales[: len(new.scales)] == new.scales
