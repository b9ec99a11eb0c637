"""Shows how the steps of a pipeline go on: a live view in a terminal, elsewhere a line for each change."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from igneous_ng import records
from igneous_ng.errors import IgneousError
from igneous_ng.pipeline import Change
from igneous_ng.reporting import terminal
from igneous_ng.reporting.progress import Tally, bar
from igneous_ng.store import Store

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_LINE_S = 30.0  # between two lines on units where there is no terminal
_COUNT_S = 5.0  # between two counts of what is recorded
_COUNT_SHARE = 50  # a count may take so much less time than lies between two


class Board:
    """The steps called ``names``; hears of changes, and between them counts what workers record.

    A context: within it a terminal shows all steps with bars. When ``quiet``, nothing is shown.
    """

    def __init__(
        self,
        names: Sequence[str],
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        quiet: bool = False,
    ) -> None:
        self._states = dict.fromkeys(names, "waits")
        self._tallies: dict[str, Tally] = {}
        self._console, self._clock, self._quiet = console, clock, quiet
        self._live: Any = None
        self._count_at = 0.0
        self._line_at = clock() + _LINE_S

    def __enter__(self) -> Board:
        self._console = self._console or terminal.console()
        if self._console is not None and self._console.is_terminal and not self._quiet:
            from rich.live import Live

            self._live = Live(get_renderable=self.view, console=self._console, refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, change: Change) -> None:
        """Show what is new of a step."""
        self._states[change.step] = change.state
        if change.state == "done" or change.run is None:
            self._tallies.pop(change.step, None)
        if change.state != "done" and change.run is not None and self._run(change.step) != change.run.id:
            self._tallies[change.step] = Tally(change.run)
            self._count_at = 0.0
        self._print(f"{change.step}: {change.text}")

    def _run(self, step: str) -> str:
        return self._tallies[step].run.id if step in self._tallies else ""

    def pause(self, seconds: float) -> None:
        """Let time pass; count now and then, and say it where there is no terminal."""
        if self._clock() >= self._count_at:
            self._count()
        if self._live is None and self._clock() >= self._line_at:
            self._line_at = self._clock() + _LINE_S
            self._print(self._line())
        time.sleep(seconds)

    def _count(self) -> None:
        began, store = time.monotonic(), Store()
        for tally in self._tallies.values():
            with contextlib.suppress(IgneousError):  # the view may be behind, but it must not end the work
                tally.set(records.done(store, tally.run), self._clock())
        took = time.monotonic() - began
        self._count_at = self._clock() + max(_COUNT_S, _COUNT_SHARE * took)

    def _line(self) -> str:
        now = self._clock()
        done = sum(state == "done" for state in self._states.values())
        going = [f"{name}: {tally.line(now)}" for name, tally in self._tallies.items()]
        return "; ".join([f"{done} of {len(self._states)} steps done", *going])

    def _print(self, line: str) -> None:
        if not self._quiet:
            terminal.say(self._console, line)

    def view(self) -> RenderableType:
        """A row for each step; drawn by a thread of its own, hence the copies."""
        from rich.table import Table

        now, rows = self._clock(), Table.grid(padding=(0, 2))
        for name, state in list(self._states.items()):
            tally = self._tallies.get(name)
            rows.add_row(name, state, *(bar(tally, now, terminal.narrow(self._console)) if tally else ()))
        return rows
