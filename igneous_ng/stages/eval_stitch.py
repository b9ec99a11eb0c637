"""Stitching measured against the truth of synthetic tiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.cuts import Cuts
from igneous_ng.errors import DataError
from igneous_ng.formats.sections import name
from igneous_ng.io import IO
from igneous_ng.kernels import stitch_scores as scores
from igneous_ng.kernels.tile_maps import TileMap
from igneous_ng.montage import Montage, Section
from igneous_ng.stage import LayerUrl, Stage, arg, opt

Array = npt.NDArray[Any]
_TILE_BYTES = 50_000  # maps, points and errors of a tile and its pairs
_MATCHED = 0


@dataclass(frozen=True, kw_only=True)
class EvalStitch(Stage, name="eval stitch"):
    """Measure the positions, overlaps and matches of a montage against the truth that `synth tiles` wrote.

    Writes `scores/` of the montage: errors of tile positions (each component moved as a whole to fit), of what two
    tiles show of one place, and of the matches that were accepted. All are in pixels.
    """

    example = "./montage ./truth"
    makes_data = False

    montage: LayerUrl = arg("Montage that is solved.")
    truth: LayerUrl = arg("Folder that `synth tiles` wrote.")
    wrong: float = opt(2.0, "A match that is off by more than so many pixels is wrong.")

    def home(self) -> str:
        """Records lie with the montage."""
        return self.montage

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the scores."""
        return (f"{self.montage}/scores",)

    def units(self, io: IO) -> Sequence[int]:
        """Sections."""
        return Montage.open(io, self.montage).zs

    def peak_bytes(self, unit: int, io: IO) -> int:
        """All tiles of a section."""
        return 50_000_000 + Montage.open(io, self.montage).row(unit).tiles * _TILE_BYTES

    def execute(self, unit: int, io: IO) -> None:
        """Score one section."""
        montage = Montage.open(io, self.montage)
        section = montage.section(io, unit)
        cuts = Cuts(io, montage, self.truth)
        (found, components), truth = cuts.solved(unit), cuts.true(section)
        off = np.hypot(*scores.position_errors(found, truth, components).T)
        apart = np.concatenate([np.zeros(0), *scores.overlap_errors(found, truth, section.pairs)])
        shifts = self._matches(io, montage, section, truth)
        figures = {
            "tiles": len(found),
            "components": len(set(components)),
            "position_rms": _rounded(np.sqrt((off**2).mean())),
            "position_max": _rounded(off.max(initial=0)),
            "overlap": _spread(apart),
            "matches": len(shifts),
            "match": _spread(shifts),
            "wrong": int((shifts > self.wrong).sum()),
        }
        io.put_json(montage.url("scores", unit, ".json"), figures)
        io.note(**figures)

    def said(self, io: IO) -> str:
        """The figures of each section."""
        lines = []
        for z in self.units(io):
            found = _needed(io, f"{self.montage}/scores/{name(z)}.json")
            overlap, match = found["overlap"], found["match"]
            lines.append(
                f"section {z}: {found['tiles']} tiles in {found['components']} components; position error RMS "
                f"{found['position_rms']} px, at most {found['position_max']}; overlaps median {overlap.get('p50')}, "
                f"p95 {overlap.get('p95')}; {found['matches']} matches, median {match.get('p50')}, "
                f"{found['wrong']} wrong"
            )
        return "\n".join(lines)

    def _matches(self, io: IO, montage: Montage, section: Section, truth: list[TileMap]) -> Array:
        """For each accepted match, the median distance of its points from the truth."""
        errors = []
        for found in montage.matches(io, section.z):
            for n in np.flatnonzero(found["status"] == _MATCHED):
                i, j = found["pair"][n]
                rows = found["of"] == n
                apart = truth[i](found["p"][rows]) - truth[j](found["q"][rows])
                errors.append(np.median(np.hypot(*apart.T)))
        return np.array(errors)


def _needed(io: IO, url: str) -> Any:
    found = io.get_json(url)
    if found is None:
        raise DataError(f"{url}: is not there; give the folder that `synth tiles` wrote")
    return found


def _spread(errors: Array) -> dict[str, float]:
    if not len(errors):
        return {}
    return {
        "p50": _rounded(np.median(errors)),
        "p95": _rounded(np.percentile(errors, 95)),
        "max": _rounded(errors.max()),
    }


def _rounded(value: Any) -> float:
    return round(float(value), 4)
