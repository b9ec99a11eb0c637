"""Copies are of what was verified, are made once, and replace nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.stages.ingest_copy import Copy
from igneous_ng.stages.ingest_verify import Verify
from igneous_ng.store import Store
from tests.tiles import Lattice


def ready(folder: Path) -> tuple[Lattice, str]:
    lattice = Lattice(folder, rows=2, columns=2, side=64)
    lattice.files["r0c0"] = b"torn"
    lattice.files["r0c1"] = None
    montage = lattice.write()
    run.inline(Verify(montage=montage))
    return lattice, montage


def stored(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_good_files_are_copied_and_the_source_is_as_it_was(tmp_path: Path) -> None:
    lattice, montage = ready(tmp_path)
    before = stored(tmp_path / "raw")
    for _ in range(2):  # again: all is there already
        run.inline(Copy(montage=montage, archive=str(tmp_path / "kept")))
    assert stored(tmp_path / "kept") == {f"{one}.png": lattice.files[one] for one in ("r1c0", "r1c1")}
    assert stored(tmp_path / "raw") == before


def test_what_is_there_is_never_replaced_and_the_rest_is_copied(tmp_path: Path) -> None:
    _, montage = ready(tmp_path)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/r1c0.png").write_bytes(b"another")
    with pytest.raises(DataError, match=r"1 of 2 files.*r1c0.png is there already and holds something else"):
        run.inline(Copy(montage=montage, archive=str(tmp_path / "kept")))
    found = stored(tmp_path / "kept")
    assert found["r1c0.png"] == b"another"
    assert "r1c1.png" in found


def test_a_file_that_changed_since_is_not_copied(tmp_path: Path) -> None:
    lattice, montage = ready(tmp_path)
    data = lattice.files["r1c1"]
    assert data is not None
    (tmp_path / "raw/z000012/r1c1.png").write_bytes(data[:-1])
    with pytest.raises(DataError, match=r"r1c1.png is not what it was when it was verified"):
        run.inline(Copy(montage=montage, archive=str(tmp_path / "kept")))
    assert list(stored(tmp_path / "kept")) == ["r1c0.png"]


def test_a_copy_that_reads_otherwise_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, montage = ready(tmp_path)
    create = Store.create

    def torn(self: Store, url: str, data: bytes) -> bool:
        return create(self, url, data[:-1] if url.endswith("r1c1.png") else data)

    monkeypatch.setattr(Store, "create", torn)
    with pytest.raises(DataError, match=r"r1c1.png is not what was stored"):
        run.inline(Copy(montage=montage, archive=str(tmp_path / "kept")))


@pytest.mark.parametrize("place", ["raw/z000012", "raw/z000012/below", "raw", "link"])
def test_a_copy_over_the_source_is_refused(tmp_path: Path, place: str) -> None:
    _, montage = ready(tmp_path)
    os.symlink(tmp_path / "raw/z000012", tmp_path / "link")
    before = stored(tmp_path / "raw")
    with pytest.raises(SpecError, match="choose a folder that is apart from them"):
        run.inline(Copy(montage=montage, archive=str(tmp_path / place)))
    assert stored(tmp_path / "raw") == before


def test_the_ledger_names_each_copy(tmp_path: Path) -> None:
    _, montage = ready(tmp_path)
    stage, io = Copy(montage=montage, archive=str(tmp_path / "kept")), IO()
    stage.prepare(IO())
    stage.execute(stage.units(io)[0], io)
    assert [one["url"].rpartition("/")[2] for one in io.ledger.writes] == ["r1c0.png", "r1c1.png"]
    again = IO()
    stage.execute(stage.units(io)[0], again)
    assert all(one["kept"] for one in again.ledger.writes)
