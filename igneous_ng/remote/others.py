"""Objects on Google Cloud Storage (``gs://``) and in the memory of this process (``mem://``), through cloud-files.

cloud-files repeats a request that fails up to seven times, so what it reports has failed for some minutes. Conditions
on ``gs://`` are its generations, asked for through Google's own client. ``GS_USER_PROJECT``, the variable that GDAL has
for it, names the project that pays for requests.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from igneous_ng.errors import TransientError
from igneous_ng.remote.errors import code, status, told
from igneous_ng.remote.s3 import Found
from igneous_ng.remote.trying import insist

CREATE = "0"
"""The generation of an object that is not there."""

_MEMORY = threading.Lock()  # of all that is put in memory under a condition
_TAKEN, _BEHIND = 412, 416
_MARK = "igneous-ng-writer"


def get(url: str, span: tuple[int, int] | None = None) -> Found | None:
    """An object, or some of its bytes; None: there is none."""
    folder, _, name = url.rpartition("/")
    part = {} if span is None else {"start": span[0], "end": span[1]}
    try:
        with told(url, "read"):
            (found,) = _files(folder).get([{"path": name, **part}], raw=True)
    except TransientError as error:
        if status(error.__cause__) == _BEHIND:
            return Found(b"", None, "")
        raise
    if found["content"] is None:
        return None
    return Found(bytes(found["content"]), found["compress"] or None, "")


def put(url: str, stored: bytes, encoding: str | None) -> None:
    """Store an object that is encoded already, in place of any of its name."""
    folder, _, name = url.rpartition("/")
    with told(url, "written"):
        files = _files(folder)
        if folder.startswith("mem://"):  # cloud-files keeps each encoding beside the others there
            files.delete(name)
        files.put(name, stored, compress=encoding, raw=True, cache_control="no-cache")


def delete(url: str) -> None:
    """Remove an object, if it is there."""
    folder, _, name = url.rpartition("/")
    with told(url, "removed"):
        _files(folder).delete(name)


def exists(url: str) -> bool:
    """Whether there is an object."""
    folder, _, name = url.rpartition("/")
    with told(url, "looked for"):
        return bool(_files(folder).exists(name))


def size(url: str) -> int | None:
    """Bytes of an object as it is stored; None: there is none."""
    folder, _, name = url.rpartition("/")
    with told(url, "looked for"):
        found = _files(folder).size(name)
    return None if found is None else int(found)


def names(url: str) -> list[str]:
    """Names of the objects and folders in the folder ``url``."""
    folder, prefix = url, ""
    if url.startswith("mem://"):  # where cloud-files lists all that is in the bucket, unless asked from its top
        scheme, _, path = url.partition("://")
        bucket, _, prefix = f"{path}/".partition("/")
        folder = f"{scheme}://{bucket}"
    with told(url, "listed"):
        return [name.rstrip("/").rpartition("/")[2] for name in _files(folder).list(prefix, flat=True)]


def walk(url: str) -> Iterator[tuple[str, int]]:
    """The name, from there, and the bytes of every object below a folder."""
    with told(url, "listed"):
        files = _files(url)
        found = list(files.list())
    for name in found:
        with told(f"{url}/{name}", "looked for"):
            bytes_ = int(files.size(name) or 0)
        yield name, bytes_


def remove(url: str) -> None:
    """Remove every object below a folder."""
    with told(url, "removed"):
        files = _files(url)
        files.delete(list(files.list()))


# Conditions.


def tagged(url: str) -> Found | None:
    """An object with the tag of this version of it, for :func:`put_if`."""
    if url.startswith("mem://"):
        found = get(url)
        return None if found is None else found._replace(tag=_memory_tag(found))
    with told(url, "read"):
        return insist(lambda _: _tagged(_blob(url)))


def put_if(url: str, stored: bytes, encoding: str | None, tag: str) -> bool:
    """Store an object if the one of its name still has this tag, or if there is none (``CREATE``); whether it was."""
    if url.startswith("mem://"):
        with _MEMORY:
            found = get(url)
            if (CREATE if found is None else _memory_tag(found)) != tag:
                return False
            put(url, stored, encoding)
            return True
    mark = os.urandom(16).hex()
    with told(url, "written"):
        return insist(lambda tried: _stored(_blob(url), stored, encoding, (tag, mark, tried)))


def _memory_tag(found: Found) -> str:
    return f"{found.encoding} {hashlib.blake2b(found.stored).hexdigest()}"


def _stored(blob: Any, stored: bytes, encoding: str | None, asked: tuple[str, str, int]) -> bool:
    tag, mark, tried = asked
    blob.content_encoding, blob.cache_control, blob.metadata = encoding, "no-cache", {_MARK: mark}
    try:
        blob.upload_from_string(stored, if_generation_match=int(tag), retry=None)
    except Exception as error:
        if status(error) != _TAKEN:
            raise
        if not tried:
            return False
        blob.reload(retry=None)  # an earlier try may have done it, and its answer was lost
        return bool((blob.metadata or {}).get(_MARK) == mark)
    return True


def _tagged(blob: Any) -> Found | None:
    try:
        blob.reload(retry=None)
        tag, encoding = str(blob.generation), blob.content_encoding or None
        stored = blob.download_as_bytes(if_generation_match=blob.generation, raw_download=True, retry=None)
    except Exception as error:
        if code(error) == "NotFound":
            return None
        if status(error) != _TAKEN:
            raise
        raise ConnectionError("it was replaced while it was read") from error  # to be read again
    return Found(bytes(stored), encoding, tag)


def _blob(url: str) -> Any:
    bucket, _, key = url.removeprefix("gs://").partition("/")
    return _client(os.getpid(), bucket).bucket(bucket, user_project=_payer(url)).blob(key)


@lru_cache
def _client(_process: int, bucket: str) -> Any:
    """Google's client, for each bucket may have keys of its own; a fork needs connections of its own."""
    from google.cloud.storage import Client

    project, credentials = _secrets().google_credentials(bucket)
    return Client(project=project, credentials=credentials)


def _payer(url: str) -> str | None:
    return (os.environ.get("GS_USER_PROJECT") or None) if url.startswith("gs://") else None


def _files(folder: str) -> Any:
    from cloudfiles import CloudFiles

    _secrets()
    return CloudFiles(folder, request_payer=_payer(folder))


@lru_cache
def _secrets() -> Any:
    """The module of cloud-files that knows keys, made silent: it prints a warning to standard output, amid JSON.

    What lacks is said by the error of the request that fails for it.
    """
    from cloudfiles import secrets

    secrets.print = lambda *_, **__: None
    return secrets
