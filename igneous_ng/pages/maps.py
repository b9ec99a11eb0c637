"""A section as its tiles lie on the stage, each with a border that says how it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.formats.verified import BAD, OK, SEVERITIES
from igneous_ng.montage import Placed
from igneous_ng.pages.markup import Markup, picture, tag
from igneous_ng.registering.joining import Registered
from igneous_ng.registering.shots import Shot

Array = npt.NDArray[Any]
Area = tuple[float, float, float, float]
"""x0, y0, x1, y1."""
_LONGEST = 1400  # pixels of the picture
_GROUND = 236  # what is shown where there is no tile
COLOURS = {"ok": "#2b8a57", "warn": "#e09b00", "bad": "#d8322e"}


@dataclass(frozen=True)
class Shown:
    """A tile on the map."""

    tile: str
    box: Area
    severity: str
    said: str
    preview: Array | None


def draw(found: Registered, previews: Mapping[int, Array], pixel: float) -> Markup:
    """The map; empty where there is nothing to show."""
    shown = _left_out(found, previews, pixel) + _used(found, previews)
    width, height = found.shots.size
    holes = [(hole.x - 0.5, hole.y - 0.5, hole.x + width - 0.5, hole.y + height - 0.5) for hole in found.holes]
    area = _area(found, [one.box for one in shown], holes)
    if area is None:
        return tag("p", "There is no tile to be shown.", class_="quiet")
    x0, y0, x1, y1 = area
    scale = _LONGEST / max(x1 - x0, y1 - y0)
    inside = [one for one in shown if _meets(one.box, area)]
    rows = _painted(inside, area, scale)
    image = tag("image", href=picture(rows), x=0, y=0, width=rows.shape[1], height=rows.shape[0])
    marks = [_hole(_scaled(hole, area, scale)) for hole in holes]
    marks += [_border(one, _scaled(one.box, area, scale)) for one in inside]
    label = f"Tiles of section {found.section.z} where the stage put them"
    frame = f"-4 -4 {rows.shape[1] + 8} {rows.shape[0] + 8}"
    return tag("svg", image, *marks, class_="map", view_box=frame, role="img", aria_label=label)


def key() -> Markup:
    """What the borders of the map mean."""
    words = {
        f"border-color:{COLOURS['ok']}": "used",
        f"border-color:{COLOURS['warn']}": "used, to be looked at",
        f"border-color:{COLOURS['bad']};background:#f3c9c7": "left out, crossed",
        f"border-color:{COLOURS['bad']};border-style:dashed": "missing",
    }
    return tag("p", *(tag("span", tag("i", style=style), said) for style, said in words.items()), class_="key quiet")


def severities(found: Registered) -> dict[str, tuple[str, str]]:
    """The gravest finding of each tile, and its codes."""
    worst: dict[str, tuple[str, str]] = {}
    for row in found.findings:
        before, codes = worst.get(row.tile, (OK, ""))
        grave = max(before, row.severity, key=SEVERITIES.index)
        worst[row.tile] = grave, f"{codes}, {row.code}" if codes else row.code
    return worst


def _used(found: Registered, previews: Mapping[int, Array]) -> list[Shown]:
    numbers = {shot.line.picture: shot.number for shot in found.shots.all}
    worst = severities(found)
    made = []
    for one in found.section.tiles:
        severity, codes = worst.get(one.tile, (OK, ""))
        severity = min(severity, "warn", key=SEVERITIES.index)  # it is used, whatever was wrong
        made.append(Shown(one.tile, one.box, severity, codes, previews.get(numbers[one.pictures[0]])))
    return made


def _left_out(found: Registered, previews: Mapping[int, Array], pixel: float) -> list[Shown]:
    worst = severities(found)
    made = []
    for shot in found.left_out:
        codes = worst.get(shot.line.tile, (BAD, "left out"))[1]
        made.append(Shown(shot.line.tile, _box(shot, found, pixel), BAD, codes, previews.get(shot.number)))
    return made


def _box(shot: Shot, found: Registered, pixel: float) -> Area:
    width = shot.seen.width or shot.line.width or found.shots.size[0]
    height = shot.seen.height or shot.line.height or found.shots.size[1]
    return Placed(shot.line.tile, shot.line.x / pixel, shot.line.y / pixel, width, height, ()).box


def _area(found: Registered, boxes: list[Area], holes: list[Area]) -> Area | None:
    """What is shown: the tiles that are used and the holes, with a tile around them; all where none is used."""
    if found.section.tiles:
        all_of_it = np.array([found.section.box, *holes])
        around = np.array(found.shots.size, float)
        outer = np.array(boxes)
        low = np.maximum(all_of_it[:, :2].min(axis=0) - around, outer[:, :2].min(axis=0))
        high = np.minimum(all_of_it[:, 2:].max(axis=0) + around, outer[:, 2:].max(axis=0))
        low, high = np.minimum(low, all_of_it[:, :2].min(axis=0)), np.maximum(high, all_of_it[:, 2:].max(axis=0))
    elif boxes or holes:
        every = np.array([*boxes, *holes])
        low, high = every[:, :2].min(axis=0), every[:, 2:].max(axis=0)
    else:
        return None
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _meets(box: Area, area: Area) -> bool:
    return box[0] < area[2] and box[2] > area[0] and box[1] < area[3] and box[3] > area[1]


def _scaled(box: Area, area: Area, scale: float) -> Area:
    x0, y0, x1, y1 = (round(scale * (box[n] - area[n % 2]), 1) for n in range(4))
    return x0, y0, x1, y1


def _painted(shown: list[Shown], area: Area, scale: float) -> Array:
    """The tiles on a ground, ``[y, x]``; tiles that are used lie above those that are not."""
    height, width = (max(1, round(scale * (area[n + 2] - area[n]))) for n in (1, 0))
    canvas = np.full((height, width), _GROUND, np.uint8)
    for one in shown:
        if one.preview is None:
            continue
        x0, y0, x1, y1 = _scaled(one.box, area, scale)
        ys, rows = _taken(y0, y1, height, one.preview.shape[0])
        xs, columns = _taken(x0, x1, width, one.preview.shape[1])
        canvas[ys, xs] = one.preview[np.ix_(rows, columns)]
    return canvas


def _taken(start: float, stop: float, size: int, available: int) -> tuple[slice, Array]:
    """The pixels of the canvas between two places, and which of a preview's pixels each shows."""
    first, last = max(0, round(start)), min(size, max(round(start) + 1, round(stop)))
    middles = np.arange(first, last) + 0.5
    at = np.clip((middles - start) / max(stop - start, 1.0) * available, 0, available - 1)
    return slice(first, last), at.astype(np.int64)


