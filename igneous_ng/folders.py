"""Whole folders of a store: what lies in them, how large it is, and their removal.

Apart from :mod:`igneous_ng.store`, since no task removes a folder and only cleaning up asks for sizes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from igneous_ng import fences, remote
from igneous_ng.errors import TransientError
from igneous_ng.formats.compression import SUFFIXES

TEMPORARY = ".tmp-"


@dataclass(frozen=True)
class Object:
    """One stored object: its URL as it is stored, compression suffix and all, and its bytes."""

    url: str
    bytes: int


def walk(url: str) -> Iterator[Object]:
    """Every object below the folder ``url``; none where there is no such folder."""
    if url.startswith("file://"):
        yield from _files(_path(url))
        return
    for name, size_ in remote.walk(url):
        yield Object(f"{url}/{name}", size_)


def urls(url: str) -> Iterator[str]:
    """The URL of every object below the folder ``url``, without compression suffix and without temporaries."""
    for found in walk(url):
        if not found.url.rpartition("/")[2].startswith(TEMPORARY):
            yield plain(found.url)


def plain(url: str) -> str:
    """The name of an object that is stored as ``url``: without the suffix that says how it is compressed."""
    suffix = next((suffix for suffix in SUFFIXES.values() if suffix and url.endswith(suffix)), "")
    return url.removesuffix(suffix)


def size(url: str) -> int | None:
    """Bytes of an object as it is stored, under any compression; None where there is none."""
    if url.startswith("file://"):
        path = _path(url)
        return next((os.lstat(path + s).st_size for s in SUFFIXES.values() if os.path.isfile(path + s)), None)  # noqa: PTH113
    return remote.size(url)


def remove(url: str) -> None:
    """Remove the folder ``url`` and all that is in it, if it is there."""
    if not url.startswith("file://"):
        remote.remove(url)
        return
    try:
        shutil.rmtree(_path(url))
    except FileNotFoundError:
        return
    except OSError as error:
        raise TransientError(f"{url}: removing failed ({error}); try again") from error


def abandoned(url: str, seconds: float) -> Iterator[Object]:
    """What writers who were killed began below ``url`` and nobody touched for ``seconds``; only files can be such."""
    if not url.startswith("file://"):
        return
    then = time.time() - seconds
    for found in _files(_path(url), TEMPORARY):
        if Path(found.url.removeprefix("file://")).stat().st_mtime < then:
            yield found


def _files(folder: str, start: str = "") -> Iterator[Object]:
    for path, _, names in os.walk(folder):
        for name in sorted(names):
            if name.startswith(start):
                yield Object(f"file://{path}/{name}", os.lstat(f"{path}/{name}").st_size)


def _path(url: str) -> str:
    return fences.passed(url).removeprefix("file://")
