"""A sink of worker events that draws a progress bar with the time that is left."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

from igneous_ng.errors import SpecError

if TYPE_CHECKING:
    from igneous_ng.records import Run
    from igneous_ng.worker.supervisor import Event


class Progress:
    """Counts recorded units against all units of the runs that were met."""

    def __init__(self) -> None:
        self._bar: Any = None  # drawn when the first run is met; tqdm has no types
        self._runs: set[str] = set()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        from tqdm import tqdm

        if event.kind == "leased":
            self._meet(event.body)
        elif event.kind == "unit" and self._bar is not None:
            self._bar.update(1)
        elif event.kind in ("retry", "dead"):
            word = "will be tried again" if event.kind == "retry" else "set aside"
            tqdm.write(f"{word}: {event.text.strip()}", file=sys.stderr)

    def _meet(self, body: str) -> None:
        from igneous_ng import records

        try:
            run = records.Message.parse(body).run
        except SpecError:  # the child will set it aside and say why
            return
        if run.id not in self._runs:
            self._runs.add(run.id)
            self._add(run)

    def _add(self, run: Run) -> None:
        from tqdm import tqdm

        from igneous_ng import records
        from igneous_ng.store import Store

        done, name = records.done(Store(), run), str(run.stage.get("stage"))
        if self._bar is None:
            self._bar = tqdm(
                desc=name,
                total=run.units,
                initial=done,
                unit="task",
                smoothing=0.1,
                dynamic_ncols=True,
                file=sys.stderr,
            )
        else:
            self._bar.total += run.units
            self._bar.set_description(name, refresh=False)
            self._bar.update(done)
