"""The requests that a queue makes of Amazon SQS: bounded in time, batched, checked, with errors as ours.

A request whose answer is lost may have been carried out. All of them may therefore be made again: what is sent twice is
two messages, what is deleted twice is gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from igneous_ng.errors import ConfigurationError, SpecError, TransientError
from igneous_ng.queues.protocol import missing
from igneous_ng.queues.sqs_messages import BATCH, Message, batches

_CONNECT_S = 3  # a supervisor that waits here sends no heartbeats: two tries of one request
_ANSWER_S = 7  # take at most some 20 s, and the time of a long poll
_REQUESTS = 2
_TRIES = 7  # of what SQS refuses out of a batch
_PAUSE_S = 0.1  # before the first resending; doubled each time
_RETENTION_S = 14 * 86400
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


class Client:
    """One connection. ``client`` stands in for boto3's; otherwise that is made at the first request."""

    def __init__(self, url: str, region: str | None, endpoint_url: str | None, client: Any) -> None:
        self._url, self._region, self._endpoint = url, region, endpoint_url
        self._addresses: dict[str, str] = {}
        if client is not None:
            self._boto = client

    @cached_property
    def _boto(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=_CONNECT_S,
            read_timeout=_ANSWER_S,
            retries={"mode": "standard", "total_max_attempts": _REQUESTS},
        )
        session = boto3.session.Session()
        return session.client("sqs", region_name=self._region, endpoint_url=self._endpoint, config=config)

    # Queues and their addresses.

    def address(self, name: str) -> str | None:
        """The address of the SQS queue of this name; None: there is none."""
        if name not in self._addresses:
            from botocore.exceptions import ClientError

            with sqs_errors(self._url):
                try:
                    self._addresses[name] = str(self._boto.get_queue_url(QueueName=name)["QueueUrl"])
                except ClientError as error:
                    if not _says(error, _ABSENT):
                        raise
                    return None
        return self._addresses[name]

    def made(self, name: str) -> str:
        """The address of the SQS queue of this name, made now if there is none."""
        address = self.address(name)
        if address is None:
            attributes = {"MessageRetentionPeriod": str(_RETENTION_S)}
            with sqs_errors(self._url):
                made = self._boto.create_queue(QueueName=name, Attributes=attributes)
            address = self._addresses[name] = str(made["QueueUrl"])
        return address

    def numbers(self, address: str) -> tuple[int, int]:
        """(waiting, leased) messages, about; delayed ones wait."""
        names = [f"ApproximateNumberOfMessages{suffix}" for suffix in ("", "Delayed", "NotVisible")]
        with sqs_errors(self._url):
            found = self._boto.get_queue_attributes(QueueUrl=address, AttributeNames=names)["Attributes"]
        waiting, delayed, leased = (int(found[name]) for name in names)
        return waiting + delayed, leased

    def purge(self, address: str) -> None:
        """Delete every message; SQS allows one purge a minute (TransientError)."""
        with sqs_errors(self._url):
            self._boto.purge_queue(QueueUrl=address)

    # Messages.

    def send(self, address: str, messages: Iterable[Message]) -> int:
        """Send messages until each was accepted; returns how many."""
        sent = 0
        for batch in batches(messages):
            self._insist("send_message_batch", address, [message.entry for message in batch])
            sent += len(batch)
        return sent

    def receive(self, address: str, most: int, visible: int, wait: int) -> list[dict[str, Any]]:
        """At most ``most`` messages, hidden from others for ``visible`` seconds."""
        with sqs_errors(self._url):
            answer = self._boto.receive_message(
                QueueUrl=address,
                MaxNumberOfMessages=most,
                VisibilityTimeout=visible,
                WaitTimeSeconds=wait,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
                MessageAttributeNames=["All"],
            )
        return list(answer.get("Messages", ()))

    def hide(self, address: str, handle: str, seconds: int) -> bool:
        """Hide a received message for ``seconds`` from now; False: the receipt is no longer valid."""
        with sqs_errors(self._url), _unless_lost():
            self._boto.change_message_visibility(QueueUrl=address, ReceiptHandle=handle, VisibilityTimeout=seconds)
            return True
        return False

    def delete(self, address: str, handle: str) -> bool:
        """Delete a received message; False: the receipt is no longer valid."""
        with sqs_errors(self._url), _unless_lost():
            self._boto.delete_message(QueueUrl=address, ReceiptHandle=handle)
            return True
        return False

    def show_all(self, address: str, handles: list[str]) -> None:
        """Give received messages back, those whose receipts are still valid."""
        for part in _parts(handles):
            entries = [{"ReceiptHandle": handle, "VisibilityTimeout": 0} for handle in part]
            self._insist("change_message_visibility_batch", address, entries)

    def delete_all(self, address: str, handles: list[str]) -> None:
        """Delete received messages, those whose receipts are still valid."""
        for part in _parts(handles):
            self._insist("delete_message_batch", address, [{"ReceiptHandle": handle} for handle in part])

    def _insist(self, operation: str, address: str, entries: list[dict[str, Any]]) -> None:
        """Ask until each entry was accepted: SQS may take a part of a batch and still answer 200."""
        left = [{"Id": str(number), **entry} for number, entry in enumerate(entries)]
        refused: list[dict[str, Any]] = []
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_S * 2 ** (attempt - 1))
            with sqs_errors(self._url):
                answer = getattr(self._boto, operation)(QueueUrl=address, Entries=left)
            refused = answer.get("Failed", [])
            settled = [*answer.get("Successful", ()), *(entry for entry in refused if entry.get("Code") in _LOST)]
            ids = {entry["Id"] for entry in settled}
            left = [entry for entry in left if entry["Id"] not in ids]
            if not left:
                return
            if wrong := [entry for entry in refused if entry.get("SenderFault") and entry["Id"] not in ids]:
                raise SpecError(f"{self._url}: SQS refuses a message: {_told(wrong)}")
        raise TransientError(f"{self._url}: SQS did not take {len(left)} messages in {_TRIES} tries: {_told(refused)}")


@contextmanager
def sqs_errors(url: str) -> Iterator[None]:
    """Errors of boto3 as ours: a SpecError must be set right, a ConfigurationError here; a TransientError may pass."""
    from botocore import exceptions as boto

    try:
        yield
    except boto.NoRegionError as error:
        raise SpecError(f"{url}: no region is known; write sqs://REGION/NAME or set AWS_DEFAULT_REGION") from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.ProfileNotFound) as error:
        advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        raise ConfigurationError(f"{url}: this machine has no keys for it ({error}); {advice}") from error
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


def _parts(handles: list[str]) -> Iterator[list[str]]:
    return (handles[start : start + BATCH] for start in range(0, len(handles), BATCH))
