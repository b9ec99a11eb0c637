"""The pages of an aligned volume: one of all sections, and one of each with which something is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import words
from igneous_ng.formats.checks import Check
from igneous_ng.formats.sections import name
from igneous_ng.pages.courses import Demand, Line, course
from igneous_ng.pages.markup import Markup, badge, page, picture, tag

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Overlay:
    """A place of the volume (pixels of mip 0): two sections in red and cyan, ``[y, x, 3]``, before and after."""

    x: float
    y: float
    off: float
    """How far off the better place is; 0 where nothing is wrong."""
    before: Array
    after: Array


@dataclass(frozen=True)
class Shown:
    """A section in the table of the worst."""

    check: Check
    wrong: Sequence[str]
    overlays: Sequence[Overlay]


_PLOTS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Places between nodes", "how far the better place is, px; compared anew, no solver has seen it",
     (("held_out_p95", "95th percentile"), ("held_out_p50", "median"))),
    ("Misaligned blocks", "share that lies clearly better elsewhere", (("misaligned", "share"),)),
    ("Alike", "share of blocks that find something alike near by", (("alike", "share"),)),
    ("Correlation", "of blocks as they lie, and what a better place would add",
     (("correlation", "as they lie"), ("gap_p50", "gap, median"), ("gap_p95", "gap, 95th percentile"))),
    ("What the solution leaves", "of the displacements it was made of, px",
     (("residual_p95", "95th percentile"), ("residual_p50", "median"))),
    ("Good displacements", "share of the nodes with something to see", (("good", "share"),)),
    ("Loops", "by how much displacements over two sections differ from their sum, px",
     (("loop_p95", "95th percentile"), ("loop_p50", "median"))),
    ("Forth and back", "by how much the two directions differ, px",
     (("back_p95", "95th percentile"), ("back_p50", "median"))),
    ("Strain", "stretch or compression of lengths", (("strain_max", "largest"), ("strain_p95", "95th percentile"))),
    ("Jitter", "how sections differ from node to node, in units of how sure matches are; above 1 noise was followed",
     (("jitter_ratio", "ratio"),)),
    ("Drift", "mean displacement from the rough maps, px", (("drift_x", "x"), ("drift_y", "y"))),
    ("Turn", "from the rough maps, radians", (("turn", "turn"),)),
    ("What is left, summed up", "shifts of whole sections that are left, added from the first on, px",
     (("sum_x", "x"), ("sum_y", "y"))),
    ("Folded", "cells that lie upside down", (("folded", "cells"),)),
)  # fmt: skip
_HEAT = (
    "The folder heat of the alignment is a layer to be laid over the volume: its channels are how far off blocks are, "
    "in px, the correlation that a better place would gain, and strain; -1 where nothing was measured."
)
_LEGEND = "Red is the section, cyan the one below; where both agree all is grey."


def draw(
    checks: Sequence[Check], verdict: Mapping[str, Any], demands: Mapping[str, Demand], worst: Sequence[Shown]
) -> bytes:
    """The page of all sections; ``verdict`` as it is stored, ``demands`` of figures."""
    title = f"Alignment, round {verdict['round']}"
    shown = sum(one.source >= 0 for one in checks)
    figures = verdict["figures"]
    said = f"{words.count(len(checks), 'section')}, {shown:,} shown; missing: {figures['missing']}"
    return page(
        title,
        tag("h1", title),
        tag("p", said, class_="quiet"),
        _verdict(verdict),
        _summary(figures, demands),
        tag("p", _HEAT, class_="quiet"),
        tag("h2", "Along the stack"),
        tag("p", "Dashed: the bound. Grey: not measured. Lengths are pixels of mip 0.", class_="quiet"),
        _plots(checks, demands),
        tag("h2", "The worst sections"),
        tag("p", _LEGEND, class_="quiet"),
        _worst(worst),
    )


def _verdict(verdict: Mapping[str, Any]) -> Markup:
    style, said = ("ok", "may be published") if verdict["publish"] else ("bad", "held back")
    accepted = verdict.get("accepted")
    parts = [tag("p", badge("warn" if accepted else style, said))]
    if accepted:
        parts.append(tag("p", f"Accepted by an operator: {accepted}"))
    if verdict["reasons"]:
        parts.append(_list(verdict["reasons"]))
    return tag("div", *parts, class_=f"verdict {style}")


def _list(said: Sequence[str]) -> Markup:
    return tag("ul", *(tag("li", one) for one in said))


def _summary(figures: Mapping[str, Any], demands: Mapping[str, Demand]) -> Markup:
    """The median and the worst section of each figure."""
    rows = []
    for key, both in ((key, both) for key, both in figures.items() if isinstance(both, dict)):
        demand = demands.get(key)
        cells = [tag("td", key.replace("_", " ")), *(tag("td", _short(both[one]), class_="n") for one in both)]
        limit = "" if demand is None else f"{'at most' if demand.sign > 0 else 'at least'} {demand.bound:.4g}"
        beyond = 0 if demand is None else sum(demand.beyond)
        rows.append(
            tag("tr", *cells, tag("td", limit), tag("td", badge("bad", f"{beyond:,} beyond") if beyond else ""))
        )
    head = tag("tr", *(tag("th", one) for one in ("Figure", "Median section", "Worst section", "Bound", "")))
    return tag("table", tag("thead", head), tag("tbody", *rows), class_="narrow")


def _plots(checks: Sequence[Check], demands: Mapping[str, Demand]) -> Markup:
    zs = [one.z for one in checks]
    drawn = []
    for title, said, keys in _PLOTS:
        lines = [Line(label, series(checks, key)) for key, label in keys]
        drawn.append(course(title, said, zs, lines, demands.get(keys[0][0])))
    return tag("div", *drawn, class_="courses")


def series(checks: Sequence[Check], key: str) -> Array:
    """A figure of all sections, NaN where there is none; ``sum_x`` adds up ``shift_x`` from the first section on."""
    if key.startswith("sum_"):
        found = series(checks, key.replace("sum_", "shift_"))
        return np.where(np.isfinite(found), np.cumsum(np.nan_to_num(found)), np.nan)
    known = ((getattr(one, key) if one.source >= 0 else None) for one in checks)
    return np.array([np.nan if value is None else value for value in known], np.float64)


def _worst(worst: Sequence[Shown]) -> Markup:
    if not worst:
        return tag("p", "No section was compared with another.", class_="quiet")
    head = tag("tr", *(tag("th", one) for one in ("Section", "What is wrong", "Rough maps alone", "After this round")))
    return tag("table", tag("thead", head), tag("tbody", *map(_row, worst)), class_="worst")


def _row(shown: Shown) -> Markup:
    check = shown.check
    link = tag("a", check.z, href=f"{name(check.z)}.html") if shown.wrong else check.z
    over = tag("p", f"over {check.against}", class_="quiet")
    said = [tag("p", one) for one in shown.wrong] or [tag("p", badge("ok", "within bounds"))]
    said += [tag("p", f"shown at {one.x:.0f}, {one.y:.0f}{_off(one)}", class_="quiet") for one in shown.overlays]
    before, after = ([_image(rows, what) for rows in both] for what, both in _sides(shown.overlays))
    return tag("tr", tag("td", link, over), tag("td", *said, class_="said"), tag("td", *before), tag("td", *after))


def _sides(overlays: Sequence[Overlay]) -> tuple[tuple[str, list[Array]], ...]:
    return ("before", [one.before for one in overlays]), ("after", [one.after for one in overlays])


def _off(one: Overlay) -> str:
    return f", {one.off:.3g} px off" if one.off else ""


def _image(rows: Array, what: str) -> Markup:
    return tag("img", src=picture(rows), alt=what, width=rows.shape[1], height=rows.shape[0])


def section(check: Check, wrong: Sequence[str], heat: Mapping[str, Array], overlays: Sequence[Overlay]) -> bytes:
    """The page of a section; ``heat`` are pictures ``[y, x, 3]`` of its heat map, by what they show."""
    title = f"Section {check.z}"
    maps = [tag("figure", tag("h3", what), _image(rows, what)) for what, rows in heat.items()]
    figures = [(key, value) for key, value in check.figures().items() if key not in ("worst", "statuses", "links")]
    rows = [tag("tr", tag("td", key.replace("_", " ")), tag("td", _short(value), class_="n")) for key, value in figures]
    places = [
        tag(
            "tr",
            tag("td", f"{one.x:.0f}, {one.y:.0f}, {check.z}{_off(one)}"),
            tag("td", _image(one.before, "before")),
            tag("td", _image(one.after, "after")),
        )
        for one in overlays
    ]
    head = tag("tr", *(tag("th", one) for one in ("Place", "Rough maps alone", "After this round")))
    return page(
        title,
        tag("p", tag("a", "All sections", href="index.html")),
        tag("h1", title),
        tag("p", f"Round {check.round}, over section {check.against}", class_="quiet"),
        tag("div", tag("p", badge("bad", "beyond bounds")), _list(wrong), class_="verdict bad"),
        tag("h2", "Where"),
        tag("div", *maps, class_="plots"),
        tag("h2", "The worst places"),
        tag("p", _LEGEND, class_="quiet"),
        tag("table", tag("thead", head), tag("tbody", *places), class_="worst"),
        tag("h2", "Figures"),
        tag("table", tag("tbody", *rows), class_="narrow"),
    )  # fmt: skip


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
