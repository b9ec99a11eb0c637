"""The page of a section: its map, what is wrong with it, how its pictures are spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import words
from igneous_ng.formats.verified import SEVERITIES, Finding
from igneous_ng.pages import maps, plots
from igneous_ng.pages.markup import Markup, badge, page, picture, tag
from igneous_ng.registering.joining import Registered

Array = npt.NDArray[Any]
_PICTURES = 300  # in one page


def draw(found: Registered, previews: Mapping[int, Array], pixel: float) -> bytes:
    """The page."""
    title = f"Section {found.section.z}"
    return page(
        title,
        tag("p", tag("a", "All sections", href="index.html")),
        tag("h1", title),
        _summary(found, pixel),
        tag("h2", "Tiles on the stage"),
        maps.key(),
        maps.draw(found, previews, pixel),
        tag("h2", "Findings"),
        _table(found, previews),
        tag("h2", "Pictures"),
        _plots(found),
    )


def _summary(found: Registered, pixel: float) -> Markup:
    section, shots = found.section, found.shots
    count = {one: sum(row.severity == one for row in found.findings) for one in SEVERITIES}
    badges = [part for one in reversed(SEVERITIES) for part in (badge(one, count[one]), f" {one}  ")]
    said = (
        f"{len(section.tiles)} of {words.count(len(shots.by_tile), 'tile')} used, "
        f"{words.count(len(shots.all), 'picture')}, {words.count(section.channels, 'channel')} of {section.dtype}, "
        f"{shots.size[0]} x {shots.size[1]} pixels of {pixel:g} nm"
    )
    return Markup(tag("p", said, class_="quiet") + tag("p", *badges))


def _table(found: Registered, previews: Mapping[int, Array]) -> Markup:
    if not found.findings:
        return tag("p", "Nothing was found to be wrong.")
    numbers: dict[tuple[str, str], int] = {}
    for shot in found.shots.all:
        for url in (shot.line.url, ""):
            numbers.setdefault((shot.line.tile, url), shot.number)
    rows, left = [], _PICTURES
    for row in sorted(found.findings, key=lambda row: -SEVERITIES.index(row.severity)):
        preview = previews.get(numbers.get((row.tile, row.url), -1)) if left else None
        left -= preview is not None
        rows.append(_row(row, preview))
    head = tag("tr", *(tag("th", one) for one in ("Severity", "What", "Tile", "Channel", "Said", "Picture")))
    more = [] if left else [tag("p", f"Pictures are shown for the first {_PICTURES} findings.", class_="quiet")]
    return Markup(tag("table", tag("thead", head), tag("tbody", *rows)) + "".join(more))


def _row(row: Finding, preview: Array | None) -> Markup:
    shown = tag("img", src=picture(preview), alt=row.tile) if preview is not None else ""
    return tag(
        "tr",
        tag("td", badge(row.severity)),
        tag("td", row.code),
        tag("td", row.tile, class_="name"),
        tag("td", "" if row.channel is None else row.channel, class_="n"),
        tag("td", row.said, class_="said"),
        tag("td", shown),
    )


def _plots(found: Registered) -> Markup:
    seen = [(shot, shot.seen) for shot in found.shots.all]
    blurred = {row.url for row in found.findings if row.code == "focus"}
    focus = [float(np.log10(one.focus)) for _, one in seen if one.focus]
    marked = [float(np.log10(one.focus)) for shot, one in seen if one.focus and shot.line.url in blurred]
    mean = [one.mean for _, one in seen if one.mean is not None]
    spread = [one.std for _, one in seen if one.std is not None]
    drawn = (
        plots.distribution(focus, "Focus, logarithm", marked),
        plots.distribution(mean, "Mean"),
        plots.distribution(spread, "Standard deviation"),
    )
    return tag("div", *drawn, class_="plots")
