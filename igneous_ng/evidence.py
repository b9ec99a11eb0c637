"""What the records of a run tell of the work: which units lack one, how fast it goes, what it takes, and where.

Lines are read all of them where a run has at most ``EXACT`` units. Of a larger run they are read from ``SAMPLE``
whole ranges, spread evenly over the units, and from at most ``SAMPLE`` checkpoints; a line of a whole range then
stands for its share of the units in all of them, and figures made of such lines are estimates.
"""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from igneous_ng import records
from igneous_ng.records import File, Line, Run
from igneous_ng.spans import Spans, size, without
from igneous_ng.store import Store

EXACT = 10_000
SAMPLE = 50
_WINDOWS_S = (600, 3600, 6 * 3600, 86400, 7 * 86400)
_ENOUGH = 20  # units that must have ended within a window to tell the speed by it
_ENOUGH_FILES = 5  # and where lines are a sample, out of so many files
_SHOWN = 5  # slowest units
_READ = ("start", "seconds", "cpu_seconds", "peak_bytes", "host")  # of lines
_READERS = 16  # files read at once: object stores are slow to answer and quick to serve many


@dataclass(frozen=True)
class Slow:
    """A unit that took long."""

    unit: int
    seconds: float
    host: str


@dataclass(frozen=True)
class Host:
    """A machine that recorded units; ``last`` is when it last did, in seconds since 1970."""

    name: str
    units: int
    last: float


@dataclass(frozen=True)
class Work:
    """What the recorded units took. Where ``exact`` is False, sums and speed are estimates from ``lines`` lines.

    ``rate`` is in units a second, over the last ``window_s`` seconds; None: nothing was recorded lately.
    """

    lines: int
    exact: bool
    rate: float | None
    window_s: float
    cpu_seconds: float
    usual_seconds: float
    peak_bytes: int
    slowest: tuple[Slow, ...]
    hosts: tuple[Host, ...]
    first: float
    last: float


@dataclass(frozen=True)
class Entry:
    """One line, the number of its file, and how many units it stands for."""

    line: Line
    file: int
    weight: float = 1.0

    @property
    def unit(self) -> int:
        """The unit that the line is about."""
        return int(self.line["unit"])

    @property
    def end(self) -> float:
        """When the unit was finished, in seconds since 1970."""
        return float(self.line["start"] + self.line["seconds"])


@dataclass(frozen=True)
class Evidence:
    """What was read: the units without a record, the lines, and how many checkpoints were left closed."""

    missing: Spans
    entries: list[Entry]
    exact: bool
    closed: int


def gather(store: Store, run: Run) -> Evidence:
    """Read the names of all records of ``run``, and their lines or a sample of them."""
    files = list(records.stored(store, run))
    whole = [file for file in files if file.whole]
    left = without([(0, run.units)], [(file.lo, file.hi) for file in whole])
    parts = [file for file in files if not file.whole and file.touches(left)]
    exact = run.units <= EXACT
    opened = parts if exact else _spread(parts)
    entries = _read(store, whole if exact else _spread(whole))
    if not exact and entries:
        share = (run.units - size(left)) / len(entries)
        entries = [replace(entry, weight=share) for entry in entries]
    fresh = _read(store, opened, len(whole))
    still = without(left, [(entry.unit, entry.unit + 1) for entry in fresh])
    counted = {unit for lo, hi in without(left, still) for unit in range(lo, hi)}
    entries += [entry for entry in fresh if entry.unit in counted]
    return Evidence(still, entries, exact, len(parts) - len(opened))


def _spread(files: Sequence[File]) -> Sequence[File]:
    """At most ``SAMPLE`` of ``files``, evenly spaced: queues give out units in no order, so this favours no time."""
    count = min(len(files), SAMPLE)
    return [files[i * len(files) // count] for i in range(count)]


def _read(store: Store, files: Sequence[File], number: int = 0) -> list[Entry]:
    """The lines of ``files``, the first one of each unit; files are counted from ``number``."""
    entries: dict[int, Entry] = {}
    with ThreadPoolExecutor(_READERS) as pool:
        for index, lines in enumerate(pool.map(lambda file: records.lines_of(store, file, _READ), files), number):
            for line in lines:
                entries.setdefault(line["unit"], Entry(line, index))
    return list(entries.values())


def weigh(evidence: Evidence, now: float) -> Work | None:
    """What the work took and how fast it goes at ``now``; None where nothing is recorded."""
    if not evidence.entries:
        return None
    entries = sorted(evidence.entries, key=lambda entry: entry.end, reverse=True)
    lines = [entry.line for entry in entries]
    rate, window = speed(entries, evidence.exact, now)
    slowest = sorted(lines, key=lambda line: -float(line["seconds"]))[:_SHOWN]
    return Work(
        lines=len(lines),
        exact=evidence.exact,
        rate=rate,
        window_s=window,
        cpu_seconds=sum(entry.weight * entry.line["cpu_seconds"] for entry in entries),
        usual_seconds=statistics.median(line["seconds"] for line in lines),
        peak_bytes=max(line["peak_bytes"] for line in lines),
        slowest=tuple(Slow(line["unit"], line["seconds"], host_of(line)) for line in slowest),
        hosts=_hosts(entries),
        first=min(line["start"] for line in lines),
        last=entries[0].end,
    )


def speed(entries: Sequence[Entry], exact: bool, now: float) -> tuple[float | None, float]:
    """Units a second over the shortest window that has enough of them, and its length; ``entries`` newest first.

    A window shorter than the whole is robust against pauses, and one of many units against slow ones. None where
    nothing ended for ten minutes or, if that is more, for five times what the slowest unit took.
    """
    slowest = max(entry.line["seconds"] for entry in entries)
    if now - entries[0].end > max(_WINDOWS_S[0], 5 * slowest):
        return None, 0.0
    begin = min(entry.line["start"] for entry in entries)
    for window in _WINDOWS_S:
        recent = list(itertools.takewhile(lambda entry: entry.end > now - window, entries))  # noqa: B023 - used at once
        enough = len(recent) >= _ENOUGH and (exact or len({entry.file for entry in recent}) >= _ENOUGH_FILES)
        if enough and now - window > begin:
            return sum(entry.weight for entry in recent) / window, float(window)
    elapsed = max(now - begin, 1e-3)
    return sum(entry.weight for entry in entries) / elapsed, elapsed


def _hosts(entries: Sequence[Entry]) -> tuple[Host, ...]:
    units: dict[str, float] = defaultdict(float)
    last: dict[str, float] = {}
    for entry in entries:
        name = host_of(entry.line)
        units[name] += entry.weight
        last.setdefault(name, entry.end)
    return tuple(Host(name, round(units[name]), last[name]) for name in sorted(units, key=lambda name: -units[name]))


def host_of(line: Line) -> str:
    """The machine that made a record."""
    return str(line.get("host", "unknown"))
