"""What the names of files in a queue's directory say. All of a message's state is in its name::

    <page>-<offset>-<size>-<digest>            the id of a message: where its body is, and what it digests to
    <id>.<attempts>.<nonce>                    it waits, or is a dead letter
    <id>.<attempt>.<ms>.<deadline>.<nonce>     it is leased for <ms>, until <deadline> by the file server's clock
    <id>.<attempts>.<ms>.<deadline>.p<nonce>   it is parked: it waits again from <deadline> on

The name of a page begins with the rank of its messages, so that sorted pages are in the order of priority.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from igneous_ng.queues.protocol import PRIORITIES, Priority

WAITING = 3  # fields in the name of a message that waits or is dead
CLAIM = 5  # and of one that is leased or parked


class Claim(NamedTuple):
    """The name of a leased or parked message; times are milliseconds."""

    id: str
    attempts: int
    millis: int
    deadline: int
    nonce: str

    @classmethod
    def parse(cls, name: str) -> Claim:
        """The claim that has this name."""
        ident, attempts, millis, deadline, nonce = name.split(".")
        return cls(ident, int(attempts), int(millis), int(deadline), nonce)

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.id}.{self.attempts}.{self.millis}.{self.deadline}.{self.nonce}"

    @property
    def parked(self) -> bool:
        """Whether nobody holds it: it waits for its time."""
        return self.nonce[0] == "p"

    def over(self, now: int) -> bool:
        """Whether its time has come.

        A claim that was made more than its length in the future was made before the server's clock jumped back.
        """
        return not 0 <= self.deadline - now <= 2 * self.millis


def waiting(ident: str, attempts: int, nonce: str) -> str:
    """The name of a message that waits, or of a dead letter."""
    return f"{ident}.{attempts}.{nonce}"


def digest(body: bytes) -> str:
    """What tells one body from every other."""
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def digest_of(name: str) -> str:
    """The digest of the body of the message of this file name."""
    return name.partition(".")[0].rpartition("-")[2]


def new_page(priority: Priority, nonce: str) -> str:
    """The name of a page of messages of this priority."""
    return f"{PRIORITIES.index(priority)}{nonce}"


def page_of(ident: str) -> str:
    """The page that a message was put in, and returns to."""
    return ident.partition("-")[0]


def extent(ident: str) -> tuple[int, int]:
    """(size, offset) of a message's body in its file."""
    _, offset, size, _ = ident.split("-")
    return int(size), int(offset)
