"""What a unit takes: CPU seconds and memory, also while several units share a process."""

from __future__ import annotations

import contextlib
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class _Share:
    cpu: float = 0.0
    peak: int = 0


class Meter:
    """Shares of a process. CPU time is divided among the units under way; the peak of memory counts for each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: list[_Share] = []
        self._cpu = time.process_time()

    @contextmanager
    def measured(self) -> Iterator[dict[str, Any]]:
        """The figures of the block, there once it is left: ``cpu_seconds`` and ``peak_bytes``."""
        share, figures = _Share(), dict[str, Any]()
        with self._lock:
            self._settle()
            self._under_way.append(share)
        try:
            yield figures
        finally:
            with self._lock:
                self._settle()
                self._under_way.remove(share)
            figures.update(cpu_seconds=share.cpu, peak_bytes=share.peak)

    def _settle(self) -> None:
        """Charge what was used since the last change to those under way, and begin anew."""
        now, peak = time.process_time(), _peak_bytes()
        for share in self._under_way:
            share.cpu += (now - self._cpu) / len(self._under_way)
            share.peak = max(share.peak, peak)
        self._cpu = now
        _forget_peak()


def _forget_peak() -> None:
    """Let the peak of resident memory start anew (Linux; elsewhere it is that of the whole process)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_bytes() -> int:
    """The peak of resident memory. Not from getrusage alone, which on Linux begins with the parent's."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
