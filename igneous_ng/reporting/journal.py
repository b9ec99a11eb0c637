"""A sink that writes one line of JSON for each task that was finished, failed or given up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TextIO

from igneous_ng.worker.events import Event

_OUTCOMES = {"unit": "done", "failed": "failed", "dead": "dead"}


class Journal:
    """Lines go out whole and at once, so that another program may follow them. ``clock``: seconds since 1970."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.time) -> None:
        self._out, self._clock = out, clock

    def __call__(self, event: Event) -> None:
        """Write the line of one event, if it ends an attempt at a task."""
        if event.kind in _OUTCOMES:
            self._out.write(json.dumps(self._line(event)) + "\n")
            self._out.flush()

    def _line(self, event: Event) -> dict[str, Any]:
        line: dict[str, Any] = {"time": round(self._clock(), 3), "outcome": _OUTCOMES[event.kind], "slot": event.slot}
        if (message := event.message) is not None:
            line |= {"run": message.run.id, "layer": message.run.home, "stage": message.run.name}
            if event.unit is None:
                line |= {"lo": message.lo, "hi": message.hi}
        if event.unit is not None:
            line["unit"] = event.unit
        if event.cause or event.text:
            line |= {"cause": event.cause, "text": event.text}
        return {**event.figures, **line}
