"""Amazon SQS in this process, as boto3's client sees it: honest, or lying in every way that SQS and networks do.

All chance comes from one seed, and time from a clock that the test turns.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

Answer = TypeVar("Answer")
Wire = dict[str, Any]


@dataclass(frozen=True)
class Faults:
    """How often, out of one, each thing goes wrong."""

    throttled: float = 0.0
    request_lost: float = 0.0
    answer_lost: float = 0.0  # the request was carried out
    partial: float = 0.0  # an entry of a batch is refused
    falsely_refused: float = 0.0  # and this share of the refused was carried out all the same
    twice: float = 0.0  # a message is handed out and stays visible
    early: float = 0.0  # a lease ends before its time
    revived: float = 0.0  # a deleted message is handed out once more
    missed: float = 0.0  # a waiting message is not found
    stale_works: float = 0.0  # an old receipt does what it says; else it is refused, or ignored and confirmed
    miscounted: float = 0.0  # a number is made up


HONEST = Faults()
LYING = Faults(
    throttled=0.04,
    request_lost=0.04,
    answer_lost=0.06,
    partial=0.1,
    falsely_refused=0.3,
    twice=0.05,
    early=0.05,
    revived=0.02,
    missed=0.1,
    stale_works=0.3,
    miscounted=0.3,
)


@dataclass
class Stored:
    """One message as the service keeps it."""

    id: str
    body: str
    attributes: Wire
    visible_at: float
    sent_delayed: bool
    receives: int = 0

    @property
    def handle(self) -> str:
        """The receipt of the latest receive."""
        return f"{self.id}#{self.receives}"


@dataclass
class Simulator:
    """The service, and a client of it. ``queues`` is the truth, ``lies`` what went wrong how often."""

    clock: Callable[[], float]
    faults: Faults = HONEST
    seed: int = 0
    queues: dict[str, dict[str, Stored]] = field(default_factory=dict)
    lies: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._made = 0
        self._graves: list[tuple[str, Stored]] = []

    # Requests of boto3's client.

    def get_queue_url(self, QueueName: str) -> Wire:  # noqa: N803
        return self._asked(lambda: self._url(QueueName))

    def create_queue(self, QueueName: str, Attributes: Wire) -> Wire:  # noqa: N803
        self._asked(lambda: self.queues.setdefault(QueueName, {}))
        return {"QueueUrl": QueueName}

    def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> Wire:  # noqa: N803
        return self._asked(lambda: {"Attributes": self._numbers(self._queue(QueueUrl))})

    def purge_queue(self, QueueUrl: str) -> None:  # noqa: N803
        self._asked(lambda: self._queue(QueueUrl).clear())

    def send_message_batch(self, QueueUrl: str, Entries: list[Wire]) -> Wire:  # noqa: N803
        return self._asked(lambda: self._batch(QueueUrl, Entries, self._store))

    def delete_message_batch(self, QueueUrl: str, Entries: list[Wire]) -> Wire:  # noqa: N803
        return self._asked(lambda: self._batch(QueueUrl, Entries, self._remove))

    def change_message_visibility_batch(self, QueueUrl: str, Entries: list[Wire]) -> Wire:  # noqa: N803
        return self._asked(lambda: self._batch(QueueUrl, Entries, self._hide))

    def delete_message(self, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        self._single("DeleteMessage", QueueUrl, self._remove, {"ReceiptHandle": ReceiptHandle})

    def change_message_visibility(self, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:  # noqa: N803
        entry = {"ReceiptHandle": ReceiptHandle, "VisibilityTimeout": VisibilityTimeout}
        self._single("ChangeMessageVisibility", QueueUrl, self._hide, entry)

    def receive_message(self, **asked: Any) -> Wire:
        return self._asked(lambda: self._receive(**asked))

    # How requests go wrong.

    def _happens(self, fault: str) -> bool:
        probability: float = getattr(self.faults, fault)
        happens = probability > 0 and self._random.random() < probability
        self.lies[fault] += happens
        return happens

    def _asked(self, effect: Callable[[], Answer]) -> Answer:
        if self._happens("throttled"):
            raise _refusal("RequestThrottled", "Any", 400)
        if self._happens("request_lost"):
            raise ConnectTimeoutError(endpoint_url="simulated")
        answer = effect()
        if self._happens("answer_lost"):
            raise ReadTimeoutError(endpoint_url="simulated")
        return answer

    def _single(self, operation: str, address: str, effect: Callable[[str, Wire], str], entry: Wire) -> None:
        if code := self._asked(lambda: effect(address, entry)):
            raise _refusal(code, operation, 400)

    def _batch(self, address: str, entries: list[Wire], effect: Callable[[str, Wire], str]) -> Wire:
        answer: dict[str, list[Wire]] = {"Successful": [], "Failed": []}
        assert 0 < len(entries) <= 10
        for entry in entries:
            refused = self._happens("partial")
            code = "InternalError" if refused else effect(address, entry)
            if refused and self._happens("falsely_refused"):
                effect(address, entry)
            told = {"Id": entry["Id"], "Code": code, "SenderFault": not refused}
            answer["Failed" if code else "Successful"].append(told)
        return answer

    # What requests do. An effect answers with the code of a refusal, or with nothing.

    def _url(self, name: str) -> Wire:
        self._queue(name)
        return {"QueueUrl": name}

    def _queue(self, name: str) -> dict[str, Stored]:
        if name not in self.queues:
            raise _refusal("AWS.SimpleQueueService.NonExistentQueue", "Any", 400)
        return self.queues[name]

    def _numbers(self, queue: dict[str, Stored]) -> dict[str, str]:
        hidden = [stored for stored in queue.values() if stored.visible_at > self.clock()]
        delayed = sum(stored.sent_delayed and not stored.receives for stored in hidden)
        true = {"": len(queue) - len(hidden), "Delayed": delayed, "NotVisible": len(hidden) - delayed}
        return {f"ApproximateNumberOfMessages{key}": str(self._told(number, 0)) for key, number in true.items()}

    def _told(self, number: int, least: int) -> int:
        return self._random.randint(least, 9) if self._happens("miscounted") else number

    def _store(self, address: str, entry: Wire) -> str:
        self._made += 1
        delay = entry["DelaySeconds"]
        stored = Stored(
            f"m{self._made}", entry["MessageBody"], entry["MessageAttributes"], self.clock() + delay, delay > 0
        )
        self._queue(address)[stored.id] = stored
        return ""

    def _receive(self, QueueUrl: str, MaxNumberOfMessages: int, VisibilityTimeout: int, **_: Any) -> Wire:  # noqa: N803
        queue = self._queue(QueueUrl)
        if self._happens("revived"):
            queue.update({stored.id: stored for address, stored in self._graves if address == QueueUrl})
        seen = [s for s in queue.values() if s.visible_at <= self.clock() and not self._happens("missed")]
        self._random.shuffle(seen)
        return {"Messages": [self._handed_out(stored, VisibilityTimeout) for stored in seen[:MaxNumberOfMessages]]}

    def _handed_out(self, stored: Stored, seconds: int) -> Wire:
        stored.receives += 1
        if not self._happens("twice"):
            share = self._random.random() if self._happens("early") else 1.0
            stored.visible_at = self.clock() + seconds * share
        return {
            "MessageId": stored.id,
            "Body": stored.body,
            "ReceiptHandle": stored.handle,
            "MessageAttributes": stored.attributes,
            "Attributes": {"ApproximateReceiveCount": str(self._told(stored.receives, 1))},
        }

    def _remove(self, address: str, entry: Wire) -> str:
        stored, code = self._of_receipt(address, entry)
        if stored is not None:
            self._graves.append((address, self._queue(address).pop(stored.id)))
        return code

    def _hide(self, address: str, entry: Wire) -> str:
        stored, code = self._of_receipt(address, entry)
        if stored is None:
            return code or "MessageNotInflight"
        if stored.visible_at <= self.clock() and self.faults is HONEST:
            return "MessageNotInflight"
        stored.visible_at = self.clock() + entry["VisibilityTimeout"]
        return ""

    def _of_receipt(self, address: str, entry: Wire) -> tuple[Stored | None, str]:
        """The message that a receipt is for, if it is there and the receipt is honoured; else perhaps a refusal."""
        ident = entry["ReceiptHandle"].partition("#")[0]
        stored = self._queue(address).get(ident)
        if stored is None or stored.handle == entry["ReceiptHandle"] or self._happens("stale_works"):
            return stored, ""
        return None, "" if self._happens("stale_works") else "ReceiptHandleIsInvalid"


def _refusal(code: str, operation: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)
