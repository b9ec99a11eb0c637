"""Objects behind a protocol (S3, GCS, ...), through cloud-files: a single PUT is atomic there.

cloud-files repeats a request that fails up to seven times, so what it reports has failed for some minutes. What the
other side refuses (permissions, no such bucket) is a SpecError, all else a TransientError.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from igneous_ng import fences
from igneous_ng.errors import DataError, SpecError, TransientError
from igneous_ng.formats.compression import ENCODINGS, Compression

_BY_ENCODING = {encoding: how for how, encoding in ENCODINGS.items()}
_DENIED = (401, 403)
_PASSING = {"RequestTimeTooSkewed", "ExpiredToken"}  # a clock that is set, a token that is renewed
_ADVICE = {
    "NoSuchBucket": "make the bucket, or correct its name",
    "NoCredentialsError": "give this machine credentials for it",
    "NotImplementedError": "this protocol cannot do it; choose another",
}


def read(url: str, span: tuple[int, int] | None) -> bytes | None:
    """An object's content, or the bytes of ``span`` of one stored plain; None: there is none."""
    folder, name = _split(url)
    if span is not None:
        return _read_part(folder, name, span)
    with _told(url, "read"):
        data = _files(folder).get(name)  # cloud-files undoes the stored encoding itself
    return None if data is None else bytes(data)


def stored(url: str) -> tuple[bytes, Compression] | None:
    """An object's bytes as they are stored, and how they are compressed; None: there is none."""
    folder, name = _split(url)
    with _told(url, "read"):
        found = _files(folder).get([{"path": name}], raw=True)[0]
    if found["content"] is None:
        return None
    return bytes(found["content"]), _BY_ENCODING[found["compress"] or None]


def _read_part(folder: str, name: str, span: tuple[int, int]) -> bytes | None:
    url = f"{folder}/{name}"
    if span[0] >= span[1]:  # S3 answers a range of no bytes with the whole object
        return b"" if exists(url) else None
    try:
        with _told(url, "read"):
            (found,) = _files(folder).get([{"path": name, "start": span[0], "end": span[1]}], raw=True)
    except TransientError as error:
        if _code(error.__cause__) == "InvalidRange":  # it begins behind the end
            return b""
        raise
    if found["content"] is not None and found["compress"]:
        raise DataError(f"{url}: a compressed object has no ranges; store it plain")
    return None if found["content"] is None else bytes(found["content"])


def replace(url: str, stored: bytes, encoding: str | None) -> None:
    """Store an object that is encoded already, in place of any of its name."""
    folder, name = _split(url)
    with _told(url, "written"):
        files = _files(folder)
        if folder.startswith("mem://"):  # cloud-files keeps each encoding beside the others there
            files.delete(name)
        files.put(name, stored, compress=encoding, raw=True, cache_control="no-cache")


def delete(url: str) -> None:
    """Remove an object, if it is there."""
    folder, name = _split(url)
    with _told(url, "removed"):
        _files(folder).delete(name)


def exists(url: str) -> bool:
    """Whether there is an object."""
    folder, name = _split(url)
    with _told(url, "looked for"):
        return bool(_files(folder).exists(name))


def names(url: str) -> list[str]:
    """Names of the objects and folders in the folder ``url``."""
    folder, prefix = fences.passed(url), ""
    if url.startswith("mem://"):  # where cloud-files lists all that is in the bucket, unless asked from its top
        scheme, _, path = url.partition("://")
        bucket, _, prefix = f"{path}/".partition("/")
        folder = f"{scheme}://{bucket}"
    with _told(url, "listed"):
        return [name.rstrip("/").rpartition("/")[2] for name in _files(folder).list(prefix, flat=True)]


def _split(url: str) -> tuple[str, str]:
    folder, _, name = fences.passed(url).rpartition("/")
    return folder, name


def _files(folder: str) -> Any:
    from cloudfiles import CloudFiles

    os.environ.setdefault("AWS_SESSION_TOKEN", "")  # cloud-files 6.4 demands it beside keys in the environment
    return CloudFiles(folder)


@contextmanager
def _told(url: str, done: str) -> Iterator[None]:
    """Raise whatever a client library says of ``url``, which was to be ``done``, as our own error."""
    try:
        yield
    except Exception as error:
        advice, said = _ADVICE.get(_code(error)), str(error) or _code(error)
        if advice is None and _status(error) in _DENIED and _code(error) not in _PASSING:
            advice = "check the permissions and the credentials"
        if advice is not None:
            raise SpecError(f"{url} cannot be {done} ({said}): {advice}") from error
        raise TransientError(f"{url} was not {done} ({said}); will be tried again") from error


def _status(error: BaseException | None) -> int | None:
    """The HTTP status in an error of botocore, of google.cloud or of requests."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        return _number(answer.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    return _number(getattr(answer, "status_code", None) or getattr(error, "code", None))


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _code(error: BaseException | None) -> str:
    """The name of an error, as S3 spells it where S3 answered."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        return str(answer.get("Error", {}).get("Code"))
    return type(error).__name__
