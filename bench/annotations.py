"""How fast a layer of annotations is made, on one core: lines with two properties and two relationships.

    python bench/annotations.py [COUNT] [FOLDER]

ngsidekick 0.0.20, with two threads, makes about 18,000 to 20,000 of the same a second in 587 MB, as it was measured on
another day.
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.stages.annotate import Build

EXTENT = np.array([100_000, 100_000, 20_000])


def write_rows(path: Path, count: int) -> None:
    """A table of lines of about 50 units in a volume of 100 x 100 x 20 thousand."""
    rng = np.random.default_rng(1)
    first = rng.uniform(0, EXTENT, (count, 3))
    second = np.clip(first + rng.normal(0, 30, (count, 3)), 0, EXTENT)
    places = {f"{axis}{end}": points[:, i] for end, points in ((1, first), (2, second)) for i, axis in enumerate("xyz")}
    pre, post = rng.zipf(1.3, count).astype(np.uint64) % 50_000 + 1, rng.integers(1, 20_000, count).astype(np.uint64)
    sure, size = rng.random(count).astype(np.float32), rng.integers(10, 5000, count).astype(np.uint32)
    np.savez(path, id=np.arange(1, count + 1, dtype=np.uint64), **places, sure=sure, size=size, pre=pre, post=post)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    write_rows(folder / "rows.npz", count)
    fields = {"properties": ("sure", "size"), "relationships": ("pre", "post")}
    began, wall = time.process_time(), time.perf_counter()
    for step in Build(source=str(folder / "rows.npz"), layer=str(folder / "layer"), **fields).steps(IO()):
        before = time.process_time()
        run.inline(step)
        print(f"  {step.name:16} {time.process_time() - before:6.2f} s of a processor")
    spent, waited = time.process_time() - began, time.perf_counter() - wall
    keys = list((folder / "layer").rglob("*.shard"))
    size = sum(path.stat().st_size for path in keys)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{count:,} lines: {spent:.2f} s of a processor, {waited:.2f} s: {count / spent:,.0f} a second, "
          f"{most:.0f} MB at most, {size / 1e6:.1f} MB in {len(keys)} shards")  # fmt: skip
    if len(sys.argv) < 3:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
