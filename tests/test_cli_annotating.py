"""Annotation tables on the command line: every format in and out, ids above 2^53, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from igneous_ng import cli
from igneous_ng.annotation_tables import Table
from igneous_ng.formats import row_files

pytest.importorskip("pyarrow")
LARGE = (1 << 64) - 3
OPTIONS = ["--column", "kind:string", "--column", "size:int64?", "--column", "sure:bool?", "--column", "odds:float32?"]


def ask(*words: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli.main, ["annotate", "table", *map(str, words)], input=stdin)


def said(*words: object, stdin: str | None = None) -> str:
    result = ask(*words, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table"
    text = said("create", path, "--relationship", "segment", *OPTIONS, "--author", "me")
    assert text.startswith(f"file://{path}: id uint64, supersedes uint64, x float64, ")
    return path


TEXT = f"""x,y,z,segment,kind,size,sure,odds
1.5,2,3,{LARGE},"soma, large",-9007199254740993,true,0.1
4,5,6,7,spine,,,
"""


def test_rows_come_back_as_they_went_in(table: Path, tmp_path: Path) -> None:
    assert said("append", table, "-", stdin=TEXT) == "version 1: 2 rows appended as 1 to 2, 2 in all\n"
    expected = f"""id,supersedes,x,y,z,segment,kind,size,sure,odds
