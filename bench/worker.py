"""What a worker costs: beside cells of a second, for empty cells, to start a child, to answer a signal.

usage: python bench/worker.py
"""

from __future__ import annotations

import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLUGIN = ROOT / "tests" / "plugin"
os.environ["PYTHONPATH"] = f"{PLUGIN}{os.pathsep}{ROOT}"
sys.path[:0] = [str(PLUGIN), str(ROOT)]

from igneous_drill import Drill  # noqa: E402

from igneous_ng import run  # noqa: E402
from igneous_ng.worker.crew import Crew  # noqa: E402
from igneous_ng.worker.policy import Policy  # noqa: E402


def cells(count: int, seconds: float, processes: int) -> tuple[float, float, float]:
    """Wall seconds of a run, CPU seconds of its supervisor (this process), and the sum of the cells' own."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"fq://{folder}/queue"
        run.enqueue(Drill(layer=f"{folder}/layer", count=count, seconds=seconds), url)
        before, cpu = time.perf_counter(), time.process_time()
        run.execute(url, Policy(processes=processes))
        return time.perf_counter() - before, time.process_time() - cpu, count * seconds / processes


def start(spawned: bool) -> float:
    """Seconds until a new child answers."""
    crew = Crew(())
    crew.fork()
    before = time.perf_counter()
    child = crew.spawn({}) if spawned else crew.fork()
    child.ask("settled", runs=[])
    child.events()
    seconds = time.perf_counter() - before
    child.kill()
    crew.status(child)
    crew.close()
    return seconds


def answer() -> float:
    """Seconds from SIGTERM to a free lease while a kernel holds the interpreter's lock."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"fq://{folder}/queue"
        run.enqueue(Drill(layer=f"{folder}/layer", faults=("0:gil",)), url)
        worker = subprocess.Popen([sys.executable, "-m", "igneous_ng.cli", "execute", url], stderr=subprocess.DEVNULL)
        diary = Path(folder) / "layer" / "diary.txt"
        while not diary.exists() or "computing" not in diary.read_text():
            time.sleep(0.02)
        worker.send_signal(signal.SIGTERM)
        before = time.perf_counter()
        while list((Path(folder) / "queue" / "doing").iterdir()):
            time.sleep(0.002)
        seconds = time.perf_counter() - before
        worker.wait()
        return seconds


wall, cpu, ideal = cells(40, 1.0, 2)
more = 100 * (wall / ideal - 1)
print(f"40 cells of 1 s, 2 processes: {wall:.2f} s, {more:.1f} % more than the cells themselves, start included")
print(f"  supervisor: {cpu:.3f} CPU s, {100 * cpu / 40:.2f} % of the cells")
wall, cpu, _ = cells(2000, 0.0, 2)
print(f"2,000 empty cells in 1,000 messages: {2000 / wall:,.0f} cells/s; supervisor {cpu / 2:.2f} CPU ms a cell")
forked, fresh = (1000 * statistics.median(start(how) for _ in range(5)) for how in (False, True))
print(f"a child from the nursery answers after {forked:.1f} ms, a fresh one after {fresh:.0f} ms")
late = 1000 * statistics.median(answer() for _ in range(3))
print(f"SIGTERM to free lease under a kernel that holds the interpreter's lock: {late:.0f} ms")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
print(f"peak memory of the supervisor, this benchmark included: {peak} MB")
