"""What was asked, and what a queue carries of it: runs, and messages for ranges of their units."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from igneous_ng.errors import SpecError, VersionError

FORMAT = 3
GROUP = 1000  # planned messages whose records share a folder


@dataclass(frozen=True)
class Run:
    """One planned stage: its JSON, the number of its units, how many a message carries, and what a unit needs.

    ``subset`` is the digest of which units of the stage they are, where they are not all of them.
    """

    id: str
    home: str
    stage: dict[str, Any]
    units: int
    span: int
    peak_bytes: int = 0
    device_bytes: int = 0
    subset: str = ""

    @property
    def folder(self) -> str:
        """The URL of the run's own folder."""
        return f"{self.home}/runs/{self.id}"

    @property
    def name(self) -> str:
        """The name of the stage."""
        return str(self.stage.get("stage"))

    @property
    def grouped(self) -> int:
        """How many units share a folder of records."""
        return self.span * GROUP

    def messages(self, spans: Iterable[tuple[int, int]] | None = None) -> Iterator[Message]:
        """One message for each planned range of units, or for what of it lies in ``spans``."""
        for lo, hi in spans if spans is not None else [(0, self.units)]:
            while lo < hi:
                end = min(hi, (lo // self.span + 1) * self.span)
                yield Message(self, lo, end)
                lo = end


@dataclass(frozen=True)
class Message:
    """A run and the range ``[lo, hi)`` of its units: what a queue carries.

    ``tried`` counts the failures that a single unit has had; ``alone``: nothing may run beside it; ``memory``:
    bytes to set aside for it, where that is more than the run's ``peak_bytes``; ``after``: the time (seconds since
    1970) before which it should not be tried again; ``verdict``: why it is to become a dead letter, and not be run.
    """

    run: Run
    lo: int
    hi: int
    tried: int = 0
    alone: bool = False
    memory: int = 0
    after: float = 0.0
    priority: Literal["high", "normal", "low"] = "normal"
    verdict: str = ""

    @property
    def folder(self) -> str:
        """Where the records of this range are, beside others'."""
        return folder_of(self.run, self.lo)

    @property
    def needs(self) -> int:
        """Bytes of memory to set aside for one unit."""
        return max(self.memory, self.run.peak_bytes)

    def renewed(self) -> Message:
        """The message as if its units had never failed; what was learnt of their memory is kept."""
        return replace(self, tried=0, after=0.0, verdict="")

    def to_json(self) -> str:
        """The body of the message."""
        return json.dumps({"igneous_ng": FORMAT, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Message:
        """The message of ``text``; SpecError where it is none, VersionError where another version made it."""
        try:
            raw = json.loads(text)
            check_format(raw.pop("igneous_ng"), "a message")
            message = cls(Run(**raw.pop("run")), **raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, SpecError):
                raise
            raise SpecError(f"not a message of igneous_ng ({error!r}): {text[:120]!r}; purge it") from error
        run = message.run
        whole = all(type(n) is int for n in (message.lo, message.hi, message.tried, run.units, run.span))
        if not whole or not 0 <= message.lo < message.hi <= run.units or run.span < 1:
            raise SpecError(f"units {message.lo}-{message.hi} of {run.units} are no range; purge this message")
        return message

    @classmethod
    def known(cls, text: str) -> Message | None:
        """The message of ``text``; None where this program cannot read it."""
        try:
            return cls.parse(text)
        except SpecError:
            return None


def check_format(found: Any, what: str) -> None:
    """VersionError where ``what`` says that it is of another format than ours."""
    if type(found) is int and found != FORMAT:
        raise VersionError(f"{what} of format {found}; this program reads format {FORMAT}")


def folder_of(run: Run, unit: int) -> str:
    """The URL of the folder that has the records of ``unit``."""
    return f"{run.folder}/records/{unit // run.grouped}"
