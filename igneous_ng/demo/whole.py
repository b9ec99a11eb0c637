"""The demo from its first step to its report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from igneous_ng import fingerprints, words
from igneous_ng.demo import costs, figures, report, sights
from igneous_ng.demo.course import Course
from igneous_ng.errors import ConfigurationError, DataError, TransientError
from igneous_ng.store import Store
from igneous_ng.viewer import screenshot
from igneous_ng.viewer.view import view

Say = Callable[[str], None]
_SHOWN = ("volume", "segmentation", "clefts", "annotations")
_LAYERS = ("montage", "mosaic", "alignment", "volume", "affinities", "supervoxels", "segmentation", "evidence",
           "morphology", "clefts", "synapses", "graph", "annotations")  # fmt: skip
PICTURE, PAGE = "screenshot.png", "report.html"


def carried_out(course: Course, say: Say) -> list[str]:
    """Do all of it, print the figures, write the report; what is below its floor, in words."""
    began = time.monotonic()
    course.lay_out()
    course.go(say)
    found = figures.measured(course.folder)
    look = f"igneous-ng view {' '.join(str(course.folder / name) for name in _SHOWN)} --graph {course.folder / 'graph'}"
    told = report.Told(
        figures=found,
        bounds=figures.BOUNDS[course.size],
        costs=costs.of([course.whole()]),
        sights=list(sights.all_of(course.folder)),
        plots=_plots(course.folder),
        look=look,
        screenshot=_screenshot(course.folder, say),
        wall_seconds=time.monotonic() - began,
    )
    (course.folder / PAGE).write_bytes(report.draw(told))
    _tell(told, course.folder, say)
    return figures.failed(found, told.bounds)


def digests(folder: Path) -> dict[str, str]:
    """The fingerprint of each layer and table."""
    return {name: fingerprints.take(Store(), f"file://{folder}/{name}").digest for name in _LAYERS}


def _tell(told: report.Told, folder: Path, say: Say) -> None:
    say("")
    for line in _table(told):
        say(line)
    say("")
    for name, digest in digests(folder).items():
        say(f"fingerprint of {name:<14}{digest}")
    cpu, peak = sum(one.cpu_seconds for one in told.costs), max(one.peak_bytes for one in told.costs)
    say(f"\n{words.duration(told.wall_seconds)}, {words.duration(cpu)} of processor time in tasks, "
        f"{words.amount(peak)} at most in one process")  # fmt: skip
    say(f"report:  {folder / PAGE}\nlook at it:  {told.look}")


def _table(told: report.Told) -> list[str]:
    """The figures for a terminal."""
    lines = []
    for one in told.figures:
        bound, most = told.bounds[one.key]
        value = f"{one.value:.3f} {one.unit}".strip()
        good = "" if one.good(told.bounds) else "  BEYOND"
        bounded = f"({'at most' if most else 'at least'} {bound:g})"
        lines.append(f"{one.layer:<13}{one.said:<56}{value:>12}  {bounded:<16}{one.detail}{good}")
    return lines


def _plots(folder: Path) -> dict[str, tuple[str, list[float]]]:
    """Errors and quality of each section."""
    tiles = [_read(path) for path in sorted((folder / "montage/scores").glob("z*.json"))]
    sections: dict[str, Any] = _read(folder / "alignment/scores/2/scores.json")["sections"]
    checks = [_read(path) for path in sorted((folder / "alignment/checks").glob("z*.json"))]
    nan = float("nan")
    return {
        "Tile positions": ("error of the worst tile against the truth, px", [one["position_max"] for one in tiles]),
        "Sections": ("error against the section before, 95th percentile, px",
                     [_number(one.get("p95"), nan) for one in sections.values()]),
        "Correlation": ("of blocks of sections that follow each other, from the pictures alone",
                        [_number(one.get("correlation"), nan) for one in checks]),
        "Misaligned blocks": ("share that lies clearly better elsewhere, from the pictures alone",
                              [_number(one.get("misaligned"), nan) for one in checks]),
    }  # fmt: skip


def _number(value: Any, otherwise: float) -> float:
    return otherwise if value is None else float(value)


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _screenshot(folder: Path, say: Say) -> str:
    """The name of a picture of all layers; empty where it cannot be taken."""
    try:
        screenshot.programs()
        view([f"file://{folder}/{name}" for name in _SHOWN], screenshot=folder / PICTURE, announce=lambda _: None)
    except (ConfigurationError, TransientError, DataError) as error:
        say(f"no screenshot: {error}")
        return ""
    return PICTURE
