"""Manifests: the same bytes for one source, several sources in one montage, and nothing left out unsaid."""

from __future__ import annotations

import json
import os
import shutil
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from igneous_ng import adapters, cli, run
from igneous_ng.adapters import folder
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import tiles
from igneous_ng.io import IO
from igneous_ng.redo import Redo, carried_out
from igneous_ng.stages.ingest_plan import Plan
from igneous_ng.store import Store
from tests.data import data
from tests.faults import lived, steps_of
from tests.test_adapters_names import LATTICE, picture
from tests.test_adapters_texts import LAYOUT, write


def files(place: Path) -> dict[str, bytes]:
    """All but the records of runs."""
    found = {str(path.relative_to(place)): path for path in place.rglob("*") if path.is_file()}
    apart = ("runs/", "m/runs/", "provenance")
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(apart)}


def wafer(place: Path, sections: range) -> Path:
    for z in sections:
        for row, col in ((0, 0), (0, 1), (0, 10), (1, 0)):
            picture(place / f"{z}_{row}_{col}.png")
    return place


def planned(tmp_path: Path, source: Path | str, **fields: Any) -> Plan:
    return Plan(**{"source": str(source), "montage": f"{tmp_path}/m", "pattern": LATTICE, "pixel": 4.0, **fields})


def test_a_section_is_a_manifest(tmp_path: Path) -> None:
    stage = planned(tmp_path, wafer(tmp_path / "w1", range(3, 5)))
    before = files(tmp_path / "w1")
    run.inline(stage)
    assert files(tmp_path / "w1") == before
    rows = json.loads((tmp_path / "m/manifest.json").read_text())["sections"]
    assert rows == [{"z": z, "tiles": 4, "source": f"file://{tmp_path}/w1", "format": "folder"} for z in (3, 4)]
    found = tiles.decode((tmp_path / "m/manifest/z000003.jsonl").read_bytes(), "m")
    assert [(tile.tile, tile.x, tile.y) for tile in found] == [
        ("3_0_0", 0.0, 0.0),
        ("3_0_1", 360.0, 0.0),
        ("3_0_10", 3600.0, 0.0),
        ("3_1_0", 0.0, 216.0),
    ]
    made = files(tmp_path / "m")
    run.inline(stage)
    assert files(tmp_path / "m") == made
    assert stage.said(IO()) == "8 tiles in 2 sections"


class _Shuffled:
    """The adapter for folders, in another order."""

    NAME = "folder"

    @staticmethod
    def tiles(*args: Any) -> Any:
        found = list(folder.tiles(*args))
        return iter(found[1::2] + found[::2][::-1])


def test_the_order_of_tiles_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = planned(tmp_path, wafer(tmp_path / "w1", range(2)))
    run.inline(stage)
    made = files(tmp_path / "m")
    monkeypatch.setattr(adapters, "load", lambda _: _Shuffled)
    run.inline(stage)
    assert files(tmp_path / "m") == made


def test_several_wafers_make_one_montage(tmp_path: Path) -> None:
    run.inline(planned(tmp_path, wafer(tmp_path / "w1", range(3))))
    first = files(tmp_path / "m")
    run.inline(planned(tmp_path, wafer(tmp_path / "w2", range(2)), z=3))
    both = files(tmp_path / "m")
    assert all(both[name] == content for name, content in first.items() if name != "manifest.json")
    rows = json.loads(both["manifest.json"])["sections"]
    assert [(row["z"], row["source"][-2:]) for row in rows] == [(n, "w1" if n < 3 else "w2") for n in range(5)]
    with pytest.raises(SpecError, match=r"w2: gives section 2, which .*/m has from .*/w1; number .* with --z"):
        run.inline(planned(tmp_path, tmp_path / "w2", z=2))
    assert files(tmp_path / "m") == both
    picture(tmp_path / "w2/0_5_5.png")
    run.inline(planned(tmp_path, tmp_path / "w2", z=3))
    rows = json.loads((tmp_path / "m/manifest.json").read_text())["sections"]
    assert [row["tiles"] for row in rows] == [4, 4, 4, 5, 4]


