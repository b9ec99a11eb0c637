"""A queue on Amazon SQS, or on an emulator at ``AWS_ENDPOINT_URL``.

Dead letters lie in a second queue, ``NAME-dead``, body unchanged, the reason in the attribute ``Reason``.
What SQS cannot do is said at each method. In short: counts are approximate; a lease cannot be taken from its
holder; a message lives 14 days, a lease 12 hours counted from its start; a move between queues is two
requests, so that a death between them leaves the message in both.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from igneous_ng.errors import SpecError, TransientError
from igneous_ng.queues.protocol import Counts, Lease, checked_seconds, missing
from igneous_ng.queues.sqs_messages import BATCH, Message, batches, parsed

_LONGEST_S = 12 * 3600.0
_MOVE_S = 60  # hold a message so long while it is copied elsewhere
_TRIES = 7
_PAUSE_S = 0.1  # before the first resending; doubled each time
_RETENTION_S = 14 * 86400
_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}")  # SQS allows 80; "-dead" needs 5
_LOST = ("ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue")
_ABSENT = ("NonExistentQueue", "QueueDoesNotExist")
_BUSY = (
    "Throttl",
    "RequestLimit",
    "PurgeQueueInProgress",
    "QueueDeletedRecently",
    "ServiceUnavailable",
    "Internal",
)


class SqsQueue:
    """``sqs://NAME`` or ``sqs://REGION/NAME``; credentials, region and endpoint as boto3 finds them.

    Messages come in no order, now and then twice. ``lease`` waits for up to ``wait_seconds`` (1 to 20 asks
    every server of SQS, 0 only some): not for long, because a supervisor that waits here sends no heartbeats.
    """

    def __init__(self, name: str, region: str | None = None, wait_seconds: int = 1) -> None:
        self.url = f"sqs://{region}/{name}" if region else f"sqs://{name}"
        if not _NAME.fullmatch(name):
            raise SpecError(f"{self.url}: a queue's name has 1 to 75 of the characters A-Z a-z 0-9 - _")
        self._name, self._region, self._wait = name, region, wait_seconds
        self._addresses: dict[str, str] = {}
        self._until: dict[str, float] = {}  # token: when its lease ends, by this process's monotonic clock

    def put(self, bodies: Iterable[str]) -> int:
        """See :meth:`Queue.put`. A body has at most 240 KiB (SpecError): a reason may have to join it."""
        with _sqs_errors(self.url):
            address = self._made(self._name)
        return self._send(address, map(Message, bodies))

    def lease(self, seconds: float) -> Lease | None:
        """See :meth:`Queue.lease`; whole seconds, rounded up, at most 12 hours."""
        visible = math.ceil(checked_seconds(seconds, _LONGEST_S))
        with _sqs_errors(self.url):
            received = self._receive(self._main(), 1, visible, self._wait)
        for raw in received:
            message, token = parsed(raw), raw["ReceiptHandle"]
            self._until[token] = time.monotonic() + visible
            return Lease(message.id, message.body, message.attempts, token)
        return None

    def renew(self, lease: Lease, seconds: float) -> bool:
        """See :meth:`Queue.renew`; False also when SQS's 12 hours from the start of the lease are over."""
        visible = math.ceil(checked_seconds(seconds, _LONGEST_S))
        if not self._set_visibility(lease, visible):
            return False
        self._until[lease.token] = time.monotonic() + visible
        return True

    def done(self, lease: Lease) -> bool:
        """See :meth:`Queue.done`."""
        return not self._late(lease) and self._delete(lease)

    def release(self, lease: Lease, *, counts: bool = False) -> bool:
        """See :meth:`Queue.release`. SQS counts receipts; where it must not, a copy replaces the message."""
        if counts:
            given = self._set_visibility(lease, 0)
            self._until.pop(lease.token, None)
            return given
        return self._move(lease, self._name, Message(lease.body, lease.id, lease.attempt - 1))

    def fail(self, lease: Lease, reason: str) -> bool:
        """See :meth:`Queue.fail`. A reason that SQS cannot carry whole loses its middle."""
        return self._move(lease, f"{self._name}-dead", Message(lease.body, lease.id).with_reason(reason))

    def counts(self) -> Counts:
        """See :meth:`Queue.counts`; approximate, and up to a minute late."""
        with _sqs_errors(self.url):
            waiting, leased = self._numbers(self._main())
            letters = self._address(f"{self._name}-dead")
            return Counts(waiting, leased, sum(self._numbers(letters)) if letters else 0)

    def dead(self) -> Iterator[tuple[str, str]]:
        """See :meth:`Queue.dead`. SQS shows by lending: nobody else sees the letters meanwhile."""
        with _sqs_errors(self.url):
            self._main()
            address = self._address(f"{self._name}-dead")
        if address is None:
            return
        lent: dict[str, str] = {}
        try:
            for raw in self._drained(address):
                if raw["MessageId"] not in lent:
                    message = parsed(raw)
                    yield message.body, message.reason
                lent[raw["MessageId"]] = raw["ReceiptHandle"]
        finally:
            for handle in lent.values():
                self._change_visibility(address, handle, 0)

    def retry_dead(self) -> int:
        """See :meth:`Queue.retry_dead`."""
        with _sqs_errors(self.url):
            main, address = self._main(), self._address(f"{self._name}-dead")
        count = 0
        for raw in self._drained(address) if address else ():
            message = parsed(raw)
            count += self._send(main, [Message(message.body, message.id)])
            with _sqs_errors(self.url):
                self._client.delete_message(QueueUrl=address, ReceiptHandle=raw["ReceiptHandle"])
        return count

    def release_all(self) -> int:
        """SpecError: SQS has no means to take a lease from its holder."""
        raise SpecError(f"{self.url}: SQS cannot take leases back; stop the workers, which release theirs, or wait")

    def purge(self) -> int:
        """See :meth:`Queue.purge`; the number is approximate. SQS allows one a minute (TransientError)."""
        counts = self.counts()
        with _sqs_errors(self.url):
            for address in (self._main(), self._address(f"{self._name}-dead")):
                if address is not None:
                    self._client.purge_queue(QueueUrl=address)
        self._until.clear()
        return counts.waiting + counts.leased + counts.dead

    # Queues and their addresses.

    @cached_property
    def _client(self) -> Any:
        import boto3

        return boto3.session.Session().client("sqs", region_name=self._region)

    def _address(self, name: str) -> str | None:
        """The address of the SQS queue of this name; None: there is none."""
        if name not in self._addresses:
            from botocore.exceptions import ClientError

            try:
                self._addresses[name] = self._client.get_queue_url(QueueName=name)["QueueUrl"]
            except ClientError as error:
                if not _says(error, _ABSENT):
                    raise
                return None
        return self._addresses[name]

    def _main(self) -> str:
        address = self._address(self._name)
        if address is None:
            raise missing(self.url)
        return address

    def _made(self, name: str) -> str:
        """The address of the SQS queue of this name, made now if there is none."""
        address = self._address(name)
        if address is None:
            attributes = {"MessageRetentionPeriod": str(_RETENTION_S)}
            made = self._client.create_queue(QueueName=name, Attributes=attributes)
            address = self._addresses[name] = str(made["QueueUrl"])
        return address

    def _numbers(self, address: str) -> tuple[int, int]:
        """(visible, leased) messages, about."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._client.get_queue_attributes(QueueUrl=address, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    # Messages.

    def _send(self, address: str, messages: Iterable[Message]) -> int:
        sent = 0
        for batch in batches(messages):
            self._send_batch(address, batch)
            sent += len(batch)
        return sent

    def _send_batch(self, address: str, batch: list[Message]) -> None:
        """Send until each message was accepted: SQS may take a part of a batch and still answer 200."""
        left = [
            {"Id": str(number), "MessageBody": message.body, "MessageAttributes": message.attributes}
            for number, message in enumerate(batch)
        ]
        refused: list[dict[str, Any]] = []
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_S * 2 ** (attempt - 1))
            with _sqs_errors(self.url):
                answer = self._client.send_message_batch(QueueUrl=address, Entries=left)
            accepted = {entry["Id"] for entry in answer.get("Successful", ())}
            left = [entry for entry in left if entry["Id"] not in accepted]
            if not left:
                return
            refused = answer.get("Failed", [])
            if wrong := [entry for entry in refused if entry.get("SenderFault")]:
                raise SpecError(f"{self.url}: SQS refuses a message: {_told(wrong)}")
        raise TransientError(f"{self.url}: SQS did not take {len(left)} messages in {_TRIES} tries: {_told(refused)}")

    def _receive(self, address: str, most: int, visible: int, wait: int) -> list[dict[str, Any]]:
        answer = self._client.receive_message(
            QueueUrl=address,
            MaxNumberOfMessages=most,
            VisibilityTimeout=visible,
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
            MessageAttributeNames=["All"],
        )
        return list(answer.get("Messages", ()))

    def _drained(self, address: str) -> Iterator[dict[str, Any]]:
        """Every message of a queue, lent for a minute, until none is left to lend."""
        while True:
            with _sqs_errors(self.url):
                received = self._receive(address, BATCH, _MOVE_S, self._wait)
            if not received:
                return
            yield from received

    def _late(self, lease: Lease) -> bool:
        """Whether the lease is over by our clock. SQS may honour a late receipt, at a new holder's cost."""
        late = time.monotonic() >= self._until.get(lease.token, -math.inf)
        if late:
            self._until.pop(lease.token, None)
        return late

    def _set_visibility(self, lease: Lease, seconds: int) -> bool:
        if self._late(lease):
            return False
        with _sqs_errors(self.url):
            address = self._main()
        return self._change_visibility(address, lease.token, seconds)

    def _change_visibility(self, address: str, handle: str, seconds: int) -> bool:
        with _sqs_errors(self.url), _unless_lost():
            self._client.change_message_visibility(QueueUrl=address, ReceiptHandle=handle, VisibilityTimeout=seconds)
            return True
        return False

    def _delete(self, lease: Lease) -> bool:
        self._until.pop(lease.token, None)
        with _sqs_errors(self.url), _unless_lost():
            self._client.delete_message(QueueUrl=self._main(), ReceiptHandle=lease.token)
            return True
        return False

    def _move(self, lease: Lease, name: str, copy: Message) -> bool:
        """A copy into the queue of this name, then away with the message; False: the lease was lost."""
        if not self.renew(lease, _MOVE_S):
            return False
        with _sqs_errors(self.url):
            address = self._made(name)
        self._send(address, [copy])
        return self._delete(lease)


