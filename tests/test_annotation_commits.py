"""What is damaged in the folder of an annotation table is noticed, and named."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.annotation_tables import Table
from igneous_ng.errors import DataError, SpecError
from igneous_ng.store import Store
from tests.test_annotation_tables import SCHEMA, SIGNED, again, names, rows

pytest.importorskip("pyarrow")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table.create(str(tmp_path / "table"), SCHEMA, SIGNED)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_byte_that_changed_is_noticed(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Table.create(f"{folder}/t", SCHEMA, SIGNED)
        table.append(rows("a", "b"), SIGNED)
        table.delete([1], SIGNED)
        expected, log = names(table), table.log()
        files = sorted(p for p in Path(folder).rglob("*.*") if p.is_file())
        path = data.draw(st.sampled_from(files))
        raw = bytearray(path.read_bytes())
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(raw)
        with contextlib.suppress(DataError, SpecError):
            assert (names(again(table)), again(table).log()) == (expected, log)  # only white space changed


def test_damage_is_named(table: Table) -> None:
    folder = Path(table.url.removeprefix("file://"))
    first = table.append(rows("a"))
    table.append(rows("b"))
    file = next((folder / "data").glob("00000001-*"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"?")
    with pytest.raises(DataError, match="00000001-.*damaged; restore it"):
        again(table).read()
    file.unlink()
    with pytest.raises(DataError, match="00000001-.*is missing; restore it"):
        again(table).read()
    file.write_bytes(whole)
    manifest = folder / "commits" / "00000001.json"
    kept = manifest.read_bytes()
    manifest.write_bytes(kept.replace(b'"author": "', b'"author": "not '))
    with pytest.raises(DataError, match=r"00000001\.json: damaged"):
        again(table).log()
    manifest.write_text(json.dumps(dataclasses.replace(first, author="another").to_json()))
    with pytest.raises(DataError, match=r"00000001\.json: not the version that 2 followed"):
        again(table).log()
    manifest.write_bytes(kept[:-10])
    with pytest.raises(DataError, match=r"00000001\.json: not JSON"):
        again(table).read()
    manifest.write_bytes(b"{}")
    with pytest.raises(DataError, match="damaged, or not a version of an annotation table"):
        again(table).read()
    manifest.unlink()
    with pytest.raises(DataError, match="version 1 is missing"):
        again(table).read()


def test_what_is_no_table_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no annotation table; run `annotate table create`"):
        Table(str(tmp_path)).read()
    Store().put_json(f"file://{tmp_path}/table.json", {"@type": "other"})
    with pytest.raises(DataError, match="not of an annotation table"):
        Table(str(tmp_path)).read()
    Store().put_json(f"file://{tmp_path}/table.json", [1])
    with pytest.raises(DataError, match="not of an annotation table"):
        Table(str(tmp_path)).append(rows("a"))
