"""Objects on S3, and on stores that speak its protocol (MinIO, Ceph, ...), through boto3.

``s3://BUCKET/KEY`` is at Amazon, or at ``AWS_ENDPOINT_URL``; ``s3://https://HOST/BUCKET/KEY`` at an endpoint of its
own, where buckets are paths. Where no keys are found, requests are not signed: that is how public buckets are read.
``AWS_REQUEST_PAYER=requester``, the variable that GDAL has for it, says that the asker pays.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from igneous_ng.errors import ConfigurationError, SpecError, TransientError
from igneous_ng.remote import errors, keys
from igneous_ng.remote.trying import insist

Answer = TypeVar("Answer")
_CONNECT_S, _ANSWER_S = 10, 60
_CONNECTIONS = 32  # kept open to one store by one process
_ELSEWHERE = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
_BATCH = 1000  # objects that one request removes
_ABSENT = ("NoSuchKey", "404")
_TAKEN = 412
_MARK = "igneous-ng-writer"  # metadata of what was stored under a condition: whose it is, should the answer be lost

CREATE = {"IfNoneMatch": "*"}
"""The condition that there is no such object."""


class Address(NamedTuple):
    """Where an object, or a folder of them, lies. ``endpoint``: None where the environment says."""

    endpoint: str | None
    bucket: str
    key: str


class Found(NamedTuple):
    """What an object holds, as it is stored, its content encoding, and the tag of this version of it."""

    stored: bytes
    encoding: str | None
    tag: str


@dataclass(frozen=True)
class _Client:
    boto: Any
    keys: errors.Keys


_CLIENTS: dict[tuple[int, str | None, str], _Client] = {}
_GUARD = threading.Lock()


def address(url: str) -> Address:
    """The parts of a URL; SpecError where it names no bucket."""
    rest, endpoint = url.removeprefix("s3://"), None
    if rest.startswith(("http://", "https://")):
        scheme, _, rest = rest.partition("://")
        host, _, rest = rest.partition("/")
        endpoint = f"{scheme}://{host}"
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise SpecError(f"{url}: no bucket is named; write s3://BUCKET/PATH or s3://https://HOST/BUCKET/PATH")
    return Address(endpoint, bucket, key)


def get(url: str, span: tuple[int, int] | None = None) -> Found | None:
    """An object, or some of its bytes; None: there is none."""
    at = address(url)
    part = {} if span is None else {"Range": f"bytes={span[0]}-{span[1] - 1}"}

    def ask(boto: Any) -> Found:
        try:
            answer = boto.get_object(Bucket=at.bucket, Key=at.key, **part, **_payer())
        except Exception as error:
            if errors.code(error) == "InvalidRange":  # it begins behind the end
                return Found(b"", None, "")
            raise
        return Found(answer["Body"].read(), _encoding(answer), answer.get("ETag", ""))

    return _unless_absent(url, "read", at, ask)


def put(url: str, stored: bytes, encoding: str | None, condition: dict[str, str] | None = None) -> bool:
    """Store an object that is encoded already; False: the ``condition`` does not hold, and nothing was done.

    A store that answers that it knows no conditions (501) is looked at instead, which keeps nobody else out.
    """
    at, mark = address(url), uuid.uuid4().hex
    more = {"ContentEncoding": encoding} if encoding else {}
    if condition:
        more["Metadata"] = {_MARK: mark}  # type: ignore[assignment]
    whole = {"Bucket": at.bucket, "Key": at.key, "Body": stored, "CacheControl": "no-cache", **more, **_payer()}
    with _connected(url, "written", at) as boto:
        try:
            return insist(lambda tried: _stored(boto, {**whole, **(condition or {})}, mark if tried else ""))
        except Exception as error:
            if not condition or errors.status(error) != 501:
                raise
        if not _holds(boto, at, condition):
            return False
        return insist(lambda _: _stored(boto, whole, ""))


def delete(url: str) -> None:
    """Remove an object, if it is there."""
    at = address(url)
    with _connected(url, "removed", at) as boto:
        insist(lambda _: boto.delete_object(Bucket=at.bucket, Key=at.key, **_payer()))


def size(url: str) -> int | None:
    """Bytes of an object as it is stored; None: there is none."""
    at = address(url)
    return _unless_absent(url, "looked for", at, lambda boto: int(_head(boto, at)["ContentLength"]))


def names(url: str) -> list[str]:
    """Names of the objects and folders in a folder."""
    found = []
    at = address(f"{url}/")
    for page in _pages(url, at, Delimiter="/"):
        parts = [one["Prefix"].rstrip("/") for one in page.get("CommonPrefixes", ())]
        keys_ = [one["Key"] for one in page.get("Contents", ())]
        found += [name.removeprefix(at.key) for name in (*parts, *keys_)]
    return list(filter(None, found))


def walk(url: str) -> Iterator[tuple[str, int]]:
    """The name, from there, and the bytes of every object below a folder."""
    at = address(f"{url}/")
    for page in _pages(url, at):
        for one in page.get("Contents", ()):
            if not one["Key"].endswith("/"):
                yield one["Key"].removeprefix(at.key), int(one["Size"])


def remove(url: str) -> None:
    """Remove every object below a folder."""
    at = address(f"{url}/")
    with _connected(url, "removed", at) as boto:
        found = (f"{at.key}{name}" for name, _ in list(walk(url)))
        while some := list(islice(found, _BATCH)):
            insist(lambda _, some=some: _removed(boto, url, at, some))  # type: ignore[misc]


# Requests.


def _stored(boto: Any, whole: dict[str, Any], mark: str) -> bool:
    """Put an object; False: its condition does not hold, unless an earlier try, of this ``mark``, made it so."""
    try:
        boto.put_object(**whole)
    except Exception as error:
        missing = "IfMatch" in whole and errors.code(error) in _ABSENT
        if not missing and errors.status(error) != _TAKEN:
            raise
        if not mark or missing:
            return False
        found = insist(lambda _: boto.head_object(Bucket=whole["Bucket"], Key=whole["Key"], **_payer()))
        return bool(found.get("Metadata", {}).get(_MARK) == mark)
    return True


def _holds(boto: Any, at: Address, condition: dict[str, str]) -> bool:
    try:
        tag = insist(lambda _: _head(boto, at)["ETag"])
    except Exception as error:
        if errors.code(error) not in _ABSENT:
            raise
        tag = None
    return tag is None if condition == CREATE else tag == condition["IfMatch"]


def _head(boto: Any, at: Address) -> dict[str, Any]:
    return dict(boto.head_object(Bucket=at.bucket, Key=at.key, **_payer()))


def _pages(url: str, at: Address, **more: str) -> Iterator[dict[str, Any]]:
    asked: dict[str, Any] = {"Bucket": at.bucket, "Prefix": at.key, **more, **_payer()}
    while True:
        with _connected(url, "listed", at) as boto:
            page = insist(lambda _, boto=boto: boto.list_objects_v2(**asked))  # type: ignore[misc]
        yield page
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]


def _removed(boto: Any, url: str, at: Address, some: list[str]) -> None:
    wanted = {"Objects": [{"Key": key} for key in some], "Quiet": True}
    answer = boto.delete_objects(Bucket=at.bucket, Delete=wanted, **_payer())
    for one in answer.get("Errors", ()):
        said = f"{url} was not removed: {one.get('Key')}: {one.get('Code')} {one.get('Message', '')}".rstrip()
        raise (SpecError if one.get("Code") == "AccessDenied" else TransientError)(said)


def _unless_absent(url: str, done: str, at: Address, ask: Callable[[Any], Answer]) -> Answer | None:
    with _connected(url, done, at) as boto:
        try:
            return insist(lambda _: ask(boto))
        except Exception as error:
            if errors.code(error) not in _ABSENT:
                raise
            return None


def _encoding(answer: dict[str, Any]) -> str | None:
    """The content encoding; some stores keep a word of the transfer beside it."""
    words = [word.strip() for word in answer.get("ContentEncoding", "").split(",")]
    return ",".join(word for word in words if word and word != "aws-chunked") or None


def _payer() -> dict[str, str]:
    payer = os.environ.get("AWS_REQUEST_PAYER")
    if payer and payer != "requester":
        raise ConfigurationError(f"AWS_REQUEST_PAYER is {payer!r}; set it to 'requester', or not at all")
    return {"RequestPayer": payer} if payer else {}


# Connections.


@contextmanager
def _connected(url: str, done: str, at: Address) -> Iterator[Any]:
    """The client for an address, and its errors as ours."""
    with errors.told(url, done):
        client = _client(at)
    try:
        with errors.told(url, done, client.keys):
            yield client.boto
    except (ConfigurationError, SpecError):
        with _GUARD:  # keys may be given, or be others, before the next attempt
            _CLIENTS.pop((os.getpid(), at.endpoint, at.bucket), None)
        raise


def _client(at: Address) -> _Client:
    """A client, which threads share, of one bucket: each may have keys, and a fork needs connections, of its own."""
    with _GUARD:
        key = (os.getpid(), at.endpoint, at.bucket)
        if key not in _CLIENTS:
            _CLIENTS[key] = _made(at)
        return _CLIENTS[key]


def _made(at: Address) -> _Client:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    found = keys.find(at.endpoint, at.bucket)
    session = boto3.session.Session(**found.options)
    known = session.get_credentials()
    more: dict[str, Any] = {} if known else {"signature_version": UNSIGNED}
    if at.endpoint or any(
        map(os.environ.get, _ELSEWHERE)
    ):  # stores other than Amazon's may not know its newer checksums
        more |= {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_ANSWER_S,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": 1},  # tries are ours: bodies that break off count, too
        **more,
    )
    region = session.region_name or os.environ.get("AWS_REGION") or "us-east-1"
    boto = session.client("s3", region_name=region, endpoint_url=at.endpoint, config=config)
    if known is None:
        return _Client(boto, errors.Keys(False, f"no keys were found: {keys.looked_for(at.endpoint, at.bucket)}"))
    return _Client(boto, errors.Keys(True, f"the keys are from {found.origin or f'boto3 ({known.method})'}"))
