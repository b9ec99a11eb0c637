"""What the fingerprint of a layer costs, from synthetic records of a run of one level; beside it, reading these alone.

usage: python bench/fingerprint.py FOLDER [OBJECTS] [look|read]

Records are made where there are none. Run it once with `look` and once with `read`, for the memory of each.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from igneous_ng import fingerprints, ledger, records
from igneous_ng.formats import info as infos
from igneous_ng.formats.info import chunk_box, chunk_name, new_info
from igneous_ng.geometry import Box, Grid, vec
from igneous_ng.store import Store

_CELL = 4  # chunks along each side of a unit


def make(layer: str, side: int) -> None:
    """A layer of ``side`` cubed cells that is only said to be there."""
    bounds = Box((0, 0, 0), vec([64 * _CELL * side] * 3))
    info = new_info(kind="image", dtype="uint8", channels=1, bounds=bounds, resolution=(8, 8, 8), chunk=(64, 64, 64),
                    encoding="raw")  # fmt: skip
    Store().put(f"{layer}/info", infos.encode(info))
    scale, cells = info.scales[0], Grid(Box((0, 0, 0), vec([_CELL * side] * 3)), vec([_CELL] * 3))
    run = records.new_run({"stage": "x"}, layer, len(cells))
    records.save(Store(), run)
    for message in run.messages():
        lines = []
        for unit in range(message.lo, message.hi):
            writes = []
            for at in Grid(cells[unit], (1, 1, 1)):
                name = chunk_name(scale, chunk_box(scale, at.lo))
                writes.append(
                    {"url": f"{layer}/{name}", "bytes": 150_000, "digest": f"{hash(name) & (1 << 63) - 1:032x}"}
                )
            box = str(chunk_box(scale, cells[unit].lo))
            reads = [{"layer": layer, "mip": 0, "box": box, "digest": "0" * 32}]
            lines.append(json.dumps({"unit": unit, "reads": reads, "writes": writes, "covers": [], "seconds": 1.0}))
        path = Path(message.folder.removeprefix("file://")) / f"{message.lo}-{message.hi}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")  # a store would sync each


def used() -> float:
    """CPU seconds of this process."""
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime


def memory() -> float:
    """MB, at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


folder, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10**7
place = f"file://{Path(folder).resolve()}"
if not Path(folder, "info").exists():
    make(place, max(1, round(count ** (1 / 3) / _CELL)))
before, cpu, began = memory(), used(), time.perf_counter()
if sys.argv[3:] == ["read"]:
    objects = sum(1 for _ in ledger.told(Store(), place))
    what = "records read"
else:
    found = fingerprints.take(Store(), place)
    objects = sum(part.objects for part in found.parts)
    what = f"fingerprint {found.digest}"
took, cpu = time.perf_counter() - began, used() - cpu
print(f"{what}: {objects:,} objects, {took:.1f} s, {cpu:.1f} CPU s, {objects / cpu:,.0f} objects/CPU s, ", end="")
print(f"{memory() - before:.0f} MB more than before, {(memory() - before) * 1e6 / objects:.0f} bytes an object")