def test_other_keys_of_the_list_stay(tmp_path: Path) -> None:
    write(tmp_path / "m/manifest.json", '{"sections": [{"z": 9, "tiles": 1, "source": "x", "more": 1}], "note": "n"}')
    run.inline(planned(tmp_path, wafer(tmp_path / "w1", range(1))))
    found = json.loads((tmp_path / "m/manifest.json").read_text())
    assert found["note"] == "n"
    assert found["sections"][1] == {"z": 9, "tiles": 1, "source": "x", "more": 1}


def test_what_is_no_tile_is_said(tmp_path: Path) -> None:
    wafer(tmp_path / "w1", range(1))
    for n in range(7):
        write(tmp_path / f"w1/log/n{n + 5}.txt", "")
    done = CliRunner().invoke(
        cli.main,
        ["ingest", "plan", f"{tmp_path}/w1", f"{tmp_path}/m", "--pattern", LATTICE, "--pixel", "4"],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    assert "4 tiles in 1 section\nno tile, of the files in the source: 7 files: log/n5.txt, log/n6.txt," in done.output
    assert "log/n9.txt, ...\n" in done.output


def test_a_link_to_a_folder_is_not_followed_and_said(tmp_path: Path) -> None:
    wafer(tmp_path / "w1", range(1))
    (tmp_path / "w1/more").symlink_to(wafer(tmp_path / "w2", range(1, 2)), target_is_directory=True)
    stage = planned(tmp_path, tmp_path / "w1", pattern=f"(?:.*/)?{LATTICE}")
    run.inline(stage)
    assert stage.said(IO()) == "4 tiles in 1 section\nno tile, of the files in the source: 1 file: more"


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_death_at_any_step_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    other = '{"sections": [{"z": 9, "tiles": 1, "source": "x"}]}'

    def work() -> None:
        for unit in stage.units(IO()):
            stage.execute(unit, IO())
        stage.finish(IO())

    stage = planned(tmp_path, wafer(tmp_path / "w1", range(2)))
    write(tmp_path / "m/manifest.json", other)
    steps = steps_of(work)
    wanted = files(tmp_path / "m")
    assert len(steps) > 12
    for step in steps:
        shutil.rmtree(tmp_path / "m")
        write(tmp_path / "m/manifest.json", other)
        assert not lived(work, step.number)
        work()
        left = files(tmp_path / "m")
        assert {name: content for name, content in left.items() if ".tmp-" not in name} == wanted


def test_files_that_describe_tiles_are_not_left_out(tmp_path: Path) -> None:
    picture(tmp_path / "w/raw/a.png")
    picture(tmp_path / "w/raw/b.png")
    write(tmp_path / "w/stitch/stitch_coord/s1.txt", f"{{ROOT_DIR}}\t{tmp_path}/w/raw\na.png\t0\t0\n")
    stage = planned(tmp_path, tmp_path / "w", format="feabas")
    run.inline(stage)
    assert stage.said(IO()).endswith("no tile, of the files in the source: 1 file: raw/b.png")


def test_a_file_beside_its_pictures_is_no_source_folder(tmp_path: Path) -> None:
    stage = planned(tmp_path, write(tmp_path / "layout/l.txt", LAYOUT), format="karsh")
    run.inline(stage)
    assert stage.said(IO()) == "2 tiles in 2 sections"
    assert stage.peak_bytes("", IO()) == 100_000_000 + 10 * len(LAYOUT)


def test_a_file_that_comes_or_changes_makes_the_plan_stale(tmp_path: Path) -> None:
    run.inline(planned(tmp_path, wafer(tmp_path / "w1", range(1))))
    layers = [f"file://{tmp_path}/m"]
    assert not [one for one in Redo(Store(), layers).forecast() if one.stale]
    picture(tmp_path / "w1/0_7_7.png")
    for wave, ran in carried_out(Redo(Store(), layers), lambda wave: run.inline(wave.stage, wave.subset)):
        assert (wave.stage.name, ran.units) == ("ingest plan", 1)
    assert json.loads((tmp_path / "m/manifest.json").read_text())["sections"][0]["tiles"] == 5
    assert not [one for one in Redo(Store(), layers).forecast() if one.stale]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "nothing"}, "no format of tiles is called 'nothing'"),
        ({"pattern": "["}, "is no regular expression"),
        ({"pixel": None}, "give --pixel"),
        ({"format": "trakem2", "source": "{tmp}/none.xml"}, "there is no such file"),
        ({"montage": "{tmp}/w1/m"}, "lie one in the other"),
        ({"montage": "{tmp}"}, "lie one in the other"),
        ({"montage": "{tmp}/w1"}, "lie one in the other"),
        ({"pixel": 0.0}, "ingest plan.pixel: 0.0 nm"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    wafer(tmp_path / "w1", range(1))
    before = files(tmp_path)
    filled = {key: value.format(tmp=tmp_path) if isinstance(value, str) else value for key, value in fields.items()}
    with pytest.raises((SpecError, DataError), match=message):
        run.enqueue(planned(tmp_path, **{"source": tmp_path / "w1", **filled}), f"fq://{tmp_path}/queue")
    assert files(tmp_path) == before


def test_a_montage_among_the_pictures_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "meta/layout.txt", LAYOUT.replace("TIF\\C1 6.tif", f"{tmp_path}/raw/C1.tif"))
    with pytest.raises(SpecError, match="raw/C1.tif and the montage .*/raw/m lie one in the other"):
        run.inline(planned(tmp_path, source, format="karsh", montage=f"{tmp_path}/raw/m"))
    assert not (tmp_path / "raw/m/manifest").exists()
    with pytest.raises(SpecError, match="lie one in the other"):
        run.inline(planned(tmp_path, write(tmp_path / "l.txt", "m/a.tif 0 0 0\n"), format="karsh"))


