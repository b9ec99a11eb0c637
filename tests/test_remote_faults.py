"""Object stores that throttle, fail, cut off and lose answers: what is asked is done, and done once."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from igneous_ng import folders
from igneous_ng.errors import TransientError
from igneous_ng.remote import trying
from igneous_ng.store import Store
from tests import clouds

STORE = Store()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The S3 on loopback and a bucket."""
    return clouds.s3(monkeypatch)


@pytest.mark.parametrize("fault", clouds.FAULTS)
def test_every_verb_outlasts_every_fault(place: tuple[str, str], fault: str) -> None:
    address, bucket = place
    with clouds.proxied(address) as proxy:
        url = f"s3://{proxy.url}/{bucket}/a"

        def once(verb: str) -> None:
            proxy.plan = clouds.first(fault, verb)

        once("PUT")
        STORE.put(f"{url}/b", b"0123456789" * 100, "gzip")
        once("GET")
        assert STORE.get(f"{url}/b") == b"0123456789" * 100
        once("PUT")
        assert STORE.create(f"{url}/c", b"0123456789"), "ours, though its first answer was lost"
        once("PUT")
        assert not STORE.create(f"{url}/c", b"another")
        once("GET")
        assert STORE.get(f"{url}/c", (2, 5)) == b"234"
        once("HEAD")
        assert STORE.exists(f"{url}/c")
        once("PUT")
        assert STORE.edit(f"{url}/c", lambda data: (data or b"") + b"!") is not None
        assert STORE.get(f"{url}/c") == b"0123456789!"
        once("GET")
        assert STORE.list(url) == ["b", "c"]
        once("DELETE")
        STORE.delete(f"{url}/b")
        once("POST")
        folders.remove(url)
        assert STORE.list(url) == []
    assert proxy.met[fault] >= 9 - (fault == "cut")  # a HEAD has no body to cut off


def test_what_fails_on_and_on_is_given_up(place: tuple[str, str]) -> None:
    address, bucket = place
    with clouds.proxied(address, lambda _: "503 SlowDown") as proxy:
        url = f"s3://{proxy.url}/{bucket}/a"
        with pytest.raises(TransientError, match=r"was not read \(.*SlowDown.*\); will be tried again"):
            STORE.get(url)
        assert len(proxy.asked) == trying.TRIES
        proxy.asked.clear()
        proxy.plan = lambda _: None
        assert STORE.get(url) is None
        assert len(proxy.asked) == 1


def test_pauses_grow_and_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("igneous_ng.remote.trying.time.sleep", pauses.append)

    def fail(_: int) -> None:
        raise ConnectionResetError

    for _ in range(100):
        with pytest.raises(ConnectionResetError):
            trying.insist(fail)
    for number in range(trying.TRIES - 1):
        same = pauses[number :: trying.TRIES - 1]
        assert len(same) == 100
        assert 0 <= min(same) < max(same) <= 0.25 * 2**number
        assert len(set(same)) > 90


def test_a_defect_is_not_tried_again() -> None:
    tried: list[int] = []

    def fail(number: int) -> None:
        tried.append(number)
        raise KeyError(number)

    with pytest.raises(KeyError):
        trying.insist(fail)
    assert tried == [0]


def test_of_many_creators_one_wins_whatever_answers_are_lost(place: tuple[str, str]) -> None:
    address, bucket = place
    won: Counter[int] = Counter()
    with clouds.proxied(address, clouds.now_and_then(0.4, 1, ("lost", "503 SlowDown", "reset"))) as proxy:

        def race(name: int, who: int) -> None:
            if STORE.create(f"s3://{proxy.url}/{bucket}/{name}", b"%d" % who):
                won[name] += 1
                content[name] = b"%d" % who

        content: dict[int, bytes] = {}
        for name in range(5):
            threads = [threading.Thread(target=race, args=(name, who)) for who in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert won == Counter(range(5)), "exactly one of each four"
    assert clouds.objects(address, bucket) == {str(name): data for name, data in content.items()}
    assert proxy.met["lost"] >= 3


def test_a_store_without_conditions_is_looked_at_instead(place: tuple[str, str]) -> None:
    address, bucket = place

    def plan(asked: clouds.Asked) -> str | None:
        return "501 NotImplemented" if {"if-match", "if-none-match"} & asked.headers.keys() else None

    with clouds.proxied(address, plan) as proxy:
        url = f"s3://{proxy.url}/{bucket}/a"
        assert STORE.create(url, b"1")
        assert not STORE.create(url, b"2")
        assert STORE.edit(url, lambda data: (data or b"") + b"3") is not None
        assert STORE.get(url) == b"13"
    assert proxy.met["501 NotImplemented"] == 3
