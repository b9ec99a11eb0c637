"""The page that the demo ends with, from its figures, pictures and costs: HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from igneous_ng import words
from igneous_ng.demo.costs import Cost
from igneous_ng.demo.figures import Bounds, Figure, failed
from igneous_ng.demo.sights import Sight
from igneous_ng.pages.courses import Line, course
from igneous_ng.pages.markup import Markup, badge, page, picture, tag

_CHAPTERS = {
    "stitching": ("From tiles to sections", "montage/report/index.html", "what was found wrong with tiles"),
    "alignment": ("From sections to a volume", "alignment/report/index.html", "how well sections lie on each other"),
    "segmentation": ("Neurons", "scores/segmentation/scores.json", "all scores, and the worst objects"),
    "synapses": ("Synapses", "scores/synapses/scores.json", "scores at all thresholds"),
}
_BAR, _HIGH = 260, 12


@dataclass(frozen=True)
class Told:
    """All that the report tells."""

    figures: Sequence[Figure]
    bounds: Bounds
    costs: Sequence[Cost]
    sights: Sequence[Sight]
    plots: Mapping[str, tuple[str, Sequence[float]]]
    """By title: what it is, and a value for each section."""
    look: str
    """The command that shows all layers in Neuroglancer."""
    screenshot: str
    """A picture's file beside the page; empty: there is none."""
    wall_seconds: float


def draw(told: Told) -> bytes:
    """The page."""
    title = "From raw tiles to a connectome graph"
    return page(
        title,
        tag("h1", title),
        tag("p", "Synthetic tissue, of which all is known: each layer is measured against that.", class_="quiet"),
        _verdict(told),
        tag("h2", "How good each layer is"),
        _figures(told),
        tag("h2", "Everything together"),
        _together(told),
        *(part for chapter in _CHAPTERS for part in _chapter(chapter, told.sights)),
        tag("h2", "Section by section"),
        _plots(told),
        tag("h2", "What each stage took"),
        _costs(told),
    )


def _verdict(told: Told) -> Markup:
    wrong = failed(told.figures, told.bounds)
    style, said = ("bad", "below the floor") if wrong else ("ok", "all layers are above their floors")
    inside = [tag("p", badge(style, said))]
    if wrong:
        inside.append(tag("ul", *(tag("li", one) for one in wrong)))
    return tag("div", *inside, class_=f"verdict {style}")


def _figures(told: Told) -> Markup:
    head = tag("tr", *(tag("th", one) for one in ("Layer", "Figure", "Value", "Bound", "", "")))
    rows = []
    for one in told.figures:
        bound, most = told.bounds[one.key]
        good = one.good(told.bounds)
        rows.append(
            tag(
                "tr",
                tag("td", one.layer),
                tag("td", one.said),
                tag("td", f"{one.value:.3f} {one.unit}".strip(), class_="n", style="white-space:nowrap"),
                tag("td", f"at {'most' if most else 'least'} {bound:g}", style="white-space:nowrap"),
                tag("td", badge("ok" if good else "bad", "good" if good else "beyond")),
                tag("td", one.detail, class_="quiet"),
            )
        )
    return tag("table", tag("thead", head), tag("tbody", *rows))


def _together(told: Told) -> Markup:
    parts = [
        tag("p", "To look at all layers in Neuroglancer, without internet:"),
        tag("pre", told.look, style="white-space:pre-wrap"),
    ]
    if told.screenshot:
        parts.append(tag("img", src=told.screenshot, alt="all layers in Neuroglancer", style="max-width:100%"))
    else:
        parts.append(
            tag("p", "There is no picture of it: chromium and chromedriver are not installed.", class_="quiet")
        )
    return tag("div", *parts)


def _chapter(name: str, sights: Sequence[Sight]) -> list[Markup]:
    title, link, said = _CHAPTERS[name]
    drawn = [
        tag("figure", tag("p", one.said), tag("img", src=picture(one.rows), alt=one.said, style="max-width:100%"))
        for one in sights
        if one.chapter == name
    ]
    return [tag("h2", title), tag("p", tag("a", said, href=link), class_="quiet"), tag("div", *drawn, class_="plots")]


def _plots(told: Told) -> Markup:
    drawn = []
    for title, (said, values) in told.plots.items():
        drawn.append(course(title, said, range(len(values)), [Line(title, np.array(values, np.float64))], None))
    return tag("div", *drawn, class_="courses")


def _costs(told: Told) -> Markup:
    cpu = sum(one.cpu_seconds for one in told.costs)
    peak = max((one.peak_bytes for one in told.costs), default=0)
    said = (
        f"{words.duration(told.wall_seconds)} of this command; {words.duration(cpu)} of processor time in tasks, so "
        f"about {words.duration(cpu / 2)} on two quiet cores; at most {words.amount(peak)} in one process."
    )
    most = max((one.cpu_seconds for one in told.costs), default=1.0) or 1.0
    head = tag("tr", *(tag("th", one) for one in ("Stage", "At", "Tasks", "CPU s", "", "s", "Memory")))
    rows = [
        tag(
            "tr",
            tag("td", one.stage),
            tag("td", one.layer),
            tag("td", f"{one.units:,}", class_="n"),
            tag("td", f"{one.cpu_seconds:.1f}", class_="n"),
            tag("td", _bar(one.cpu_seconds / most, f"{one.stage}: {one.cpu_seconds:.1f} CPU s")),
            tag("td", f"{one.span_seconds:.1f}", class_="n"),
            tag("td", words.amount(one.peak_bytes), class_="n"),
        )
        for one in told.costs
    ]
    return tag("div", tag("p", said), tag("table", tag("thead", head), tag("tbody", *rows)))


def _bar(share: float, said: str) -> Markup:
    drawn = tag(
        "rect", tag("title", said), x=0, y=0, width=round(max(share * _BAR, 1), 1), height=_HIGH, fill="#7d9cc4"
    )
    return tag("svg", drawn, width=_BAR, height=_HIGH, view_box=f"0 0 {_BAR} {_HIGH}", role="img", aria_label=said)
