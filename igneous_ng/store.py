"""Bytes at URLs: objects are written whole or not at all, and read back with their compression undone.

``file://`` is served by :mod:`igneous_ng.local`, which removes an object that is stored under another compression
suffix, so that a name has one content; other schemes by :mod:`igneous_ng.remote`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from igneous_ng import local, remote
from igneous_ng.errors import DataError, SpecError

Compression = Literal["gzip", "none"]
_SUFFIX = {"gzip": ".gz", "none": ""}
_ENCODING = {"gzip": "gzip", "none": None}


def digest(data: bytes | memoryview) -> str:
    """The fingerprint of stored bytes: BLAKE2b, 128 bits, in hexadecimal."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def compressed(data: bytes, how: Compression) -> bytes:
    """``data`` as it is stored; the same bytes every time (no clock in the gzip header)."""
    return gzip.compress(data, 6, mtime=0) if how == "gzip" else data


def decompressed(data: bytes, suffix: str, url: str) -> bytes:
    """The content of an object stored under ``suffix``; DataError where it is torn."""
    try:
        if suffix == ".gz":
            return gzip.decompress(data)
        if suffix == ".br":
            import brotli

            content: bytes = brotli.decompress(data)
            return content
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{url}{suffix}: not a whole {suffix[1:]} stream ({error}); write it again") from error
    except Exception as error:  # brotli.error has no public base
        raise DataError(f"{url}{suffix}: not a whole brotli stream ({error}); write it again") from error
    return data


@dataclass(frozen=True)
class Store:
    """Access to objects by URL; threads may share one.

    Where ``attic`` is a URL, an object about to be replaced by another is kept below it. Where ``scratch`` is a ``file://``
    folder, files are begun there rather than beside their place, if both are on one file system. A store makes
    its scratch folder once; when it is gone (:meth:`sweep`), writing files is a TransientError.
    """

    attic: str | None = None
    scratch: str | None = None
    _writer: local.Writer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        scratch = _path(self.scratch) if self.scratch is not None and _is_file(self.scratch) else None
        object.__setattr__(self, "_writer", local.Writer(scratch))

    def get(self, url: str, span: tuple[int, int] | None = None) -> bytes | None:
        """The object's content, or None where there is none; ``span`` is ``[start, stop)`` of its stored bytes."""
        if not _is_file(url):
            return remote.read(url, span)
        found = local.read(_path(url), span)
        return None if found is None else decompressed(*found, url)

    def put(self, url: str, data: bytes, compress: Compression = "none") -> bytes:
        """Store the object whole, replacing any of its name; returns the bytes as stored."""
        _check_writable(url)
        if self.attic is not None:
            old = self.get(url)
            if old is not None and old != data:
                self._replace(f"{self.attic}/{url.replace('://', '/')}/{digest(old)}", old, "none")
        stored = compressed(data, compress)
        self._replace(url, stored, compress)
        return stored

    def create(self, url: str, data: bytes) -> bool:
        """Store the object if there is none of its name; whether it was stored.

        Of several who try at once on ``file://``, exactly one succeeds. Elsewhere this is a look and a put, and
        each of them may.
        """
        _check_writable(url)
        if _is_file(url):
            return self._writer.create(_path(url), data)
        if remote.exists(url):
            return False
        remote.replace(url, data, None)
        return True

    def delete(self, url: str) -> None:
        """Remove the object of this name, under any compression, if it is there."""
        _check_writable(url)
        if _is_file(url):
            self._writer.delete(_path(url))
        else:
            remote.delete(url)

    def exists(self, url: str) -> bool:
        """Whether there is an object of this name, under any compression."""
        return local.exists(_path(url)) if _is_file(url) else remote.exists(url)

    def list(self, url: str) -> list[str]:
        """Names of the objects and folders directly in the folder ``url``, sorted, without compression suffix."""
        names = local.names(_path(url)) if _is_file(url) else remote.names(url)
        return sorted({name.removesuffix(".gz").removesuffix(".br") for name in names})

    def get_json(self, url: str) -> Any | None:
        """The JSON value stored at ``url``, or None where there is none."""
        data = self.get(url)
        if data is None:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            raise DataError(f"{url}: not JSON ({error}); restore it or remove it") from error

    def put_json(self, url: str, value: Any) -> bytes:
        """Store ``value`` as JSON; returns the bytes as stored."""
        return self.put(url, (json.dumps(value, indent=2) + "\n").encode())

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

    def _replace(self, url: str, stored: bytes, compress: Compression) -> None:
        if _is_file(url):
            self._writer.replace(_path(url), stored, _SUFFIX[compress])
        else:
            remote.replace(url, stored, _ENCODING[compress])


def _is_file(url: str) -> bool:
    return url.startswith("file://")


def _path(url: str) -> str:
    return url.removeprefix("file://").rstrip("/") or "/"


def _check_writable(url: str) -> None:
    if url.startswith(("http://", "https://")):
        raise SpecError(f"{url}: {url.partition(':')[0]} is read-only; write to file://, s3:// or gs://")
