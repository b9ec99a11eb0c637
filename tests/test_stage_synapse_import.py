"""Tables of others become ours: every form and unit gives the same rows, and what is no row is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import cli, run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.stages.synapse_import import Read, Sort, SynapseImport
from igneous_ng.synapses import AUTAPSE, NO_POST, NO_PRE, Synapses
from tests.data import data
from tests.layers import files, notes

BIG = (1 << 63) + 12345  # beyond int64, and double
RES = (4.0, 4.0, 40.0)


def imported(source: Path | str, table: Path, **fields: Any) -> dict[str, np.ndarray]:
    fields = {"resolution": RES, **fields}
    for stage in SynapseImport(source=str(source), layer=str(table), **fields).steps(IO()):
        run.inline(stage)
    found = Synapses(IO(), f"file://{table}")
    rows = [found.rows(at) for at in found.blocks()]
    return {name: np.concatenate([one[name] for one in rows]) for name in rows[0]}


def drawn(count: int = 60, seed: int = 0) -> dict[str, np.ndarray]:
    """Columns as CAVE calls them, places in voxels; the last two rows are at one voxel."""
    rng = np.random.default_rng(seed)
    centre = rng.integers((-50, 10, 3), (200, 120, 40), (count, 3))
    centre[-1] = centre[-2]
    return {
        "pre_pt_root_id": rng.integers(1, 1 << 60, count),
        "post_pt_root_id": rng.integers(1, 1 << 60, count),
        "pre_pt_position": centre - 3,
        "post_pt_position": centre + 4,
        "ctr_pt_position": centre,
        "size": rng.integers(1, 9999, count),
        "score": rng.random(count),
    }


def written(folder: Path, form: str, table: dict[str, np.ndarray]) -> Path:
    path = folder / f"table.{form}"
    lists = {name: column.tolist() for name, column in table.items()}
    if form == "npz":
        np.savez(path, **table)  # type: ignore[arg-type]
    elif form == "json":
        rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
        path.write_text(json.dumps([{k: str(v) if k.endswith("id") else v for k, v in row.items()} for row in rows]))
    elif form == "csv":
        lines = [",".join(f'"{v}"' for v in row) for row in zip(*lists.values(), strict=True)]
        path.write_text("\n".join([",".join(lists), *lines]))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import feather, parquet

        made = pyarrow.table(lists)
        if form == "parquet":
            parquet.write_table(made, path, row_group_size=7)
        else:
            feather.write_feather(made, path, chunksize=11)
    return path


@pytest.mark.parametrize("form", ["parquet", "feather", "csv", "json", "npz"])
def test_every_form_gives_the_same_rows(tmp_path: Path, form: str) -> None:
    table = drawn()
    rows = imported(written(tmp_path, form, table), tmp_path / form, block=64)
    centre = table["ctr_pt_position"]
    frame = Synapses(IO(), f"file://{tmp_path / form}").frame
    assert frame.bounds == Box(tuple(centre.min(axis=0)), tuple(centre.max(axis=0) + 1))
    order = np.argsort(frame.ids(centre), kind="stable")
    assert np.array_equal(rows["id"] >> np.uint64(8), frame.ids(centre)[order] >> np.uint64(8))
    assert len(np.unique(rows["id"])) == len(rows["id"]) == 60
    assert np.array_equal(rows["place"], np.rint((centre[order] + 0.5) * RES))
    assert np.array_equal(rows["post_place"], np.rint((centre[order] + 4.5) * RES))
    assert np.array_equal(rows["pre"], table["pre_pt_root_id"][order])
    assert np.array_equal(rows["voxels"], table["size"][order])
    assert np.array_equal(rows["confidence"], np.rint(255 * table["score"][order]))
    assert np.array_equal(rows["lo"], centre[order])
    assert files(tmp_path / form).keys() >= {"table.json", "rows/0-0-0"}
    assert sum(note["rows"] for note in notes(tmp_path / form)) == 60


@pytest.mark.long
def test_the_same_bytes_whatever_the_parts(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({name: column.tolist() for name, column in drawn().items()})
    made = []
    for groups in (1, 13, 60):
        parquet.write_table(table, tmp_path / "table.parquet", row_group_size=groups)
        imported(tmp_path / "table.parquet", tmp_path / str(groups), block=32)
        made.append({k: v for k, v in files(tmp_path / str(groups)).items() if not k.startswith("work/")})
    assert made[0] == made[1] == made[2]
    assert len(made[0]) > 20


def test_labels_of_any_size_and_none(tmp_path: Path) -> None:
    rows = [
        {"pre": str(BIG), "post": BIG + 2, "position": [1, 2, 3]},
        {"pre": None, "post": BIG, "position": [2, 2, 3]},
        {"pre": 7, "post": None, "position": [3, 2, 3]},
        {"pre": 7, "post": 7, "position": [4, 2, 3]},
        {"pre": -2, "post": 8, "position": [5, 2, 3]},
    ]
    (tmp_path / "a.json").write_text(json.dumps({"resolution": [8, 8, 8], "synapses": rows}))
    found = imported(tmp_path / "a.json", tmp_path / "a", resolution=None, nothing=(-2,), block=1)
    order = np.argsort(found["lo"][:, 0])
    assert found["pre"][order].tolist() == [BIG, 0, 7, 7, 0]
    assert found["post"][order].tolist() == [BIG + 2, BIG, 0, 7, 8]
    assert found["flags"][order].tolist() == [0, NO_PRE, NO_POST, AUTAPSE, NO_PRE]
    assert found["place"][order][0].tolist() == [12, 20, 28]
    assert (found["confidence"] == 255).all()


def test_missing_labels_in_parquet_stay_exact_and_are_none(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table(
        {"pre": pyarrow.array([BIG, None], pyarrow.uint64()), "post": [1 << 60, (1 << 60) + 1],
         "x": [1, 2], "y": [0, 0], "z": [0, 0]}
    )  # fmt: skip
    parquet.write_table(table, tmp_path / "a.parquet")
    found = imported(tmp_path / "a.parquet", tmp_path / "a")
    assert found["pre"].tolist() == [BIG, 0]
    assert found["post"].tolist() == [1 << 60, (1 << 60) + 1]


def test_columns_keys_axes_and_units_as_they_are_asked_for(tmp_path: Path) -> None:
    row = {"a": 1, "pre_pt_supervoxel_id": 5, "post_pt_supervoxel_id": 6, "pre_pt_root_id": 2, "post_pt_root_id": 3,
           "where": [400, 80, 41], "s": 128}  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps([row]))
    asked: dict[str, Any] = {"columns": ("place=where", "confidence=s"), "unit": "nm", "axes": "zyx"}
    found = imported(tmp_path / "a.json", tmp_path / "a", keys="supervoxel", **asked)
    assert (found["pre"][0], found["post"][0], found["confidence"][0]) == (5, 6, 128)
    assert found["place"][0].tolist() == [41, 80, 400]
    assert found["lo"][0].tolist() == [10, 20, 10]
    asked |= {"columns": (*asked["columns"], "pre=a"), "sure": 512.0}
    found = imported(tmp_path / "a.json", tmp_path / "b", **asked)
    assert (found["pre"][0], found["post"][0], found["confidence"][0]) == (1, 3, 64)


def test_the_middle_of_both_sides_is_the_place_that_is_not_told(tmp_path: Path) -> None:
    row = {"id": 1, "id_skel_pre": 4, "id_skel_post": 9, "location_pre": [400, 20, 41], "location_post": [440, 30, 44]}
    (tmp_path / "a.json").write_text(json.dumps([row]))
    found = imported(tmp_path / "a.json", tmp_path / "a")
    assert found["place"][0].tolist() == [42, 25, 420]
    assert found["pre_place"][0].tolist() == [41, 20, 400]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": [1, 2, float("nan")]}, "row 2: position is .*no place"),
        ({"position": [1, 2]}, "row 2: position is no place of three numbers"),
        ({"position": [1, 2, 10**12]}, "row 2: position is .*no place"),
        ({"position": [100, 2, 3]}, r"row 2: voxel \(100, 2, 3\) is outside of 0:50,0:50,0:50"),
        ({"pre": -1}, "row 2: pre is -1, and labels are not negative"),
        ({"pre": 1 << 64}, "row 2: pre is .*integers from 0 to"),
        ({"pre": 1.5}, "row 2: pre is 1.5, a fraction"),
        ({"pre": "a"}, "row 2: pre is 'a'"),
        ({"score": float("nan")}, "row 2: score is .*no score"),
    ],
)
def test_what_is_no_row_is_refused_with_its_number(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    row = {"pre": 1, "post": 2, "position": [1, 2, 3], "score": 0.5}
    (tmp_path / "a.json").write_text(json.dumps([row, {**row, **change}, row]))
    with pytest.raises(Exception, match=message):
        imported(tmp_path / "a.json", tmp_path / "a", bounds=Box((0, 0, 0), (50, 50, 50)))
    assert not (tmp_path / "a/table.json").exists()


def test_an_empty_table_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("pre,post,x,y,z\n")
    assert len(imported(tmp_path / "a.csv", tmp_path / "a")["id"]) == 0


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    table, out = tmp_path / "a.csv", str(tmp_path / "a")
    table.write_text("pre,post,x,y,z\n1,2,3,4,5\n")
    with pytest.raises(SpecError, match="does not tell the size of a voxel"):
        imported(table, tmp_path / "a", resolution=None)
    with pytest.raises(SpecError, match="no column 'b'; there are: pre, post, x, y, z"):
        imported(table, tmp_path / "a", columns=("pre=b",))
    with pytest.raises(SpecError, match="no column can say 'prey'"):
        imported(table, tmp_path / "a", columns=("prey=pre",))
    with pytest.raises(SpecError, match="write pre=NAME"):
        Read(source=str(table), layer=out, columns=("pre",))
    with pytest.raises(SpecError, match="power of two"):
        Read(source=str(table), layer=out, block=48)
    with pytest.raises(DataError, match="there is no such file"):
        imported(tmp_path / "none.csv", tmp_path / "a")
    with pytest.raises(DataError, match="no table is being imported here"):
        run.plan(Sort(layer=f"{tmp_path}/other"))
    table.write_text("pre,post\n1,2\n")
    with pytest.raises(SpecError, match="no column says where synapses are"):
        imported(table, tmp_path / "a")
    table.write_text("pre,post,x,y,z\n1,2,3,4\n")
    with pytest.raises(DataError, match="line 2: 4 columns and not 5"):
        imported(table, tmp_path / "a")
    table.write_text("pre,post,x,y,z\n" + "1,2,3,4,5\n" * 257)
    with pytest.raises(Exception, match="more than 256 synapses are at voxel"):
        imported(table, tmp_path / "many")


def test_it_is_a_command(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("pre,post,x,y,z\n1,2,3,4,5\n")
    words = ["synapse", "import", f"{tmp_path}/a.csv", f"{tmp_path}/a", "--resolution", "4,4,40"]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a/table.json").exists()


@pytest.mark.parametrize(
    ("file", "fields", "rows"),
    [
        (("synapse_tables", "cave_pcg_skel", "pre_syn.feather"), {}, 259),
        (("synapse_tables", "cave_pcg_skel", "post_syn.feather"), {"keys": "supervoxel"}, 2165),
        (("skeleton", "hemibrain", "722817260.synapses.csv"), {"resolution": (8.0,) * 3, "neuron": 722817260}, 3136),
    ],
)
def test_real_tables(tmp_path: Path, file: tuple[str, ...], fields: dict[str, Any], rows: int) -> None:
    found = imported(data(*file), tmp_path / "a", block=32768, **fields)
    assert len(found["id"]) == rows
    neuron = 864691136040432126
    if "neuron" in fields:
        assert set(np.unique(np.concatenate([found["pre"], found["post"]])).tolist()) == {0, 722817260}
        assert set(found["flags"].tolist()) == {NO_PRE, NO_POST}
    elif not fields:
        assert (found["pre"] == neuron).all()
        assert found["place"].min() > 100_000
    else:
        assert found["pre"].min() > 1 << 53
