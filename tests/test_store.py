"""Bytes at URLs: whole or not at all, one content for a name, and errors of the right kind."""

from __future__ import annotations

import errno
import gzip
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import brotli
import pytest

from igneous_ng.errors import ConfigurationError, DataError, SpecError, TransientError
from igneous_ng.store import Store, Written, compressed, digest, kept_at
from tests.queue_harness import use_emulator

STORE = Store()


def url(path: Path) -> str:
    return f"file://{path}"


def files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_digest_is_of_the_content() -> None:
    assert digest(b"") == "af1349b9f5f9a1a6a0404dea36dcc949"
    assert digest(b"a") != digest(b"b")


def test_what_is_put_is_got(tmp_path: Path) -> None:
    place = url(tmp_path / "deep" / "er" / "name")
    assert STORE.get(place) is None
    assert not STORE.exists(place)
    assert STORE.put(place, b"plain") == Written(place, b"plain", digest(b"plain"))
    assert (STORE.get(place), STORE.exists(place)) == (b"plain", True)
    stored = STORE.put(place, b"packed", "gzip").stored
    assert stored is not None
    assert gzip.decompress(stored) == b"packed"
    assert STORE.get(place) == b"packed"
    assert files(tmp_path) == {"deep/er/name.gz": stored}


@pytest.mark.parametrize("compress", ["gzip", "none"])
def test_a_name_has_one_content(tmp_path: Path, compress: Any) -> None:
    for suffix in ("", ".gz", ".br", ".zstd"):
        (tmp_path / f"name{suffix}").write_bytes(b"stale")
    stored = STORE.put(url(tmp_path / "name"), b"new", compress).stored
    assert files(tmp_path) == {"name.gz" if compress == "gzip" else "name": stored}


def test_objects_of_others_are_read_under_any_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.br").write_bytes(brotli.compress(b"one"))
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"two"))
    assert STORE.get(url(tmp_path / "a")) == b"one"
    assert STORE.get(url(tmp_path / "b")) == b"two"
    assert STORE.list(url(tmp_path)) == ["a", "b"]
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"two")[:-3])
    with pytest.raises(DataError, match=r"b\.gz: not a whole gzip stream"):
        STORE.get(url(tmp_path / "b"))


def test_nothing_is_renamed_before_it_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, bytes]] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(files(tmp_path)))
    STORE.put(url(tmp_path / "name"), b"content")
    ((name, content),) = seen[0].items()
    assert content == b"content"
    assert name != "name"


def test_temporary_files_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / ".tmp-0123").write_bytes(b"half")
    (tmp_path / "folder").mkdir()
    STORE.put(url(tmp_path / "whole"), b"")
    assert STORE.list(url(tmp_path)) == ["folder", "whole"]
    assert STORE.list(url(tmp_path / "absent")) == []
    assert STORE.list(url(tmp_path / "whole")) == []
    assert STORE.list(url(tmp_path) + "/") == ["folder", "whole"]


def test_a_place_that_cannot_be_written_is_a_wrong_request(tmp_path: Path) -> None:
    STORE.put(url(tmp_path / "file"), b"")
    with pytest.raises(SpecError, match="cannot be written"):
        STORE.put(url(tmp_path / "file" / "below"), b"")
    for call in (lambda u: STORE.put(u, b""), lambda u: STORE.create(u, b""), STORE.delete):
        with pytest.raises(SpecError, match="https is read-only"):
            call("https://host/name")
    assert STORE.get(url(tmp_path / "file" / "below")) is None
    assert STORE.get(url(tmp_path)) is None


def test_a_span_is_of_plain_objects(tmp_path: Path) -> None:
    STORE.put(url(tmp_path / "name"), b"0123456789")
    assert STORE.get(url(tmp_path / "name"), (2, 5)) == b"234"
    assert STORE.get(url(tmp_path / "name"), (8, 50)) == b"89"
    assert STORE.get(url(tmp_path / "absent"), (0, 1)) is None
    STORE.put(url(tmp_path / "name"), b"0123456789", "gzip")
    with pytest.raises(DataError, match="a compressed object has no ranges"):
        STORE.get(url(tmp_path / "name"), (2, 5))


