"""Contacts, asked for by segment, exported, and joined with synapses by SQL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import cli
from igneous_ng.errors import DataError, SpecError
from igneous_ng.neighbours import Neighbours
from tests.contact_pairs import Pairs, blobs, defined, nm2
from tests.synaptic import table
from tests.test_stage_graph_build import built
from tests.test_stage_graph_contacts import LO, RESOLUTION, layer, touched


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph that has contacts alone."""
    found = tmp_path_factory.mktemp("contacts")
    layer(found, blobs((14, 12, 10), 25, 8))
    touched(found)
    return found


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    every = defined(blobs((14, 12, 10), 25, 8), LO, RESOLUTION)
    return {pair: one for pair, one in every.items() if pair[0] and any(one["counts"][:3])}


def own(pairs: Pairs, segment: int) -> list[tuple[int, int]]:
    """The contacts of a segment, partner and area, as they are to be listed."""
    found = [(sum(pair) - segment, nm2(one["area"])) for pair, one in pairs.items() if segment in pair]
    return sorted(found, key=lambda row: (-row[1], row[0]))


def said(*words: str) -> Any:
    done = CliRunner().invoke(cli.main, ["graph", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_segment_tells_what_it_touches(folder: Path, pairs: Pairs) -> None:
    opened = Neighbours(f"{folder}/graph")
    for segment in {label for pair in pairs for label in pair}:
        found = opened.of(segment)
        assert list(zip(found["partner"].tolist(), found["area"].tolist(), strict=True)) == own(pairs, segment)
        partners = np.array([5, *found["partner"][::-1].tolist()], np.uint64)
        assert opened.areas(segment, partners).tolist() == [0, *found["area"][::-1].tolist()]
    assert opened.areas(5, np.array([6], np.uint64)).tolist() == [0]
    segment = max(label for pair in pairs for label in pair)
    told = json.loads(said("neighbours", f"{folder}/graph", str(segment), "--top", "2", "--json"))
    assert [(int(one["partner"]), one["area"]) for one in told["neighbours"]] == own(pairs, segment)[:2]
    assert told["of"] == len(own(pairs, segment))
    assert str(own(pairs, segment)[0][1]) in said("neighbours", f"{folder}/graph", str(segment))


def test_unknown_segments_and_versions_are_said_so(folder: Path) -> None:
    opened = Neighbours(f"{folder}/graph")
    with pytest.raises(SpecError, match="no segment 77 in contacts 1"):
        opened.of(77)
    with pytest.raises(SpecError, match="whole numbers"):
        opened.of(-1)
    with pytest.raises(DataError, match="no finished contacts 9 here"):
        Neighbours(f"{folder}/graph", "9")
    with pytest.raises(DataError, match="no finished contacts here; run `graph contacts"):
        Neighbours(f"{folder}/segments")


def test_exports_are_undirected(folder: Path, pairs: Pairs, tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    areas = {pair: nm2(one["area"]) for pair, one in pairs.items()}
    for name in ("all.csv", "all.graphml", "all.npz"):
        said("export", f"{folder}/graph", f"{tmp_path}/{name}", "--contacts")
    lines = [line.split(",") for line in (tmp_path / "all.csv").read_text().splitlines()]
    assert lines[0][:3] == ["segment", "partner", "area"]
    assert {(int(a), int(b)): int(area) for a, b, area, *_ in lines[1:]} == areas
    with np.load(tmp_path / "all.npz") as file:
        ends = zip(file["segment"].tolist(), file["partner"].tolist(), strict=True)
        assert dict(zip(ends, file["area"].tolist(), strict=True)) == areas
    again = networkx.read_graphml(tmp_path / "all.graphml")
    assert not again.is_directed()
    graph = Neighbours(f"{folder}/graph").to_networkx()
    assert {(min(a, b), max(a, b)): area for a, b, area in graph.edges(data="area")} == areas
    assert {
        (min(a, b), max(a, b)): n for a, b, n in ((int(a), int(b), n) for a, b, n in again.edges(data="area"))
    } == areas


def test_sql_over_contacts_alone_and_over_other_tables(folder: Path, pairs: Pairs) -> None:
    pytest.importorskip("duckdb")
    query = "SELECT count(*) // 2, sum(area)::BIGINT // 2 FROM contacts"
    found = json.loads(said("sql", f"{folder}/graph", query, "--json"))
    assert found["rows"] == [[len(pairs), sum(nm2(one["area"]) for one in pairs.values())]]
    query = "SELECT count(*) FROM contacts c JOIN again s ON c.segment = s.segment"
    extra = f"again={folder}/graph/contacts/1/surfaces"
    assert json.loads(said("sql", f"{folder}/graph", query, "--table", extra, "--json"))["rows"] == [[2 * len(pairs)]]
    wrong = CliRunner().invoke(cli.main, ["graph", "sql", f"{folder}/graph", query, "--table", "again"])
    assert (wrong.exit_code, "write a name, = and a folder" in wrong.output) == (2, True)
    none = CliRunner().invoke(cli.main, ["graph", "sql", f"{folder}/segments", query])
    assert (none.exit_code, "run `graph build`" in none.output) == (1, True)
    (told,) = json.loads(said("versions", f"{folder}/graph", "--contacts", "--json"))
    assert told["contacts"] == len(pairs)
    assert "segments" in said("versions", f"{folder}/graph", "--contacts")


def test_contacts_join_synapses(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    rows = table(f"file://{tmp_path}/table", 200, 12)
    names = np.unique(rows["pre"][rows["pre"] > 0])[:6]
    labels = np.asfortranarray(np.repeat(names, 4)[:, None, None] * np.ones((1, 9, 8), np.uint64))
    layer(tmp_path, labels)
    built(tmp_path)
    touched(tmp_path)
    join = "contacts c ON c.segment = e.pre AND c.partner = e.post"
    found = said(
        "sql", f"{tmp_path}/graph", f"SELECT e.pre, e.post, e.n, c.face_area FROM edges e JOIN {join}", "--json"
    )
    every = zip(rows["pre"].tolist(), rows["post"].tolist(), rows["flags"].tolist(), strict=True)
    beside = {frozenset(pair) for pair in zip(names[:-1].tolist(), names[1:].tolist(), strict=True)}
    expected = {(pre, post) for pre, post, flags in every if frozenset((pre, post)) in beside and not flags & ~8}
    told = json.loads(found)["rows"]
    assert {(int(pre), int(post)) for pre, post, _, _ in told} <= {tuple(pair) for pair in expected}
    assert told
    assert {area for *_, area in told} == {9 * 8 * 640}
    partners = json.loads(said("partners", f"{tmp_path}/graph", str(told[0][0]), "--json"))["partners"]
    by = {int(one["segment"]): one["contact_area"] for one in partners}
    assert by[int(told[0][1])] > 0
    assert {name for name, area in by.items() if area} <= {b for pair in beside for b in pair}
