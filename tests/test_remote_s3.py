"""S3 and stores that speak its protocol: who may write, at which endpoint, by whose keys, at whose cost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from igneous_ng import folders, guards
from igneous_ng.errors import ConfigurationError, SpecError, TransientError
from igneous_ng.io import IO
from igneous_ng.remote import s3
from igneous_ng.stage import Layer
from igneous_ng.store import Store, kept_at
from tests import clouds

STORE = Store()
SECRET = "wJalrXUtnFEMI"  # no key of anybody


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[str, str]:
    """The S3 on loopback and a bucket; no keys but those of the environment."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CLOUD_VOLUME_DIR", "CLOUD_FILES_DIR", "AWS_PROFILE", "AWS_REQUEST_PAYER", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(s3, "_CLIENTS", {})
    return clouds.s3(monkeypatch)


# Conditions.


def test_what_is_there_is_not_created_and_what_changed_is_not_replaced(place: tuple[str, str]) -> None:
    url = f"s3://{place[1]}/a"
    assert STORE.create(url, b"1")
    assert not STORE.create(url, b"2")
    found = s3.get(url)
    assert found is not None
    assert not s3.put(url, b"3", None, {"IfMatch": '"0123"'})
    assert s3.put(url, b"4", None, {"IfMatch": found.tag})
    assert not s3.put(url, b"5", None, {"IfMatch": found.tag})
    assert not s3.put(f"{url}-not", b"6", None, {"IfMatch": found.tag})
    assert STORE.get(url) == b"4"


