"""A sink of worker events that draws a progress bar with the time that is left."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from igneous_ng.worker.supervisor import Event


class Progress:
    """Counts recorded units against all units of the runs that were met."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar: Any = None  # tqdm has no types
        self._runs: set[str] = set()

    def __enter__(self) -> Progress:
        from tqdm import tqdm

        self._bar = tqdm(total=0, desc=self._title, unit="task", smoothing=0.1, dynamic_ncols=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "leased":
            self._meet(event.body)
        elif event.kind == "unit":
            self._bar.update(1)
        elif event.kind in ("retry", "dead"):
            word = "will be tried again" if event.kind == "retry" else "set aside"
            self._bar.write(f"{word}: {event.text.strip()}", file=sys.stderr)

    def _meet(self, body: str) -> None:
        from igneous_ng import records
        from igneous_ng.store import Store

        try:
            run = records.Message.parse(body).run
        except ValueError:  # the child will set it aside and say why
            return
        if run.id not in self._runs:
            self._runs.add(run.id)
            self._bar.set_description(f"{run.stage.get('stage')}")
            self._bar.total += run.units
            self._bar.update(records.done(Store(), run))
