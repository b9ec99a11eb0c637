"""Questions to a graph are answered as from its table, by maps of local files as by ranges of others."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from igneous_ng import cli, graph_sql
from igneous_ng.errors import ConfigurationError, DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.graphs import Graph
from igneous_ng.io import IO
from igneous_ng.store import Store
from igneous_ng.synapses import Synapses
from tests.synaptic import table
from tests.test_stage_graph_build import built, kept, made

Array = npt.NDArray[Any]


class Known:
    """A graph of drawn synapses, and its edges as a dictionary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = table(f"file://{folder}/table", 1500, 60)
        built(folder, date="2026-07-01")
        self.graph = Graph(f"{folder}/graph")
        self.edge, self.alone = kept(self.rows, self.graph.plan)
        pairs = zip(self.rows["pre"][self.edge].tolist(), self.rows["post"][self.edge].tolist(), strict=True)
        self.edges = Counter(pairs)
        self.hub = Counter(self.rows["pre"][self.edge].tolist()).most_common(1)[0][0]

    def out(self, segment: int) -> dict[int, int]:
        return {post: n for (pre, post), n in self.edges.items() if pre == segment}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return Known(tmp_path_factory.mktemp("graph"))


def remote(known: Known) -> Graph:
    """The same graph behind another protocol."""
    store, source = Store(), f"file://{known.folder}/graph"
    for name in made(known.folder):
        data = store.get(f"{source}/versions/1/{name}")
        assert data is not None
        store.put(f"mem://graphs/one/versions/1/{name}", data)
    return Graph("mem://graphs/one", "1")


def test_partners_are_those_of_the_table(known: Known) -> None:
    for way, own, other in (("out", 0, 1), ("in", 1, 0)):
        for segment in {edge[own] for edge in known.edges}:
            found = known.graph.partners(segment, way)  # type: ignore[arg-type]
            expected = {edge[other]: n for edge, n in known.edges.items() if edge[own] == segment}
            assert dict(zip(found.segments.tolist(), found.counts.tolist(), strict=True)) == expected
            ranked = sorted(expected, key=lambda one: (-expected[one], one))
            assert found.segments.tolist() == ranked
            few = known.graph.partners(segment, way, min_count=3)  # type: ignore[arg-type]
            assert few.segments.tolist() == [one for one in ranked if expected[one] >= 3]
    assert len(known.graph.partners(known.hub, min_count=2**40)) == 0


def test_degrees_and_the_top(known: Known) -> None:
    table = known.graph.degrees()
    leaving = Counter[int]()
    for (pre, _), n in known.edges.items():
        leaving[pre] += n
    assert dict(zip(table["segment"].tolist(), table["n_out"].tolist(), strict=True)) == {
        segment: leaving[segment] for segment in table["segment"].tolist()
    }
    top = known.graph.top(5)
    assert top["segment"].tolist() == sorted(leaving, key=lambda one: (-leaving[one], one))[:5]
    some = known.graph.degrees(top["segment"].tolist())
    assert dict(zip(some["segment"].tolist(), some["n_out"].tolist(), strict=True)) == {
        segment: leaving[segment] for segment in top["segment"].tolist()
    }
    with pytest.raises(SpecError, match="no figure 'n'"):
        known.graph.top(5, "n")


def test_synapses_of_a_segment_and_between_two(known: Known) -> None:
    rows = {name: column[known.edge] for name, column in known.rows.items()}
    other = max(known.out(known.hub), key=lambda one: known.edges[known.hub, one])
    cases: list[tuple[dict[str, Array], Array]] = [
        (known.graph.synapses(known.hub), (rows["pre"] == known.hub) | (rows["post"] == known.hub)),
        (known.graph.synapses(pre=known.hub), rows["pre"] == known.hub),
        (known.graph.synapses(post=other), rows["post"] == other),
        (known.graph.synapses(pre=known.hub, post=other), (rows["pre"] == known.hub) & (rows["post"] == other)),
        (known.graph.between(known.hub, other), ((rows["pre"] == known.hub) & (rows["post"] == other))
         | ((rows["pre"] == other) & (rows["post"] == known.hub))),
    ]  # fmt: skip
    for found, chosen in cases:
        order = np.argsort(found["id"])
        assert np.array_equal(found["id"][order], rows["id"][chosen])
        assert np.array_equal(found["voxels"][order], rows["voxels"][chosen])
        assert np.array_equal(np.stack([found[a] for a in "xyz"], axis=1)[order], rows["place"][chosen])
    with pytest.raises(SpecError, match="say of which"):
        known.graph.synapses()
    with pytest.raises(SpecError, match="say of which"):
        known.graph.synapses(known.hub, pre=other)


BOXES = ["-20:180,7:150,100:163", "0:50,40:90,110:130", "43:44,7:150,100:163", "179:180,7:8,100:101", "500:600,0:9,0:9"]


