"""Bytes at URLs: objects are written whole or not at all, and read back with their compression undone.

On ``file://`` an object is written under a temporary name, synced and renamed (POSIX ``rename`` is
atomic), and one stored under another compression suffix is removed, so that a name has one content.
Other schemes go through cloud-files, whose single PUT is atomic on object stores.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from igneous_ng.errors import DataError, SpecError, TransientError

Compression = Literal["gzip", "none"]
_SUFFIX = {"gzip": ".gz", "none": ""}
_SUFFIXES = ("", ".gz", ".br")
_TEMPORARY = ".tmp-"


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
    """Access to objects by URL. Where ``attic`` is a URL, an object about to be replaced is kept below it."""

    attic: str | None = None

    def get(self, url: str, span: tuple[int, int] | None = None) -> bytes | None:
        """The object's content, or None where there is none; ``span`` is ``[start, stop)`` of its stored bytes."""
        found = _local_get(url, span) if _is_file(url) else _remote_get(url, span)
        return None if found is None else decompressed(found[0], found[1], url)

    def put(self, url: str, data: bytes, compress: Compression = "none") -> bytes:
        """Store the object whole, replacing any of its name; returns the bytes as stored."""
        if url.startswith(("http://", "https://")):
            raise SpecError(f"{url}: {url.partition(':')[0]} is read-only; write to file://, s3:// or gs://")
        if self.attic is not None:
            self._keep(url)
        stored = compressed(data, compress)
        if _is_file(url):
            _local_put(_local(url), stored, _SUFFIX[compress])
        else:
            _remote_put(url, stored, compress)
        return stored

    def _keep(self, url: str) -> None:
        old = self.get(url)
        if old is not None:
            kept = f"{self.attic}/{url.replace('://', '/')}"
            Store().put(f"{kept}/{digest(old)}", old)

    def exists(self, url: str) -> bool:
        """Whether there is an object of this name, under any compression."""
        if _is_file(url):
            path = _local(url)
            return any(_suffixed(path, suffix).is_file() for suffix in _SUFFIXES)
        return _remote_exists(url)

    def list(self, url: str) -> list[str]:
        """Names of the objects and folders directly in the folder ``url``, sorted, without compression suffix."""
        names = _local_list(_local(url)) if _is_file(url) else _remote_list(url)
        plain = {n.removesuffix(".gz").removesuffix(".br") for n in names if _TEMPORARY not in n}
        return sorted(plain)

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


def _is_file(url: str) -> bool:
    return url.startswith("file://")


def _local(url: str) -> Path:
    return Path(url.removeprefix("file://"))


def _suffixed(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _local_get(url: str, span: tuple[int, int] | None) -> tuple[bytes, str] | None:
    path = _local(url)
    for suffix in _SUFFIXES:
        try:
            with _suffixed(path, suffix).open("rb") as file:
                if span is None:
                    return file.read(), suffix
                if suffix:
                    raise DataError(f"{url}{suffix}: a compressed object has no ranges; store it plain")
                file.seek(span[0])
                return file.read(span[1] - span[0]), ""
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except OSError as error:
            raise TransientError(f"{url}: reading failed ({error}); will be tried again") from error
    return None


def _local_put(path: Path, stored: bytes, suffix: str) -> None:
    target = _suffixed(path, suffix)
    temporary = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(stored)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        for other in _SUFFIXES:
            if other != suffix:
                _suffixed(path, other).unlink(missing_ok=True)
    except (NotADirectoryError, FileExistsError, IsADirectoryError, PermissionError) as error:
        raise SpecError(f"{target}: cannot be written ({error}); choose another place") from error
    except OSError as error:
        raise TransientError(f"{target}: writing failed ({error}); will be tried again") from error


def _local_list(path: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(path)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _split(url: str) -> tuple[str, str]:
    folder, _, name = url.rpartition("/")
    return folder, name


def _remote(folder: str) -> Any:
    from cloudfiles import CloudFiles

    os.environ.setdefault("AWS_SESSION_TOKEN", "")  # cloud-files 6.4 demands it beside keys in the environment
    return CloudFiles(folder)


def _remote_get(url: str, span: tuple[int, int] | None) -> tuple[bytes, str] | None:
    folder, name = _split(url)
    try:
        request = name if span is None else {"path": name, "start": span[0], "end": span[1]}
        data = _remote(folder).get(request)  # cloud-files undoes the stored encoding itself
        return None if data is None else (bytes(data), "")
    except Exception as error:
        raise TransientError(f"{url}: reading failed ({error}); will be tried again") from error


def _remote_put(url: str, stored: bytes, compress: Compression) -> None:
    folder, name = _split(url)
    try:
        encoding = "gzip" if compress == "gzip" else None
        files = _remote(folder)
        if folder.startswith("mem://"):  # cloud-files keeps each compression beside the others there
            files.delete(name)
        files.put(name, stored, compress=encoding, raw=True, cache_control="no-cache")
    except Exception as error:
        raise TransientError(f"{url}: writing failed ({error}); will be tried again") from error


def _remote_exists(url: str) -> bool:
    folder, name = _split(url)
    try:
        return bool(_remote(folder).exists(name))
    except Exception as error:
        raise TransientError(f"{url}: looking for it failed ({error}); will be tried again") from error


def _remote_list(url: str) -> list[str]:
    try:
        found = _remote(url).list(flat=False)
        return sorted({name.split("/")[0] for name in found})
    except Exception as error:
        raise TransientError(f"{url}: listing failed ({error}); will be tried again") from error
