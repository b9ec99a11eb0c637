"""Figures along a stack as SVG: a line over the sections, its bound, what is beyond it, and where sections are missing.

However many sections there are, a plot has at most :data:`BINS` places along; where several share one, the line is
their median, and a band reaches from the least to the largest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.pages.markup import Markup, tag

Array = npt.NDArray[Any]
BINS = 240
_LEFT, _WIDTH, _HEIGHT, _TOP, _FOOT = 58, 400, 104, 8, 20
_COLOURS = ("#2f6db3", "#c06a1d", "#4a9a5b")
_BAD = "#d8322e"
_BEYOND = 3.0  # of a bound, or of most figures: what is larger is shown at the border


@dataclass(frozen=True)
class Line:
    """A figure of each section, NaN where there is none."""

    label: str
    values: Array


@dataclass(frozen=True)
class Demand:
    """The bound of a figure; ``sign`` is 1 where more is wrong, -1 where less is."""

    bound: float
    sign: int
    beyond: Sequence[bool]
    """Which sections are beyond it."""


def course(title: str, said: str, zs: Sequence[int], lines: Sequence[Line], demand: Demand | None) -> Markup:
    """A plot of one or more figures; the first is the one of which something is demanded."""
    known = np.concatenate([line.values[np.isfinite(line.values)] for line in lines])
    head = (tag("h3", title), tag("p", said, class_="quiet"))
    if not known.size:
        return tag("figure", *head, tag("p", "Nothing was measured.", class_="none"))
    place = _Place(len(zs), *_range(known, demand))
    drawn = [_missing(place, lines), _axes(place, zs)]
    drawn += [_line(place, line.values, _COLOURS[n % len(_COLOURS)]) for n, line in enumerate(lines)]
    if demand is not None:
        drawn += [_bound(place, demand.bound), _beyond(place, lines[0].values, demand)]
    drawn.append(_hovers(place, zs, lines))
    size = f"0 0 {_LEFT + _WIDTH + 6} {_TOP + _HEIGHT + _FOOT}"
    keys = [tag("b", line.label, style=f"color:{_COLOURS[n]}") for n, line in enumerate(lines)] if lines[1:] else []
    plot = tag("svg", *drawn, view_box=size, class_="course", role="img", aria_label=title)
    return tag("figure", *head, *([tag("p", *keys, class_="lines")] if keys else []), plot)


@dataclass(frozen=True)
class _Place:
    """Where figures of ``count`` sections between ``low`` and ``high`` are drawn."""

    count: int
    low: float
    high: float

    @property
    def bins(self) -> list[slice]:
        edges = np.linspace(0, self.count, min(self.count, BINS) + 1).astype(int).tolist()
        return [slice(a, b) for a, b in pairwise(edges)]

    def x(self, at: slice) -> float:
        return float(round(_LEFT + (at.start + at.stop) / 2 / self.count * _WIDTH, 1))

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(_TOP + _HEIGHT * (1 - share), 1)


def _range(known: Array, demand: Demand | None) -> tuple[float, float]:
    low, high = float(known.min()), float(known.max())
    if low >= 0:
        usual = float(np.percentile(known, 95))
        low = 0.0
        if demand is not None:
            usual = max(usual, demand.bound)
            high = max(high, demand.bound * 1.15)
        high = min(high, _BEYOND * usual) if usual > 0 else high
    return (low, high) if high > low else (low, low + 1) if low >= 0 else (low - 0.5, high + 0.5)


def _line(place: _Place, values: Array, colour: str) -> Markup:
    """The medians of bins as a line, broken where nothing is known, and a band behind it."""
    runs: list[list[tuple[float, float, float, float]]] = [[]]
    for at in place.bins:
        part = values[at][np.isfinite(values[at])]
        if part.size:
            low, middle, high = (place.y(float(v)) for v in (part.min(), np.median(part), part.max()))
            runs[-1].append((place.x(at), low, middle, high))
        elif runs[-1]:
            runs.append([])
    drawn = []
    for run in filter(None, runs):
        if any(low != high for _, low, _, high in run):
            edge = [f"{x} {high}" for x, _, _, high in run] + [f"{x} {low}" for x, low, _, _ in reversed(run)]
            drawn.append(tag("path", d=f"M{'L'.join(edge)}Z", fill=colour, fill_opacity=0.22))
        if len(run) == 1:
            drawn.append(tag("circle", cx=run[0][0], cy=run[0][2], r=1.6, fill=colour))
        path = "L".join(f"{x} {middle}" for x, _, middle, _ in run)
        drawn.append(tag("path", d=f"M{path}", stroke=colour, stroke_width=1.4, fill="none", stroke_linejoin="round"))
    return Markup("".join(drawn))


def _beyond(place: _Place, values: Array, demand: Demand) -> Markup:
    """A mark at each bin in which a section is beyond the bound."""
    drawn, beyond = [], np.array(demand.beyond, bool)
    for at in place.bins:
        if (part := values[at][beyond[at]]).size:
            worst = float((part * demand.sign).max() * demand.sign)
            drawn.append(tag("circle", cx=place.x(at), cy=place.y(worst), r=2.6, fill=_BAD))
    return Markup("".join(drawn))


def _missing(place: _Place, lines: Sequence[Line]) -> Markup:
    """Stripes where no section of a bin has the figure."""
    wide, drawn = round(max(1.0, _WIDTH / len(place.bins)), 1), []
    for at in place.bins:
        if not any(np.isfinite(line.values[at]).any() for line in lines):
            x = round(place.x(at) - wide / 2, 1)
            drawn.append(tag("rect", x=x, y=_TOP, width=wide, height=_HEIGHT, fill="#e4e6ea"))
    return Markup("".join(drawn))


def _bound(place: _Place, value: float) -> Markup:
    y = place.y(value)
    return tag("line", x1=_LEFT, x2=_LEFT + _WIDTH, y1=y, y2=y, stroke=_BAD, stroke_width=1, stroke_dasharray="5 4")


def _axes(place: _Place, zs: Sequence[int]) -> Markup:
    drawn = []
    for value in (place.low, (place.low + place.high) / 2, place.high):
        y = place.y(value)
        drawn.append(tag("line", x1=_LEFT, x2=_LEFT + _WIDTH, y1=y, y2=y, stroke="#e4e6ea", stroke_width=1))
        drawn.append(_text(f"{value:.2g}", _LEFT - 7, y + 4, "end"))
    foot = _TOP + _HEIGHT + 15
    drawn += [_text(str(z), x, foot, at) for z, x, at in ((zs[0], _LEFT, "start"), (zs[-1], _LEFT + _WIDTH, "end"))]
    return Markup("".join(drawn))


def _text(value: str, x: float, y: float, anchor: str) -> Markup:
    return tag("text", value, x=x, y=y, text_anchor=anchor, font_size=11, fill="#646b76")


def _hovers(place: _Place, zs: Sequence[int], lines: Sequence[Line]) -> Markup:
    """What a pointer over a bin is told."""
    wide, drawn = round(_WIDTH / len(place.bins), 2), []
    for at in place.bins:
        first, last = zs[at.start], zs[at.stop - 1]
        said = [f"section {first}" if first == last else f"sections {first} to {last}"]
        for line in lines:
            part = line.values[at][np.isfinite(line.values[at])]
            ends = (
                f"{part.min():.3g}" if part.size == 1 else f"{part.min():.3g} to {part.max():.3g}" if part.size else "-"
            )
            said.append(f"{line.label} {ends}")
        where = {"x": round(place.x(at) - wide / 2, 2), "y": _TOP, "width": wide, "height": _HEIGHT}
        drawn.append(tag("rect", tag("title", ", ".join(said)), **where, fill_opacity=0))
    return Markup("".join(drawn))
