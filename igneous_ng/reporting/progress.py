"""A sink that shows how the runs it meets go on: a live view in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil
from types import TracebackType
from typing import TYPE_CHECKING, Any

from igneous_ng import records, words
from igneous_ng.errors import IgneousError
from igneous_ng.records import Run
from igneous_ng.reporting import terminal
from igneous_ng.store import Store
from igneous_ng.worker.events import Event

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_LINE_S = 30.0  # between two lines where there is no terminal
_RECOUNT_S = 30.0  # between two looks at what other workers recorded
_RECOUNT_SHARE = 100  # a look may take so much less time than lies between two
_MEMORY = 200  # moments by which the speed is told
_BEGUN = ("started", "unit")  # a child took the message for one that it may work on: its records may be looked at


@dataclass
class Tally:
    """One run: what is recorded of it, by us and as we saw it by others, and the speed of late."""

    run: Run
    done: int = 0
    failed: int = 0
    dead: int = 0
    moments: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_MEMORY))

    def set(self, done: int, now: float) -> None:
        """Enter that ``done`` units are recorded."""
        self.done = min(done, self.run.units)
        self.moments.append((now, self.done))

    def rate(self, now: float) -> float:
        """Units a second since the oldest moment remembered; 0 where none was done since."""
        then, done = self.moments[0] if self.moments else (now, 0)
        return (self.done - done) / (now - then) if now > then else 0.0

    def left(self, now: float) -> str:
        """The time that is left, in words; empty where it is not known."""
        rest, rate = self.run.units - self.done - self.dead, self.rate(now)
        return f"{words.duration(ceil(rest / rate))} left" if rest > 0 and rate else ""

    def trouble(self) -> str:
        """How many attempts failed and how many units were given up, in words; empty where none."""
        said = ((self.failed, "failed and tried again"), (self.dead, "given up"))
        return ", ".join(f"{number} {word}" for number, word in said if number)

    def line(self, now: float) -> str:
        """All of it in one line."""
        rate = self.rate(now)
        speed = words.rate(rate) if rate else ""
        parts = [f"{self.done:,} of {words.count(self.run.units, 'unit')}", speed, self.left(now), self.trouble()]
        return f"{self.run.name}: " + ", ".join(filter(None, parts))


@dataclass
class _Slot:
    """What one child works on: a message of this stage, and the units begun, each with its time."""

    name: str
    since: float
    units: dict[int, float] = field(default_factory=dict)

    def line(self, now: float) -> tuple[str, str, str]:
        begun = list(self.units.items())
        if not begun:
            return self.name, "", words.duration(int(now - self.since))
        unit, since = begun[0]
        more = f" and {len(begun) - 1} more" if len(begun) > 1 else ""
        return self.name, f"unit {unit}{more}", words.duration(int(now - since))


class Progress:
    """Counts recorded units against all units of the runs that were met. ``clock`` yields seconds.

    ``above`` yields what the live view shows above the runs. When ``quiet``, only what goes wrong is said.
    """

    def __init__(
        self,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        above: Callable[[], RenderableType] | None = None,
        quiet: bool = False,
    ) -> None:
        self._console, self._clock, self._above, self._quiet = console, clock, above, quiet
        self._runs: dict[str, Tally] = {}
        self._slots: dict[int, _Slot] = {}
        self._live: Any = None  # begun when the first run is met
        self._said = self._recount = 0.0

    def __enter__(self) -> Progress:
        self._console = self._console or terminal.console()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.clear()
        if self._live is not None:
            self._live.stop()
        else:
            self._say(self._runs.values())

    def __call__(self, event: Event) -> None:
        """Show one event."""
        message, now = event.message, self._clock()
        if message is not None:
            tally = self._runs.setdefault(message.run.id, Tally(message.run))
            if event.kind in _BEGUN and not tally.moments:
                self._look([tally], now)
                self._begin(tally)
            self._count(event, tally, now)
            self._place(event, message.run, now)
        if event.kind in ("failed", "dead"):
            self._complain(event)
        self._keep_up(now)

    def _begin(self, tally: Tally) -> None:
        if self._console is None or not self._console.is_terminal:
            self._say([tally])
        elif self._live is None and not self._quiet:
            from rich.live import Live

            self._live = Live(get_renderable=self._view, console=self._console, refresh_per_second=4)
            self._live.start()

    def _count(self, event: Event, tally: Tally, now: float) -> None:
        if event.kind == "unit":
            tally.set(tally.done + 1, now)
        elif event.kind == "failed":
            tally.failed += 1
        elif event.kind == "dead" and event.message is not None:
            tally.dead += 1 if event.unit is not None else event.message.hi - event.message.lo

    def _place(self, event: Event, run: Run, now: float) -> None:
        if event.kind in ("leased", "started"):
            slot = self._slots.setdefault(event.slot, _Slot(run.name, now))
            slot.name = run.name
            if event.unit is not None:
                slot.units[event.unit] = now
        elif event.kind in ("unit", "failed", "dead") and event.slot in self._slots:
            self._slots[event.slot].units.pop(-1 if event.unit is None else event.unit, None)
        elif event.kind in ("done", "left"):
            self._slots.pop(event.slot, None)

    def _complain(self, event: Event) -> None:
        fate = "failed, will be tried again" if event.kind == "failed" else "given up"
        cause = f" ({event.cause})" if event.cause else ""
        text = f"{fate}: {_what(event)}{cause}: {event.text.strip()}"
        terminal.say(self._console, text)

    def _keep_up(self, now: float) -> None:
        """See what others recorded, seldom; and say a line, where there is no terminal."""
        if now >= self._recount:
            self._look([t for t in self._runs.values() if t.moments and t.done < t.run.units], now)
        if self._live is None and self._said and now - self._said >= _LINE_S:
            self._say(self._runs.values())

    def _look(self, tallies: list[Tally], now: float) -> None:
        began, store = time.monotonic(), Store()
        for tally in tallies:
            with contextlib.suppress(IgneousError):  # the view may be behind, but it must not end the work
                tally.done = max(tally.done, records.done(store, tally.run))
            tally.set(tally.done, now)
        took = time.monotonic() - began
        self._recount = now + max(_RECOUNT_S, _RECOUNT_SHARE * took)

    def _say(self, tallies: Iterable[Tally]) -> None:
        self._said = self._clock()
        for tally in () if self._quiet else tallies:
            terminal.say(self._console, tally.line(self._said))

    def _view(self) -> RenderableType:
        """The live view; it is drawn by a thread of its own, hence the copies."""
        from rich.console import Group
        from rich.table import Table

        now = self._clock()
        bars, slots = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
        for tally in list(self._runs.values()):
            bars.add_row(*bar(tally, now, terminal.narrow(self._console)))
        for number, slot in sorted(self._slots.items()):
            slots.add_row(f"  {number}", *slot.line(now), style="dim")
        above = [self._above()] if self._above else []
        return Group(*above, bars, slots) if slots.row_count else Group(*above, bars)


def _what(event: Event) -> str:
    """The unit or the message that an event is about."""
    message = event.message
    if message is None:
        return "a message"
    if event.unit is None and message.hi > message.lo + 1:
        return f"{message.run.name} units {message.lo} to {message.hi - 1}"
    return f"{message.run.name} unit {message.lo if event.unit is None else event.unit}"


def bar(tally: Tally, now: float, narrow: bool = False) -> Iterator[RenderableType]:
    """The cells of a table's row that shows a run; without the bar itself where the terminal is ``narrow``."""
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    rate = tally.rate(now)
    yield Text(tally.run.name, style="bold")
    if not narrow:
        yield ProgressBar(total=tally.run.units, completed=tally.done, width=30)
    yield Text(f"{tally.done:,} of {tally.run.units:,}")
    yield Text(words.rate(rate) if rate else "")
    yield Text(tally.left(now))
    yield Text(tally.trouble(), style="red")
