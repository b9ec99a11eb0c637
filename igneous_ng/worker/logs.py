"""What is logged while a unit runs, kept for its record."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from igneous_ng import redaction

_LINES = 100  # the last ones of a unit


class _Capture(logging.Handler):
    """Appends to the list of the thread that logs; what other threads log belongs to no unit."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.thread = threading.get_ident()
        self.lines: deque[str] = deque(maxlen=_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.lines.append(redaction.redacted(self.format(record)))


@contextmanager
def captured() -> Iterator[list[str]]:
    """The lines that this thread logs inside the block, warnings and worse, there once it is left."""
    handler, lines = _Capture(), list[str]()
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)
        lines.extend(handler.lines)
