"""Carry out one message: run its units that have no record, and store the records.

A record is stored after its unit's outputs and before anybody acknowledges the message, so a unit is
done exactly when its record exists; a killed worker leaves at most one unit to be run again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import platform
import resource
import socket
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from igneous_ng import catalog, records
from igneous_ng.errors import SpecError
from igneous_ng.io import IO
from igneous_ng.records import Message
from igneous_ng.stage import Layer, Stage, plain
from igneous_ng.store import Store

_CHECKPOINT_SECONDS = 10.0


def execute(message: Message, roots: tuple[str, ...], on_unit: Callable[[int], None], attempt: int = 1) -> None:
    """Run the units of ``message`` that have no record; ``on_unit`` hears of each one that is done."""
    stage = _stage(message, roots)
    store = Store()
    lines = records.read(store, message)
    missing = [unit for unit in range(message.lo, message.hi) if unit not in lines]
    units = stage.units(IO(store)) if missing else ()
    if missing and len(units) != message.run.units:
        raise SpecError(
            f"run {message.run.id} was planned with {message.run.units} units and now there are {len(units)}: "
            "its layer was changed meanwhile; enqueue the stage again"
        )
    saved = time.monotonic()
    for unit in missing:
        lines[unit] = {"unit": unit, "attempt": attempt, **_run(stage, units[unit], store)}
        if unit == missing[-1] or time.monotonic() - saved > _CHECKPOINT_SECONDS:
            records.write(store, message, lines)
            saved = time.monotonic()
        on_unit(unit)


def finish(message: Message, roots: tuple[str, ...]) -> bool:
    """Publish the run's result if all its units are recorded; whether they were."""
    stage, store = _stage(message, roots), Store()
    if not records.complete(store, message.run):
        return False
    stage.finish(IO(store))
    records.mark_finished(store, message.run)
    return True


def _stage(message: Message, roots: tuple[str, ...]) -> Stage:
    stage = catalog.decode(message.run.stage)
    if stage.home() != message.run.home:
        raise SpecError(f"run {message.run.id} says its home is {message.run.home}, the stage {stage.home()}")
    if roots:
        layers = {v for v in vars(stage).values() if isinstance(v, Layer)} | {message.run.home}
        for layer in sorted(layers):
            if not any(layer == root or layer.startswith(root.rstrip("/") + "/") for root in roots):
                raise SpecError(f"{layer} is not under this worker's --root {', '.join(roots)}; run it elsewhere")
    return stage


def _run(stage: Stage, unit: Any, store: Store) -> dict[str, Any]:
    io = IO(store)
    wall, cpu = time.time(), time.process_time()
    _forget_peak()
    stage.execute(unit, io)
    return {
        "what": json.loads(json.dumps(plain(unit))),
        "reads": io.ledger.reads,
        "writes": io.ledger.writes,
        "notes": io.ledger.notes,
        "start": wall,
        "seconds": time.time() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": _peak_bytes(),
        "runtime": runtime(),
    }


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


@functools.cache
def runtime() -> dict[str, str]:
    """Where and with which versions tasks run here."""
    return {
        "igneous_ng": metadata.version("igneous-ng"),
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
        "host": socket.gethostname(),
        "platform": platform.platform(),
    }
