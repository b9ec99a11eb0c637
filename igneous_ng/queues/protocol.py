"""What a queue is: messages that are leased, renewed, acknowledged, given back, or laid aside with a reason.

A message is a string. It is delivered **at least once**: every message that was put is leased again and again
until somebody acknowledges it, fails it, or purges the queue. Tasks are idempotent, so a second delivery
costs time and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from igneous_ng.errors import SpecError


@dataclass(frozen=True, slots=True)
class Lease:
    """One holding of one message.

    ``attempt`` is 1 the first time; it grows whenever a lease expires or is released with ``counts=True``.
    ``token`` is opaque and names this holding, so that a holder who lost the message cannot touch it again.
    """

    id: str
    body: str
    attempt: int
    token: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages wait, are leased, and lie among the dead letters.

    A look while workers work, not a snapshot: a message on its way may be seen twice or not at all. On SQS
    all three are approximate even at rest. Progress is read from records, never from here.
    """

    waiting: int
    leased: int
    dead: int


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: ``id`` tells it from the others, ``attempts`` is how often it was delivered."""

    id: str
    body: str
    reason: str
    attempts: int


Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
LONGEST_DELAY_S = 900.0  # what SQS can delay a message by


class Queue(Protocol):
    """The contract of every back end. Any number of processes share a queue, each with an object of its own.

    Connecting touches nothing. ``put`` makes the queue (an empty ``put`` makes an empty one); every other
    verb on a queue that nobody made is a SpecError, so that a misspelt name is no idle worker. A lease is
    used through the object that gave it. ``renew``, ``done``, ``release`` and ``fail`` answer False where the
    lease was lost, and then change nothing. Whether a lease that is past its time, but that nobody has taken
    back, is lost already is up to the back end.

    Errors: SpecError (no such queue, no permission); TransientError (disk full, network, throttling).
    """

    url: str
    exact: bool
    """Whether counts are right at rest, so that an empty queue can be told from one that seems so."""

    def put(self, bodies: Iterable[str], *, priority: Priority = "normal", unique: bool = False) -> int:
        """Add messages and return how many; on an error some of the first ones may be in, each of them whole.

        A message is leased before those of lower priority. With ``unique`` a body that is waiting, leased or
        dead already is not added again, as far as the back end can see that (SQS cannot).
        The iterable is read as it is sent; memory does not grow with it.
        """

    def lease(self, seconds: float) -> Lease | None:
        """Take one message for ``seconds``, in no promised order; None where there is nothing to take now.

        A lease of somebody else that expires is seen within a third of ``seconds``.
        """

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Hold on for ``seconds`` from now; False: the lease was lost, stop the work."""

    def done(self, lease: Lease) -> bool:
        """Acknowledge: the message is gone for good."""

    def release(self, lease: Lease, *, counts: bool = False, delay: float = 0.0) -> bool:
        """Give the message back, to be leased again after ``delay`` seconds (at most 900).

        Being interrupted is no attempt, unless ``counts`` says so. A delayed message counts as waiting.
        """

    def fail(self, lease: Lease, reason: str) -> bool:
        """Lay the message among the dead letters, with the reason in full."""

    def counts(self) -> Counts:
        """How many messages are where, expired leases counted as waiting."""

    def held(self) -> Iterator[str]:
        """The bodies of the messages that are leased now; SpecError where the back end cannot show them (SQS)."""

    def peek(self, most: int) -> list[str]:
        """The bodies of up to ``most`` messages that wait, untouched; SpecError where the back end cannot show them."""

    def dead(self) -> Iterator[Letter]:
        """The dead letters; they stay where they are."""

    def retry_dead(self, ids: Collection[str] | None = None) -> int:
        """Dead letters, all or those with these ids, back to waiting, attempts forgotten; returns how many."""

    def forget_dead(self, ids: Collection[str]) -> int:
        """Delete the dead letters with these ids, for others were put in their place; returns how many."""

    def release_all(self) -> int:
        """Every lease, whoever holds it, back to waiting, as an interruption; returns how many."""

    def purge(self) -> int:
        """Delete every message, dead letters too; returns how many. The queue itself remains."""


def checked_seconds(seconds: float, limit: float = math.inf) -> float:
    """``seconds`` if a lease can last so long: above 0, finite, at most ``limit``; else a SpecError."""
    if not (0 < seconds <= limit and math.isfinite(seconds)):
        most = "" if limit == math.inf else f" and at most {limit:g}"
        raise SpecError(f"a lease of {seconds} s was asked for; give a number of seconds above 0{most}")
    return seconds


def checked_delay(delay: float) -> float:
    """``delay`` if a message can be given back for so long: 0 to 900 seconds; else a SpecError."""
    if not 0 <= delay <= LONGEST_DELAY_S:
        raise SpecError(f"a delay of {delay} s was asked for; give 0 to {LONGEST_DELAY_S:g} seconds")
    return delay


class MissingQueue(SpecError):
    """A queue that nobody made, or not yet."""


def missing(url: str) -> MissingQueue:
    """The error for a queue that nobody made."""
    return MissingQueue(f"there is no queue at {url}; check the name, or enqueue something: that makes it")
