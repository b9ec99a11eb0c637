"""What becomes of a worker's events: a view in a terminal, a line for each task, figures for Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from igneous_ng.worker.events import Event, Sink

log = logging.getLogger(__name__)


def to_all(sinks: Sequence[Sink]) -> Sink:
    """A sink that hands each event to all of ``sinks``; one that cannot write is left out from then on.

    A full disk under a log must not end the work that it tells of.
    """
    left = list(sinks)

    def send(event: Event) -> None:
        for sink in tuple(left):
            try:
                sink(event)
            except OSError as error:
                log.warning("%s cannot write and is left out: %s", type(sink).__name__, error)
                left.remove(sink)

    return send
