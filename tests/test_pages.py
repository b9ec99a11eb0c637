"""Pages are valid, need nothing else, are the same each time, and show file names as text whatever they are."""

from __future__ import annotations

import html.parser
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.pages.markup import page, tag, text
from igneous_ng.registering import series
from igneous_ng.stage import Stage
from igneous_ng.stages.ingest_register import Register
from igneous_ng.stages.ingest_verify import Verify
from tests.test_stage_ingest_register import registered, torn
from tests.tiles import Lattice, write_manifest

VOID = {"meta", "img", "br"}
EVIL = "</td><script>alert('x')</script>&amp;\"'\x07\u202e"


class Checker(html.parser.HTMLParser):
    """Every element is closed in order, no attribute is given twice, nothing is asked of elsewhere."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.said: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), attrs
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def checked(data: bytes) -> Checker:
    found = Checker()
    found.feed(data.decode())
    found.close()
    assert not found.open
    assert data.startswith(b"<!DOCTYPE html>\n<html lang=")
    assert {"html", "head", "title", "style", "body", "h1"} <= found.seen
    assert not {"script", "link", "iframe"} & found.seen
    assert all(re.fullmatch(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+|[a-z0-9]+\.html", link) for link in found.links)
    return found


def report(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "montage/report").iterdir())}


def test_pages_are_valid_and_name_what_is_wrong(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path)
    torn(lattice, "r2c2")
    del lattice.lines["r4c4"]
    lattice.lines["r1c1"] = replace(lattice.lines["r1c1"], tile=EVIL)
    lattice.spoil("r1c1", lambda rows: rows[:50])
    lattice.lines["r5c5"] = replace(lattice.lines["r5c5"], x=1e12)
    registered(lattice)
    pages = report(tmp_path)
    found = checked(pages["z000012.html"])
    said = "".join(found.said)
    assert "r2c2" in said
    assert "row 4, column 4 has no tile" in said
    assert "</td><script>alert('x')</script>&amp;\"'\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}" in said
    assert "32 of 35 tiles used" in said
    assert pages["z000012.html"].count(b"stroke-dasharray") == 1
    index = checked(pages["index.html"])
    assert index.links == ["z000012.html"]
    assert "1 corrupt, 1 missing, 1 place, 1 shape" in "".join(index.said)


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_any_text_is_text(value: str) -> None:
    data = page("t", tag("h1", value, title=value))
    found = Checker()
    found.feed(data.decode())
    assert found.seen == {"html", "head", "meta", "title", "style", "body", "h1"}
    shown = "".join(found.said[-2:]).removesuffix("\n")
    assert shown == "".join(c if c.isprintable() else "\ufffd" for c in value) or not value
    assert "<" not in text(value)


def test_any_order_and_repetition_gives_the_same_bytes(tmp_path: Path) -> None:
    made = []
    lattice = Lattice(tmp_path, rows=8, columns=14, side=48, step=42)
    torn(lattice, "r3c3")
    lattice.write()
    second = {tile: replace(line, z=13) for tile, line in lattice.lines.items()}
    montage = write_manifest(tmp_path / "montage", {12: lattice.lines.values(), 13: second.values()})
    for backwards in (False, True):
        stages: tuple[Stage, ...] = (Verify(montage=montage), Register(montage=montage))
        for stage in stages:
            stage.prepare(IO())
            units = list(stage.units(IO()))
            for unit in (units[::-1] + units[:1]) if backwards else units:
                stage.execute(unit, IO())
            stage.finish(IO())
        made.append({str(p): p.read_bytes() for p in (tmp_path / "montage").rglob("*") if p.is_file()})
    assert made[0] == made[1]
    assert len(made[0]) == 3 + 2 * (4 + 4) + 3


def test_a_tile_that_is_replaced_by_a_good_one_leaves_the_section_as_it_is(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path, rows=4, columns=4)
    registered(lattice)
    folder = tmp_path / "montage"
    kept = [folder / "sections/z000012.json", folder / "findings/z000012.jsonl", folder / "sections.json"]
    before = [path.read_bytes() for path in kept]
    verified = (folder / "verified/z000012/000.jsonl").read_bytes()
    lattice.spoil("r2c2", lambda rows: rows[::-1])
    registered(lattice)
    assert [path.read_bytes() for path in kept] == before
    assert (folder / "verified/z000012/000.jsonl").read_bytes() != verified


def test_sections_that_are_missing_empty_or_of_another_type_are_told(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path, rows=2, columns=2)
    odd = Lattice(tmp_path, rows=2, columns=2, z=20, dtype="uint16")
    lattice.write()
    odd.write()
    same = {z: [replace(line, z=z) for line in lattice.lines.values()] for z in (12, 14, 18)}
    montage = write_manifest(tmp_path / "montage", {**same, 20: odd.lines.values(), 22: []})
    run.inline(Verify(montage=montage))
    run.inline(Register(montage=montage))
    rows = [json.loads(line) for line in (tmp_path / "montage/findings/sections.jsonl").read_text().splitlines()]
    assert [(row["code"], row["said"].partition(";")[0]) for row in rows] == [
        ("sequence", "section 16 is missing"),
        ("type", "section 20 has 1 x uint16"),
    ]
    stored = json.loads((tmp_path / "montage/sections.json").read_text())
    assert [row["z"] for row in stored["sections"]] == [12, 14, 18]
    assert (stored["dtype"], stored["channels"], stored["pixel"]) == ("uint8", 1, 4)
    (empty,) = (tmp_path / "montage/findings/z000022.jsonl").read_text().splitlines()
    assert json.loads(empty) == {"z": 22, "code": "empty", "severity": "bad", "said": "no tile of 0 can be used"}
    for name, data in report(tmp_path).items():
        if name.endswith(".html"):
            checked(data)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ([], []),
        ([5], []),
        ([0, 10, 20, 40], ["section 30 is missing"]),
        ([1, 2, 3, 6], ["section 4 is missing", "section 5 is missing"]),
        ([1, 2, 3, 1003], ["sections 4 to 1002 are missing, 999 of them"]),
    ],
)
def test_gaps_go_by_the_usual_step(sections: list[int], said: list[str]) -> None:
    assert [row.said for row in series.gaps(sections)] == said