def test_json_comes_back_and_what_is_none_is_refused(tmp_path: Path) -> None:
    place = url(tmp_path / "a.json")
    assert STORE.get_json(place) is None
    stored = STORE.put_json(place, {"id": str(2**64 - 1), "list": [1, 2.5, None]}).stored
    assert STORE.get_json(place) == {"id": str(2**64 - 1), "list": [1, 2.5, None]}
    assert stored is not None
    assert stored.endswith(b"\n")
    STORE.put(place, b'{"half": ')
    with pytest.raises(DataError, match=r"a\.json: not JSON"):
        STORE.get_json(place)


def test_what_is_there_is_not_created(tmp_path: Path) -> None:
    assert STORE.create(url(tmp_path / "new" / "name"), b"first")
    assert not STORE.create(url(tmp_path / "new" / "name"), b"second")
    assert STORE.get(url(tmp_path / "new" / "name")) == b"first"
    for suffix in (".gz", ".br", ".zstd"):
        (tmp_path / f"other{suffix}").write_bytes(b"whatever")
        assert not STORE.create(url(tmp_path / "other"), b"second")
        STORE.delete(url(tmp_path / "other"))
    assert files(tmp_path) == {"new/name": b"first"}


def test_a_deleted_object_is_gone_under_every_suffix(tmp_path: Path) -> None:
    for suffix in ("", ".gz", ".br", ".zstd"):
        (tmp_path / f"name{suffix}").write_bytes(b"content")
    STORE.delete(url(tmp_path / "name"))
    STORE.delete(url(tmp_path / "name"))
    assert files(tmp_path) == {}


def test_the_attic_keeps_what_was_there_before_all_of_it(tmp_path: Path) -> None:
    attic, place = url(tmp_path / "attic"), url(tmp_path / "name")
    assert not Store(attic=attic).put(place, b"first", "gzip").replaced
    assert not Store(attic=attic).put(place, b"first", "gzip").replaced
    assert not STORE.exists(kept_at(attic, place))
    for content in (b"second", b"third", b"third"):
        assert Store(attic=attic).put(place, content).replaced
        assert STORE.stored(kept_at(attic, place)) == (compressed(b"first", "gzip"), "gzip")
    assert STORE.get(place) == b"third"
    assert Store(attic=attic).delete(place).replaced
    assert Store(attic=attic).delete(place).replaced
    assert STORE.get(kept_at(attic, place)) == b"first"
    assert not Store(attic=attic).delete(url(tmp_path / "other")).replaced


def test_where_there_are_no_links_the_attic_has_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attic, place, link = url(tmp_path / "attic"), url(tmp_path / "name"), os.link

    def refuse(source: str, target: str) -> None:
        if str(source) == str(tmp_path / "name"):
            raise OSError(errno.EPERM, "no links")
        link(source, target)

    monkeypatch.setattr(os, "link", refuse)
    STORE.put(place, b"first")
    assert Store(attic=attic).put(place, b"second").replaced
    assert STORE.get(kept_at(attic, place)) == b"first"


def test_an_object_copied_over_another_is_kept_too(tmp_path: Path) -> None:
    attic, place = url(tmp_path / "attic"), url(tmp_path / "name")
    STORE.put(place, b"first")
    STORE.put(url(tmp_path / "other"), b"second", "gzip")
    found = Store(attic=attic).copy(url(tmp_path / "other"), place, "gzip")
    assert found is not None
    assert found[2].replaced
    assert (STORE.get(place), STORE.get(kept_at(attic, place))) == (b"second", b"first")


