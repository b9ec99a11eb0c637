"""Records as lines and compacted: their size, and what reading takes; and what compacting takes.

usage: python bench/records.py FOLDER [UNITS]
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from igneous_ng import records
from igneous_ng.io import IO
from igneous_ng.records import Run
from igneous_ng.stages.records_compact import RecordsCompact
from igneous_ng.store import Store

CHUNKS = 8  # that a unit writes


def lines(units: int) -> Iterator[records.Line]:
    """As `image downsample` leaves them: a cell of 512 x 512 x 64 voxels read, the chunks of a level written."""
    chance = random.Random(0)
    layer, environment = "file:///data/em/layer", "0123456789abcdef" * 2
    for unit in range(units):
        x, y, z = unit % 50 * 512, unit // 50 % 50 * 512, unit // 2500 * 64
        box, half = f"{x}:{x + 512},{y}:{y + 512},{z}:{z + 64}", f"{x // 2}:{x // 2 + 256},{y // 2}:{y // 2 + 256}"
        corners = [(x // 2 + n % 2 * 128, y // 2 + n // 2 % 2 * 128, z + n // 4 * 32) for n in range(CHUNKS)]
        names = [f"{a}-{a + 128}_{b}-{b + 128}_{c}-{c + 32}" for a, b, c in corners]
        writes = [{"url": f"{layer}/16_16_40/{name}", "bytes": chance.randint(10**5, 5 * 10**5),
                   "digest": chance.randbytes(16).hex()} for name in names]  # fmt: skip
        yield {
            "unit": unit, "attempt": 1, "what": box,
            "reads": [{"layer": layer, "mip": 0, "box": box, "digest": chance.randbytes(16).hex()}],
            "writes": writes, "covers": [{"layer": layer, "mip": 1, "box": f"{half},{z}:{z + 64}"}], "notes": {},
            "start": 1.7e9 + unit * 0.01 + chance.random(), "seconds": chance.random(),
            "cpu_seconds": chance.random(), "peak_bytes": chance.randint(10**8, 3 * 10**8),
            "host": f"node{chance.randint(0, 30)}", "environment": environment, "log": [],
        }  # fmt: skip


def fill(run: Run) -> None:
    """Record every unit; past the store, which would sync each file."""
    records.save(Store(), run)
    found = lines(run.units)
    for message in run.messages():
        path = Path(message.folder.removeprefix("file://")) / f"{message.lo}-{message.hi}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(next(found)) + "\n" for _ in range(message.lo, message.hi)))
    records.mark_finished(Store(), run)


def compact(run: Run) -> None:
    stage = RecordsCompact(layer=run.home)
    stage.prepare(IO())
    for unit in stage.units(IO()):
        stage.execute(unit, IO())


def read(only: tuple[str, ...] | None) -> Callable[[Run], None]:
    def through(run: Run) -> None:
        assert sum(1 for _ in records.all_lines(Store(), run, only=only)) == run.units

    return through


def one(run: Run) -> None:
    assert records.read(Store(), records.Message(run, run.units // 2, run.units // 2 + 1))


WAYS: dict[str, Callable[[Run], None]] = {
    "compact": compact,
    "every line": read(None),
    "what was covered": read(("covers",)),
    "what was written": read(("writes",)),
    "seconds and hosts": read(("seconds", "host")),
    "one unit": one,
}


def measured(folder: str, way: str) -> dict[str, float]:
    """What a way takes, in a process of its own: CPU seconds, wall seconds, peak MB above the start."""
    done = subprocess.run([sys.executable, __file__, folder, "--way", way], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def alone(run: Run, way: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    WAYS[way](run)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu": cpu, "wall": time.perf_counter() - began,
                      "peak": (after.ru_maxrss - before.ru_maxrss) / 1e3}))  # fmt: skip


def size(run: Run) -> int:
    return sum(p.stat().st_size for p in Path(run.folder.removeprefix("file://"), "records").rglob("*") if p.is_file())


def main(folder: str, units: int) -> None:
    run = Run("20260101T000000.000000-abcdef01", f"file://{folder}", {"stage": "some"}, units, records.span(units))
    fill(run)
    text, before = size(run), {way: measured(folder, way) for way in WAYS if way != "compact"}
    made = measured(folder, "compact")
    after = {way: measured(folder, way) for way in before}
    print(f"{units:,} units: {text / 1e6:.1f} MB of lines, {size(run) / 1e6:.1f} MB compacted,"
          f" {text / size(run):.2f} times smaller")  # fmt: skip
    print(f"compacting: {made['cpu']:.2f} CPU s, {made['wall']:.2f} s, peak {made['peak']:.0f} MB")
    print("| reading | CPU s | CPU s compacted | times faster | s | s compacted | peak MB | compacted |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for way, was in before.items():
        now = after[way]
        print(f"| {way} | {was['cpu']:.2f} | {now['cpu']:.2f} | {was['cpu'] / now['cpu']:.1f} | {was['wall']:.2f} |"
              f" {now['wall']:.2f} | {was['peak']:.0f} | {now['peak']:.0f} |")  # fmt: skip


if "--way" in sys.argv:
    alone(records.load(Store(), f"file://{sys.argv[1]}/runs/20260101T000000.000000-abcdef01"), sys.argv[-1])
else:
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100_000)
