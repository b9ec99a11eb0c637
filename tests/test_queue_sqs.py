"""The queue on SQS: refused entries, limits of a request, reasons, errors. Against an emulator on loopback."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError

from igneous_ng.errors import ConfigurationError, SpecError, TransientError
from igneous_ng.queues import Counts, connect, sqs_client
from igneous_ng.queues.sqs import SqsQueue
from tests.queue_harness import SimulatedSqsStand, SqsStand, use_emulator

LIMIT = 256 * 1024
LONGEST = 240 * 1024


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    """boto3's, of the emulator."""
    use_emulator(monkeypatch)
    monkeypatch.setattr(sqs_client, "_PAUSE_S", 0.0)
    return boto3.client("sqs")


@pytest.fixture
def queue(client: Any) -> SqsQueue:
    made = SqsQueue(SqsStand().name, wait_seconds=0, client=client)
    made.put([])
    return made


def drained(queue: SqsQueue) -> list[str]:
    bodies = []
    while (lease := queue.lease(60)) is not None:
        bodies.append(lease.body)
        assert queue.done(lease)
    return sorted(bodies)


def letters(queue: SqsQueue) -> list[tuple[str, str]]:
    return [(letter.body, letter.reason) for letter in queue.dead()]


class Refusing:
    """A client that takes only the first half of each batch, ``times`` times, and answers 200 as SQS does."""

    def __init__(self, client: Any, times: int, *, fault: bool = False, silent: bool = False) -> None:
        self.client, self.times, self.fault, self.silent = client, times, fault, silent
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def send_message_batch(self, QueueUrl: str, Entries: list[Any]) -> Any:  # noqa: N803 boto3's names
        return self.halved(self.client.send_message_batch, QueueUrl, Entries)

    def delete_message_batch(self, QueueUrl: str, Entries: list[Any]) -> Any:  # noqa: N803
        return self.halved(self.client.delete_message_batch, QueueUrl, Entries)

    def halved(self, operation: Callable[..., Any], address: str, entries: list[Any]) -> Any:
        self.sizes.append(len(entries))
        if len(self.sizes) > self.times:
            return operation(QueueUrl=address, Entries=entries)
        kept, refused = entries[: len(entries) // 2], entries[len(entries) // 2 :]
        answer = operation(QueueUrl=address, Entries=kept) if kept else {}
        if not self.silent:
            answer["Failed"] = [
                {"Id": e["Id"], "Code": "InternalError", "Message": "half", "SenderFault": self.fault} for e in refused
            ]
        return answer


def refusing(client: Any, times: int, **how: bool) -> tuple[SqsQueue, Refusing]:
    made = Refusing(client, times, **how)
    return SqsQueue(SqsStand().name, wait_seconds=0, client=made), made


@pytest.mark.parametrize("silent", [False, True])
def test_refused_entries_are_sent_again_and_no_others(client: Any, silent: bool) -> None:
    queue, refuser = refusing(client, times=3, silent=silent)
    bodies = [f"{i:02}" for i in range(13)]
    assert queue.put(bodies) == 13
    assert refuser.sizes == [10, 5, 3, 2, 3]
    assert drained(queue) == bodies


def test_a_queue_that_keeps_refusing_is_a_transient_error(client: Any) -> None:
    queue, _ = refusing(client, times=100)
    with pytest.raises(TransientError, match=r"did not take 1 messages in 7 tries: InternalError: half"):
        queue.put(["a"])


def test_a_message_sqs_calls_wrong_is_not_sent_again(client: Any) -> None:
    queue, refuser = refusing(client, times=100, fault=True)
    with pytest.raises(SpecError, match="refuses a message: InternalError: half"):
        queue.put(["a"])
    assert refuser.sizes == [1]


def test_retried_letters_are_sent_and_deleted_in_batches(client: Any) -> None:
    queue, refuser = refusing(client, times=0)
    queue.put(str(i) for i in range(13))
    while (lease := queue.lease(60)) is not None:
        queue.fail(lease, "why")
    refuser.sizes, refuser.times = [], 2
    assert queue.retry_dead() == 13
    assert refuser.sizes == [10, 5, 3, 3, 10, 3]  # sent, half of it refused twice; then deleted
    assert list(queue.dead()) == []
    assert drained(queue) == sorted(str(i) for i in range(13))


def test_the_longest_body_dies_with_its_reason(queue: SqsQueue) -> None:
    body = "b" * LONGEST
    queue.put([body, body])
    lease = queue.lease(60)
    assert lease is not None
    assert queue.fail(lease, "start" + "x" * 50_000 + "end")
    [(found, reason)] = letters(queue)
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
    assert sorted(reason for _, reason in letters(queue)) == [
        "\\x1b[31mred\\x00 \\udc80\n",
        "no reason was given",
    ]


def test_no_more_than_a_batch_is_held_while_putting(
    client: Any, queue: SqsQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, seen = 0, []
    real = client.send_message_batch

    def watched(**asked: Any) -> Any:
        seen.append(made)
        return real(**asked)

    monkeypatch.setattr(client, "send_message_batch", watched)

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


def test_a_lease_has_at_most_twelve_hours(queue: SqsQueue) -> None:
    with pytest.raises(SpecError, match="at most 43200"):
        queue.lease(43201)


def test_a_queue_deleted_under_its_worker_is_missed(client: Any, queue: SqsQueue) -> None:
    assert queue.lease(60) is None
    client.delete_queue(QueueUrl=client.get_queue_url(QueueName=queue.url.removeprefix("sqs://"))["QueueUrl"])
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
        (no_keys, ConfigurationError, "this machine has no keys for it .*; set AWS_ACCESS_KEY_ID"),
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
    client: Any,
    queue: SqsQueue,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    status: int,
    kind: type[Exception],
) -> None:
    from botocore.exceptions import ClientError

    def refuse(**_: object) -> None:
        answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, "PurgeQueue")

    monkeypatch.setattr(client, "purge_queue", refuse)
    with pytest.raises(kind, match="SQS refused"):
        queue.purge()


