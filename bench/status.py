"""What `status` costs for a run of 10^8 units in 10^5 messages, all but a tenth recorded; for one of 10^4 units; and
for one of 10^7 units that is finished and compacted.

usage: python bench/status.py FOLDER
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import time
from pathlib import Path

from igneous_ng import records, sheets, status
from igneous_ng.formats import ledgers
from igneous_ng.records import Message, Run
from igneous_ng.store import Store


def line(unit: int, chunks: int = 64) -> records.Line:
    """A record with 64 chunks read and written, of some 15 kB."""
    touched = [{"url": f"file:///layer/8_8_40/{unit}-{n}", "bytes": 9999, "digest": "0" * 32} for n in range(chunks)]
    return {"unit": unit, "start": unit / 1e3, "seconds": 1.0, "cpu_seconds": 0.9, "peak_bytes": 10**9,
            "reads": touched, "writes": touched, "host": f"node{unit % 7}"}  # fmt: skip


def measure(name: str, run: Run) -> None:
    """Time one look."""
    began, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    found = status.look(Store(), run)
    took, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu
    print(f"{name}: {found.done:,} of {found.units:,} done, {took:.2f} s, {used:.2f} CPU s")


def fill(run: Run, lines: int) -> Run:
    """Record nine tenths of ``run``, each range with at most ``lines`` lines."""
    records.save(Store(), run)
    for number, message in enumerate(run.messages()):
        if number % 10:
            short = {unit: line(unit) for unit in range(message.lo, min(message.hi, message.lo + lines))}
            path = Path(message.folder.removeprefix("file://")) / f"{message.lo}-{message.hi}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(one) + "\n" for one in short.values()))  # a store would sync each
    records.checkpoint(Store(), Message(run, 0, 1), {0: line(0)}, "x")
    return run


def compacted(run: Run) -> Run:
    """Finish ``run`` with a line for each unit, of one chunk read and one written, in the files of its folders."""
    records.save(Store(), run)
    for number in range(records.groups(run)):
        folder, lo, hi = records.group(run, number)
        path = Path(sheets.compacted(folder).removeprefix("file://"))
        path.parent.mkdir(parents=True, exist_ok=True)
        ends = range(lo, hi, sheets.ROWS)
        path.write_bytes(ledgers.pack([line(unit, 1) for unit in range(at, min(at + sheets.ROWS, hi))] for at in ends))
    records.mark_finished(Store(), run)
    return run


home = f"file://{sys.argv[1]}"
large = records.new_run({"stage": "large"}, home, 10**8)
small = dataclasses.replace(records.new_run({"stage": "small"}, home, 10**4), span=10)
measure("10^8 units, 10^5 messages", fill(large, 2))
measure("10^4 units, 10^3 messages", fill(small, 10))
measure("10^7 units, compacted", compacted(records.new_run({"stage": "compacted"}, home, 10**7)))