@pytest.mark.parametrize("scheme", [pytest.param("s3", marks=pytest.mark.long), "mem", "file"])
def test_of_many_edits_none_is_undone(place: tuple[str, str], tmp_path: Path, scheme: str) -> None:
    def add(word: str) -> None:
        STORE.edit(url, lambda data: json.dumps(sorted({*json.loads(data or b"[]"), word})).encode())

    with clouds.proxied(place[0]) as proxy:
        homes = {"s3": f"{proxy.url}/{place[1]}", "mem": f"edits/{tmp_path.name}", "file": str(tmp_path)}
        url = f"{scheme}://{homes[scheme]}/words"
        threads = [threading.Thread(target=add, args=(f"{n:02}",)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert STORE.get_json(url) == [f"{n:02}" for n in range(12)]
        assert STORE.edit(url, lambda data: data or b"") is None


def test_an_edit_that_came_too_late_keeps_nothing_of_what_it_read(place: tuple[str, str]) -> None:
    url, attic = f"s3://{place[1]}/a", f"s3://{place[1]}/attic"
    STORE.put(url, b"1")
    seen: list[bytes | None] = []

    def change(data: bytes | None) -> bytes:
        if not seen:
            STORE.put(url, b"2")  # somebody else
        seen.append(data)
        return (data or b"") + b"!"

    made = Store(attic=attic).edit(url, change)
    assert made is not None
    assert (seen, made.stored, made.replaced) == ([b"1", b"2"], b"2!", True)
    assert STORE.get(kept_at(attic, url)) == b"2"


RACE = """
import sys
from igneous_ng.store import Store
store, who, place = Store(), sys.argv[1], sys.argv[2]
store.exists(f"{place}/0")
print("ready", flush=True)
sys.stdin.readline()
print(*(n for n in range(20) if store.create(f"{place}/{n}", who.encode())))
"""


@pytest.mark.long
def test_of_processes_that_create_the_same_one_wins(place: tuple[str, str]) -> None:
    with clouds.proxied(place[0]) as proxy:
        words = [sys.executable, "-c", RACE]
        racers = [
            subprocess.Popen([*words, str(n), f"s3://{proxy.url}/{place[1]}"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True) for n in range(3)
        ]  # fmt: skip
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        won = [racer.communicate(timeout=60)[0].split() for racer in racers]
    owner = {name: str(who) for who, names in enumerate(won) for name in names}
    assert Counter(name for names in won for name in names) == Counter(map(str, range(20)))
    assert clouds.objects(*place) == {name: who.encode() for name, who in owner.items()}


# Endpoints.


def test_an_endpoint_may_stand_in_the_url(place: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    address, bucket = place
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # discards
    with clouds.proxied(address) as proxy:
        port = proxy.url.rpartition(":")[2]
        layer = f"s3://http://localhost:{port}/{bucket}/deep/layer"
        assert Layer.parse(f"precomputed://{layer}/") == layer
        IO(STORE).put(f"{layer}/a", b"0123")
        STORE.put(f"{layer}/b/c", b"4", "gzip")
        assert STORE.list(layer) == ["a", "b"]
        assert {(one.url, one.bytes) for one in folders.walk(layer)} == {(f"{layer}/a", 4), (f"{layer}/b/c", 24)}
        assert STORE.get(f"{layer}/a", (1, 3)) == b"12"
        Store(attic=f"{layer}/attic").put(f"{layer}/a", b"new")
        assert STORE.get(kept_at(f"{layer}/attic", f"{layer}/a")) == b"0123"
        guards.archive(STORE, f"s3://http://localhost:{port}/{bucket}/deep")
        with pytest.raises(SpecError, match="marked as raw archive"):
            guards.check_writable(STORE, layer)
        folders.remove(layer)
    assert all(asked.path.startswith(f"/{bucket}") for asked in proxy.asked), "the bucket is in the path"
    assert set(clouds.objects(address, bucket)) == {"deep/archive.json"}


def test_buckets_of_one_name_at_two_endpoints_are_two(place: tuple[str, str]) -> None:
    address, bucket = place
    with clouds.proxied(address) as one, clouds.proxied(address, lambda _: "404 NoSuchKey") as other:
        STORE.put(f"s3://{one.url}/{bucket}/a", b"1")
        assert STORE.get(f"s3://{other.url}/{bucket}/a") is None
        assert STORE.get(f"s3://{one.url}/{bucket}/a") == b"1"
    assert len(other.asked) == 1


def test_a_name_of_a_store_is_spelled_out(place: tuple[str, str], tmp_path: Path) -> None:
    address, bucket = place
    home = tmp_path / ".cloudfiles"
    home.mkdir()
    (home / "aliases.json").write_text(json.dumps({"lab": {"host": f"s3://{address}/"}, "bad": 3}))
    with pytest.raises(SpecError, match="no store is called lab"):
        Layer.parse(f"lab://{bucket}/a")
    (home / "aliases.json").write_text(json.dumps({"lab": {"host": f"s3://{address}/"}}))
    assert Layer.parse(f"precomputed://lab://{bucket}/a") == f"s3://{address}/{bucket}/a"
    STORE.put(Layer.parse(f"lab://{bucket}/a"), b"1")
    assert clouds.objects(address, bucket) == {"a": b"1"}
    with pytest.raises(SpecError, match="no store is called other"):
        Layer.parse("other://b/a")


def test_a_url_without_a_bucket_is_refused(place: tuple[str, str]) -> None:
    with pytest.raises(SpecError, match="no bucket is named; write s3://BUCKET/PATH or s3://https://HOST/BUCKET/PATH"):
        STORE.get("s3://https://host/")


# Keys.


def signer(proxy: clouds.Proxy) -> str | None:
    """The access key of the last request; None: it was not signed."""
    told = proxy.asked[-1].headers.get("authorization")
    return None if told is None else told.split("Credential=")[1].split("/")[0]


def test_keys_are_those_of_the_bucket_then_of_all_then_of_the_environment(
    place: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, bucket = place
    with clouds.proxied(address) as proxy:
        url = f"s3://{proxy.url}/{bucket}/a"

        def used() -> str | None:
            monkeypatch.setattr(s3, "_CLIENTS", {})
            STORE.exists(url)
            return signer(proxy)

        def keep(home: str, name: str, key: str) -> None:
            folder = tmp_path / home / "secrets"
            folder.mkdir(parents=True, exist_ok=True)
            raw = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": "t"}
            (folder / name).write_text(json.dumps(raw))

        assert used() == "test"
        keep(".cloudfiles", "aws-secret.json", "FILES")
        assert used() == "FILES"
        assert proxy.asked[-1].headers["x-amz-security-token"] == "t"
        keep(".cloudvolume", "aws-secret.json", "VOLUME")
        assert used() == "VOLUME"
        keep(".cloudfiles", f"{bucket}-aws-secret.json", "BUCKET")
        assert used() == "BUCKET"
        (tmp_path / ".cloudfiles/aliases.json").write_text(json.dumps({"lab": {"host": f"s3://{proxy.url}"}}))
        keep(".cloudvolume", "lab-secret.json", "LAB")
        assert used() == "LAB"


def test_without_keys_nothing_is_signed_and_a_refusal_says_where_they_were_looked_for(
    place: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, bucket = place
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with clouds.proxied(address) as proxy:
        url = f"s3://{proxy.url}/{bucket}/a"
        assert STORE.get(url) is None
        assert signer(proxy) is None
        proxy.plan = lambda _: "403 AccessDenied"
        with pytest.raises(ConfigurationError) as caught:
            STORE.get(url)
        told = str(caught.value)
        assert "no keys were found" in told
        for place_ in (f"{bucket}-aws-secret.json", ".cloudvolume/secrets", "AWS_ACCESS_KEY_ID", "~/.aws", "a role"):
            assert place_ in told
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "given")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        proxy.plan = lambda _: None
        assert STORE.get(url) is None
        assert signer(proxy) == "given", "keys that were given meanwhile are used"


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ("403 AccessDenied", SpecError, "check the permissions"),
        ("403 InvalidAccessKeyId", ConfigurationError, "not known there; correct AWS_ACCESS_KEY_ID"),
        ("403 SignatureDoesNotMatch", ConfigurationError, "correct AWS_SECRET_ACCESS_KEY"),
        ("400 InvalidToken", ConfigurationError, "correct AWS_SESSION_TOKEN"),
        ("400 ExpiredToken", TransientError, "the session token is over; renew it"),
        ("403 RequestTimeTooSkewed", TransientError, "set the clock"),
        ("404 NoSuchBucket", SpecError, "make the bucket"),
        ("400 AuthorizationHeaderMalformed", SpecError, "set AWS_DEFAULT_REGION"),
    ],
)
def test_what_keys_lack_is_said_at_once_and_no_secret_is(
    place: tuple[str, str], monkeypatch: pytest.MonkeyPatch, answer: str, kind: type[Exception], said: str
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"{SECRET}-token")
    with clouds.proxied(place[0], lambda _: answer) as proxy:
        url = f"s3://{proxy.url}/{place[1]}/a"
        with pytest.raises(kind, match=said) as caught:
            STORE.get(url)
        assert SECRET not in str(caught.getrepr(style="long", showlocals=False))
        whose = kind is ConfigurationError or "403 A" in answer
        assert ("the keys are from boto3 (env)" in str(caught.value)) is whose
    assert len(proxy.asked) <= 2, "not again and again"  # boto3 looks for another region once


def test_a_file_that_holds_no_keys_is_named_and_not_shown(place: tuple[str, str], tmp_path: Path) -> None:
    folder = tmp_path / ".cloudvolume/secrets"
    folder.mkdir(parents=True)
    for text in (f'{{"AWS_SECRET_ACCESS_KEY": {SECRET}}}', f'{{"AWS_SECRET_ACCESS_KEY": "{SECRET}"}}', "[]"):
        (folder / "aws-secret.json").write_text(text)
        with pytest.raises(ConfigurationError, match="aws-secret.json .*must be JSON with AWS_ACCESS_KEY_ID") as caught:
            STORE.get(f"s3://{place[1]}/a")
        assert SECRET not in str(caught.getrepr(style="long"))


def test_a_profile_that_is_not_there_is_said(place: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigurationError, match="nobody.*correct AWS_PROFILE"):
        STORE.get(f"s3://{place[1]}/a")


# Who pays.


def test_the_asker_pays_for_every_request_if_he_says_so(
    place: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_verbs() -> list[str | None]:
        proxy.asked.clear()
        for name in ("a", "b"):
            STORE.put(f"{url}/{name}", b"1")
        STORE.create(f"{url}/c", b"1")
        STORE.get(f"{url}/a")
        STORE.exists(f"{url}/a")
        STORE.list(url)
        STORE.delete(f"{url}/a")
        folders.remove(url)
        return [asked.headers.get("x-amz-request-payer") for asked in proxy.asked]

    with clouds.proxied(place[0]) as proxy:
        url = f"s3://{proxy.url}/{place[1]}"
        assert set(all_verbs()) == {None}
        monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
        assert set(all_verbs()) == {"requester"}
    monkeypatch.setenv("AWS_REQUEST_PAYER", "me")
    with pytest.raises(ConfigurationError, match="AWS_REQUEST_PAYER is 'me'"):
        STORE.get(f"s3://{place[1]}/a")


def test_what_is_not_removed_of_many_is_said() -> None:
    class Boto:
        def delete_objects(self, **_: object) -> dict[str, object]:
            return {"Errors": [{"Key": "a/b", "Code": code, "Message": "no"}]}

    for code, kind in (("AccessDenied", SpecError), ("InternalError", TransientError)):
        with pytest.raises(kind, match=f"a was not removed: a/b: {code} no"):
            s3._removed(Boto(), "s3://b/a", s3.address("s3://b/a"), ["a/b"])
