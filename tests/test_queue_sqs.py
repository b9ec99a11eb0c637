"""The queue on SQS: refused entries, limits of a request, reasons, errors. Against an emulator on loopback."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.errors import SpecError, TransientError
from igneous_ng.queues import Counts, connect, sqs
from igneous_ng.queues.sqs import SqsQueue
from igneous_ng.queues.sqs_messages import BATCH, Message, batches, shortened
from tests.queue_harness import SqsStand, use_emulator

LIMIT = 256 * 1024
LONGEST = 240 * 1024


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> SqsQueue:
    use_emulator(monkeypatch)
    monkeypatch.setattr(sqs, "_PAUSE_S", 0.0)
    made = SqsQueue(SqsStand().name, wait_seconds=0)
    made.put([])
    return made


def drained(queue: SqsQueue) -> list[str]:
    bodies = []
    while (lease := queue.lease(60)) is not None:
        bodies.append(lease.body)
        assert queue.done(lease)
    return sorted(bodies)


class Refusing:
    """A client that takes only the first half of each batch, ``times`` times, and answers 200 as SQS does."""

    def __init__(self, queue: SqsQueue, times: int, *, fault: bool = False, silent: bool = False) -> None:
        self.client, self.times, self.fault, self.silent = queue._client, times, fault, silent
        self.sizes: list[int] = []
        queue.__dict__["_client"] = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def send_message_batch(self, QueueUrl: str, Entries: list[Any]) -> Any:  # noqa: N803 boto3's names
        self.sizes.append(len(Entries))
        if len(self.sizes) > self.times:
            return self.client.send_message_batch(QueueUrl=QueueUrl, Entries=Entries)
        kept, refused = Entries[: len(Entries) // 2], Entries[len(Entries) // 2 :]
        answer = self.client.send_message_batch(QueueUrl=QueueUrl, Entries=kept) if kept else {}
        if not self.silent:
            answer["Failed"] = [
                {"Id": e["Id"], "Code": "InternalError", "Message": "half", "SenderFault": self.fault} for e in refused
            ]
        return answer


@pytest.mark.parametrize("silent", [False, True])
def test_refused_entries_are_sent_again_and_no_others(queue: SqsQueue, silent: bool) -> None:
    client = Refusing(queue, times=3, silent=silent)
    bodies = [f"{i:02}" for i in range(13)]
    assert queue.put(bodies) == 13
    assert client.sizes == [10, 5, 3, 2, 3]
    assert drained(queue) == bodies


def test_a_queue_that_keeps_refusing_is_a_transient_error(queue: SqsQueue) -> None:
    Refusing(queue, times=100)
    with pytest.raises(TransientError, match=r"did not take 1 messages in 7 tries: InternalError: half"):
        queue.put(["a"])


def test_a_message_sqs_calls_wrong_is_not_sent_again(queue: SqsQueue) -> None:
    client = Refusing(queue, times=100, fault=True)
    with pytest.raises(SpecError, match="refuses a message: InternalError: half"):
        queue.put(["a"])
    assert client.sizes == [1]


def test_the_longest_body_dies_with_its_reason(queue: SqsQueue) -> None:
    body = "b" * LONGEST
    queue.put([body, body])
    lease = queue.lease(60)
    assert lease is not None
    assert queue.fail(lease, "start" + "x" * 50_000 + "end")
    [(found, reason)] = queue.dead()
    assert found == body
    assert reason.startswith("startxxx")
    assert reason.endswith("xxxend")
    assert "bytes left out" in reason
    assert 14_000 < len(reason) < LIMIT - LONGEST
    assert queue.retry_dead() == 1
    assert drained(queue) == [body, body]


def test_a_body_that_no_request_carries_is_refused_with_its_size(queue: SqsQueue) -> None:
    with pytest.raises(SpecError, match=f"a message of {LONGEST + 1} bytes; SQS takes {LONGEST}"):
        queue.put(["b" * (LONGEST + 1)])
    assert queue.counts() == Counts(0, 0, 0)


def test_a_reason_may_hold_what_sqs_may_not(queue: SqsQueue) -> None:
    queue.put(["a", "b"])
    for reason in ("\x1b[31mred\x00 \udc80\n", ""):
        lease = queue.lease(60)
        assert lease is not None
        assert queue.fail(lease, reason)
    assert sorted(reason for _, reason in queue.dead()) == [
        "\\x1b[31mred\\x00 \\udc80\n",
        "no reason was given",
    ]


@given(
    st.lists(st.sampled_from([1, 10, 60_000, 130_000, LONGEST]), max_size=40),
    st.booleans(),
)
def test_batches_keep_order_and_the_limits_of_a_request(sizes: list[int], copies: bool) -> None:
    extra = {"id": "i" * 50, "attempts": 3} if copies else {}
    messages = [Message("b" * size, **extra) for size in sizes]  # type: ignore[arg-type]
    made = list(batches(iter(messages)))
    assert [message for batch in made for message in batch] == messages
    assert all(0 < len(batch) <= BATCH and sum(m.size for m in batch) <= LIMIT for batch in made)
    for batch, following in pairwise(made):
        assert len(batch) == BATCH or sum(m.size for m in batch) + following[0].size > LIMIT


@given(st.text(max_size=600), st.integers(200, 800))
def test_a_shortened_text_fits_and_keeps_both_ends(text: str, room: int) -> None:
    short = shortened(text, room)
    assert len(short.encode(errors="surrogatepass")) <= room
    if len(text.encode()) <= room:
        assert short == text
    else:
        assert short[:10] == text[:10]
        assert short[-10:] == text[-10:]


def test_no_more_than_a_batch_is_held_while_putting(queue: SqsQueue) -> None:
    made, seen = 0, []
    real = queue._send_batch

    def watched(address: str, batch: list[Message]) -> None:
        seen.append(made)
        real(address, batch)

    queue._send_batch = watched  # type: ignore[method-assign]

    def bodies() -> Any:
        nonlocal made
        for i in range(25):
            made += 1
            yield str(i)

    assert queue.put(bodies()) == 25
    assert seen == [11, 21, 25]


def test_a_region_may_be_named(queue: SqsQueue) -> None:
    name = SqsStand().name
    west, here = connect(f"sqs://eu-west-1/{name}"), connect(f"sqs://{name}")
    west.put(["a"])
    assert west.counts() == Counts(1, 0, 0)
    with pytest.raises(SpecError, match="there is no queue"):
        here.counts()


@pytest.mark.parametrize("name", ["has space", "x" * 76, "q.fifo", "sqs:"])
def test_a_name_sqs_would_refuse(name: str) -> None:
    with pytest.raises(SpecError, match="1 to 75 of the characters"):
        connect(f"sqs://{name}")


def test_a_lease_has_at_most_twelve_hours(queue: SqsQueue) -> None:
    with pytest.raises(SpecError, match="at most 43200"):
        queue.lease(43201)


def test_a_queue_deleted_under_its_worker_is_missed(queue: SqsQueue) -> None:
    queue._client.delete_queue(QueueUrl=queue._main())
    with pytest.raises(SpecError, match="there is no queue"):
        queue.lease(60)


def unset(monkeypatch: pytest.MonkeyPatch, *keys: str) -> None:
    for key in keys:
        monkeypatch.delenv(key, raising=False)
    for key in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(key, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    unset(monkeypatch, "AWS_DEFAULT_REGION", "AWS_REGION")


def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    unset(monkeypatch, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("lacking", "kind", "told"),
    [
        (no_region, SpecError, "write sqs://REGION/NAME or set AWS_DEFAULT_REGION"),
        (no_keys, SpecError, "no credentials were found"),
        (nobody_there, TransientError, "SQS was not reached"),
    ],
)
def test_what_boto3_lacks_is_said(
    monkeypatch: pytest.MonkeyPatch,
    lacking: Callable[[pytest.MonkeyPatch], None],
    kind: type[Exception],
    told: str,
) -> None:
    use_emulator(monkeypatch)
    lacking(monkeypatch)
    with pytest.raises(kind, match=told):
        connect("sqs://q").put(["a"])


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDenied", 403, SpecError),
        ("Throttling.RequestThrottled", 400, TransientError),
        ("AWS.SimpleQueueService.PurgeQueueInProgress", 403, TransientError),
        ("SomethingNew", 503, TransientError),
    ],
)
def test_refusals_are_sorted_by_whether_to_try_again(
    queue: SqsQueue, monkeypatch: pytest.MonkeyPatch, code: str, status: int, kind: type[Exception]
) -> None:
    from botocore.exceptions import ClientError

    def refuse(**_: object) -> None:
        answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, "PurgeQueue")

    monkeypatch.setattr(queue._client, "purge_queue", refuse)
    with pytest.raises(kind, match="SQS refused"):
        queue.purge()


def test_a_move_that_dies_between_its_requests_loses_nothing(queue: SqsQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.put(["a"])
    lease = queue.lease(60)
    assert lease is not None

    def die(**_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(queue._client, "delete_message", die)
        with pytest.raises(KeyboardInterrupt):
            queue.fail(lease, "why")
    assert list(queue.dead()) == [("a", "why")]
    assert queue.counts() == Counts(0, 1, 1)