def _border(one: Shown, box: Area) -> Markup:
    x0, y0, x1, y1 = box
    colour, wide = COLOURS[one.severity], 1.5 if one.severity == OK else 3.5
    said = tag("title", f"{one.tile}: {one.said}" if one.said else one.tile)
    place = {"x": x0, "y": y0, "width": round(x1 - x0, 1), "height": round(y1 - y0, 1)}
    ground = "#c8302c" if one.severity == BAD else "#000000"
    drawn = tag(
        "rect",
        said,
        **place,
        stroke=colour,
        stroke_width=wide,
        fill=ground,
        fill_opacity=0.12 if one.severity == BAD else 0,
    )
    if one.severity != BAD:
        return drawn
    cross = tag("path", d=f"M{x0} {y0}L{x1} {y1}M{x0} {y1}L{x1} {y0}", stroke=colour, stroke_width=1.5, fill="none")
    return Markup(drawn + cross)


def _hole(box: Area) -> Markup:
    place = {"x": box[0], "y": box[1], "width": round(box[2] - box[0], 1), "height": round(box[3] - box[1], 1)}
    dashed = {"stroke": COLOURS[BAD], "stroke_width": 2.5, "stroke_dasharray": "9 6", "fill": "none"}
    return tag("rect", tag("title", "a tile is missing"), **place, **dashed)
