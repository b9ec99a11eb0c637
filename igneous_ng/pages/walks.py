"""The page of a walk from an anomaly to its cause: every layer, what parts there, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.pages.heat import coloured
from igneous_ng.pages.markup import Markup, badge, page, picture, tag

Array = npt.NDArray[Any]
_WIDTH, _HEIGHT, _BINS = 380, 110, 24
_SIDES = (("#d8322e", "in the box"), ("#2f6db3", "outside"))
_GREY = 0.02  # of the range: a lowest value is drawn in the first colour, and nothing known below it in grey


@dataclass(frozen=True)
class Shown:
    """A figure: ``said`` in words, how it ``differs`` in words, whether it is ``parted``.

    ``sides`` are the values in the box and outside, ``plane`` its mean over z in the places of units [x, y], NaN where
    nothing is known, and ``box`` (x0, y0, x1, y1) where the box lies in these.
    """

    said: str
    stage: str
    differs: str
    parted: bool
    sides: tuple[Array, Array]
    plane: Array
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Layer:
    """A layer of the walk, its ``verdict`` (ok, bad, warn) and that in words."""

    url: str
    verdict: str
    said: str
    figures: Sequence[Shown]


def draw(title: str, conclusion: Sequence[str], layers: Sequence[Layer]) -> bytes:
    """The page; layers in the order of the walk."""
    rows = [
        tag("tr", tag("td", one.url, class_="name"), tag("td", badge(one.verdict, one.said)), _worst(one))
        for one in layers
    ]
    head = tag("tr", *(tag("th", one) for one in ("Layer, from the anomaly upwards", "", "What differs")))
    return page(
        title,
        tag("h1", title),
        tag("div", *(tag("p", one) for one in conclusion), class_="verdict bad"),
        tag("table", tag("thead", head), tag("tbody", *rows)),
        tag("p", "Maps show the mean over z, from blue, the least, to red; grey: not known. The frame is the box. "
            "Histograms: red in the box, blue outside, each to its own height.", class_="quiet"),
        *(part for one in layers for part in _layer(one)),
    )  # fmt: skip


def _worst(layer: Layer) -> Markup:
    said = [tag("p", f"{one.said}: {one.differs}") for one in layer.figures if one.parted]
    return tag("td", *said, class_="said")


def _layer(layer: Layer) -> list[Markup]:
    if not layer.figures:
        return []
    drawn = [tag("figure", *_figure(one)) for one in layer.figures]
    return [tag("h2", layer.url), tag("div", *drawn, class_="courses")]


def _figure(one: Shown) -> list[Markup]:
    mark = [badge("bad", "parts"), Markup(" ")] if one.parted else []
    return [
        tag("h3", *mark, one.said),
        tag("p", f"{one.stage}: {one.differs}", class_="quiet"),
        tag("div", _map(one), _histogram(one.sides), class_="plots"),
    ]


def _map(one: Shown) -> Markup:
    """The plane in colours, and the box in it."""
    wide, high = one.plane.shape
    known = one.plane[np.isfinite(one.plane)]
    low, high_value = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    span = (high_value - low) or 1.0
    shown = np.where(np.isfinite(one.plane), (one.plane - low) / span + _GREY, -1.0)
    pixels = coloured(shown, 1 + _GREY)
    side = pixels.shape[0] // high
    x0, y0, x1, y1 = (side * n for n in one.box)
    frame = tag("rect", x=x0, y=y0, width=x1 - x0, height=y1 - y0, fill="none", stroke="#111", stroke_width=3)
    size = f"0 0 {side * wide} {side * high}"
    image = tag("image", href=picture(pixels), width=side * wide, height=side * high)
    said = tag("title", f"{low:.4g} (blue) to {high_value:.4g} (red)")
    return tag("svg", said, image, frame, view_box=size, width=160, role="img", aria_label=one.said)


def _histogram(sides: tuple[Array, Array]) -> Markup:
    known = [side[np.isfinite(side)] for side in sides]
    both = np.concatenate(known)
    if not both.size:
        return tag("p", "Nothing is known.", class_="none")
    low, high = float(both.min()), float(both.max())
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    drawn = []
    for values, (colour, said) in zip(known, _SIDES, strict=True):
        counts, _ = np.histogram(values, _BINS, (low, high))
        top, wide = max(1, int(counts.max())), _WIDTH / _BINS
        for n in np.flatnonzero(counts):
            tall = _HEIGHT * int(counts[n]) / top
            place = {"x": round(float(n * wide), 1), "y": round(_HEIGHT - tall, 1), "height": round(tall, 1)}
            hover = tag("title", f"{int(counts[n])} {said}")
            drawn.append(tag("rect", hover, **place, width=round(wide - 1, 1), fill=colour, fill_opacity=0.5))
        if values.size:
            x = round(float((np.median(values) - low) / (high - low) * _WIDTH), 1)
            drawn.append(tag("line", tag("title", f"median {said}"), x1=x, x2=x, y1=0, y2=_HEIGHT, stroke=colour,
                             stroke_width=2))  # fmt: skip
    ends = [
        tag("text", f"{value:.4g}", x=x, y=_HEIGHT + 15, text_anchor=anchor, font_size=12, fill="#646b76")
        for x, value, anchor in ((0, low, "start"), (_WIDTH, high, "end"))
    ]
    size = f"0 0 {_WIDTH} {_HEIGHT + 22}"
    return tag("svg", *drawn, *ends, view_box=size, width=_WIDTH - 120, role="img", aria_label="in the box and outside")