def test_memory_is_a_store_too(tmp_path: Path) -> None:
    place = f"mem://test-store/{tmp_path.name}"
    assert STORE.get(f"{place}/a") is None
    assert not STORE.exists(f"{place}/a")
    STORE.put(f"{place}/a", b"0123456789")
    STORE.put(f"{place}/deep/b", b"packed", "gzip")
    assert STORE.get(f"{place}/a") == b"0123456789"
    assert STORE.get(f"{place}/a", (2, 5)) == b"234"
    assert STORE.get(f"{place}/deep/b") == b"packed"
    assert STORE.exists(f"{place}/deep/b")
    assert (STORE.list(place), STORE.list(f"{place}/deep"), STORE.list(f"{place}/none")) == (["a", "deep"], ["b"], [])
    STORE.put(f"{place}/deep/b", b"plain")
    assert STORE.get(f"{place}/deep/b") == b"plain"
    Store(attic=f"{place}/attic").put(f"{place}/a", b"new")
    kept = f"{place}/attic/{place.replace('://', '/')}/a"
    assert (STORE.get(f"{place}/a"), STORE.get(kept)) == (b"new", b"0123456789")
    STORE.put(f"{place}/deep/b", b"packed", "gzip")
    Store(attic=f"{place}/attic").delete(f"{place}/deep/b")
    assert STORE.stored(kept_at(f"{place}/attic", f"{place}/deep/b")) == (compressed(b"packed", "gzip"), "gzip")


# S3, emulated on loopback.


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket; what is tried again is tried again at once."""
    use_emulator(monkeypatch)
    monkeypatch.setattr("igneous_ng.remote.trying._FIRST_S", 0.0)
    import boto3

    name = f"bucket-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


def test_s3_is_a_store_too(bucket: str) -> None:
    place = f"s3://{bucket}/layer"
    assert (STORE.get(f"{place}/a"), STORE.exists(f"{place}/a"), STORE.list(place)) == (None, False, [])
    assert STORE.put(f"{place}/a", b"0123456789").stored == b"0123456789"
    stored = STORE.put(f"{place}/deep/er/b", b"packed", "gzip").stored
    assert stored is not None
    STORE.put(f"s3://{bucket}/layer-2/c", b"another layer")
    assert gzip.decompress(stored) == b"packed"
    assert (STORE.get(f"{place}/a"), STORE.get(f"{place}/deep/er/b")) == (b"0123456789", b"packed")
    assert (STORE.list(place), STORE.list(f"{place}/deep"), STORE.list(f"{place}/deep/er")) == (
        ["a", "deep"],
        ["er"],
        ["b"],
    )
    STORE.put(f"{place}/deep/er/b", b"plain")
    assert STORE.get(f"{place}/deep/er/b") == b"plain"
    assert not STORE.create(f"{place}/a", b"late")
    assert STORE.create(f"{place}/new", b"early")
    Store(attic=f"{place}/attic", scratch=f"{place}/tmp").put(f"{place}/a", b"new")
    assert STORE.get(f"{place}/attic/s3/{bucket}/layer/a") == b"0123456789"
    assert STORE.stored(f"{place}/a") == (b"new", "none")
    assert STORE.stored(f"{place}/none") is None
    STORE.flush()
    STORE.sweep()
    for name in ("a", "a", "never"):
        STORE.delete(f"{place}/{name}")
    assert (STORE.exists(f"{place}/a"), STORE.list(place)) == (False, ["attic", "deep", "new"])


@pytest.mark.parametrize("scheme", ["file", "mem", "s3"])
def test_spans_are_the_same_everywhere(tmp_path: Path, request: pytest.FixtureRequest, scheme: str) -> None:
    where = {"file": str(tmp_path), "mem": f"spans/{tmp_path.name}"}
    place = f"{scheme}://{where.get(scheme) or request.getfixturevalue('bucket')}/layer"
    STORE.put(f"{place}/plain", b"0123456789")
    STORE.put(f"{place}/packed", b"0123456789", "gzip")
    for span in ((0, 10), (2, 5), (8, 50), (20, 50), (4, 4)):
        assert STORE.get(f"{place}/plain", span) == b"0123456789"[span[0] : span[1]]
        assert STORE.get(f"{place}/absent", span) is None
    with pytest.raises(DataError, match="packed.*: a compressed object has no ranges"):
        STORE.get(f"{place}/packed", (2, 5))


def calls(place: str) -> list[Callable[[], object]]:
    return [
        lambda: STORE.get(f"{place}/a"),
        lambda: STORE.get(f"{place}/a", (0, 1)),
        lambda: STORE.put(f"{place}/a", b""),
        lambda: STORE.list(place),
        lambda: STORE.delete(f"{place}/a"),
        lambda: STORE.exists(f"{place}/a"),
        lambda: STORE.create(f"{place}/a", b""),
    ]


def test_a_bucket_that_denies_or_is_not_there_is_a_wrong_request(bucket: str) -> None:
    import boto3

    STORE.put(f"s3://{bucket}/a", b"")
    for action, call in (("GetObject", calls(f"s3://{bucket}")[0]), ("PutObject", calls(f"s3://{bucket}")[2])):
        rule = {"Effect": "Deny", "Principal": "*", "Action": f"s3:{action}", "Resource": f"arn:aws:s3:::{bucket}/*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
        boto3.client("s3").put_bucket_policy(Bucket=bucket, Policy=policy)
        with pytest.raises(SpecError, match=f"s3://{bucket}/a cannot be .*check the permissions"):
            call()
    for call in calls(f"s3://{bucket}-not")[:5]:
        with pytest.raises(SpecError, match="make the bucket, or correct its name"):
            call()
    assert not STORE.exists(f"s3://{bucket}-not/a")


class Answered(Exception):
    """As the errors of botocore (a dict), of requests (an object with a status) or of google.cloud (a code)."""

    def __init__(self, response: object = None, code: object = None) -> None:
        super().__init__("the answer")
        self.response, self.code = response, code


def of_botocore(status: int, code: str) -> Answered:
    return Answered({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}})


class NoCredentialsError(Exception):
    """As botocore's."""


