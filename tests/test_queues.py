"""The contract of a queue, over every back end."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from igneous_ng.errors import SpecError
from igneous_ng.queues import Counts, Queue, connect
from tests.queue_harness import MemoryStand, PosixStand, SqsStand, Stand, taken, use_emulator


@pytest.fixture(params=["memory", "posix", "sqs"])
def stand(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    if request.param == "sqs":
        use_emulator(monkeypatch)
        return SqsStand()
    return MemoryStand() if request.param == "memory" else PosixStand(tmp_path / "queue")


@pytest.fixture
def queue(stand: Stand) -> Queue:
    return stand.connect()


def drained(queue: Queue) -> list[str]:
    bodies = []
    while (lease := queue.lease(60)) is not None:
        bodies.append(lease.body)
        assert queue.done(lease)
    return bodies


def test_each_message_is_leased_once_whole_and_gone_when_done(queue: Queue) -> None:
    bodies = [f'{{"unit": {i}, "text": "ä\\r\\n  \U0001f9e0 "}}' for i in range(23)]
    assert queue.put(iter(bodies)) == 23
    assert queue.counts() == Counts(23, 0, 0)
    assert sorted(drained(queue)) == sorted(bodies)
    assert queue.counts() == Counts(0, 0, 0)


def test_a_held_message_is_nobody_elses(queue: Queue, stand: Stand) -> None:
    queue.put(["a"])
    lease = taken(queue)
    assert (lease.body, lease.attempt) == ("a", 1)
    assert stand.connect().lease(60) is None
    assert queue.counts() == Counts(0, 1, 0)


def test_an_expired_lease_returns_with_its_attempt_counted(queue: Queue, stand: Stand) -> None:
    queue.put(["a"])
    first = taken(queue, stand.lease_s)
    stand.expire()
    assert queue.counts() == Counts(1, 0, 0)
    second = taken(stand.connect())
    assert (second.body, second.attempt, second.id) == ("a", 2, first.id)
    assert second.token != first.token


def test_who_lost_a_lease_can_change_nothing(queue: Queue, stand: Stand) -> None:
    queue.put(["a"])
    lost = taken(queue, stand.lease_s)
    stand.expire()
    other = stand.connect()
    held = taken(other)
    assert not queue.renew(lost, 60)
    assert not queue.release(lost)
    assert not queue.release(lost, counts=True)
    assert not queue.fail(lost, "late")
    assert not queue.done(lost)
    assert queue.counts() == Counts(0, 1, 0)
    assert list(queue.dead()) == []
    assert other.done(held)
    assert queue.counts() == Counts(0, 0, 0)


def test_a_renewed_lease_lives_on(queue: Queue, stand: Stand) -> None:
    queue.put(["a"])
    lease = taken(queue, stand.lease_s)
    assert queue.renew(lease, 10 * stand.lease_s)
    stand.expire()
    assert queue.lease(60) is None
    assert queue.renew(lease, 60)
    assert queue.done(lease)


def test_done_answers_true_once(queue: Queue) -> None:
    queue.put(["a"])
    lease = taken(queue)
    assert queue.done(lease)
    assert not queue.done(lease)
    assert not queue.renew(lease, 60)


def test_an_interruption_is_no_attempt(queue: Queue) -> None:
    queue.put(["a"])
    ids = set()
    for _ in range(3):
        lease = taken(queue)
        ids.add(lease.id)
        assert lease.attempt == 1
        assert queue.release(lease)
        assert not queue.release(lease)
    assert len(ids) == 1
    assert queue.counts() == Counts(1, 0, 0)


def test_a_release_that_counts_is_an_attempt(queue: Queue) -> None:
    queue.put(["a"])
    first = taken(queue)
    assert queue.release(first, counts=True)
    second = taken(queue)
    assert queue.release(second)
    third = taken(queue)
    assert queue.release(third, counts=True)
    assert [first.attempt, second.attempt, third.attempt, taken(queue).attempt] == [1, 2, 2, 3]


def test_a_dead_letter_keeps_body_and_reason_and_can_be_tried_again(queue: Queue) -> None:
    reason = "Traceback:\n  layer é\r\n" + "x" * 5000
    queue.put(["poison", "fine"])
    leases = [taken(queue), taken(queue)]
    for lease in leases:
        assert queue.fail(lease, reason) if lease.body == "poison" else queue.release(lease)
    assert queue.counts() == Counts(1, 0, 1)
    for _ in range(2):
        assert [(letter.body, letter.reason, letter.attempts) for letter in queue.dead()] == [("poison", reason, 1)]
    assert queue.retry_dead() == 1
    assert list(queue.dead()) == []
    again = {lease.body: lease.attempt for lease in (taken(queue), taken(queue))}
    assert again == {"poison": 1, "fine": 1}


def test_everything_is_purged_and_the_queue_remains(queue: Queue) -> None:
    queue.put(["a", "b", "c"])
    queue.fail(taken(queue), "why")
    lease = taken(queue)
    assert queue.purge() == 3
    assert queue.counts() == Counts(0, 0, 0)
    assert not queue.done(lease)
    assert queue.lease(60) is None
    queue.put(["d"])
    assert taken(queue).body == "d"


def test_every_lease_is_taken_back_where_the_back_end_can(queue: Queue, stand: Stand) -> None:
    queue.put(["a", "b"])
    leases = [taken(queue), taken(queue)]
    if isinstance(stand, SqsStand):
        with pytest.raises(SpecError, match="cannot take leases back"):
            queue.release_all()
        return
    assert stand.connect().release_all() == 2
    assert not any(queue.done(lease) for lease in leases)
    assert [taken(queue).attempt, taken(queue).attempt] == [1, 1]


def test_a_queue_nobody_made_is_an_error_until_the_first_put(queue: Queue, stand: Stand) -> None:
    verbs: list[Callable[[], object]] = [
        lambda: queue.lease(60),
        queue.counts,
        queue.purge,
        queue.retry_dead,
        lambda: list(queue.dead()),
    ]
    if not isinstance(stand, SqsStand):
        verbs += [queue.release_all, lambda: list(queue.held())]
    for verb in verbs:
        with pytest.raises(SpecError, match=r"there is no queue at .*; check the name"):
            verb()
    assert queue.put([]) == 0
    assert queue.lease(60) is None


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_lease_lasts_a_real_time(queue: Queue, seconds: float) -> None:
    queue.put(["a"])
    with pytest.raises(SpecError, match="number of seconds above 0"):
        queue.lease(seconds)
    lease = taken(queue)
    with pytest.raises(SpecError, match="number of seconds above 0"):
        queue.renew(lease, seconds)


def test_an_error_while_bodies_are_made_leaves_whole_messages_only(queue: Queue) -> None:
    def bodies() -> Iterator[str]:
        yield "a"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        queue.put(bodies())
    queue.put(["b"])
    assert set(drained(queue)) <= {"a", "b"}


def test_threads_share_one_object(queue: Queue, stand: Stand) -> None:
    total = 20 if isinstance(stand, SqsStand) else 400
    queue.put(str(i) for i in range(total))
    seen: list[list[str]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=lambda s=s: s.extend(drained(queue))) for s in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(body for s in seen for body in s) == Counter(str(i) for i in range(total))


@pytest.mark.parametrize("delay", [-1, 900.5, float("nan"), float("inf")])
def test_a_delay_lasts_up_to_a_quarter_of_an_hour(queue: Queue, delay: float) -> None:
    queue.put(["a"])
    lease = taken(queue)
    with pytest.raises(SpecError, match="give 0 to 900 seconds"):
        queue.release(lease, delay=delay)
    assert queue.release(lease, delay=900)


@pytest.mark.parametrize("counts", [False, True])
def test_a_delayed_message_waits_for_its_time(queue: Queue, stand: Stand, counts: bool) -> None:
    queue.put(["a"])
    lease = taken(queue)
    assert queue.release(lease, counts=counts, delay=2 * stand.lease_s)
    assert not queue.done(lease)
    assert not queue.release(lease)
    if not (counts and isinstance(stand, SqsStand)):  # which cannot tell it from a lease
        assert queue.counts() == Counts(1, 0, 0)
    assert queue.lease(60) is None
    stand.expire()
    assert stand.connect().lease(60) is None
    stand.expire()
    again = taken(stand.connect())
    assert (again.id, again.attempt) == (lease.id, 2 if counts else 1)


def test_the_urgent_come_first_wherever_they_were_put(queue: Queue, stand: Stand) -> None:
    for priority in ("low", "high", "normal"):
        stand.connect().put([priority] * 3, priority=priority)
    assert drained(queue) == ["high"] * 3 + ["normal"] * 3 + ["low"] * 3


def test_a_dead_letter_returns_to_its_priority(queue: Queue) -> None:
    queue.put(["late"], priority="low")
    queue.put(["soon"], priority="high")
    queue.put(["then"])
    for _ in range(3):
        assert queue.fail(taken(queue), "why")
    assert queue.retry_dead() == 3
    assert drained(queue) == ["soon", "then", "late"]


def test_dead_letters_are_retried_one_by_one(queue: Queue) -> None:
    queue.put(["a", "b", "c"])
    for lease in [taken(queue) for _ in range(3)]:
        assert queue.release(lease, counts=True) if lease.body == "c" else queue.fail(lease, f"why {lease.body}")
    again = taken(queue)
    assert queue.fail(again, "why c")
    letters = {letter.body: letter for letter in queue.dead()}
    assert {body: (letter.reason, letter.attempts) for body, letter in letters.items()} == {
        "a": ("why a", 1),
        "b": ("why b", 1),
        "c": ("why c", 2),
    }
    assert queue.retry_dead([]) == 0
    assert queue.retry_dead(["unknown"]) == 0
    assert queue.retry_dead([letters["c"].id, "unknown"]) == 1
    lease = taken(queue)
    assert (lease.body, lease.attempt, lease.id) == ("c", 1, letters["c"].id)
    assert sorted(letter.body for letter in queue.dead()) == ["a", "b"]
    assert queue.retry_dead({letters["a"].id, letters["b"].id}) == 2
    assert list(queue.dead()) == []


def test_a_unique_put_adds_what_is_not_there(queue: Queue, stand: Stand) -> None:
    if isinstance(stand, SqsStand):
        assert queue.put(["a", "a"], unique=True) == 2  # as documented
        return
    queue.put(["waiting", "leased", "parked", "dead", "done", "twice", "twice"])
    leases = {lease.body: lease for lease in (taken(queue) for _ in range(7))}
    queue.release(leases["waiting"])
    queue.release(leases["parked"], delay=600)
    queue.fail(leases["dead"], "why")
    queue.done(leases["done"])
    again = [*leases, "new", "new"]
    assert stand.connect().put(iter(again), unique=True) == 2
    assert sorted(lease.body for lease in (taken(queue) for _ in range(3))) == ["done", "new", "waiting"]


def test_held_bodies_are_shown_where_the_back_end_can(queue: Queue, stand: Stand) -> None:
    if isinstance(stand, SqsStand):
        with pytest.raises(SpecError, match="SQS does not show leased messages"):
            next(queue.held())
        return
    queue.put(["a", "b", "c", "d ä\n"])
    leases = [taken(queue) for _ in range(4)]
    assert sorted(queue.held()) == ["a", "b", "c", "d ä\n"]
    queue.release(leases[0], delay=600)
    queue.fail(leases[1], "why")
    assert sorted(stand.connect().held()) == sorted(lease.body for lease in leases[2:])
    queue.renew(leases[2], 600)
    stand.expire()
    assert list(queue.held()) == [leases[2].body]


def test_some_waiting_bodies_are_shown_untouched_where_the_back_end_can(queue: Queue, stand: Stand) -> None:
    if isinstance(stand, SqsStand):
        with pytest.raises(SpecError, match="one must take them from SQS"):
            queue.peek(2)
        return
    with pytest.raises(SpecError, match="there is no queue"):
        stand.connect().peek(2)
    queue.put(f"large {n}" for n in range(600))
    queue.put(["small"])
    taken(queue)
    shown = queue.peek(1000)
    assert len(set(shown)) == len(shown) == 600
    assert len(queue.peek(7)) == 7
    assert queue.counts() == Counts(600, 1, 0)


@pytest.mark.parametrize("url", ["", "queue", "fq://", "redis://q", "/abs/dir", "file:///abs/dir"])
def test_what_is_no_queue_is_told_what_would_be(url: str) -> None:
    with pytest.raises(SpecError, match=r"fq://DIRECTORY, sqs://NAME, sqs://REGION/NAME or memory://NAME"):
        connect(url)


@pytest.mark.parametrize("name", ["has space", "x" * 76, "q.fifo", "sqs:"])
def test_a_name_sqs_would_refuse(name: str) -> None:
    with pytest.raises(SpecError, match="1 to 75 of the characters"):
        connect(f"sqs://{name}")


def test_urls_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    urls = ["fq://a/b", f"fq://{tmp_path}/a/../c", "memory://m", "sqs://q", "sqs://eu-west-1/q"]
    assert [connect(url).url for url in urls] == [
        f"fq://{tmp_path}/a/b",
        f"fq://{tmp_path}/c",
        "memory://m",
        "sqs://q",
        "sqs://eu-west-1/q",
    ]
    assert list(tmp_path.iterdir()) == []


def test_memory_queues_of_one_name_are_one() -> None:
    connect("memory://shared").put(["a"])
    assert drained(connect("memory://shared")) == ["a"]
    with pytest.raises(SpecError, match="there is no queue"):
        connect("memory://another").counts()


def test_the_sdk_of_a_cloud_is_loaded_only_for_its_queue() -> None:
    code = (
        "import sys\n"
        "from igneous_ng.queues import connect\n"
        "connect('fq://q'); connect('memory://q'); connect('sqs://q')\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules} & {'boto3', 'botocore', 'taskqueue', 'numpy'}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == []
