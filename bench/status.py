"""What `status` costs for a run of 10^8 units in 10^5 messages, all but a tenth recorded; and for one of 10^4 units.

usage: python bench/status.py FOLDER
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import time
from pathlib import Path

from igneous_ng import records, status
from igneous_ng.records import Message, Run
from igneous_ng.store import Store


def line(unit: int) -> dict[str, object]:
    """A record with 64 chunks read and written, of some 15 kB."""
    touched = [{"url": f"file:///layer/8_8_40/{unit}-{n}", "bytes": 9999, "digest": "0" * 32} for n in range(64)]
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


home = f"file://{sys.argv[1]}"
large = records.new_run({"stage": "large"}, home, 10**8)
small = dataclasses.replace(records.new_run({"stage": "small"}, home, 10**4), span=10)
measure("10^8 units, 10^5 messages", fill(large, 2))
measure("10^4 units, 10^3 messages", fill(small, 10))
