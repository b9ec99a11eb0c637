"""A graph of 5 million synapses: building it, and questions to it, beside DuckDB and SQLite on the same rows.

usage: python bench/graph.py FOLDER [SYNAPSES [NEURONS]]
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from igneous_ng import catalog, run
from igneous_ng.formats import parquet_tables
from igneous_ng.geometry import Box
from igneous_ng.graphs import Graph
from igneous_ng.io import IO
from igneous_ng.synapses import COLUMNS, Frame, Synapses, empty

BOUNDS, RESOLUTION, BLOCK = Box((0, 0, 0), (16384, 16384, 4096)), (8.0, 8.0, 32.0), 2048
SIDE_NM = 20_000  # of the box that is asked for
REPEATS = 21
FEW = ("id", "pre", "post", "x", "y", "z")


def rows(count: int, neurons: int, frame: Frame) -> dict[str, np.ndarray]:
    """Synapses anywhere between neurons that have as many as Zipf's law says, by id."""
    rng, found = np.random.default_rng(0), empty(count)
    voxels = np.stack([rng.integers(0, side, count) for side in BOUNDS.shape], axis=1)
    found["id"] = frame.ids(voxels)
    for side, steep in (("pre", 1.25), ("post", 1.15)):
        found[side] = (rng.zipf(steep, count).astype(np.uint64) * np.uint64(2654435761)) % np.uint64(
            neurons
        ) + np.uint64(1 << 60)
    found["place"] = np.rint((voxels + 0.5) * RESOLUTION)
    found["pre_place"] = found["post_place"] = found["place"]
    found["lo"], found["hi"] = voxels - 5, voxels + 5
    found["voxels"] = rng.integers(10, 5000, count)
    for name in ("mean", "peak", "confidence", "kind_confidence"):
        found[name] = rng.integers(0, 256, count)
    found["kind"] = rng.integers(0, 3, count)
    order = np.argsort(found["id"])
    return {name: found[name][order].astype(kind) for name, kind in COLUMNS.items()}


def store(url: str, count: int, neurons: int) -> None:
    """The table of synapses."""
    frame, desk = Frame(BOUNDS, RESOLUTION, BLOCK, None, 0, {}), Synapses(IO(), url)
    drawn = rows(count, neurons, frame)
    blocks = frame.blocks_of(drawn["id"])
    for box in frame.grid:
        inside = (blocks == frame.grid.at(box)).all(axis=1)
        desk.write(frame.grid.at(box), {name: column[inside] for name, column in drawn.items()})
    desk.finish(frame)


def build(table: str, graph: str) -> None:
    """The graph, in this process; CPU seconds and the most memory of each step."""
    for step in catalog.load("graph build")(table=table, graph=graph).steps(IO()):
        wall, start = time.perf_counter(), time.process_time()
        run.inline(step)
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = int(next(line for line in lines if "VmHWM" in line).split()[1]) / 1e3
        took = time.process_time() - start
        print(f"{step.name:14} {took:6.1f} s CPU, {time.perf_counter() - wall:6.1f} s, {peak:5.0f} MB at most so far")


def usual(what: str, call: Callable[[], Any]) -> None:
    """The median and the least of several times, in ms, once it is warm."""
    call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    print(f"{what:58} {np.median(times):9.2f} ms, {min(times):9.2f} at least")


def ask(graph: str) -> None:
    """Questions, each beside those to the others."""
    opened = Graph(graph)
    top = opened.top(1)
    hub, synapses = int(top["segment"][0]), int(top["n_out"][0])
    edges, partners = opened.manifest["edges"], len(opened.partners(hub))
    print(f"{edges:,} edges; the hub has {synapses:,} synapses to {partners:,} partners")
    usual("partners of the hub, opened anew", lambda: Graph(graph).partners(hub))
    usual("partners of the hub", lambda: opened.partners(hub))
    usual("synapses of the hub (out)", lambda: opened.synapses(pre=hub))
    usual("degrees of all", opened.degrees)
    usual("degrees of all, opened anew", lambda: Graph(graph).degrees())
    for factor in (1, 0.5):
        lo, hi = 40_000.0, 40_000.0 + SIDE_NM * factor
        box = ((lo, lo, lo), (hi, hi, hi))
        found = len(opened.box(box)["id"])
        usual(
            f"box of {SIDE_NM * factor / 1000:g} um, {found:,} synapses, all columns", lambda box=box: opened.box(box)
        )
        usual("the same, ids, partners and places", lambda box=box: opened.box(box, FEW))
    duck(opened, hub)
    lite(opened, hub)


