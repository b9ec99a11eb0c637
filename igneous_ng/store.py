"""Bytes at URLs: objects are written whole or not at all, and read back with their compression undone.

``file://`` is served by :mod:`igneous_ng.local`, which removes an object that is stored under another compression
suffix, so that a name has one content; other schemes by :mod:`igneous_ng.remote`.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from blake3 import blake3

from igneous_ng import fences, local, remote
from igneous_ng.errors import DataError
from igneous_ng.formats.compression import ENCODINGS, SUFFIXES, Compression, compressed, decompressed

__all__ = ["Compression", "Span", "Store", "compressed", "digest"]

Span = tuple[int, int]
Item = TypeVar("Item")
Made = TypeVar("Made")
_BY_SUFFIX = {suffix: how for how, suffix in SUFFIXES.items()}
_THREADS = 4  # of each store
_KEPT_BYTES = 16 << 20  # of indices: those of two thousand shards of a usual size


def digest(data: bytes | memoryview) -> str:
    """The fingerprint of bytes: BLAKE3 (O'Connor et al. 2020), the first 128 bits, in hexadecimal."""
    return blake3(data).hexdigest(length=16)


MISSING = "missing"
"""Stands for the digest of what is not there."""


def digest_of(data: bytes | None) -> str:
    """The digest of an object's content, or :data:`MISSING`."""
    return MISSING if data is None else digest(data)


def parsed(data: bytes, url: str) -> Any:
    """The JSON value in ``data``, the content of ``url``."""
    try:
        return json.loads(data)
    except ValueError as error:
        raise DataError(f"{url}: not JSON ({error}); restore it or remove it") from error


def as_json(value: Any) -> bytes:
    """``value`` as JSON is stored."""
    return (json.dumps(value, indent=2) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Written:
    """An object that was stored, with its bytes as they are stored, or removed, without any; and their digest.

    ``replaced``: something else was there; ``same``: the very same was. Only a store that has an attic knows.
    """

    url: str
    stored: bytes | None = field(repr=False)
    digest: str = ""
    replaced: bool = False
    same: bool = False


def kept_at(attic: str, url: str) -> str:
    """Where an attic keeps the object ``url``."""
    scheme, _, path = url.partition("://")
    return f"{attic}/{scheme}/{path.lstrip('/').replace('://', ':/')}"  # MinIO takes no names with //


class _Kept:
    """What was read lately, by URL and span, the latest up to a number of bytes. Threads may share one."""

    def __init__(self) -> None:
        self._parts: OrderedDict[tuple[str, Span], bytes] = OrderedDict()
        self._bytes = 0
        self._guard = Lock()

    def get(self, url: str, span: Span) -> bytes | None:
        with self._guard:
            if (url, span) in self._parts:
                self._parts.move_to_end((url, span))
            return self._parts.get((url, span))

    def put(self, url: str, span: Span, data: bytes) -> None:
        with self._guard:
            self._bytes += len(data) - len(self._parts.pop((url, span), b""))
            self._parts[url, span] = data
            while self._bytes > _KEPT_BYTES:
                self._bytes -= len(self._parts.popitem(last=False)[1])

    def forget(self, url: str) -> None:
        with self._guard:
            for key in [key for key in self._parts if key[0] == url]:
                self._bytes -= len(self._parts.pop(key))


@dataclass(frozen=True)
class Store:
    """Access to objects by URL; threads may share one.

    Where ``attic`` is a URL, objects are kept below it as they were before this store, or an earlier one of the same
    attic, replaced or deleted them (:func:`kept_at`). Where ``scratch`` is a ``file://`` folder, files are begun there
    rather than beside their place, if both are on one file system. A store makes its scratch folder once; when it
    is gone (:meth:`sweep`), writing files is a TransientError.
    """

    attic: str | None = None
    scratch: str | None = None
    _writer: local.Writer = field(init=False, repr=False, compare=False)
    _kept: _Kept = field(init=False, repr=False, compare=False, default_factory=_Kept)
    _pool: ThreadPoolExecutor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        scratch = _path(self.scratch) if self.scratch is not None and _is_file(self.scratch) else None
        object.__setattr__(self, "_writer", local.Writer(scratch))
        object.__setattr__(self, "_pool", ThreadPoolExecutor(_THREADS, "store"))

    def map(self, call: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
        """``call`` on each item, by several threads, which wait for storage and for codecs; all have ended on return.

        ``call`` must not do so in its turn. The threads are the store's own and stay for the next time.
        """
        asked = [self._pool.submit(call, item) for item in items]
        try:
            return [one.result() for one in asked]
        finally:
            for one in asked:
                one.cancel()
            wait(asked)

    def get(self, url: str, span: Span | None = None) -> bytes | None:
        """The object's content, or None where there is none; ``span`` is ``[start, stop)`` of its stored bytes."""
        if not _is_file(url):
            return remote.read(url, span)
        found = local.read(_path(url), span)
        return None if found is None else decompressed(found[0], _BY_SUFFIX[found[1]], url + found[1])

    def recall(self, url: str, span: Span) -> bytes | None:
        """As :meth:`get`, for the index of an object that nobody else replaces meanwhile.

        What came from elsewhere than files is kept, within bounds, until this store puts or deletes the object.
        """
        if _is_file(url):  # the system keeps it better, and knows when it changes
            return self.get(url, span)
        found = self._kept.get(url, span)
        if found is None:
            found = self.get(url, span)
            if found is not None:
                self._kept.put(url, span, found)
        return found

    def stored(self, url: str) -> tuple[bytes, Compression] | None:
        """The object's bytes as they are stored, and how they are compressed; None where there is none."""
        if not _is_file(url):
            return remote.stored(url)
        found = local.read(_path(url))
        return None if found is None else (found[0], _BY_SUFFIX[found[1]])

    def put(self, url: str, data: bytes, compress: Compression = "none") -> Written:
        """Store the object whole, replacing any of its name."""
        return self.put_stored(url, compressed(data, compress), compress)

    def put_stored(self, url: str, stored: bytes, compress: Compression) -> Written:
        """As :meth:`put`, of bytes that are compressed so already."""
        remote.check_writable(url)
        replaced, same = self._put_away(url, (stored, compress))
        self._replace(url, stored, compress)
        return Written(url, stored, digest(stored), replaced, same)

    def copy(self, source: str, target: str, compress: Compression) -> tuple[str, bool, Written] | None:
        """Store the object ``source`` as ``target``: the digest of what was read, whether of stored bytes; or None.

        Stored bytes are taken as they are where ``source`` is a file that is compressed so already.
        """
        remote.check_writable(target)
        found = local.read(_path(source)) if _is_file(source) else None
        if found is not None and found[1] == SUFFIXES[compress]:
            made = self.put_stored(target, found[0], compress)
            return made.digest, bool(found[1]), made
        data = self.get(source)
        return None if data is None else (digest(data), False, self.put(target, data, compress))

    def create(self, url: str, data: bytes) -> bool:
        """Store the object if there is none of its name; whether it was stored. Of several, exactly one succeeds.

        So it is on ``file://``, and where the other side knows conditional puts: on Amazon S3 and Google Cloud Storage.
        On a store that answers that it does not, this is a look and a put, and each of them may succeed.
        """
        remote.check_writable(url)
        if _is_file(url):
            return self._writer.create(_path(url), data)
        self._kept.forget(url)
        return remote.replace_if(url, data, None, None)

    def edit(self, url: str, change: Callable[[bytes | None], bytes]) -> Written | None:
        """Store plain what ``change`` makes of the object's content (None: there is no object); None: it is the same.

        Of several who do so, none undoes what another did. So ``change`` may be called more than once, and on what it
        made itself. As for :meth:`create`; on ``file://`` the file system must have locks.
        """
        remote.check_writable(url)
        again = False
        while True:
            with local.alone(_path(url)) if _is_file(url) else nullcontext(True) as alone:
                old, tag = self._version(url)
                if old is not None and not alone and not again:
                    again = True  # somebody created it just now, and others may be at it already
                    continue
                new = change(old)
                if new == old:
                    return None
                made = self._swapped(url, new, tag, old is None)
            if made is not None:
                return made

    def delete(self, url: str) -> Written:
        """Remove the object of this name, under any compression, if it is there."""
        remote.check_writable(url)
        replaced, _ = self._put_away(url, None)
        if _is_file(url):
            self._writer.delete(_path(url))
        else:
            remote.delete(url)
            self._kept.forget(url)
        return Written(url, None, replaced=replaced)

    def exists(self, url: str) -> bool:
        """Whether there is an object of this name, under any compression."""
        return local.exists(_path(url)) if _is_file(url) else remote.exists(url)

    def list(self, url: str) -> list[str]:
        """Names of the objects and folders directly in the folder ``url``, sorted, without compression suffix."""
        names = local.names(_path(url)) if _is_file(url) else remote.names(url)
        return sorted({_plain(name) for name in names})

    def get_json(self, url: str) -> Any | None:
        """The JSON value stored at ``url``, or None where there is none."""
        data = self.get(url)
        return None if data is None else parsed(data, url)

    def put_json(self, url: str, value: Any) -> Written:
        """Store ``value`` as JSON."""
        return self.put(url, as_json(value))

    def adopt(self, urls: Iterable[str]) -> None:
        """Let the next :meth:`flush` see to these objects, too, that a process wrote which did not live to do so."""
        self._writer.adopt(_path(url) for url in urls if _is_file(url))

    def flush(self) -> None:
        """Make what was put and deleted survive a loss of power; to be called before anything is said to be done.

        The contents of files are on the disk when ``put`` returns, their names when this does. Elsewhere an
        object that is stored is durable.
        """
        self._writer.flush()

    def sweep(self) -> None:
        """Remove the scratch folder, with what killed writers left there; to be called when all work is over."""
        self._writer.sweep()

    def has_replaced(self, url: str) -> bool:
        """Whether this store, or an earlier one of the same attic, put away what was at ``url``."""
        return self.attic is not None and self.exists(kept_at(self.attic, url))

    def _put_away(self, url: str, new: tuple[bytes, Compression] | None) -> tuple[bool, bool]:
        """Keep in the attic what ``new`` is to replace; whether other bytes were here before all this, or the same."""
        if self.attic is None:
            return False, False
        place, old = kept_at(self.attic, url), self.stored(url)
        if old is None or old == new:  # it may be ours already, from an earlier attempt
            replaced = self.exists(place)
            return replaced, old is not None and not replaced
        if _is_file(url) and _is_file(place):
            self._writer.keep(_path(url), SUFFIXES[old[1]], _path(place), old[0])
        elif not self.exists(place):
            self._replace(place, *old)
        return True, False

    def _version(self, url: str) -> tuple[bytes | None, str | None]:
        if _is_file(url):
            return self.get(url), None
        found = remote.version(url)
        return (None, None) if found is None else found

    def _swapped(self, url: str, new: bytes, tag: str | None, first: bool) -> Written | None:
        """Store ``new`` in place of the version of this tag, or as the ``first``; None: somebody else was quicker."""
        if not _is_file(url):
            kept = self.attic is None or self.exists(kept_at(self.attic, url))
            replaced, same = self._put_away(url, (new, "none"))
            if remote.replace_if(url, new, None, tag):
                self._kept.forget(url)
                return Written(url, new, digest(new), replaced, same)
            if self.attic is not None and not kept:  # what it holds is not what will be replaced
                remote.delete(kept_at(self.attic, url))
            return None
        if first:
            return Written(url, new, digest(new)) if self._writer.create(_path(url), new) else None
        return self.put(url, new)

    def _replace(self, url: str, stored: bytes, compress: Compression) -> None:
        if _is_file(url):
            self._writer.replace(_path(url), stored, SUFFIXES[compress])
        else:
            remote.replace(url, stored, ENCODINGS[compress])
            self._kept.forget(url)


def _is_file(url: str) -> bool:
    return url.startswith("file://")


def _path(url: str) -> str:
    """The file, or the folder, of a URL; see :func:`igneous_ng.fences.passed`."""
    return fences.passed(url).removeprefix("file://").rstrip("/") or "/"


def _plain(name: str) -> str:
    for suffix in filter(None, _BY_SUFFIX):
        name = name.removesuffix(suffix)
    return name
