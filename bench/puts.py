"""Objects per second that a store writes in a folder: beside their place, by a scratch folder, flushed now and then.

usage: python bench/puts.py FOLDER

Writes and removes FOLDER/puts. 20 kB is a chunk of 64^3 labels, 1 kB a small record.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from igneous_ng.store import Store

OBJECTS, ROUNDS = 600, 5
WAYS = {"beside": (False, OBJECTS + 1), "scratch": (True, OBJECTS + 1), "flush per 64": (True, 64), "per 1": (True, 1)}
folder = Path(sys.argv[1]).absolute() / "puts"


def rate(size: int, threads: int, scratch: bool, flush: int) -> float:
    """Objects per second, the directory entries of each ``flush`` of them brought to the disk at once."""
    store, data = Store(scratch=f"file://{folder}/tmp" if scratch else None), os.urandom(size)
    begun = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, OBJECTS, flush):
            names = range(first, min(first + flush, OBJECTS))
            list(pool.map(lambda i: store.put(f"file://{folder}/layer/{i}", data), names))
            if flush < OBJECTS:
                store.flush()
    seconds = time.perf_counter() - begun
    shutil.rmtree(folder)
    return OBJECTS / seconds


print(f"| bytes | threads | {' | '.join(WAYS)} |\n| --- | --- |{' --- |' * len(WAYS)}")
for size in (1_000, 20_000):
    for threads in (1, 4):
        rounds = [[rate(size, threads, *way) for way in WAYS.values()] for _ in range(ROUNDS)]
        medians = [f"{statistics.median(column):,.0f}" for column in zip(*rounds, strict=True)]
        print(f"| {size:,} | {threads} | {' | '.join(medians)} |", flush=True)