def test_a_move_that_dies_between_its_requests_loses_nothing(
    client: Any, queue: SqsQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.put(["a"])
    lease = queue.lease(60)
    assert lease is not None

    def die(**_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(client, "delete_message", die)
        with pytest.raises(KeyboardInterrupt):
            queue.fail(lease, "why")
    assert letters(queue) == [("a", "why")]
    assert queue.counts() == Counts(0, 1, 1)


def test_a_letter_that_was_sent_twice_is_one(client: Any, queue: SqsQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to the first sending was lost, and the worker tried again."""
    queue.put(["a"])
    lease = queue.lease(60)
    assert lease is not None
    real = client.send_message_batch

    def unheard(**asked: Any) -> None:
        real(**asked)
        raise ReadTimeoutError(endpoint_url="x")

    with monkeypatch.context() as patched:
        patched.setattr(client, "send_message_batch", unheard)
        with pytest.raises(TransientError, match="SQS was not reached"):
            queue.fail(lease, "why")
    assert queue.fail(lease, "why")
    assert queue.counts() == Counts(0, 0, 2)
    assert letters(queue) == [("a", "why")]
    assert queue.retry_dead() == 1
    assert drained(queue) == ["a"]


def test_done_may_be_said_again_when_the_answer_was_lost(
    client: Any, queue: SqsQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.put(["a"])
    lease = queue.lease(60)
    assert lease is not None

    def unheard(**_: object) -> None:
        raise ReadTimeoutError(endpoint_url="x")

    with monkeypatch.context() as patched:
        patched.setattr(client, "delete_message", unheard)
        with pytest.raises(TransientError):
            queue.done(lease)
    assert queue.done(lease)
    assert queue.counts() == Counts(0, 0, 0)


# Priorities: three queues, of which only those that were made are asked.


def names(client: Any, queue: SqsQueue) -> set[str]:
    stem = queue.url.removeprefix("sqs://")
    found = client.list_queues(QueueNamePrefix=stem).get("QueueUrls", [])
    return {address.rpartition("/")[2].removeprefix(stem) for address in found}


def test_a_queue_of_a_priority_is_made_when_it_is_needed(client: Any, queue: SqsQueue) -> None:
    queue.put(["a"])
    assert names(client, queue) == {""}
    queue.put(["b"], priority="low")
    assert names(client, queue) == {"", "-low"}
    lease = queue.lease(60)
    assert lease is not None
    queue.fail(lease, "why")
    assert names(client, queue) == {"", "-low", "-dead"}


def test_another_worker_sees_a_new_priority_within_a_minute() -> None:
    stand = SimulatedSqsStand()
    planner, worker = stand.connect(), stand.connect()
    planner.put([])
    assert worker.lease(60) is None
    planner.put(["now"], priority="high")
    planner.put(["then"])
    asked: list[str] = []
    real = stand.service.get_queue_url

    def counted(QueueName: str) -> Any:  # noqa: N803
        asked.append(QueueName)
        return real(QueueName)

    stand.service.get_queue_url = counted  # type: ignore[method-assign]
    lease = worker.lease(60)
    assert lease is not None
    assert (lease.body, asked) == ("then", [])
    assert worker.release(lease)
    stand.pass_by(61)
    lease = worker.lease(60)
    assert lease is not None
    assert lease.body == "now"
    assert sorted(asked) == ["simulated-high", "simulated-low"]


def test_a_letter_that_sqs_moved_itself_can_be_read_and_retried(client: Any, queue: SqsQueue) -> None:
    """By a redrive policy that somebody set: it has no reason and no name of ours."""
    queue.put(["x"])
    lease = queue.lease(60)
    assert lease is not None
    queue.fail(lease, "why")
    client.send_message(QueueUrl=client.get_queue_url(QueueName=f"{queue.url[6:]}-dead")["QueueUrl"], MessageBody="a")
    assert sorted(letters(queue)) == [("a", ""), ("x", "why")]
    assert queue.retry_dead() == 2
    assert drained(queue) == ["a", "x"]


# Time.


def test_a_server_that_does_not_answer_holds_nobody_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    use_emulator(monkeypatch)
    assert sqs_client._REQUESTS * (sqs_client._CONNECT_S + sqs_client._ANSWER_S) < 30
    monkeypatch.setattr(sqs_client, "_ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        queue = SqsQueue("q", endpoint_url=f"http://127.0.0.1:{deaf.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(TransientError, match="SQS was not reached"):
            queue.put(["a"])
    assert time.monotonic() - start < 5  # two requests and the pause between them


def test_an_endpoint_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    address = use_emulator(monkeypatch)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    queue = SqsQueue(SqsStand().name, endpoint_url=address, wait_seconds=0)
    queue.put(["a"])
    assert drained(queue) == ["a"]
