"""Tiles told by tables: FEABAS, Karsh's aligner, MultiSEM, SBEMimage; files as these programs write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from igneous_ng.adapters import texts
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.tiles import Tile
from tests.data import data
from tests.test_adapters_names import read

# The example of FEABAS's README, tabs and all.
FEABAS = (
    "{ROOT_DIR}\t/home/feabas/my_project/raw_data/s0001\n{RESOLUTION}\t4.0\n{TILE_SIZE}\t3000\t4000\n"
    "Tile_0001.tif\t0\t0\nTile_0002.tif\t3600\t0\nTile_0003.tif\t7200\t0\n"
    "Tile_0004.tif\t0\t2700\nTile_0005.tif\t3600\t2700\nTile_0006.tif\t7200\t2700\n"
)
# Lines of layout.txt in the data of Karsh's Alignment_Tutorial, the second with a place in a lattice.
LAYOUT = (
    "0\t7\t1.000000\t0.000000\t0.000000\t0.000000\t1.000000\t5142.000000\t-999\t-999\t0\t/groups/a/TIF/A1_7_2.tif\n"
    "2\t6\t1.000000\t0.250000\t1142.000000\t-0.125000\t1.000000\t857.000000\t3\t4\t1\tTIF\\C1 6.tif\n"
)
# A line as comments of EM_recon_pipeline quote it, and one of a field of view.
MULTISEM = "000007\\008_000007_055_2021-05-25T2146499297643.bmp\t-372876.505\t-123997.579\t0\r\n"
FIELD = "008_000009_001_2021-05-25T2146499297643.bmp\t12.5\t-7\t0\n"
# As acquisition.py of SBEMimage writes both files.
SESSION = (
    "SESSION: {'timestamp': 1500000000, 'eht': 1.5, 'beam_current': 300, 'slice_thickness': 25, "
    "'grids': ['0000', '0001'], 'grid_origins': [], 'pixel_sizes': [10.0, 8.5], 'email_addresses: ': ['a', '']}\n"
)
TAKEN = "TILE: {{'timestamp': {time}, 'tileid': '{grid}.0003.00012', 'filename': '{path}', 'tile_width': 4096, "
TAKEN += (
    "'tile_height': 3072, 'working_distance': 0.0061, 'glob_x': 1, 'glob_y': 2, 'glob_z': 3, 'slice_counter': 12}}\n"
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def test_feabas_as_its_readme_has_it(tmp_path: Path) -> None:
    found = read("feabas", write(tmp_path / "s0001.txt", FEABAS), pixel=None, z=3)
    assert [(tile.tile, tile.x, tile.y) for tile in found] == [
        (f"Tile_{n + 1:04d}", n % 3 * 3600 * 4.0, n // 3 * 2700 * 4.0) for n in range(6)
    ]
    assert found[1] == Tile(
        tile="Tile_0002",
        z=3,
        x=14400.0,
        y=0.0,
        pixel=4.0,
        url="file:///home/feabas/my_project/raw_data/s0001/Tile_0002.tif",
        width=4000,
        height=3000,
    )
    assert read("feabas", tmp_path / "s0001.txt", pixel=8.0)[1].x == 28800.0


def test_feabas_orders_its_sections(tmp_path: Path) -> None:
    for name in ("s2", "s10", "s1"):
        write(tmp_path / "stitch/stitch_coord" / f"{name}.txt", f"{{RESOLUTION}}\t4\n{name}/a.png\t1\t2\n")
    found = read("feabas", tmp_path, pixel=None)
    assert [(tile.z, tile.tile) for tile in found] == [(0, "s1/a"), (1, "s10/a"), (2, "s2/a")]
    assert found == read("feabas", tmp_path / "stitch/stitch_coord", pixel=None)
    write(tmp_path / "section_order.txt", "s2\r\ns1\ns10\n")
    assert [tile.tile for tile in read("feabas", tmp_path)] == ["s2/a", "s1/a", "s10/a"]
    write(tmp_path / "section_order.txt", "s2\ns1\n")
    with pytest.raises(DataError, match="does not name the section 's10'"):
        read("feabas", tmp_path)
    write(tmp_path / "section_order.txt", "s2\ns3\n")
    with pytest.raises(DataError, match="section_order.txt, line 2: there is no table of the section 's3'"):
        read("feabas", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FEABAS.replace("3600\t0", "3600"), "line 5: expected a path, x and y, parted by tabs"),
        (FEABAS.replace("7200\t0", "7200\tno"), "line 6: y is 'no'; expected a number"),
        (FEABAS.replace("7200\t0", "nan\t0"), "line 6: tile 'Tile_0003' has a position or size that is no number"),
        (FEABAS.replace("\t3000", ""), "line 3: found .*expected {ROOT_DIR} and a path"),
        (FEABAS.replace("3000", "3000.5"), "line 3: the size of a tile is '3000.5'; expected a whole number"),
        (FEABAS.replace("Tile_0001.tif", "D:\\raw\\a.tif"), "line 4: .* is no path on this machine"),
        ("{RESOLUTION}\t4\n\nÿ".encode("latin-1").decode("latin-1") + "\udcff", "line 3: is no text in UTF-8"),
    ],
)
def test_feabas_malformed(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "s.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=f"s.txt, {message}"):
        read("feabas", tmp_path / "s.txt")


def test_feabas_without_resolution_or_table(tmp_path: Path) -> None:
    write(tmp_path / "s.txt", "a.png\t0\t0\n")
    with pytest.raises(SpecError, match="does not say how large a pixel is; give --pixel"):
        read("feabas", tmp_path / "s.txt", pixel=None)
    with pytest.raises(DataError, match="there is no .txt here"):
        read("feabas", tmp_path / "elsewhere")


def test_karsh_layout(tmp_path: Path) -> None:
    found = read("karsh", write(tmp_path / "layout.txt", LAYOUT), pixel=2.0, z=10)
    assert found == [
        Tile(
            tile="7",
            z=10,
            x=0.0,
            y=10284.0,
            pixel=2.0,
            url="file:///groups/a/TIF/A1_7_2.tif",
            camera="0",
        ),
        Tile(
            tile="6",
            z=12,
            x=2284.0,
            y=1714.0,
            pixel=2.0,
            url=f"file://{tmp_path}/TIF/C1 6.tif",
            row=4,
            col=3,
            matrix=(1.0, 0.25, -0.125, 1.0),
            camera="1",
        ),
    ]


def test_karsh_stage_positions_of_real_data() -> None:
    source = data("tiles_karsh_A") / "stage_positions.txt"
    found = read("karsh", source, pixel=70.0)
    assert len(found) == 14
    assert (found[0].tile, found[0].x, found[0].y, found[0].z) == ("A1_7_2", 0.0, 5142 * 70.0, 0)
    assert {tile.url.removeprefix("file://") for tile in found} == {str(one) for one in source.parent.glob("*.tif")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAYOUT + "a.tif 0 0 0\n", "line 3: expected the 12 fields of a layout"),
        ("a b c\n", "line 1: expected the 12 fields"),
        (LAYOUT.replace("0.250000", "x"), "line 2: the affine is 'x'"),
        (LAYOUT.replace("1.000000\t0.250000", "0\t0"), "line 2: tile '6' has the matrix .* which is flat"),
        ("a.tif 0 0 0.5\n", "line 1: z is '0.5'; expected a whole number"),
    ],
)
def test_karsh_malformed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"l.txt, {message}"):
        read("karsh", write(tmp_path / "l.txt", text))
    with pytest.raises(DataError, match="is empty"):
        read("karsh", write(tmp_path / "l.txt", "\n"))


def test_multisem_section_completed_by_its_fields(tmp_path: Path) -> None:
    section = tmp_path / "wafer/008_S8R1"
    write(section / "full_image_coordinates.txt", MULTISEM)
    write(section / "000007/image_coordinates.txt", MULTISEM.replace("000007\\", "").replace("-372876.505", "0"))
    write(section / "000009/image_coordinates.txt", FIELD)
    write(section / "000009/thumbnail_coordinates.txt", "thumbnail_1\t0\t0\t0\n")
    found = read("multisem", tmp_path)
    assert found == [
        Tile(
            tile="000007_055",
            z=8,
            x=-372876.505 * 4,
            y=-123997.579 * 4,
            pixel=4.0,
            url=f"file://{section}/000007/008_000007_055_2021-05-25T2146499297643.bmp",
            camera="055",
            time="2021-05-25T21:46:49.9297643",
        ),
        Tile(
            tile="000009_001",
            z=8,
            x=50.0,
            y=-28.0,
            pixel=4.0,
            url=f"file://{section}/000009/008_000009_001_2021-05-25T2146499297643.bmp",
            camera="001",
            time="2021-05-25T21:46:49.9297643",
        ),
    ]
    assert read("multisem", section) == found
    assert read("multisem", section / "full_image_coordinates.txt") == found[:1]
    assert read("multisem", section / "000009", z=2)[0].z == 10


def test_multisem_sections_of_two_wafers_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path / "w1/008_S8R1/000009/image_coordinates.txt", FIELD)
    write(tmp_path / "w1/008_S8R1/000010/image_coordinates.txt", FIELD.replace("000009", "000010"))
    assert [tile.tile for tile in read("multisem", tmp_path)] == ["000009_001", "000010_001"]
    write(tmp_path / "w2/001_S8R1/full_image_coordinates.txt", MULTISEM)
    with pytest.raises(DataError, match="w2/001_S8R1/full_image_coordinates.txt: has section 8, and so has .*/w1/"):
        read("multisem", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MULTISEM.replace("\t0\r", "\r"), "line 1: expected a path, x, y and 0, found 3 fields"),
        (MULTISEM + "a.bmp\t0\t0\t0\n", "line 2: 'a.bmp' is no picture's name"),
        (MULTISEM.replace("-372876.505", "NaN"), "line 1: tile '000007_055' has a position or size that is no number"),
    ],
)
def test_multisem_malformed(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path / "full_image_coordinates.txt", text)
    with pytest.raises(DataError, match=f"full_image_coordinates.txt, {message}"):
        read("multisem", tmp_path)


def test_multisem_without_files_or_pixel(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither full_image_coordinates.txt nor image_coordinates.txt"):
        read("multisem", tmp_path)
    with pytest.raises(SpecError, match="give --pixel"):
        read("multisem", tmp_path, pixel=None)


def sbem(tmp_path: Path) -> tuple[Path, str, str]:
    """A stack of two runs, whose second took one tile again."""
    logs = tmp_path / "meta/logs"
    first, second = (f"tiles/g000{n}/t0003/a_g000{n}_t0003_s00012.tif" for n in (0, 1))
    write(logs / "imagelist_201901011200.txt", first.replace("/", "\\") + ";-100;2000;300;12\n")
    write(logs / "imagelist_201901021200.txt", f"{second};7;8;300;12\r\n{first};-90;2001;300;12\n")
    early, late = TAKEN.format(time=1500000100, grid="0000", path=first), (1600000000, 1600000050)
    again = [
        TAKEN.format(time=time, grid=grid, path=path)
        for time, grid, path in zip(late, ("0001", "0000"), (second, first), strict=True)
    ]
    write(logs / "metadata_201901011200.txt", SESSION + early + "SLICE COMPLETE: [1, 2]\n")
    write(logs / "metadata_201901021200.txt", SESSION + "".join(again))
    return tmp_path, first, second


def test_sbemimage_runs_are_one_stack(tmp_path: Path) -> None:
    source, first, second = sbem(tmp_path)
    found = {tile.tile: tile for tile in read("sbemimage", source, pixel=None, z=1)}
    assert found == {
        "g0000_t0003": Tile(
            tile="g0000_t0003",
            z=13,
            x=-90.0,
            y=2001.0,
            pixel=10.0,
            url=f"file://{source}/{first}",
            width=4096,
            height=3072,
            camera="g0000",
            time="2020-09-13T12:27:30+00:00",
        ),
        "g0001_t0003": Tile(
            tile="g0001_t0003",
            z=13,
            x=7.0,
            y=8.0,
            pixel=8.5,
            url=f"file://{source}/{second}",
            width=4096,
            height=3072,
            camera="g0001",
            time="2020-09-13T12:26:40+00:00",
        ),
    }
    assert {tile.pixel for tile in read("sbemimage", source, pixel=9.0)} == {9.0}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("imagelist_2.txt", "a.tif;1;2;3\n", "line 1: expected path;x;y;z;slice"),
        ("imagelist_2.txt", "\na.tif;1;two;3;4\n", "line 2: y is 'two'"),
        ("metadata_2.txt", "SESSION: {'timestamp': 15\n", "line 1: expected a dictionary of Python"),
        ("metadata_2.txt", "TILE: __import__('os').getcwd()\n", "line 1: expected a dictionary of Python"),
        ("metadata_2.txt", "TILE: {'tileid': '1'}\n", "line 1: a tile without filename"),
        ("metadata_2.txt", "TILE: {'filename': 'a', 'tile_width': '9'}\n", "line 1: tile_width is '9'; expected int"),
        ("metadata_2.txt", "SESSION: {'pixel_sizes': 9}\n", "line 1: pixel_sizes is 9; expected list"),
        ("metadata_2.txt", "SESSION: {'pixel_sizes': [None]}\n", "line 1: a pixel's size is 'None'"),
    ],
)
def test_sbemimage_malformed(tmp_path: Path, name: str, text: str, message: str) -> None:
    source, _, _ = sbem(tmp_path)
    write(source / "meta/logs" / name, text)
    with pytest.raises(DataError, match=f"{name}, {message}"):
        read("sbemimage", source)


def test_sbemimage_without_lists_or_pixel(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no imagelist"):
        read("sbemimage", tmp_path)
    write(tmp_path / "meta/logs/imagelist_1.txt", "a/b.tif;1;2;3;4\n")
    with pytest.raises(SpecError, match="imagelist_1.txt, line 1: .*give --pixel"):
        read("sbemimage", tmp_path, pixel=None)
    (tile,) = read("sbemimage", tmp_path)
    assert (tile.tile, tile.width, tile.camera, tile.time) == ("a/b", None, "", "")


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("a/b c.tif", "file:///base/a/b c.tif"),
        ("./a\\b.tif", "file:///base/a/b.tif"),
        ("/x/y.tif", "file:///x/y.tif"),
        ("file:/x/y%20z.tif", "file:///x/y z.tif"),
        ("file:///x/y.tif", "file:///x/y.tif"),
        ("file://localhost/x/y.tif", "file:///x/y.tif"),
        ("s3://bucket/y.tif", "s3://bucket/y.tif"),
    ],
)
def test_paths_become_urls(path: str, url: str) -> None:
    assert texts.picture(path, "file:///base", "here") == url


@pytest.mark.parametrize("path", ["", "C:\\a.tif", "c:/a.tif", "\\\\server\\share\\a.tif"])
def test_paths_of_other_machines_are_refused(path: Any) -> None:
    with pytest.raises(DataError, match="here: .* is no path on this machine"):
        texts.picture(path, "file:///base", "here")
