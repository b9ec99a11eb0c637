"""What was asked, and what a queue carries of it: runs, and messages for ranges of their units."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from igneous_ng.errors import SpecError, VersionError

FORMAT = 3
GROUP = 1000  # planned messages whose records share a folder
_MOST_UNITS = 10_000_000  # in one message; they are listed when it is executed
_MOST = 1 << 62  # units, bytes, seconds
_LONGEST = 16 << 20  # characters of a message: a stage's fields are at most lists of labels
_DEEPEST = 32  # values inside of values
_SHOWN = 120  # characters of what is wrong
_PRIORITIES = ("high", "normal", "low")
_BYTES = ("peak_bytes", "device_bytes", "memory")
_LEAST = {"span": 1}  # a run may only prepare and publish
_OF_RUN = {"id": str, "home": str, "stage": dict, "units": int, "span": int, "peak_bytes": int, "device_bytes": int,
           "subset": str}  # fmt: skip
_OF_MESSAGE = {"lo": int, "hi": int, "tried": int, "alone": bool, "memory": int, "after": float, "priority": str,
               "verdict": str}  # fmt: skip
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")
_HOME = re.compile(r"(?!.*/\.\.(?:/|$))[a-z0-9]+://[^\x00-\x1f\x7f]{1,4096}")
_STAGE = re.compile(r"[a-z][a-z0-9 _-]{0,63}")


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

    def check(self) -> None:
        """Raise ValueError where a value is none that planning gives a run: its JSON may come from anybody."""
        _check_fields("run", self, _OF_RUN)
        for what, found, form in (("id", self.id, _ID), ("home", self.home, _HOME), ("stage", self.name, _STAGE)):
            if not form.fullmatch(found):
                raise ValueError(f"run.{what} is {found[:_SHOWN]!r}")

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
            raw = _object(text)
            check_format(raw.pop("igneous_ng"), "a message")
            message = cls(Run(**raw.pop("run")), **raw)
            message._check()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            if isinstance(error, SpecError):
                raise
            said = repr(error)[:_SHOWN]
            raise SpecError(f"not a message of igneous_ng ({said}): {text[:_SHOWN]!r}; purge it") from error
        return message

    def _check(self) -> None:
        """Raise ValueError, or SpecError for units that cannot be, where a value is none that a run gives a message."""
        self.run.check()
        _check_fields("message", self, _OF_MESSAGE)
        if self.priority not in _PRIORITIES:
            raise ValueError(f"message.priority is {self.priority[:_SHOWN]!r}; there are {', '.join(_PRIORITIES)}")
        if not 0 <= self.lo < self.hi <= self.run.units or self.hi - self.lo > _MOST_UNITS:
            raise SpecError(f"units {self.lo}-{self.hi} of {self.run.units} are no range; purge this message")

    @classmethod
    def known(cls, text: str) -> Message | None:
        """The message of ``text``; None where this program cannot read it."""
        try:
            return cls.parse(text)
        except SpecError:
            return None


def _object(text: str) -> dict[str, Any]:
    """The JSON object in a text that anybody may have written; ValueError for other texts."""
    if len(text) > _LONGEST:
        raise ValueError(f"{len(text)} characters; at most {_LONGEST}")
    found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    if not isinstance(found, dict):
        raise TypeError(f"a {type(found).__name__}, not an object")
    _check_depth(found)
    return found


def _check_depth(found: Any) -> None:
    """ValueError where values lie so deep in others that whoever walks through them may run out of stack."""
    level = [found]
    for _ in range(_DEEPEST):
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list)))
        level = [value for values in inner for value in values]
        if not level:
            return
    raise ValueError(f"more than {_DEEPEST} values inside of each other")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object that says nothing twice: of two values, readers would choose differently."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key that is there twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _check_fields(what: str, value: Run | Message, types: dict[str, type]) -> None:
    for name, kind in types.items():
        found = getattr(value, name)
        number = type(found) in (int, float) and (kind is float or type(found) is int or name in _BYTES)
        fits = number and _LEAST.get(name, 0) <= found < _MOST if kind in (int, float) else type(found) is kind
        if not fits:
            raise ValueError(f"{what}.{name} is {repr(found)[:_SHOWN]}")


def check_format(found: Any, what: str) -> None:
    """VersionError where ``what`` says that it is of another format than ours."""
    if type(found) is not int:
        raise SpecError(f"{what} that does not say its format; this program reads format {FORMAT}")
    if found != FORMAT:
        raise VersionError(f"{what} of format {found}; this program reads format {FORMAT}")


def folder_of(run: Run, unit: int) -> str:
    """The URL of the folder that has the records of ``unit``."""
    return f"{run.folder}/records/{unit // run.grouped}"
