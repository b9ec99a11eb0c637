"""A queue on Amazon SQS, or on an emulator.

Three SQS queues hold what is more and less urgent: ``NAME-high``, ``NAME`` and ``NAME-low``, the outer two made when
first used. Dead letters lie in a fourth, ``NAME-dead``, bodies unchanged, the reason in the attribute ``Reason``.
What SQS cannot do is said at each method. In short: counts are approximate; a lease cannot be taken from its
holder; a message lives 14 days, a lease 12 hours counted from its start; a move between queues is two
requests, so that a death or a lost answer between them leaves the message in both, and loses none.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from igneous_ng.errors import SpecError
from igneous_ng.queues.protocol import (
    PRIORITIES,
    Counts,
    Lease,
    Letter,
    Priority,
    checked_delay,
    checked_seconds,
    missing,
)
from igneous_ng.queues.sqs_client import Client
from igneous_ng.queues.sqs_messages import BATCH, Message, parsed, receipts

_LONGEST_S = 12 * 3600.0
_MOVE_S = 60  # hold a message so long while it is copied elsewhere
_SHOW_S = 120  # and dead letters so long while they are read
_AGAIN_S = 60.0  # until it is asked again whether the queue of a priority was made
_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}")  # SQS allows 80; "-dead" needs 5


class _Held(NamedTuple):
    """A lease on our side: where the message lies, how urgent it is, and when by our clock the lease ends."""

    address: str
    priority: Priority
    until: float


class SqsQueue:
    """``sqs://NAME`` or ``sqs://REGION/NAME``; credentials, region and endpoint as boto3 finds them.

    Messages come in no order, now and then twice. ``lease`` waits for up to ``wait_seconds`` (1 to 5 asks
    every server of SQS, 0 only some): not for long, because a supervisor that waits here sends no heartbeats.
    ``client`` stands in for boto3's and ``clock`` for this machine's, in seconds.
    """

    exact = False

    def __init__(
        self,
        name: str,
        region: str | None = None,
        *,
        endpoint_url: str | None = None,
        wait_seconds: int = 1,
        client: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = f"sqs://{region}/{name}" if region else f"sqs://{name}"
        if not _NAME.fullmatch(name):
            raise SpecError(f"{self.url}: a queue's name has 1 to 75 of the characters A-Z a-z 0-9 - _")
        self._client = Client(self.url, region, endpoint_url, client)
        self._name, self._wait, self._clock = name, wait_seconds, clock
        self._held: dict[str, _Held] = {}  # by token
        self._absent_until: dict[str, float] = {}  # by name

    def put(self, bodies: Iterable[str], *, priority: Priority = "normal", unique: bool = False) -> int:  # noqa: ARG002
        """See :meth:`Queue.put`. A body has at most 240 KiB (SpecError): a reason may have to join it.

        ``unique`` asks for what SQS cannot do: every body is added.
        """
        self._client.made(self._name)
        return self._client.send(self._client.made(self._named(priority)), map(Message, bodies))

    def lease(self, seconds: float) -> Lease | None:
        """See :meth:`Queue.lease`; whole seconds, rounded up, at most 12 hours."""
        visible = math.ceil(checked_seconds(seconds, _LONGEST_S))
        found = self._addresses()
        last = found[-1][1]
        for priority, address in found:
            asked = self._clock()  # the lease begins when SQS hands it out, which is later
            received = self._client.receive(address, 1, visible, self._wait if address == last else 0)
            for raw in received:
                message, token = parsed(raw), raw["ReceiptHandle"]
                self._held[token] = _Held(address, priority, asked + visible)
                return Lease(message.id, message.body, message.attempts + receipts(raw), token)
        return None

    def renew(self, lease: Lease, seconds: float) -> bool:
        """See :meth:`Queue.renew`; False also when SQS's 12 hours from the start of the lease are over."""
        visible = math.ceil(checked_seconds(seconds, _LONGEST_S))
        held, asked = self._holding(lease), self._clock()
        if held is None:
            return False
        if not self._client.hide(held.address, lease.token, visible):
            return self._lose(lease)
        self._held[lease.token] = held._replace(until=asked + visible)
        return True

    def done(self, lease: Lease) -> bool:
        """See :meth:`Queue.done`. True also for a message that another process purged: SQS does not tell."""
        held = self._holding(lease)
        if held is None:
            return False
        deleted = self._client.delete(held.address, lease.token)
        self._lose(lease)  # not before there is an answer: without one the holder may ask again
        return deleted

    def release(self, lease: Lease, *, counts: bool = False, delay: float = 0.0) -> bool:
        """See :meth:`Queue.release`; whole seconds, rounded up.

        SQS counts receipts; where it must not, a copy replaces the message. Where it must, a delayed message
        keeps being counted as leased.
        """
        seconds, held = math.ceil(checked_delay(delay)), self._holding(lease)
        if held is None:
            return False
        if counts:
            given = self._client.hide(held.address, lease.token, seconds)
            self._lose(lease)
            return given
        return self._move(lease, held.address, Message(lease.body, lease.id, lease.attempt - 1, delay=seconds))

    def fail(self, lease: Lease, reason: str) -> bool:
        """See :meth:`Queue.fail`. A reason that SQS cannot carry whole loses its middle."""
        held = self._holding(lease)
        if held is None:
            return False
        letter = Message(lease.body, lease.id, lease.attempt, priority=held.priority).with_reason(reason)
        return self._move(lease, self._client.made(self._dead_name), letter)

    def counts(self) -> Counts:
        """See :meth:`Queue.counts`; approximate, and up to a minute late."""
        numbers = [self._client.numbers(address) for _, address in self._addresses()]
        letters = self._client.address(self._dead_name)
        dead = sum(self._client.numbers(letters)) if letters else 0
        return Counts(sum(waiting for waiting, _ in numbers), sum(leased for _, leased in numbers), dead)

    def held(self) -> Iterator[str]:
        """SpecError: SQS does not show what is leased."""
        raise SpecError(f"{self.url}: SQS does not show leased messages; ask the workers, or read the run's records")

    def peek(self, most: int) -> list[str]:
        """SpecError: SQS shows a message only to who takes it."""
        raise SpecError(f"{self.url}: to see {most} messages one must take them from SQS; read the run's records")

    def dead(self) -> Iterator[Letter]:
        """See :meth:`Queue.dead`. SQS shows by lending: nobody else sees the letters meanwhile."""
        address = self._letters()
        handles: dict[str, str] = {}
        seen: set[str] = set()
        try:
            for raw in self._lent(address):
                handles[raw["MessageId"]] = raw["ReceiptHandle"]
                letter = parsed(raw)
                if letter.id not in seen:  # a move whose answer was lost was made twice
                    seen.add(letter.id)
                    yield Letter(letter.id, letter.body, letter.reason, letter.attempts)
        finally:
            if address is not None:
                self._client.show_all(address, list(handles.values()))

    def retry_dead(self, ids: Collection[str] | None = None) -> int:
        """See :meth:`Queue.retry_dead`."""
        return self._drop(ids, self._put_again)

    def forget_dead(self, ids: Collection[str]) -> int:
        """See :meth:`Queue.forget_dead`."""
        return self._drop(ids, lambda _: None)

    def _drop(self, ids: Collection[str] | None, first: Callable[[Collection[Message]], None]) -> int:
        """Delete the letters with these ids, or all, once something was done with them; returns how many."""
        address = self._letters()
        chosen: dict[str, dict[str, str]] = {}  # letter: its copies, by SQS's id of each, with their receipts
        others: dict[str, str] = {}
        messages: dict[str, Message] = {}
        for raw in self._lent(address):
            letter = parsed(raw)
            if ids is None or letter.id in ids:
                chosen.setdefault(letter.id, {})[raw["MessageId"]] = raw["ReceiptHandle"]
                messages[letter.id] = letter
            else:
                others[raw["MessageId"]] = raw["ReceiptHandle"]
        first(messages.values())
        if address is not None:
            self._client.delete_all(address, [handle for copies in chosen.values() for handle in copies.values()])
            self._client.show_all(address, list(others.values()))
        return len(messages)

    def _put_again(self, letters: Collection[Message]) -> None:
        for priority in PRIORITIES:
            retried = [letter for letter in letters if (letter.priority or "normal") == priority]
            if retried:
                again = (Message(letter.body, letter.id) for letter in retried)
                self._client.send(self._client.made(self._named(priority)), again)

    def release_all(self) -> int:
        """SpecError: SQS has no means to take a lease from its holder."""
        raise SpecError(f"{self.url}: SQS cannot take leases back; stop the workers, which release theirs, or wait")

    def purge(self) -> int:
        """See :meth:`Queue.purge`; the number is approximate. SQS allows one a minute (TransientError)."""
        counts = self.counts()
        letters = self._client.address(self._dead_name)
        for address in (*(address for _, address in self._addresses()), letters):
            if address is not None:
                self._client.purge(address)
        self._held.clear()
        return counts.waiting + counts.leased + counts.dead

    # Where messages lie.

    @property
    def _dead_name(self) -> str:
        return f"{self._name}-dead"

    def _named(self, priority: Priority) -> str:
        return self._name if priority == "normal" else f"{self._name}-{priority}"

    def _addresses(self) -> list[tuple[Priority, str]]:
        """The SQS queues that there are, the most urgent first; SpecError where nobody made the queue."""
        found = [(priority, self._address(self._named(priority))) for priority in PRIORITIES]
        return [(priority, address) for priority, address in found if address is not None]

    def _address(self, name: str) -> str | None:
        """The address of one of the three; that the outer two are not there is remembered for a while."""
        if self._clock() < self._absent_until.get(name, -math.inf):
            return None
        address = self._client.address(name)
        if address is None and name == self._name:
            raise missing(self.url)
        if address is None:
            self._absent_until[name] = self._clock() + _AGAIN_S
        return address

    def _letters(self) -> str | None:
        """The address of the dead letters; None: there was none yet. SpecError where nobody made the queue."""
        if self._client.address(self._name) is None:
            raise missing(self.url)
        return self._client.address(self._dead_name)

    def _lent(self, address: str | None) -> Iterator[dict[str, Any]]:
        """Every message of a queue, until none is left to lend or the first come back."""
        end = self._clock() + _SHOW_S
        while address is not None and self._clock() < end:
            received = self._client.receive(address, BATCH, _SHOW_S, self._wait)
            if not received:
                return
            yield from received

    # Leases.

    def _holding(self, lease: Lease) -> _Held | None:
        """The lease, unless it is over by our clock: SQS may honour a late receipt, at a new holder's cost."""
        held = self._held.get(lease.token)
        if held is not None and self._clock() >= held.until:
            self._lose(lease)
            return None
        return held

    def _lose(self, lease: Lease) -> bool:
        self._held.pop(lease.token, None)
        return False

    def _move(self, lease: Lease, address: str, copy: Message) -> bool:
        """A copy into another queue, then away with the message; False: the lease was lost."""
        if not self.renew(lease, _MOVE_S):
            return False
        self._client.send(address, [copy])
        return self.done(lease)