1,0,1.5,2.0,3.0,{LARGE},"soma, large",-9007199254740993,true,0.1
2,0,4.0,5.0,6.0,7,spine,0,false,
"""
    assert said("read", table) == expected
    for suffix in row_files.SUFFIXES:
        said("read", table, "--to", tmp_path / f"rows{suffix}")
        version = json.loads(said("append", table, tmp_path / f"rows{suffix}", "--json"))["version"]
        got = Table(str(table)).read(version)
        assert got["segment"][-2:].tolist() == [LARGE, 7]
        assert got["size"][-2:].tolist() == [-9007199254740993, 0]
        assert got["kind"][-2:].tolist() == ["soma, large", "spine"]
        assert np.array_equal(got["odds"][-2:], np.array([0.1, np.nan], np.float32), equal_nan=True)
    shown = json.loads(said("read", table, "--json", "--as-of", "1"))
    assert shown[0] == {"id": "1", "supersedes": "0", "x": 1.5, "y": 2.0, "z": 3.0, "segment": str(LARGE),
                        "kind": "soma, large", "size": "-9007199254740993", "sure": True, "odds": 0.1}  # fmt: skip
    assert shown[1]["odds"] is None


def test_what_was_read_and_changed_stands_for_what_it_was(table: Path, tmp_path: Path) -> None:
    said("append", table, "-", stdin=TEXT)
    said("read", table, "--to", tmp_path / "rows.csv")
    changed = (tmp_path / "rows.csv").read_text().replace("spine", "shaft")
    assert said("supersede", table, "-", stdin=changed) == "version 2: 2 rows superseded as 3 to 4, 2 in all\n"
    assert said("delete", table, 3) == "version 3: 1 row deleted, 1 in all\n"
    assert [row["kind"] for row in json.loads(said("read", table, "--json"))] == ["shaft"]
    assert [row["supersedes"] for row in json.loads(said("read", table, "--json", "--as-of", 2))] == ["1", "2"]
    assert said("read", table, "--as-of", "1").count("\n") == 3
    assert said("compact", table) == "all rows up to version 3 are in one file\n"
    assert [row["kind"] for row in json.loads(said("read", table, "--json"))] == ["shaft"]


def test_the_log_names_who_and_why(table: Path) -> None:
    said("append", table, "-", "--author", "anna", "--comment", "first look", "--date", "2030-01-31", stdin=TEXT)
    lines = said("log", table).splitlines()
    assert lines[0] == "     1  2030-01-31T00:00:00.000000Z  anna  2 rows appended as 1 to 2, 2 in all  first look"
    assert lines[1].split()[0] == "0"
    assert [one["version"] for one in json.loads(said("log", table, "--json"))] == [1, 0]
    assert said("read", table, "--as-of", "2030-01-30").count("\n") == 1
    assert said("read", table, "--as-of", "2030-01-31T00:00:00Z").count("\n") == 3


def test_a_token_makes_a_repetition_harmless(table: Path) -> None:
    once = said("append", table, "-", "--token", "monday", stdin=TEXT)
    assert said("append", table, "-", "--token", "monday", stdin=TEXT) == once
    assert len(said("log", table).splitlines()) == 2


def test_a_schema_may_be_a_file(tmp_path: Path) -> None:
    schema = {"kind": "box", "units": "voxel", "resolution": [8, 8, 30], "description": "cut-outs",
              "columns": [{"name": "state", "type": "string", "choices": ["open", "done"]}]}  # fmt: skip
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    said("create", tmp_path / "t", "--schema", tmp_path / "schema.json")
    rows = "lo_x,lo_y,lo_z,hi_x,hi_y,hi_z,state\n0,0,0,4,4,4,{}\n"
    said("append", tmp_path / "t", "-", stdin=rows.format("open"))
    found = Table(str(tmp_path / "t"))
    assert found.schema.nm(found.read()).tolist() == [[16, 16, 60]]
    refused = ask("append", tmp_path / "t", "-", stdin=rows.format("shut"))
    assert refused.exit_code == 2
    assert "'shut' is none of its choices; give open, done" in refused.output


@pytest.mark.parametrize(
    ("words", "stdin", "code", "text"),
    [
        (["append", "-"], "x,y\n1\n", 1, "row 0 has 1 cells, and there are 2 columns"),
        (["append", "-"], "x,x\n", 1, "each once"),
        (["append", "-"], "", 1, "must name the columns"),
        (["append", "-"], "x,y,z,segment,kind\n1,2,3,4.0,a\n", 1, "column segment, row 0: '4.0' is not uint64"),
        (["append", "-"], "x,y,z,segment,kind\n1,2,3,-4,a\n", 2, "-4 is not a whole number from 0"),
        (["append", "-"], "x,y,z,segment,kind\nnan,2,3,4,a\n", 2, "column x, row 0: nan is no place"),
        (["append", "-"], "x,y,z,segment,kind,more\n1,2,3,4,a,b\n", 2, "there is no column 'more'"),
        (["append", "nowhere.csv"], None, 1, "there is no such file"),
        (["append", "rows.xlsx"], None, 1, "there is no such file"),
        (["supersede", "-"], "x,y,z,segment,kind\n1,2,3,4,a\n", 2, "there is no column id"),
        (["supersede", "-"], "id,x,y,z,segment,kind\n1,1,2,3,4,a\n", 2, "there is no row 1; ids are 1 to 0"),
        (["delete", "1"], None, 2, "there is no row 1"),
        (["delete", "-1"], None, 2, "No such option"),
        (["read", "--as-of", "3"], None, 2, "has no version 3; there are 0 to 0"),
        (["read", "--as-of", "soon"], None, 2, "'soon' is no time"),
        (["read", "--to", "rows.txt"], None, 2, "ends in .csv, .json, .parquet"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(
    table: Path, words: list[str], stdin: Any, code: int, text: str
) -> None:
    result = ask(words[0], table, *words[1:], stdin=stdin)
    assert result.exit_code == code, result.output
    assert text in result.output
    assert len(said("log", table).splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--kind", "blob"], "no rows are of the kind 'blob'"),
        (["--column", "a:complex"], "there is no type 'complex'"),
        (["--column", "a"], "write its name and its type"),
        (["--column", "id:uint64"], "'id' names no column"),
        (["--column", "A b:uint64"], "'A b' names no column"),
        (["--column", "a:bool", "--relationship", "a"], "two columns are called a"),
        (["--units", "um"], "positions are in nm or voxel"),
        (["--resolution", "1,2"], "not the schema of a table"),
        (["--resolution", "1,2,0"], "each side must be a positive number"),
    ],
)
def test_wrong_schemas_are_refused(tmp_path: Path, words: list[str], text: str) -> None:
    result = ask("create", tmp_path / "t", *words)
    assert (result.exit_code, text in result.output) == (2, True), result.output
    assert not (tmp_path / "t").exists()


def test_a_table_is_created_once(table: Path) -> None:
    result = ask("create", table)
    assert result.exit_code == 2
    assert "a table is here already" in result.output