@pytest.mark.parametrize("box", BOXES)
def test_a_box_has_the_synapses_whose_middle_lies_in_it(known: Known, box: str) -> None:
    lo, hi = (np.array(corner) * (8, 8, 30) for corner in (Box.parse(box).lo, Box.parse(box).hi))
    place = known.rows["place"]
    inside = ((place >= lo) & (place < hi)).all(axis=1) & known.edge
    found = known.graph.box(Box.parse(box))
    assert sorted(found["id"].tolist()) == known.rows["id"][inside].tolist()
    assert {"x", "pre_x", "lo_x", "mean", "confidence"} <= found.keys()
    nm = known.graph.box((tuple(lo.tolist()), tuple(hi.tolist())), ["id"])
    assert list(nm) == ["id"]
    assert np.array_equal(nm["id"], found["id"])


def test_middles_far_from_the_first_voxel_are_found(tmp_path: Path) -> None:
    table(f"file://{tmp_path}/table", 300, 9)
    desk = Synapses(IO(), f"file://{tmp_path}/table")
    block = dict(desk.rows((0, 0, 0)))
    block["place"] = block["place"].copy()
    at = np.flatnonzero((block["flags"] == 0) & (block["pre"] != block["post"]))[0]
    block["place"][at] = 1300, 1000, 4500  # voxel 162, 125, 150
    desk.write((0, 0, 0), block)
    built(tmp_path, cell=64)
    found = Graph(f"{tmp_path}/graph").box(Box((162, 125, 150), (163, 126, 151)))
    assert block["id"][at] in found["id"]


def test_subgraphs_paths_and_common_partners(known: Known) -> None:
    chosen = sorted({pre for pre, _ in known.edges})[:25]
    found = known.graph.subgraph(chosen)
    pairs = list(zip(found["pre"].tolist(), found["post"].tolist(), strict=True))
    assert dict(zip(pairs, found["n"].tolist(), strict=True)) == {
        edge: n for edge, n in known.edges.items() if set(edge) <= set(chosen)
    }
    expected, wave = {known.hub: 0}, {known.hub}
    for distance in (1, 2):
        wave = {post for pre, post in known.edges if pre in wave} - expected.keys()
        expected |= dict.fromkeys(wave, distance)
    assert known.graph.hops(known.hub, 2) == expected
    for target, distance in list(expected.items())[::7]:
        way = known.graph.path(known.hub, target)
        assert len(way) == distance + 1
        assert all(edge in known.edges for edge in itertools.pairwise(way))
    far = next(target for target, distance in expected.items() if distance == 2)
    assert known.graph.path(known.hub, far, 1) == []
    a, b = (segment for segment, _ in Counter(pre for pre, _ in known.edges).most_common(2))
    shared = known.graph.common_partners([a, b])
    both = known.out(a).keys() & known.out(b).keys()
    ranked = sorted(both, key=lambda one: (-known.out(a)[one] - known.out(b)[one], one))
    assert shared["segment"].tolist() == ranked
    assert shared["counts"].tolist() == [[known.out(a)[one], known.out(b)[one]] for one in ranked]


def test_another_protocol_gives_the_same_answers(known: Known) -> None:
    far, near = remote(known), known.graph
    one, other = far.partners(known.hub), near.partners(known.hub)
    assert np.array_equal(one.segments, other.segments)
    assert np.array_equal(one.voxels, other.voxels)
    box = Box((0, 40, 110), (50, 90, 130))
    for a, b in ((far.box(box), near.box(box)), (far.synapses(known.hub), near.synapses(known.hub))):
        assert all(np.array_equal(a[name], b[name]) for name in b)
    assert far.hops(known.hub, 1) == near.hops(known.hub, 1)
    with pytest.raises(SpecError, match="copy the version"):
        far.sql("SELECT 1")


def test_unknown_segments_versions_and_graphs_are_said_so(known: Known) -> None:
    for ask in (
        lambda: known.graph.partners(77),
        lambda: known.graph.synapses(77),
        lambda: known.graph.subgraph([known.hub, 77]),
        lambda: known.graph.path(known.hub, 77),
    ):
        with pytest.raises(SpecError, match="no segment 77 in version 1"):
            ask()
    for wrong in (-1, 2**64):
        with pytest.raises(SpecError, match="whole numbers"):
            known.graph.partners(wrong)
    with pytest.raises(SpecError, match="out and in"):
        known.graph.partners(known.hub, "up")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no finished version 9"):
        Graph(known.graph.url, "9")
    with pytest.raises(DataError, match="graph build"):
        Graph(f"{known.folder}/table")


def test_the_newest_version_is_the_one_that_is_meant(tmp_path: Path) -> None:
    table(f"file://{tmp_path}/table", 100, 9)
    for tag, date in (("10", ""), ("9", ""), ("b", "2026-02-01"), ("a", "2026-03-01")):
        built(tmp_path, tag=tag, date=date)
    assert Graph(f"{tmp_path}/graph").version == "a"
    assert Graph(f"{tmp_path}/graph", "9").version == "9"
    shown = CliRunner().invoke(cli.main, ["graph", "versions", f"{tmp_path}/graph", "--json"])
    assert [one["version"] for one in json.loads(shown.output)] == ["9", "10", "b", "a"]
    (tmp_path / "graph/versions/a/manifest.json").unlink()
    assert Graph(f"{tmp_path}/graph").version == "b"


