"""Objects behind a protocol, where a single PUT is atomic: each by the module that knows it best.

| | by | conditional puts |
| --- | --- | --- |
| ``s3://`` | :mod:`igneous_ng.remote.s3` | yes |
| ``gs://`` | :mod:`igneous_ng.remote.others` | yes |
| ``mem://`` | the same | among the threads of the process that has it |
| ``http://``, ``https://`` | :mod:`igneous_ng.remote.web` | read-only |

Requests are made again while their failure may pass; what is raised at last is told by :mod:`igneous_ng.remote.errors`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from igneous_ng import fences
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.compression import ENCODINGS, Compression, decompressed
from igneous_ng.remote import others, s3, web

_BY_ENCODING = {encoding: how for how, encoding in ENCODINGS.items()}
_READ_ONLY = ("http://", "https://", "bossdb://")


class Version(NamedTuple):
    """An object as it was found: its content, and the tag by which the store knows this version of it."""

    content: bytes
    tag: str


def check_writable(url: str) -> None:
    """SpecError where nothing can be written."""
    if url.startswith(_READ_ONLY):
        raise SpecError(f"{url}: {url.partition(':')[0]} is read-only; write to file://, s3:// or gs://")


def read(url: str, span: tuple[int, int] | None) -> bytes | None:
    """An object's content, or the bytes of ``span`` of one stored plain; None: there is none."""
    if span is not None:
        return _read_part(url, span)
    found = stored(url)
    return None if found is None else decompressed(*found, url)


def stored(url: str) -> tuple[bytes, Compression] | None:
    """An object's bytes as they are stored, and how they are compressed; None: there is none."""
    found = _get(url, None)
    return None if found is None else (found.stored, _compression(url, found))


def version(url: str) -> Version | None:
    """An object's content with its tag, for :func:`replace_if`; None: there is none."""
    found = s3.get(url) if _on_s3(url) else others.tagged(url)
    return None if found is None else Version(decompressed(found.stored, _compression(url, found), url), found.tag)


def replace(url: str, stored: bytes, encoding: str | None) -> None:
    """Store an object that is encoded already, in place of any of its name."""
    if _on_s3(url):
        s3.put(url, stored, encoding)
    else:
        others.put(url, stored, encoding)


def replace_if(url: str, stored: bytes, encoding: str | None, tag: str | None) -> bool:
    """As :func:`replace`, if the object still has this ``tag``; None: if there is none. Whether it was stored."""
    if _on_s3(url):
        return s3.put(url, stored, encoding, s3.CREATE if tag is None else {"IfMatch": tag})
    return others.put_if(url, stored, encoding, others.CREATE if tag is None else tag)


def delete(url: str) -> None:
    """Remove an object, if it is there."""
    (s3 if _on_s3(url) else others).delete(url)


def exists(url: str) -> bool:
    """Whether there is an object."""
    if _on_s3(url):
        return s3.size(url) is not None
    return web.exists(url) if _on_web(url) else others.exists(url)


def size(url: str) -> int | None:
    """Bytes of an object as it is stored; None: there is none."""
    if _on_s3(url):
        return s3.size(url)
    return web.size(url) if _on_web(url) else others.size(url)


def names(url: str) -> list[str]:
    """Names of the objects and folders in the folder ``url``."""
    _check_listed(url)
    return s3.names(url) if _on_s3(url) else others.names(url)


def walk(url: str) -> Iterator[tuple[str, int]]:
    """The name, from there, and the bytes of every object below the folder ``url``."""
    _check_listed(url)
    return s3.walk(url) if _on_s3(url) else others.walk(url)


def remove(url: str) -> None:
    """Remove every object below the folder ``url``."""
    check_writable(url)
    (s3 if _on_s3(url) else others).remove(url)


def _get(url: str, span: tuple[int, int] | None) -> s3.Found | None:
    if _on_s3(url):
        return s3.get(url, span)
    return web.get(url, span) if _on_web(url) else others.get(url, span)


def _read_part(url: str, span: tuple[int, int]) -> bytes | None:
    if span[0] >= span[1]:  # S3 answers a range of no bytes with the whole object
        return b"" if exists(url) else None
    found = _get(url, span)
    if found is not None and found.encoding:
        raise DataError(f"{url}: a compressed object has no ranges; store it plain")
    return None if found is None else found.stored


def _compression(url: str, found: s3.Found) -> Compression:
    how = _BY_ENCODING.get(found.encoding)
    if how is None:
        raise DataError(
            f"{url}: stored with the content encoding {found.encoding!r}; store it plain, or by gzip, br or zstd"
        )
    return how


def _check_listed(url: str) -> None:
    if _on_web(url):
        raise SpecError(
            f"{url} cannot be listed: {url.partition(':')[0]} knows no folders; name a file:// or s3:// folder"
        )


def _on_s3(url: str) -> bool:
    """Whether it is on S3, if this process may touch it at all: whoever goes through this module asks here first."""
    return fences.passed(url).startswith("s3://")


def _on_web(url: str) -> bool:
    return url.startswith(("http://", "https://"))
