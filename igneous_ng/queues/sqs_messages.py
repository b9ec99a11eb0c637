"""What travels through SQS: a body with a few attributes, in batches that one request may carry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from igneous_ng.errors import SpecError

BATCH = 10  # messages in one request, and
_BYTES = 256 * 1024  # their bytes together: the limits that every region and emulator has
_ROOM = 16 * 1024  # of these, kept for a reason and for attributes
_MARGIN = 1024  # for the name and type of attributes
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what SQS refuses in a text


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: a body, and what a copy must remember of the message it was made from.

    ``attempts`` are those before this copy; ``delay``: seconds until it is seen.
    """

    body: str
    id: str = ""
    attempts: int = 0
    reason: str = ""
    priority: str = ""
    delay: int = 0

    @property
    def attributes(self) -> dict[str, dict[str, str]]:
        """The attributes as boto3 takes them; what is empty is not sent."""
        fields = {
            "Id": self.id,
            "Attempts": str(self.attempts or ""),
            "Reason": self.reason,
            "Priority": self.priority,
        }
        return {key: {"DataType": "String", "StringValue": text} for key, text in fields.items() if text}

    @property
    def entry(self) -> dict[str, Any]:
        """This message as a part of a batch."""
        return {"MessageBody": self.body, "MessageAttributes": self.attributes, "DelaySeconds": self.delay}

    @property
    def size(self) -> int:
        """Bytes as SQS counts them: the body, and each attribute's name, type and value."""
        attributes = (len(key) + len("String") + _length(a["StringValue"]) for key, a in self.attributes.items())
        return _length(self.body) + sum(attributes)

    def with_reason(self, reason: str) -> Message:
        """The dead letter of this message. A reason that SQS cannot carry whole loses its middle."""
        text = _UNFIT.sub(lambda found: found[0].encode("unicode_escape").decode(), reason)
        return replace(self, reason=shortened(text or "no reason was given", _BYTES - self.size - _MARGIN))


def parsed(raw: dict[str, Any]) -> Message:
    """A message as boto3 gives it."""
    told = {key: value.get("StringValue", "") for key, value in raw.get("MessageAttributes", {}).items()}
    ident, attempts = told.get("Id") or raw["MessageId"], int(told.get("Attempts", 0))
    return Message(raw["Body"], ident, attempts, told.get("Reason", ""), told.get("Priority", ""))


def receipts(raw: dict[str, Any]) -> int:
    """How often SQS has handed this message out, this time included."""
    return int(raw["Attributes"]["ApproximateReceiveCount"])


def batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Messages in batches that one request may carry; SpecError for one that none may."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        if _length(message.body) > _BYTES - _ROOM:
            raise SpecError(
                f"a message of {_length(message.body)} bytes; SQS takes {_BYTES - _ROOM}: plan smaller ranges"
            )
        if len(batch) == BATCH or size + message.size > _BYTES:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += message.size
    if batch:
        yield batch


def _length(text: str) -> int:
    return len(text.encode())


def shortened(text: str, room: int) -> str:
    """``text`` in at most ``room`` bytes, the middle left out: a traceback says most at its two ends."""
    data = text.encode()
    if len(data) <= room:
        return text
    half = (room - 64) // 2
    head, tail = data[:half].decode(errors="ignore"), data[-half:].decode(errors="ignore")
    return f"{head}\n[{len(data) - 2 * half} bytes left out]\n{tail}"