def test_exports_hold_the_edges(known: Known, tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    graph = known.graph.to_networkx()
    assert {(a, b): n for a, b, n in graph.edges(data="n")} == dict(known.edges)
    assert set(graph.nodes) == set(known.graph.degrees()["segment"].tolist())
    for name in ("all.csv", "all.npz", "all.graphml"):
        known.graph.export(f"{tmp_path}/{name}")
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert lines[0] == "pre,post,n,voxels,confidence,n_exc,n_inh,x,y,z"
    cells = [line.split(",") for line in lines[1:]]
    assert {(int(pre), int(post)): int(n) for pre, post, n, *_ in cells} == dict(known.edges)
    with np.load(tmp_path / "all.npz") as file:
        assert file["pre"].dtype == np.uint64
        pairs = zip(file["pre"].tolist(), file["post"].tolist(), strict=True)
        assert dict(zip(pairs, file["n"].tolist(), strict=True)) == dict(known.edges)
    again = networkx.read_graphml(tmp_path / "all.graphml")
    assert {(int(a), int(b)): n for a, b, n in again.edges(data="n")} == dict(known.edges)
    assert set(map(int, again.nodes)) == set(graph.nodes)
    with pytest.raises(SpecError, match=".csv, .graphml, .npz"):
        known.graph.export(f"{tmp_path}/all.txt")


def test_sql_sees_the_same_and_changes_nothing(known: Known, tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    for text in ("SELECT pre, post, n FROM edges", "SELECT pre, post, count(*) FROM synapses GROUP BY pre, post"):
        names, rows = known.graph.sql(text)
        assert names[:2] == ["pre", "post"]
        assert {(a, b): n for a, b, n in rows} == dict(known.edges)
    total = "SELECT segment, n_out FROM nodes WHERE n_out > 0"
    sums = "SELECT pre, sum(n)::BIGINT FROM edges GROUP BY pre"
    assert sorted(known.graph.sql(total)[1]) == sorted(known.graph.sql(sums)[1])
    for text in (f"COPY edges TO '{tmp_path}/x.csv'", "CREATE TABLE t (a INT)", "SELECT 1; SELECT 2", "SELECT", ""):
        with pytest.raises(SpecError, match="graph sql"):
            known.graph.sql(text)
    assert not (tmp_path / "x.csv").exists()


def test_sql_without_duckdb_says_what_to_install(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(ConfigurationError, match=r"igneous-ng\[sql\]"):
        graph_sql.query({}, "SELECT 1")


def test_commands_give_ids_as_texts_in_json(known: Known, tmp_path: Path) -> None:
    def asked(*words: str) -> Any:
        done = CliRunner().invoke(cli.main, ["graph", *words, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    url, hub = known.graph.url, str(known.hub)
    found = asked("partners", url, hub, "--top", "3")
    assert [one["segment"] for one in found["partners"]] == known.graph.partners(known.hub).segments[:3].astype(
        str
    ).tolist()
    assert asked("degrees", url, hub)["segments"][0]["segment"] == hub
    assert len(asked("degrees", url, "--top", "4", "--by", "n_in")["segments"]) == 4
    target = next(iter(known.out(known.hub)))
    assert asked("path", url, hub, str(target))["path"] == [hub, str(target)]
    edges = asked("subgraph", url, hub, str(target))["edges"]
    assert (edges[0]["pre"], edges[0]["n"]) in [
        (hub, known.edges[known.hub, target]),
        (str(target), known.edges[target, known.hub]),
    ]
    done = CliRunner().invoke(cli.main, ["graph", "export", url, f"{tmp_path}/all.csv"])
    assert done.exit_code == 0, done.output
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 1 + len(known.edges)
    for words in (["partners", url, hub], ["degrees", url], ["path", url, hub, str(target)], ["versions", url],
                  ["subgraph", url, hub, str(target)]):  # fmt: skip
        shown = CliRunner().invoke(cli.main, ["graph", *words])
        assert shown.exit_code == 0, shown.output
        assert shown.output.strip()
    wrong = CliRunner().invoke(cli.main, ["graph", "partners", url, "77"])
    assert wrong.exit_code == 2
    assert "no segment 77" in wrong.output


def test_sql_is_a_command(known: Known) -> None:
    pytest.importorskip("duckdb")
    query = f"SELECT segment, n_out FROM nodes WHERE segment = {known.hub}"
    words = ["graph", "sql", known.graph.url, query]
    found = json.loads(CliRunner().invoke(cli.main, [*words, "--json"]).output)
    assert found == {"columns": ["segment", "n_out"], "rows": [[str(known.hub), sum(known.out(known.hub).values())]]}
    assert str(known.hub) in CliRunner().invoke(cli.main, words).output
