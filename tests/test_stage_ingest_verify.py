"""Every file is read once, and what is found in it is so."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from igneous_ng import run
from igneous_ng.errors import DataError, TransientError
from igneous_ng.examining import examine
from igneous_ng.formats import columns, verified
from igneous_ng.formats.tiles import Tile
from igneous_ng.formats.verified import Seen
from igneous_ng.io import IO
from igneous_ng.stages.ingest_verify import Verify
from igneous_ng.store import Store
from tests.tiles import Lattice


def look(lattice: Lattice, **changed: object) -> dict[str, Seen]:
    """What `ingest verify` finds in a lattice, by tile."""
    lattice.lines = {tile: replace(line, **changed) for tile, line in lattice.lines.items()}  # type: ignore[arg-type]
    montage = lattice.write()
    run.inline(Verify(montage=montage))
    url = Path(montage.removeprefix("file://")) / "verified" / "z000012" / "000.jsonl"
    return {one.tile: one for one in verified.decode(url.read_bytes(), "here")}


def test_figures_are_those_of_the_files(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path, rows=2, columns=2)
    found = look(lattice)
    assert list(found) == ["r0c0", "r0c1", "r1c0", "r1c1"]
    for tile, seen in found.items():
        rows, data = lattice.rows_of(tile), lattice.files[tile]
        assert data is not None
        assert (seen.bytes, seen.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert (seen.width, seen.height, seen.depth, seen.dtype) == (128, 128, 1, "uint8")
        assert (seen.min, seen.max, seen.p50) == (rows.min(), rows.max(), np.sort(rows.ravel())[(rows.size - 1) // 2])
        assert seen.mean == pytest.approx(rows.mean(), rel=1e-12)
        assert seen.std == pytest.approx(rows.std(), rel=1e-12)
        assert seen.dark == (rows == rows.min()).mean()
        assert seen.findings == ()


def test_thumbnails_are_means(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path, rows=1, columns=2)
    lattice.files["r0c1"] = None
    look(lattice)
    table = columns.unpack((tmp_path / "montage/verified/z000012/000.thumbs").read_bytes(), "here")
    assert list(table) == ["factor", "0"]
    assert table["factor"].tolist() == [4, 0]
    rows = lattice.rows_of("r0c0").reshape(32, 4, 32, 4).mean(axis=(1, 3))
    assert np.array_equal(table["0"][:, :, 0].T, rows.astype(np.float32))


def torn(lattice: Lattice, tile: str) -> None:
    data = lattice.files[tile]
    assert data is not None
    lattice.files[tile] = data[: len(data) // 2]


def test_faults_are_found_and_fail_nothing(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path, rows=3, columns=3)
    lattice.files["r0c0"] = None
    torn(lattice, "r0c1")
    lattice.lines["r0c2"] = replace(lattice.lines["r0c2"], digest="md5:" + "0" * 32)
    lattice.lines["r1c0"] = replace(lattice.lines["r1c0"], width=130, height=128)
    lattice.lines["r1c1"] = replace(lattice.lines["r1c1"], size=7)
    lattice.spoil("r1c2", lambda rows: np.full_like(rows, 77))
    lattice.spoil("r2c0", lambda rows: np.where(np.arange(128)[:, None] < 90, rows, 0).astype(np.uint8))
    data = lattice.files["r2c2"]
    assert data is not None
    lattice.lines["r2c2"] = replace(
        lattice.lines["r2c2"], digest="sha256:" + hashlib.sha256(data).hexdigest(), size=len(data)
    )
    found = look(lattice)
    codes = {tile: [(one.code, one.severity) for one in seen.findings] for tile, seen in found.items()}
    assert codes == {
        "r0c0": [("absent", "bad")],
        "r0c1": [("corrupt", "bad")],
        "r0c2": [("digest", "bad")],
        "r1c0": [("shape", "bad")],
        "r1c1": [("bytes", "warn")],
        "r1c2": [("blank", "bad")],
        "r2c0": [("truncated", "bad")],
        "r2c1": [],
        "r2c2": [],
    }
    assert found["r2c0"].still == (90, 38)
    assert found["r0c1"].sha256 is not None
    assert all(one.tile == tile and one.url for tile, seen in found.items() for one in seen.findings)


def test_a_store_that_fails_for_a_moment_fails_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Verify(montage=Lattice(tmp_path, rows=1, columns=1).write())
    got = Store.get

    def get(self: Store, url: str, span: tuple[int, int] | None = None) -> bytes | None:
        if url.endswith(".png"):
            raise TransientError("not now")
        return got(self, url, span)

    monkeypatch.setattr(Store, "get", get)
    with pytest.raises(TransientError):
        stage.execute(stage.units(IO())[0], IO())


def test_each_file_is_read_once(tmp_path: Path) -> None:
    stage, io = Verify(montage=Lattice(tmp_path, rows=2, columns=2).write()), IO()
    stage.execute(stage.units(io)[0], io)
    read = [one["url"] for one in io.ledger.reads]
    assert len(read) == len(set(read)) == 5


def test_batches_are_of_a_hundred_lines_and_any_order_gives_the_same(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path, rows=2, columns=52, side=32, step=28)
    stage = Verify(montage=lattice.write())
    assert list(stage.units(IO())) == [(12, 0), (12, 1)]
    made = []
    for order in ((0, 1), (1, 0, 1)):
        for n in order:
            stage.execute(stage.units(IO())[n], IO())
        folder = tmp_path / "montage/verified/z000012"
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1]
    assert sorted(made[0]) == ["000.jsonl", "000.thumbs", "001.jsonl", "001.thumbs"]
    assert made[0]["001.jsonl"].count(b"\n") == 4


def test_without_a_manifest_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run `ingest plan` first"):
        Verify(montage=str(tmp_path)).units(IO())


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 300), (300, 1), (33, 70), (5, 4, 3)])
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32", "int16"])
def test_any_picture_can_be_looked_at(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    rows = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    path = tmp_path / "a.tif"
    colours = "rgb" if rows.ndim == 3 else "minisblack"
    tifffile.imwrite(path, rows, photometric=colours, byteorder=">")
    line = Tile(tile="a", z=0, x=0.0, y=0.0, pixel=1.0, url=f"file://{path}")
    seen, thumb = examine(IO(), line)
    assert (seen.width, seen.height, seen.depth) == (shape[1], shape[0], rows.size // (shape[0] * shape[1]))
    assert (seen.min, seen.max, seen.dtype) == (rows.min(), rows.max(), rows.dtype.name)
    assert thumb is not None
    tifffile.imwrite(path, rows.astype(rows.dtype.newbyteorder("=")), photometric=colours, byteorder="<")
    again, _ = examine(IO(), line)
    assert (again.pixels == seen.pixels, again.sha256 == seen.sha256) == (True, False)


def test_a_folder_in_the_place_of_a_file_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    seen, thumb = examine(IO(), Tile(tile="a", z=0, x=0.0, y=0.0, pixel=1.0, url=f"file://{tmp_path}/a.tif"))
    assert thumb is None
    assert seen.bad
