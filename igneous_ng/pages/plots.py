"""Small plots as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from igneous_ng.pages.markup import Markup, tag

_WIDTH, _HEIGHT, _FOOT = 420, 130, 22
_BINS = 40


def distribution(values: Sequence[float], title: str, marked: Sequence[float] = ()) -> Markup:
    """How often ``values`` occur, with their median, and a mark at each of those that a finding names."""
    if not values:
        return tag("div", tag("p", f"{title}: none is known", class_="quiet"))
    low, high = min(values), max(values)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    counts, edges = np.histogram(values, _BINS, (low, high))
    wide = _WIDTH / _BINS
    bars = [
        _bar(n * wide, wide, int(count) / int(counts.max()), int(count), edges[n : n + 2].tolist())
        for n, count in enumerate(counts)
    ]
    at = [(value - low) / (high - low) * _WIDTH for value in (float(np.median(values)), *sorted(marked))]
    lines = [_stroke(at[0], "#1c2026", "median")] + [_stroke(x, "#c8302c", "a finding") for x in at[1:]]
    words = [
        tag("text", f"{value:.4g}", x=x, y=_HEIGHT + 15, text_anchor=anchor, font_size=12, fill="#646b76")
        for x, value, anchor in ((0, low, "start"), (_WIDTH, high, "end"))
    ]
    size = {"width": _WIDTH, "height": _HEIGHT + _FOOT, "view_box": f"0 0 {_WIDTH} {_HEIGHT + _FOOT}"}
    drawn = tag("svg", *bars, *lines, *words, role="img", aria_label=title, **size)
    return tag("div", tag("p", f"{title}, median {np.median(values):.4g}"), drawn)


def _bar(x: float, width: float, share: float, count: int, edges: Sequence[float]) -> Markup:
    said = tag("title", f"{edges[0]:.4g} to {edges[1]:.4g}: {count}")
    place = {"x": float(x + 0.5), "width": float(width - 1), "y": float(_HEIGHT * (1 - share))}
    return tag("rect", said, **place, height=float(_HEIGHT * share), fill="#7d9cc4")


def _stroke(x: float, colour: str, said: str) -> Markup:
    x = float(x)
    return tag("line", tag("title", said), x1=x, x2=x, y1=0, y2=_HEIGHT, stroke=colour, stroke_width=1.5)
