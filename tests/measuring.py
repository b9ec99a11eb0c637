"""The memory that a task takes, measured in a process of its own, against what it declares."""

from __future__ import annotations

import json
import subprocess
import sys

from igneous_ng.stage import Stage, to_dict

MEASURE = """
import json, sys, time
from pathlib import Path
from igneous_ng import catalog
from igneous_ng.io import IO
stage = catalog.decode(json.loads(sys.argv[1]))
io = IO()
units = stage.units(io)
warm = catalog.decode(json.loads(sys.argv[2]))
warm.execute(warm.units(io)[0], io)
io.store.map(lambda _: time.sleep(0.05), range(8))  # its threads begin
def resident(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
before = resident("VmRSS")
stage.execute(units[0], io)
print(json.dumps([resident("VmHWM") - before, stage.peak_bytes(units[0], io)]))
"""


def insist(which: object, big: Stage, small: Stage, *, least: int = 1) -> None:
    """The first task of ``big`` must take no more memory than it declares, in a process that ``small`` warmed up.

    Nor may it take fewer bytes than ``least``: then nothing was measured.
    """
    words = [json.dumps(to_dict(stage)) for stage in (big, small)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    taken, declared = json.loads(done.stdout)
    assert least <= taken <= declared, f"{which} took {taken / 1e6:.0f} MB and declares {declared / 1e6:.0f} MB"
    print(f"{which}: {taken / 1e6:.0f} of {declared / 1e6:.0f} MB")  # noqa: T201 - shown with -s
