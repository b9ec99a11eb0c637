"""The page of all sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from igneous_ng import words
from igneous_ng.errors import DataError
from igneous_ng.formats.sections import name
from igneous_ng.formats.verified import SEVERITIES, Finding
from igneous_ng.montage import Row
from igneous_ng.pages.markup import Markup, badge, page, tag
from igneous_ng.registering.joining import Registered


@dataclass(frozen=True)
class Summary:
    """A section in a few figures: what the pages of others, and the list of sections, are made of."""

    z: int
    known: int
    """Tiles of the manifest, each name once."""
    tiles: int
    """Those that are used."""
    pairs: int
    box: tuple[float, float, float, float] | None
    """None where no tile is used."""
    dtype: str
    channels: int
    pixel: float
    severities: dict[str, int]
    """How many findings have each."""
    codes: dict[str, int]

    @classmethod
    def of(cls, found: Registered, pixel: float) -> Summary:
        """The figures of a section."""
        section, rows = found.section, found.findings
        return cls(
            section.z,
            len(found.shots.by_tile),
            len(section.tiles),
            len(section.pairs) if section.tiles else 0,
            section.box if section.tiles else None,
            section.dtype,
            section.channels,
            pixel,
            {one: sum(row.severity == one for row in rows) for one in SEVERITIES},
            {code: sum(row.code == code for row in rows) for code in sorted({row.code for row in rows})},
        )

    @classmethod
    def from_json(cls, raw: Any, where: str) -> Summary:
        """As it is stored; DataError where it is none."""
        try:
            return cls(**{**raw, "box": None if raw["box"] is None else tuple(raw["box"])})
        except (KeyError, TypeError) as error:
            raise DataError(f"{where}: does not sum up a section ({error!r}); run `ingest register` again") from None

    @property
    def row(self) -> Row:
        """As the list of all sections has it."""
        return Row(self.z, self.tiles, self.pairs, self.box or (0.0, 0.0, 0.0, 0.0))


def draw(sections: Sequence[Summary], findings: Sequence[Finding], home: str) -> bytes:
    """The page; ``findings`` are those of no one section."""
    title = "Sections"
    used, known = sum(one.tiles for one in sections), sum(one.known for one in sections)
    count = {s: sum(one.severities[s] for one in sections) + sum(f.severity == s for f in findings) for s in SEVERITIES}
    badges = [part for one in reversed(SEVERITIES) for part in (badge(one, count[one]), f" {one}  ")]
    said = f"{home}: {words.count(len(sections), 'section')}, {used:,} of {words.count(known, 'tile')} used"
    return page(
        title, tag("h1", title), tag("p", said, class_="quiet"), tag("p", *badges), _all(findings), _table(sections)
    )


def _all(findings: Sequence[Finding]) -> Markup:
    if not findings:
        return Markup("")
    rows = [tag("tr", *(tag("td", one) for one in (badge(f.severity), f.code, f.said))) for f in findings]
    return Markup(tag("h2", "Of no one section") + tag("table", tag("tbody", *rows)))


def _table(sections: Sequence[Summary]) -> Markup:
    head = ("Section", "Tiles", "Used", "Pairs", *reversed(SEVERITIES), "What")
    plain = [tag("th", one, class_="n" if 0 < n < 4 else "") for n, one in enumerate(head)]
    rows = [tag("tr", *_cells(one)) for one in sections]
    return Markup(tag("h2", "Each") + tag("table", tag("thead", tag("tr", *plain)), tag("tbody", *rows)))


def _cells(one: Summary) -> list[Markup]:
    link = tag("a", one.z, href=f"{name(one.z)}.html")
    figures = [tag("td", f"{value:,}", class_="n") for value in (one.known, one.tiles, one.pairs)]
    counts = [tag("td", badge(s, one.severities[s])) for s in reversed(SEVERITIES)]
    codes = ", ".join(f"{count} {code}" for code, count in one.codes.items())
    return [tag("td", link), *figures, *counts, tag("td", codes, class_="said")]