@contextmanager
def _sqs_errors(url: str) -> Iterator[None]:
    """Errors of boto3 as ours: what must be set right is a SpecError, what may pass a TransientError."""
    from botocore import exceptions as boto

    try:
        yield
    except boto.NoRegionError as error:
        raise SpecError(f"{url}: no region is known; write sqs://REGION/NAME or set AWS_DEFAULT_REGION") from error
    except boto.NoCredentialsError as error:
        raise SpecError(f"{url}: no credentials were found; set AWS_ACCESS_KEY_ID or a profile") from error
    except boto.ClientError as error:
        if _says(error, _ABSENT):
            raise missing(url) from error
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = TransientError if status >= 500 or _says(error, _BUSY) else SpecError
        raise kind(f"{url}: SQS refused: {error}") from error
    except (boto.ConnectionError, boto.HTTPClientError) as error:
        raise TransientError(f"{url}: SQS was not reached: {error}; check network and endpoint") from error
    except boto.BotoCoreError as error:
        raise SpecError(f"{url}: boto3 cannot ask SQS: {error}; check region, endpoint and keys") from error


@contextmanager
def _unless_lost() -> Iterator[None]:
    """Leave the block quietly if SQS says that the receipt is no longer valid."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if not _says(error, _LOST):
            raise


def _says(error: Any, codes: tuple[str, ...]) -> bool:
    """Whether a ClientError has one of these codes; SQS writes them with and without a prefix."""
    found = str(error.response.get("Error", {}).get("Code", ""))
    return any(code in found for code in codes)


def _told(refused: list[dict[str, Any]]) -> str:
    """The first refusal of a batch, in words."""
    return next((f"{entry.get('Code')}: {entry.get('Message', '')}" for entry in refused), "no reason was given")
