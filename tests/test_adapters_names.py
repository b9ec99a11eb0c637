"""Tiles told by the names of their files: any folder, and CATMAID's."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from igneous_ng import adapters
from igneous_ng.adapters import texts
from igneous_ng.adapters.base import Choices
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.tiles import Tile
from igneous_ng.io import IO
from tests.data import data

LATTICE = r"(?P<z>\d+)_(?P<row>\d+)_(?P<col>\d+)[.]png"


def read(name: str, source: Path | str, io: IO | None = None, **choices: Any) -> list[Tile]:
    """What the adapter ``name`` finds, with a pixel of 4 nm if nothing else is said."""
    return list(adapters.load(name).tiles(io or IO(), f"file://{source}", Choices(**{"pixel": 4.0, **choices})))


def picture(path: Path, width: int = 100, height: int = 60) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((height, width), np.uint8)).save(path)


def test_a_real_lattice_that_counts_from_one() -> None:
    folder = data("stitch_sem_3x3")
    found = read("folder", folder, pattern=LATTICE, first=1, overlap=(0.1, 0.2), pixel=8.0)
    assert [tile.tile for tile in found] == [f"1_{row}_{col}" for row in (1, 2, 3) for col in (1, 2, 3)]
    assert [(tile.row, tile.col) for tile in found] == [(row, col) for row in (1, 2, 3) for col in (1, 2, 3)]
    wanted = [((col - 1) * 2048 * 0.9 * 8, (row - 1) * 1768 * 0.8 * 8) for row in (1, 2, 3) for col in (1, 2, 3)]
    assert np.allclose([(tile.x, tile.y) for tile in found], wanted)
    assert all(tile.z == 1 and tile.pixel == 8 for tile in found)
    assert [tile.size for tile in found] == [(folder / f"{tile.tile}.png").stat().st_size for tile in found]


def test_every_group_is_understood(tmp_path: Path) -> None:
    (tmp_path / "w1" / "s10").mkdir(parents=True)
    for name in ("a_c0_x-12.5_y3e3_t2022-01-02.tif", "a_c1_x-12.5_y3e3_t2022-01-02.tif"):
        (tmp_path / "w1" / "s10" / name).touch()
    pattern = r"(?P<camera>w\d)/s(?P<z>\d+)/\w_c(?P<channel>\d)_x(?P<x>.*)_y(?P<y>.*)_t(?P<time>.*)[.]tif"
    one, two = read("folder", tmp_path, pattern=pattern, z=5)
    assert one == Tile(
        tile="w1/s10/a_c_x-12.5_y3e3_t",
        z=15,
        x=-12.5,
        y=3000.0,
        pixel=4.0,
        url=f"file://{tmp_path}/w1/s10/a_c0_x-12.5_y3e3_t2022-01-02.tif",
        camera="w1",
        time="2022-01-02",
        size=0,
    )
    assert (two.tile, two.channel) == (one.tile, 1)
    named = read("folder", tmp_path, pattern=r".*/(?P<tile>a)_c(?P<channel>\d)_x(?P<x>.*)_y(?P<y>.*)_t.*")
    assert [(tile.tile, tile.z) for tile in named] == [("a", 0), ("a", 0)]


def test_files_come_in_natural_order_from_any_depth(tmp_path: Path) -> None:
    for name in ("b/t10_0.png", "b/t9_0.png", "a/a/t1_0.png", "t2_1.png", "t2_1.txt"):
        picture(tmp_path / name) if name.endswith("png") else (tmp_path / name).touch()
    found = read("folder", tmp_path, pattern=r"(?:.*/)?t(?P<row>\d+)_(?P<col>\d+)[.]png")
    assert [tile.tile for tile in found] == ["a/a/t1_0", "b/t9_0", "b/t10_0", "t2_1"]


@given(st.lists(st.text("ab01²٣/", max_size=6)))
def test_natural_order_is_an_order(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=texts.natural) == sorted(backwards, key=texts.natural)
    numbers = [f"t{n}.png" for n in range(120)]
    assert sorted(sorted(numbers), key=texts.natural) == numbers


def test_a_torn_first_picture_does_not_hide_the_size(tmp_path: Path) -> None:
    for name in ("0_0_0.png", "0_0_1.png"):
        picture(tmp_path / name)
    (tmp_path / "0_0_0.png").write_bytes((tmp_path / "0_0_0.png").read_bytes()[:20])
    assert [tile.x for tile in read("folder", tmp_path, pattern=LATTICE)] == [0.0, 360.0]
    (tmp_path / "0_0_1.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of the first 2 pictures can be read.*0_0_0.png"):
        read("folder", tmp_path, pattern=LATTICE)


def test_every_folder_that_was_listed_is_in_the_ledger(tmp_path: Path) -> None:
    for name in ("a/b/0_0_0.png", "0_0_1.png"):
        picture(tmp_path / name)
    (tmp_path / "empty").mkdir()
    io = IO()
    read("folder", tmp_path, io, pattern=rf"(?:.*/)?{LATTICE}")
    listed = {entry["list"] for entry in io.ledger.reads if "list" in entry}
    assert listed == {f"file://{tmp_path}{part}" for part in ("", "/a", "/a/b", "/empty")}


def test_buckets_are_listed_to_any_depth() -> None:
    io = IO()
    for name in ("s/1/0_0_0.png", "s/1/0_0_1.png", "s/2/0_1_0.png"):
        io.store.put(f"mem://adapters/{name}", b"")
    found = list(
        adapters.load("folder").tiles(
            io, "mem://adapters/s", Choices(pattern=r"\d/(?P<z>\d)_(?P<x>\d)_(?P<y>\d)[.]png", pixel=2.0)
        )
    )
    assert [(tile.tile, tile.x, tile.y, tile.size) for tile in found] == [
        ("1/0_0_0", 0.0, 0.0, None),
        ("1/0_0_1", 0.0, 1.0, None),
        ("2/0_1_0", 1.0, 0.0, None),
    ]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "needs --pattern"),
        ({"pattern": "("}, "is no regular expression"),
        ({"pattern": r"(?P<z>\d)_(?P<line>\d)_(?P<col>\d).png"}, "a group 'line'; there are: z, row"),
        ({"pattern": r"(?P<z>\d)_(?P<row>\d)_\d.png"}, "groups x and y, or row and col"),
        ({"pattern": r"(?P<x>\d)_(?P<row>\d)_(?P<col>\d).png"}, "groups x and y, or row and col"),
        ({"pattern": LATTICE, "pixel": None}, "give --pixel, in nm"),
        ({"pattern": LATTICE, "pixel": -1.0}, "a pixel of -1.0 nm"),
        ({"pattern": LATTICE, "overlap": (0.1, 1.0)}, "from 0 to 1"),
    ],
)
def test_choices_that_are_missing_or_wrong(tmp_path: Path, choices: dict[str, Any], message: str) -> None:
    picture(tmp_path / "0_0_0.png")
    with pytest.raises(SpecError, match=message):
        read("folder", tmp_path, **choices)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no files below this folder"):
        read("folder", tmp_path / "none", pattern=LATTICE)
    picture(tmp_path / "0_0_0.png")
    with pytest.raises(DataError, match="no path below it matches"):
        read("folder", tmp_path, pattern=LATTICE + "x")
    with pytest.raises(DataError, match="0_0_0.png: row is 'png'; expected a number"):
        read("folder", tmp_path, pattern=r"(?P<z>\d)_(?P<col>\d)_\d[.](?P<row>.*)")
    with pytest.raises(DataError, match="0_0_0.png: the pattern matches and its group z does not"):
        read("folder", tmp_path, pattern=r"(?P<z>\d{5})?(?P<row>\d)_(?P<col>\d).*")


def test_underlines_are_no_part_of_a_number(tmp_path: Path) -> None:
    picture(tmp_path / "0_1_2.png")
    with pytest.raises(DataError, match="0_1_2.png: row is '0_1'; expected a number"):
        read("folder", tmp_path, pattern=r"(?P<row>.*)_(?P<col>.*)[.]png")


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a/0_0_0.png")
    picture(tmp_path / "b/0_0_1.png")
    scan = os.scandir

    def refused(path: str) -> Any:
        if path.endswith("/b"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(SpecError, match="check the permissions"):
        read("folder", tmp_path, pattern=rf".*/{LATTICE}")


def test_catmaid_names_rows_first() -> None:
    found = read("catmaid", data("formats", "stacks", "example_catmaid_stack"), z=100)
    assert [(tile.z, tile.row, tile.col, tile.x, tile.y) for tile in found] == [
        (100, 0, 0, 0.0, 0.0),
        (100, 1, 0, 0.0, 512 * 4.0),
        (101, 0, 0, 0.0, 0.0),
        (101, 1, 0, 0.0, 512 * 4.0),
    ]
    above, below = (np.asarray(Image.open(tile.url.removeprefix("file://")), np.float64) for tile in found[:2])
    assert np.corrcoef(above[-1], below[0])[0, 1] > 0.8 > 0.3 > abs(np.corrcoef(above[:, -1], below[:, 0])[0, 1])


def test_catmaid_takes_the_finest_level(tmp_path: Path) -> None:
    for name in ("7/0_1_0.png", "7/0_0_1.png", "small.png"):
        picture(tmp_path / name)
    (found,) = read("catmaid", tmp_path)
    assert (found.z, found.row, found.col, found.x) == (7, 0, 1, 400.0)
    with pytest.raises(SpecError, match="give --pixel"):
        read("catmaid", tmp_path, pixel=None)


@pytest.mark.parametrize("name", ["catmaid", "feabas", "folder", "karsh", "multisem", "render", "sbemimage", "trakem2"])
def test_each_adapter_is_listed_and_says_what_it_reads(name: str) -> None:
    entry = adapters.entries()[name]
    assert name == adapters.load(name).NAME
    assert re.match(r"[A-Z].*[.]$", entry.summary)


def test_an_unknown_format_lists_those_there_are() -> None:
    with pytest.raises(SpecError, match="no format of tiles is called 'tiff9'; did you mean 'tiff'"):
        adapters.load("tiff9")
