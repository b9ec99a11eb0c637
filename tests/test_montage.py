"""Sections and their pairs, and manifests."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.errors import DataError
from igneous_ng.formats import tiles
from igneous_ng.formats.tiles import Picture, Tile
from igneous_ng.montage import Batches, Placed, Section


def section(rows: int = 3, columns: int = 4, step: int = 90) -> Section:
    found = [
        Placed(f"r{r}c{c}", c * step, r * step, 100, 100, (Picture("file:///x.png"),))
        for r in range(rows)
        for c in range(columns)
    ]
    return Section(3, tuple(found), "uint8", 1)


def test_pairs_are_the_neighbours_of_a_lattice_without_corners() -> None:
    wanted = {(n, n + 1) for n in range(12) if n % 4 < 3} | {(n, n + 4) for n in range(8)}
    assert section().pairs == tuple(sorted(wanted))


@given(st.lists(st.tuples(st.integers(-300, 300), st.integers(-300, 300), st.integers(40, 120)), max_size=30))
def test_pairs_are_those_of_all_against_all(places: list[tuple[int, int, int]]) -> None:
    found = Section(0, tuple(Placed(str(n), x, y, w, 100, ()) for n, (x, y, w) in enumerate(places)), "uint8", 1)
    wanted = []
    for i, a in enumerate(found.tiles):
        for j in range(i + 1, len(found.tiles)):
            b = found.tiles[j]
            side = [min(a.box[k + 2], b.box[k + 2]) - max(a.box[k], b.box[k]) for k in (0, 1)]
            if min(side) > 0 and max(side) >= 0.25 * min(a.width, b.width, 100):
                wanted.append((i, j))
    assert found.pairs == tuple(wanted)


def test_a_section_is_read_as_it_was_written() -> None:
    made = section()
    assert Section.from_json(json.loads(json.dumps(made.to_json())), "here") == made
    with pytest.raises(DataError, match="is no section"):
        Section.from_json({"z": 1}, "here")


def test_batches_are_numbered_through() -> None:
    counts = [(3, 2), (7, 0), (9, 3)]
    assert list(Batches(counts)) == [(3, 0), (3, 1), (9, 0), (9, 1), (9, 2)]
    assert Batches(counts)[1:3] == [(3, 1), (9, 0)]


floats = st.floats(-1e9, 1e9)


@given(
    st.lists(
        st.builds(
            Tile,
            tile=st.text(min_size=1),
            z=st.integers(-5, 10**6),
            x=floats,
            y=floats,
            pixel=st.floats(0.1, 100),
            url=st.text(min_size=1),
            channel=st.integers(0, 9),
            width=st.none() | st.integers(1, 10**5),
            row=st.none() | st.integers(),
            matrix=st.just((1.0, 0.1, -0.1, 1.0)) | st.just(tiles.IDENTITY),
            time=st.text(),
        )
    )
)
def test_manifests_are_read_as_they_were_written(made: list[Tile]) -> None:
    assert tiles.decode(tiles.encode(made), "here") == made


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: is no JSON"),
        ("[]", "expected a tile, found"),
        ('{"tile": "a"}', "z is None; expected int"),
        ('{"tile":"a","z":1,"x":0,"y":0,"pixel":0,"url":"u"}', "a pixel of 0 nm"),
        ('{"tile":"a","z":1,"x":0,"y":NaN,"pixel":4,"url":"u"}', "is no number"),
        ('{"tile":"a","z":1,"x":0,"y":0,"pixel":4,"url":"u","matrix":[1,1,1,1]}', "which is flat"),
        ('{"tile":"a","z":1,"x":0,"y":0,"pixel":4,"url":"u","matrix":[1,1]}', "expected four numbers"),
        ('{"tile":"a","z":1,"x":0,"y":0,"pixel":4,"url":"u","what":1}', "no field 'what'"),
    ],
)
def test_wrong_lines_are_named(line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        tiles.decode(line.encode(), "m.jsonl")


def test_the_box_of_a_turned_tile_holds_it() -> None:
    turned = Placed("a", 10, 20, 100, 50, (), matrix=(0.0, -1.0, 1.0, 0.0))
    assert np.allclose(turned.box, (10 - 49.5, 19.5, 10.5, 119.5))