def duck(opened: Graph, hub: int) -> None:
    """DuckDB, on the same files, with one thread."""
    import duckdb

    folder = opened.folder.removeprefix("file://")
    connection = duckdb.connect()
    connection.execute("SET threads = 1")

    def asked(query: str) -> Any:
        return connection.cursor().execute(query).fetchnumpy()

    edges, synapses, nodes = (f"'{folder}/{name}/*.parquet'" for name in ("edges_pre", "synapses", "nodes"))
    usual(
        "DuckDB: partners of the hub",
        lambda: asked(f"SELECT post, n, voxels FROM {edges} WHERE pre = {hub} ORDER BY n DESC"),
    )
    usual("DuckDB: the same, from synapses",
          lambda: asked(f"SELECT post, count(*) n FROM {synapses} WHERE pre = {hub} GROUP BY post"))  # fmt: skip
    usual("DuckDB: degrees of all, nodes", lambda: asked(f"SELECT * FROM {nodes}"))
    usual(
        "DuckDB: degrees of all, from edges", lambda: asked(f"SELECT pre, count(*), sum(n) FROM {edges} GROUP BY pre")
    )
    lo, hi = 40_000, 40_000 + SIDE_NM
    inside = " AND ".join(f"{axis} >= {lo} AND {axis} < {hi}" for axis in "xyz")
    usual("DuckDB: box, all columns", lambda: asked(f"SELECT * FROM {synapses} WHERE {inside}"))


def lite(opened: Graph, hub: int) -> None:
    """SQLite, with edges and synapses loaded and indexed; ids are less 2**60, for its numbers are signed."""
    base = np.uint64(1 << 60)
    path = Path(opened.folder.removeprefix("file://")).parent / "graph.sqlite"
    path.unlink(missing_ok=True)
    base_url = opened.folder.removeprefix("file://")
    connection = sqlite3.connect(path)
    start = time.perf_counter()
    connection.execute(
        "CREATE TABLE edges (pre INT, post INT, n INT, voxels INT, PRIMARY KEY (pre, post)) WITHOUT ROWID"
    )
    for table in opened.edges():
        columns = (
            (table["pre"] - base).tolist(),
            (table["post"] - base).tolist(),
            table["n"].tolist(),
            table["voxels"].tolist(),
        )
        connection.executemany("INSERT INTO edges VALUES (?, ?, ?, ?)", zip(*columns, strict=True))
    connection.execute("CREATE VIRTUAL TABLE places USING rtree_i32 (id, x0, x1, y0, y1, z0, z1)")
    number = 0
    for file in sorted(Path(base_url, "synapses").iterdir()):
        table = parquet_tables.read(str(file), ["x", "y", "z"])
        x, y, z = (table[axis].tolist() for axis in "xyz")
        connection.executemany("INSERT INTO places VALUES (?, ?, ?, ?, ?, ?, ?)",
                               zip(range(number, number + len(x)), x, x, y, y, z, z, strict=True))  # fmt: skip
        number += len(x)
    connection.commit()
    print(f"SQLite: loaded in {time.perf_counter() - start:.0f} s, {path.stat().st_size / 1e6:.0f} MB")

    def asked(query: str) -> Any:
        return connection.execute(query).fetchall()

    own = hub - (1 << 60)
    usual(
        "SQLite: partners of the hub",
        lambda: asked(f"SELECT post, n, voxels FROM edges WHERE pre = {own} ORDER BY n DESC"),
    )
    usual("SQLite: degrees of all, from edges", lambda: asked("SELECT pre, count(*), sum(n) FROM edges GROUP BY pre"))
    lo, hi = 40_000, 40_000 + SIDE_NM
    inside = " AND ".join(f"{axis}0 >= {lo} AND {axis}1 < {hi}" for axis in "xyz")
    usual("SQLite: box (R-tree), places only", lambda: asked(f"SELECT * FROM places WHERE {inside}"))


def main() -> None:
    folder = Path(sys.argv[1]).absolute()
    count, neurons = (int(word) for word in [*sys.argv[2:], *("5000000", "100000")[len(sys.argv) - 2 :]])
    print(f"{count:,} synapses of {neurons:,} neurons; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    table, graph = f"file://{folder}/table", f"file://{folder}/graph"
    if not (folder / "table" / "table.json").exists():
        store(table, count, neurons)
    if not (folder / "graph").exists():
        call = f"from bench.graph import build; build({table!r}, {graph!r})"
        subprocess.run([sys.executable, "-c", call], check=True)
        size = sum(file.stat().st_size for file in (folder / "graph/versions/1").rglob("*") if "work" not in file.parts)
        print(f"{size / 1e6:.0f} MB of files")
    ask(graph)


if __name__ == "__main__":
    main()