class ProfileNotFound(Exception):
    """As botocore's."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (of_botocore(403, "AccessDenied"), SpecError),
        (of_botocore(403, "InvalidAccessKeyId"), ConfigurationError),
        (of_botocore(403, "SignatureDoesNotMatch"), ConfigurationError),
        (of_botocore(400, "ExpiredToken"), TransientError),
        (of_botocore(404, "NoSuchBucket"), SpecError),
        (of_botocore(301, "PermanentRedirect"), SpecError),
        (of_botocore(403, "RequestTimeTooSkewed"), TransientError),
        (of_botocore(503, "SlowDown"), TransientError),
        (of_botocore(500, "InternalError"), TransientError),
        (Answered(SimpleNamespace(status_code=403)), SpecError),
        (Answered(SimpleNamespace(status_code=502)), TransientError),
        (Answered(code=401), SpecError),
        (Answered(code=429), TransientError),
        (NoCredentialsError("none here"), ConfigurationError),
        (ProfileNotFound("that one"), ConfigurationError),
        (TimeoutError("too long"), TransientError),
        (ConnectionResetError(104, "reset"), TransientError),
        (KeyError(), TransientError),
    ],
)
def test_what_a_remote_store_says_is_sorted(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception]
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("igneous_ng.remote.trying._FIRST_S", 0.0)
    monkeypatch.setattr("igneous_ng.remote.s3._made", failing)
    monkeypatch.setattr("igneous_ng.remote.others._client", failing)
    monkeypatch.setattr("cloudfiles.CloudFiles", failing)
    for scheme in ("s3", "gs"):
        for call in calls(f"{scheme}://bucket-{uuid.uuid4().hex}"):
            with pytest.raises(kind, match=rf"{scheme}://bucket.*\(.+\)(: |; will be tried again)"):
                call()
