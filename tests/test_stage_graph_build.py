"""Versions of graphs are those of a group-by of the whole table, whatever cells, blocks, parts and order."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import cleaning, cli, run
from igneous_ng.building import FATES
from igneous_ng.connectome import Plan
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import numpy_columns, parquet_tables
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.renaming import Renaming
from igneous_ng.stages.graph_build import Build, Sort, Take
from igneous_ng.store import Store
from igneous_ng.synapses import LEFT_OUT, Frame, Synapses, empty
from tests.layers import files, notes
from tests.synaptic import table
from tests.test_stage_eval_segmentation import units_again

Array = npt.NDArray[Any]
AXES = ("x", "y", "z")


def built(folder: Path, name: str = "graph", **fields: Any) -> dict[str, Any]:
    """The manifest of a graph of the table in a folder."""
    chain = Build(table=f"{folder}/table", graph=f"{folder}/{name}", **{"cell": 64, "parts": 4, **fields})
    for step in chain.steps(IO()):
        run.inline(step)
    found: dict[str, Any] = json.loads((folder / name / "versions" / chain.tag / "manifest.json").read_text())
    return found


def made(folder: Path, name: str = "graph", tag: str = "1") -> dict[str, bytes]:
    """The files of a version that stay."""
    found = files(folder / name / "versions" / tag)
    return {name: data for name, data in found.items() if not name.startswith("work/")}


def tables(folder: Path, what: str, name: str = "graph", tag: str = "1") -> dict[str, Array]:
    """All parts of a table."""
    paths = sorted((folder / name / "versions" / tag / what).glob("*.parquet"))
    parts = [parquet_tables.read(str(path)) for path in paths]
    return {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}


def kept(rows: dict[str, Array], plan: Plan) -> tuple[Array, Array]:
    """Which rows are of edges, and which are autapses, row by row."""
    found = []
    for number in range(len(rows["id"])):
        row = {name: column[number] for name, column in rows.items()}
        inside = plan.roi is None or all(
            lo * r <= at < hi * r
            for lo, hi, r, at in zip(plan.roi.lo, plan.roi.hi, plan.resolution, row["place"].tolist(), strict=True)
        )
        strong = row["confidence"] >= plan.min_confidence and row["voxels"] >= plan.min_voxels
        whole = not row["flags"] & (LEFT_OUT & ~4) and row["pre"] and row["post"]
        found.append((inside and strong and bool(whole)) * (2 if row["pre"] == row["post"] else 1))
    fate = np.array(found, int)
    return fate == 1, fate == 2


def defined(rows: dict[str, Array], plan: Plan) -> dict[str, Any]:
    """Edges and nodes, in plain Python."""
    edge, alone = kept(rows, plan)
    found: dict[tuple[int, int], list[int]] = {}
    for at in np.flatnonzero(edge):
        new = [1, int(rows["voxels"][at]), int(rows["confidence"][at]), int(rows["kind"][at] == 1),
               int(rows["kind"][at] == 2), *rows["place"][at].tolist()]  # fmt: skip
        key = int(rows["pre"][at]), int(rows["post"][at])
        found[key] = [a + b for a, b in zip(found.get(key, [0] * len(new)), new, strict=True)]
    edges = {key: (*s[:5], *((2 * v + s[0]) // (2 * s[0]) for v in s[5:])) for key, s in found.items()}
    nodes: dict[int, Counter[str]] = {int(segment): Counter() for segment in rows["pre"][alone]}
    for segment in rows["pre"][alone].tolist():
        nodes[segment]["autapses"] += 1
    for (pre, post), edge_of in edges.items():
        for segment, way in ((pre, "out"), (post, "in")):
            values = {f"n_{way}": edge_of[0], f"partners_{way}": 1, f"voxels_{way}": edge_of[1]}
            nodes.setdefault(segment, Counter()).update(values)
    return {"edges": edges, "nodes": nodes, "ids": rows["id"][edge], "autapses": int(alone.sum())}


def check(folder: Path, rows: dict[str, Array], manifest: dict[str, Any], name: str = "graph", tag: str = "1") -> None:
    """All tables against the definition."""
    expected = defined(rows, Plan.parse(manifest, ""))
    names = ("n", "voxels", "confidence", "n_exc", "n_inh", *AXES)
    for side in ("pre", "post"):
        edges = tables(folder, f"edges_{side}", name, tag)
        keys = zip(edges["pre"].tolist(), edges["post"].tolist(), strict=True)
        values = zip(*(edges[column].tolist() for column in names), strict=True)
        assert dict(zip(keys, values, strict=True)) == expected["edges"]
        assert len(edges["n"]) == len(expected["edges"])
        assert sorted(tables(folder, f"by_{side}", name, tag)["id"].tolist()) == sorted(expected["ids"].tolist())
    nodes = tables(folder, "nodes", name, tag)
    columns = [column for column in nodes if column != "segment"]
    figures = zip(*(nodes[column].tolist() for column in columns), strict=True)
    assert dict(zip(nodes["segment"].tolist(), figures, strict=True)) == {
        segment: tuple(counts[column] for column in columns) for segment, counts in expected["nodes"].items()
    }
    places = tables(folder, "synapses", name, tag)
    order, whole = np.argsort(places["id"]), np.isin(rows["id"], expected["ids"])
    assert np.array_equal(places["id"][order], rows["id"][whole])
    for stem in ("", "pre_", "post_"):
        at = np.stack([places[stem + axis] for axis in AXES], axis=1)[order]
        assert np.array_equal(at, rows[f"{stem}place"][whole])
    assert manifest["synapses"] == len(expected["ids"])
    assert (manifest["edges"], manifest["nodes"]) == (len(expected["edges"]), len(expected["nodes"]))
    assert manifest["autapses"] == expected["autapses"]
    assert sum(manifest["left_out"].values()) + manifest["synapses"] + manifest["autapses"] == len(rows["id"])


def check_rows(folder: Path, parts: int) -> None:
    """Compressed sparse rows have the edges, strongest first."""
    for way, side in (("out", "pre"), ("in", "post")):
        other = "post" if side == "pre" else "pre"
        for part in range(parts):
            base = folder / "graph" / "versions" / "1" / "csr" / way / f"part-{part}"
            own = {p.stem: np.array(numpy_columns.mapped(str(p))) for p in base.glob("*.npy")}
            edges = parquet_tables.read(str(folder / f"graph/versions/1/edges_{side}/part-{part}.parquet"))
            found = []
            for k, key in enumerate(own["keys"].tolist()):
                row = slice(int(own["starts"][k]), int(own["starts"][k + 1]))
                rank = list(zip((-own["counts"][row].astype(int)).tolist(), own["partners"][row].tolist(), strict=True))
                assert rank == sorted(rank)
                found += [(key, p, -n, v) for (n, p), v in zip(rank, own["voxels"][row].tolist(), strict=True)]
            columns = (edges[name].tolist() for name in (side, other, "n", "voxels"))
            assert sorted(found) == list(zip(*columns, strict=True))


def test_a_graph_is_a_group_by_of_the_table(tmp_path: Path) -> None:
    rows = table(f"file://{tmp_path}/table", 3000, 60)
    check(tmp_path, rows, built(tmp_path))
    check_rows(tmp_path, 4)
    assert int(rows["pre"].max()) > 2**60
    plan = Plan.parse(json.loads((tmp_path / "graph/versions/1/plan.json").read_text()), "")
    assert len(plan.grid) == 4 * 3 * 1


@pytest.mark.parametrize("fields", [{"min_confidence": 100, "min_voxels": 700}, {"roi": "0:90,30:170,110:140"}])
def test_filters_leave_out_what_they_say(tmp_path: Path, fields: dict[str, Any]) -> None:
    rows = table(f"file://{tmp_path}/table", 1500, 30)
    manifest = built(tmp_path, **fields)
    check(tmp_path, rows, manifest)
    left = manifest["left_out"]
    assert (left["weak"] > 300) == ("min_voxels" in fields)
    assert (left["outside"] > 300) == ("roi" in fields)


@pytest.mark.long
def test_cells_blocks_and_order_leave_the_same_bytes(tmp_path: Path) -> None:
    for block in (16, 32, 64):
        table(f"file://{tmp_path}/table", 2000, 50, block=block)
        built(tmp_path, f"graph-{block}")
    same = made(tmp_path, "graph-16")
    assert made(tmp_path, "graph-32") == same == made(tmp_path, "graph-64")
    table(f"file://{tmp_path}/table", 2000, 50, block=128)
    built(tmp_path, "wide")
    wide = made(tmp_path, "wide")
    other = {name for name in same.keys() | wide.keys() if same.get(name) != wide.get(name)}
    assert all(name.startswith("synapses/") or name in ("plan.json", "manifest.json") for name in other)
    table(f"file://{tmp_path}/table", 2000, 50, block=32)
    chain = Build(table=f"{tmp_path}/table", graph=f"{tmp_path}/graph-16", cell=64, parts=4)
    for stage in chain.steps(IO()):
        io = IO()
        stage.prepare(io)
        for unit in [*reversed(stage.units(io)), *stage.units(io)]:
            stage.execute(unit, io)
        stage.finish(io)
    assert made(tmp_path, "graph-16") == same


@pytest.mark.long
def test_many_cells_and_parts_take_several_levels(tmp_path: Path) -> None:
    rows = table(f"file://{tmp_path}/table", 3000, 300, block=32)
    check(tmp_path, rows, built(tmp_path, cell=32, parts=8))  # 7 x 5 x 2 cells
    assert (tmp_path / "graph/versions/1/work/done/shuffle-1.json").exists()
    built(tmp_path, "one", cell=256, parts=8)
    assert not (tmp_path / "one/versions/1/work/done/shuffle-1.json").exists()
    one, many = made(tmp_path, "one"), made(tmp_path)
    other = {name for name in one.keys() | many.keys() if one.get(name) != many.get(name)}
    assert all(name.startswith("synapses/") or name in ("plan.json", "manifest.json") for name in other)
    check(tmp_path, rows, built(tmp_path, "parts", cell=256, parts=128), "parts")
    assert (tmp_path / "parts/versions/1/work/done/shuffle-1.json").exists()


@pytest.mark.long
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 300), neurons=st.integers(1, 60), parts=st.sampled_from([1, 8]))
def test_any_table(tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, neurons: int, parts: int) -> None:
    folder = tmp_path_factory.mktemp("any")
    rows = table(f"file://{folder}/table", count, neurons, seed=seed) if count else nothing(folder)
    check(folder, rows, built(folder, parts=parts))
    check_rows(folder, parts)


def nothing(folder: Path) -> dict[str, Array]:
    desk = Synapses(IO(), f"file://{folder}/table")
    frame = Frame(Box((0, 0, 0), (100, 70, 64)), (4.0, 4.0, 40.0), 64, None, 0, {})
    for box in frame.grid:
        desk.write(frame.grid.at(box), empty())
    desk.finish(frame)
    return empty()


def renamed(rows: dict[str, Array]) -> tuple[dict[int, int], dict[str, Array]]:
    """Half of the segments in groups of three, some dropped; and the rows under their new names."""
    names = np.unique(np.concatenate([rows["pre"], rows["post"]]))
    names = names[names > 0]
    new = {int(old): int(names[k - k % 3]) for k, old in enumerate(names[: len(names) // 2])}
    new |= {int(names[-1]): 0, 12345: 6}
    after = dict(rows)
    for side in ("pre", "post"):
        after[side] = np.array([new.get(int(label), int(label)) for label in rows[side]], np.uint64)
    return new, after


@pytest.mark.parametrize("kind", ["json", "npz", "folder"])
def test_a_table_of_labels_makes_another_version(tmp_path: Path, kind: str) -> None:
    rows = table(f"file://{tmp_path}/table", 1200, 40)
    before = built(tmp_path)
    new, after = renamed(rows)
    old = np.array(sorted(new), np.uint64)
    became = np.array([new[int(label)] for label in old], np.uint64)
    path = tmp_path / f"proofread.{kind}"
    if kind == "json":
        path.write_text(json.dumps(new))
    elif kind == "npz":
        np.savez(path, old=old, new=became)
    else:
        Renaming(IO(), f"file://{path}").split(old, became)
    manifest = built(tmp_path, tag="proofread", remap=str(path))
    check(tmp_path, after, manifest, tag="proofread")
    assert manifest["autapses"] > before["autapses"]
    assert manifest["left_out"]["flagged"] > before["left_out"]["flagged"]
    assert manifest["digests"]["table"] == before["digests"]["table"]
    assert manifest["digests"]["remap"] is not None
    check(tmp_path, rows, before)


@pytest.mark.long
def test_a_redo_gives_what_is_made_anew(tmp_path: Path) -> None:
    rows = table(f"file://{tmp_path}/table", 2000, 300, block=32)
    built(tmp_path, parts=16)
    before = made(tmp_path)
    assert not units_again(f"file://{tmp_path}/graph")
    desk = Synapses(IO(), f"file://{tmp_path}/table")
    at = (1, 1, 0)
    block = dict(desk.rows(at))
    block["voxels"] = block["voxels"].copy()
    changed = np.flatnonzero(block["flags"] == 0)[:1]
    block["voxels"][changed] += 1
    rows["voxels"][np.isin(rows["id"], block["id"][changed])] += 1
    desk.write(at, block)
    again = units_again(f"file://{tmp_path}/graph")
    assert again["graph take", 0] == 1
    after = made(tmp_path)
    check(tmp_path, rows, json.loads(after["manifest.json"]))
    built(tmp_path, "anew", parts=16)
    assert after == made(tmp_path, "anew")
    other = {name for name in after if after[name] != before[name]}
    kinds = Counter(name.partition("/")[0] for name in other)
    one_of_each = dict.fromkeys(("synapses", "by_pre", "by_post", "edges_pre", "edges_post", "manifest.json"), 1)
    nodes = kinds.pop("nodes")
    assert kinds == {**one_of_each, "csr": 2}
    assert 1 <= nodes <= 2


def test_a_redo_follows_proofreading_though_all_between_was_cleaned_away(tmp_path: Path) -> None:
    rows = table(f"file://{tmp_path}/table", 800, 30)
    labels = tmp_path / "labels.json"
    a, b, c = (int(label) for label in np.unique(rows["pre"])[1:4])
    labels.write_text(json.dumps({str(a): str(b)}))
    built(tmp_path, remap=str(labels))
    url = f"file://{tmp_path}/graph"
    for waste in list(cleaning.wastes(Store(), url, 0.0)):
        cleaning.remove(Store(), waste)
    assert not (tmp_path / "graph/versions/1/work").exists()
    assert not units_again(url)
    labels.write_text(json.dumps({str(a): str(c)}))
    assert units_again(url).keys() == {(f"graph {phase}", 0) for phase in ("remap", "take", "sort", "publish")}
    after = made(tmp_path)
    built(tmp_path, "anew", remap=str(labels))
    assert after == made(tmp_path, "anew")
    assert a not in tables(tmp_path, "nodes")["segment"]


def test_density_and_confidence_are_noted(tmp_path: Path) -> None:
    table(f"file://{tmp_path}/table", 500, 20, block=256)
    chain = Build(table=f"{tmp_path}/table", graph=f"{tmp_path}/graph")
    for step in chain.steps(IO()):
        run.inline(step)
        if isinstance(step, Take):
            (noted,) = notes(tmp_path / "graph")
    places = tables(tmp_path, "synapses")
    volume = 200 * 143 * 63 * 8 * 8 * 30 / 1e9
    assert noted["density"] == pytest.approx(len(places["id"]) / volume, rel=1e-5)
    assert noted["confidence"] == pytest.approx(places["confidence"].mean(), abs=1e-3)
    assert set(FATES) < noted.keys()


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    url = f"{tmp_path}/table"
    with pytest.raises(DataError, match="no table of synapses"):
        built(tmp_path)
    table(f"file://{url}", 100, 5)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"cell": 100}, "power of two"), ({"parts": 0}, "power of two"), ({"parts": 1 << 20}, "at most"),
        ({"min_confidence": 256}, "0 to 255"), ({"min_voxels": -1}, "0 or more"), ({"date": "July"}, "2026-07-01"),
        ({"tag": "a/b"}, "no name"), ({"roi": "900:901,0:1,0:1"}, "no part of the table"),
    ]  # fmt: skip
    for fields, message in wrong:
        with pytest.raises(SpecError, match=message):
            built(tmp_path, **fields)
    for fields, message in (({"remap": f"{tmp_path}/no.json"}, "missing"), ({"remap": f"{tmp_path}/no"}, "no table")):
        with pytest.raises(DataError, match=message):
            built(tmp_path, **fields)
    with pytest.raises(DataError, match="not begun"):
        run.inline(Sort(graph=f"{tmp_path}/graph"))
    assert not (tmp_path / "graph" / "versions").exists()
    built(tmp_path)
    with pytest.raises(SpecError, match="min_voxels 0 there, 5 asked for.*another --tag"):
        built(tmp_path, min_voxels=5)


def test_it_is_a_command(tmp_path: Path) -> None:
    table(f"file://{tmp_path}/table", 400, 10)
    words = ["graph", "build", f"{tmp_path}/table", f"{tmp_path}/graph", "--cell", "64", "--parts", "2"]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 0, done.output
    assert "segments;" in done.output
    assert Store().exists(f"file://{tmp_path}/graph/versions/1/manifest.json")