def test_more_tiles_than_memory_holds_are_refused(tmp_path: Path) -> None:
    stage = planned(tmp_path, wafer(tmp_path / "w1", range(1)), memory=100_012_000)
    assert stage.peak_bytes("", IO()) == stage.memory
    with pytest.raises(SpecError, match="more than the 3 tiles that 100 MB hold"):
        run.inline(stage)
    assert not (tmp_path / "m/manifest").exists()


def test_sections_of_real_tiles(tmp_path: Path) -> None:
    source = data("tiles_karsh_A") / "stage_positions.txt"
    run.inline(planned(tmp_path, source, format="karsh", pixel=70.0))
    found = tiles.decode((tmp_path / "m/manifest/z000000.jsonl").read_bytes(), "m")
    assert [tile.tile for tile in found] == [f"A1_{n}_2" for n in range(14)]


MODULE = '''"""Tiles of nowhere."""

NAME = "nowhere"


def tiles(io, source, choices):
    yield from ()
'''


def test_an_adapter_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "igneous_ng_test_nowhere.py", MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [SimpleNamespace(name="mine", module="igneous_ng_test_nowhere")]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == adapters.GROUP else [])
    adapters.entries.cache_clear()
    try:
        shown = CliRunner().invoke(cli.main, ["ingest", "formats"]).output
        assert "nowhere    Tiles of nowhere.\n" in shown
        with pytest.raises(DataError, match="describes no tile, read as nowhere"):
            run.inline(planned(tmp_path, tmp_path / "w1", format="nowhere"))
        points.append(SimpleNamespace(name="again", module="igneous_ng_test_nowhere"))
        adapters.entries.cache_clear()
        with pytest.raises(SpecError, match="two adapters are called 'nowhere'"):
            adapters.entries()
        points[:] = [SimpleNamespace(name="mine", module="igneous_ng_test_gone")]
        with pytest.raises(SpecError, match="'mine' of igneous_ng.adapters names igneous_ng_test_gone"):
            adapters.entries()
    finally:
        adapters.entries.cache_clear()


def test_formats_are_listed(tmp_path: Path) -> None:
    shown = CliRunner().invoke(cli.main, ["ingest", "formats"])
    assert shown.exit_code == 0
    lines = shown.output.splitlines()
    assert [line.split()[0] for line in lines] == list(adapters.entries())
    assert "CATMAID's file-based image stack: z/row_column_zoom.suffix" in shown.output
    assert "ingest formats" in CliRunner().invoke(cli.main, ["--help"]).output
