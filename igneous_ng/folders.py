"""Whole folders of a store: what lies in them, how large it is, and their removal.

Apart from :mod:`igneous_ng.store`, since no task removes a folder and only cleaning up asks for sizes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igneous_ng import fences
from igneous_ng.errors import IgneousError, TransientError
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
    with _told(url, "listing"):
        files = _remote(url)
        for name in list(files.list()):
            yield Object(f"{url}/{name}", int(files.size(name) or 0))


def urls(url: str) -> Iterator[str]:
    """The URL of every object below the folder ``url``, without compression suffix and without temporaries."""
    for found in (one.url for one in _files(_path(url))) if url.startswith("file://") else _listed(url):
        if not found.rpartition("/")[2].startswith(TEMPORARY):
            yield plain(found)


def plain(url: str) -> str:
    """The name of an object that is stored as ``url``: without the suffix that says how it is compressed."""
    suffix = next((suffix for suffix in SUFFIXES.values() if suffix and url.endswith(suffix)), "")
    return url.removesuffix(suffix)


def size(url: str) -> int | None:
    """Bytes of an object as it is stored, under any compression; None where there is none."""
    if url.startswith("file://"):
        path = _path(url)
        return next((os.lstat(path + s).st_size for s in SUFFIXES.values() if os.path.isfile(path + s)), None)  # noqa: PTH113
    folder, _, name = fences.passed(url).rpartition("/")
    with _told(url, "looking it up"):
        found = _remote(folder).size(name)
    return None if found is None else int(found)


def remove(url: str) -> None:
    """Remove the folder ``url`` and all that is in it, if it is there."""
    with _told(url, "removing"), suppress(FileNotFoundError):
        if url.startswith("file://"):
            shutil.rmtree(_path(url))
        else:
            files = _remote(url)
            files.delete(list(files.list()))


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


def _listed(url: str) -> list[str]:
    with _told(url, "listing"):
        return [f"{url}/{name}" for name in _remote(url).list()]


@contextmanager
def _told(url: str, done: str) -> Iterator[None]:
    """Raise what a client library or the system says as our own error."""
    try:
        yield
    except IgneousError:
        raise
    except Exception as error:
        raise TransientError(f"{url}: {done} failed ({error}); try again") from error


def _path(url: str) -> str:
    return fences.passed(url).removeprefix("file://")


def _remote(url: str) -> Any:
    from cloudfiles import CloudFiles

    fences.passed(url)
    os.environ.setdefault("AWS_SESSION_TOKEN", "")  # cloud-files 6.4 demands it beside keys in the environment
    return CloudFiles(url)
