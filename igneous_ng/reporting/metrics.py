"""A sink that keeps figures of this worker in a file, in the text format of OpenMetrics 1.0.

Prometheus reads such a file through the textfile collector of its node exporter. Figures begin at 0 with the worker.
A worker tells every few seconds that it is alive, so a file that grows old is that of one that hangs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from igneous_ng.worker.events import Event

_EVERY_S = 5.0
_PREFIX = "igneous_ng"
_FAMILIES = {  # name: (type, help); counters get _total behind their names, a summary _count and _sum
    "unit_seconds": ("summary", "Units that were recorded, and the seconds that they took."),
    "cpu_seconds": ("counter", "Processor seconds of the units that were recorded."),
    "peak_bytes": ("gauge", "The most memory that a recorded unit took."),
    "failures": ("counter", "Attempts at units that failed and are followed by another."),
    "dead": ("counter", "Units and messages that were given up."),
    "messages": ("counter", "Messages that ended here: done, left for others, or split for them."),
    "busy": ("gauge", "Children that are at work on a message."),
    "written_timestamp_seconds": ("gauge", "When this file was written, in seconds since 1970."),
}
_Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Replaces ``path`` as a whole, at most every five seconds and at the end."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock, self._written = path, clock, float("-inf")
        self._values: dict[tuple[str, str, _Labels], float] = defaultdict(float)
        self._busy: set[int] = set()

    def __enter__(self) -> Metrics:
        self.write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._busy.clear()
        with contextlib.suppress(OSError):  # it is too late for an error: the work is done
            self.write()

    def __call__(self, event: Event) -> None:
        """Count one event."""
        stage = ("stage", event.message.run.name if event.message else "")
        if event.kind == "unit":
            self._unit((stage,), event)
        elif event.kind in ("failed", "dead"):
            name = "failures" if event.kind == "failed" else "dead"
            self._values[name, "_total", (stage, ("cause", event.cause))] += 1
        elif event.kind in ("done", "left", "split"):
            self._values["messages", "_total", (stage, ("outcome", event.kind))] += 1
        self._occupy(event)
        if self._clock() - self._written >= _EVERY_S:
            self.write()

    def _unit(self, labels: _Labels, event: Event) -> None:
        self._values["unit_seconds", "_count", labels] += 1
        self._values["unit_seconds", "_sum", labels] += event.figures.get("seconds", 0.0)
        self._values["cpu_seconds", "_total", labels] += event.figures.get("cpu_seconds", 0.0)
        peak = self._values["peak_bytes", "", labels]
        self._values["peak_bytes", "", labels] = max(peak, event.figures.get("peak_bytes", 0))

    def _occupy(self, event: Event) -> None:
        if event.kind in ("leased", "started", "unit"):
            self._busy.add(event.slot)
        elif event.kind in ("done", "left", "idle") or (event.kind == "dead" and event.unit is None):
            self._busy.discard(event.slot)

    def write(self) -> None:
        """Write the file now."""
        self._values["busy", "", ()] = len(self._busy)
        self._values["written_timestamp_seconds", "", ()] = self._written = self._clock()
        draft = self._path.with_name(f".tmp-{self._path.name}-{os.getpid()}")
        draft.write_text("".join(self._lines()), encoding="utf-8")
        draft.replace(self._path)

    def _lines(self) -> Iterator[str]:
        for name, (kind, text) in _FAMILIES.items():
            yield f"# TYPE {_PREFIX}_{name} {kind}\n# HELP {_PREFIX}_{name} {text}\n"
            for (family, suffix, labels), value in sorted(self._values.items()):
                if family == name:
                    yield f"{_PREFIX}_{name}{suffix}{_braced(labels)} {value!r}\n"
        yield "# EOF\n"


def _braced(labels: _Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
