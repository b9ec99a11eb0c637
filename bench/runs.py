"""What each run of a layer took, from its records: units, CPU seconds, wall seconds of the tasks, peak memory.

usage: python bench/runs.py LAYER
"""

from __future__ import annotations

import sys

from igneous_ng import history, records
from igneous_ng.stage import Layer
from igneous_ng.store import Store

store, layer = Store(), Layer.parse(sys.argv[1])
print("| stage | units | CPU s | task s | span s | peak MB |\n| --- | --- | --- | --- | --- | --- |")
for run in reversed(list(history.runs(store, layer))):
    lines = list(records.all_lines(store, run))
    if not lines:
        continue
    cpu, task = (sum(line[key] for line in lines) for key in ("cpu_seconds", "seconds"))
    span = max(line["start"] + line["seconds"] for line in lines) - min(line["start"] for line in lines)
    peak = max(line["peak_bytes"] for line in lines) / 1e6
    print(f"| {run.name} | {len(lines)} | {cpu:.1f} | {task:.1f} | {span:.1f} | {peak:.0f} |")
