"""Google Cloud Storage, by an emulator on loopback. It knows no conditions: the proxy before it does."""

from __future__ import annotations

import gzip
import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from igneous_ng import folders
from igneous_ng.errors import SpecError
from igneous_ng.remote import others
from igneous_ng.store import Store
from tests import clouds

STORE = Store()


def generation(origin: str, bucket: str, name: str) -> str:
    """That of the newest version of an object; 0: there is none."""
    try:
        with urllib.request.urlopen(f"{origin}/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, '')}") as answer:
            return str(json.load(answer)["generation"])
    except urllib.error.HTTPError:
        return "0"


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    server = pytest.importorskip("gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed")
    with server.create_server("127.0.0.1", 0, in_memory=True) as running:
        yield f"http://127.0.0.1:{running._api._httpd.server_port}"


@pytest.fixture
def proxy(origin: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[clouds.Proxy]:
    """What refuses an upload whose condition does not hold."""

    def plan(asked: clouds.Asked) -> str | None:
        wanted = re.search(r"/b/([^/]+)/o\?.*ifGenerationMatch=(\d+)", asked.path)
        if asked.verb != "POST" or wanted is None:
            return None
        name = json.loads(asked.body.split(b"\r\n\r\n")[1].split(b"\r\n--")[0])["name"]
        return None if generation(origin, wanted[1], name) == wanted[2] else "412 conditionNotMet"

    with clouds.proxied(origin, plan) as made:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", made.url)
        monkeypatch.delenv("GS_USER_PROJECT", raising=False)
        monkeypatch.setattr("igneous_ng.remote.trying._FIRST_S", 0.0)
        monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda _: None))
        others._client.cache_clear()
        yield made
        others._client.cache_clear()


@pytest.fixture
def place(origin: str, proxy: clouds.Proxy) -> str:
    """A new bucket."""
    name = f"bucket-{uuid.uuid4().hex}"
    body = json.dumps({"name": name}).encode()
    made = urllib.request.Request(f"{origin}/storage/v1/b", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(made).close()
    return f"gs://{name}"


def test_it_is_a_store_too(place: str, proxy: clouds.Proxy) -> None:
    url = f"{place}/layer"
    assert (STORE.get(f"{url}/a"), STORE.exists(f"{url}/a"), STORE.list(url)) == (None, False, [])
    STORE.put(f"{url}/a", b"0123456789")
    STORE.put(f"{url}/deep/er/b", b"packed", "gzip")
    STORE.put(f"{place}/layer-2/c", b"another layer")
    assert STORE.get(f"{url}/a") == b"0123456789"
    packed = others.tagged(f"{url}/deep/er/b")  # of a mere download this emulator tells no encoding
    assert packed is not None
    assert (gzip.decompress(packed.stored), packed.encoding) == (b"packed", "gzip")
    assert (STORE.list(url), STORE.list(f"{url}/deep")) == (["a", "deep"], ["er"])
    assert {(one.url, one.bytes) for one in folders.walk(url)} == {(f"{url}/a", 10), (f"{url}/deep/er/b", 29)}
    STORE.get(f"{url}/a", (2, 5))
    assert proxy.asked[-1].headers["range"] == "bytes=2-4"  # which the emulator does not know
    STORE.delete(f"{url}/a")
    folders.remove(url)
    assert list(folders.walk(place)) != []
    assert STORE.list(url) == []


def test_what_is_there_is_not_created_and_what_changed_is_not_replaced(place: str) -> None:
    url = f"{place}/a"
    assert STORE.create(url, b"1")
    assert not STORE.create(url, b"2")
    found = others.tagged(url)
    assert found is not None
    assert found.stored == b"1"
    assert others.put_if(url, b"3", None, found.tag)
    assert not others.put_if(url, b"4", None, found.tag)
    assert STORE.get(url) == b"3"
    assert others.tagged(f"{place}/b") is None


def test_of_many_who_create_and_edit_none_is_undone(place: str, proxy: clouds.Proxy) -> None:
    won: Counter[int] = Counter()

    def work(who: int) -> None:
        for name in range(4):
            if STORE.create(f"{place}/{name}", b"%d" % who):
                won[name] += 1
        STORE.edit(f"{place}/words", lambda data: json.dumps(sorted({*json.loads(data or b"[]"), who})).encode())

    threads = [threading.Thread(target=work, args=(who,)) for who in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == Counter(range(4))
    assert STORE.get_json(f"{place}/words") == list(range(5))
    assert proxy.met["412 conditionNotMet"] >= 16


def test_a_lost_answer_does_not_lose_what_was_created(place: str, proxy: clouds.Proxy) -> None:
    plan, lose = proxy.plan, clouds.first("lost", "POST")
    proxy.plan = lambda asked: plan(asked) or lose(asked)
    assert STORE.create(f"{place}/a", b"1")
    assert proxy.met == {"lost": 1, "412 conditionNotMet": 1}
    assert not STORE.create(f"{place}/a", b"1")


def test_the_project_that_pays_is_named(place: str, proxy: clouds.Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GS_USER_PROJECT", "lab")
    others._client.cache_clear()
    proxy.asked.clear()
    STORE.put(f"{place}/a", b"1")
    STORE.create(f"{place}/b", b"1")
    STORE.get(f"{place}/a")
    STORE.edit(f"{place}/b", lambda data: (data or b"") + b"1")
    of_objects = [asked for asked in proxy.asked if "/o" in asked.path]
    assert len(of_objects) >= 5
    assert [asked for asked in of_objects if "userProject=lab" not in asked.path] == []


def test_a_refusal_is_a_wrong_request(place: str, proxy: clouds.Proxy) -> None:
    proxy.plan = lambda _: "403 forbidden"
    for call in (lambda: STORE.get(f"{place}/a"), lambda: STORE.create(f"{place}/a", b"")):
        with pytest.raises(SpecError, match="cannot be .*403.*check the permissions"):
            call()
