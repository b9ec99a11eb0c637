"""How good each layer of the demo is against the truth, and the floor below which the demo fails."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igneous_ng.demo.coverage import covered
from igneous_ng.errors import DataError

Bounds = Mapping[str, tuple[float, bool]]
_CODES = {"lost": "missing", "truncated": "corrupt", "duplicate": "duplicate"}
"""What `ingest register` calls the faults that `synth tiles` plants."""

_NORMAL: Bounds = {
    "faults": (1.0, False),
    "tile_error": (1.3, True),
    "overlap_error": (0.5, True),
    "neighbour_error": (0.4, True),
    "neighbour_p95": (1.2, True),
    "voi": (2.8, True),
    "arand": (0.5, True),
    "run_length": (0.1, False),
    "coverage": (0.85, False),
    "cleft_voxels": (0.5, False),
    "cleft_f1": (0.4, False),
    "partner_f1": (0.05, False),
    "edges_found": (0.1, False),
    "edges_either_way": (0.2, False),
}
_FEW_SYNAPSES = dict.fromkeys(
    ("cleft_voxels", "cleft_f1", "partner_f1", "edges_found", "edges_either_way"), (0.0, False)
)
BOUNDS: Mapping[str, Bounds] = {"normal": _NORMAL, "small": {**_NORMAL, **_FEW_SYNAPSES}}
"""For each size the floor of each figure, and whether it is the most that is allowed (True) or the least (False)."""


@dataclass(frozen=True)
class Figure:
    """One figure of one layer."""

    key: str
    layer: str
    said: str
    value: float
    unit: str = ""
    detail: str = ""

    def good(self, bounds: Bounds) -> bool:
        """Whether it is within its bound."""
        bound, most = bounds[self.key]
        return self.value <= bound if most else self.value >= bound


def measured(folder: Path) -> list[Figure]:
    """All figures, from what `eval` wrote into the folder of a demo; DataError where some are missing."""
    return [*_tiles(folder), *_sections(folder), *_neurons(folder), *_skeletons(folder), *_synapses(folder)]


def failed(figures: Sequence[Figure], bounds: Bounds) -> list[str]:
    """What is beyond its bound, in words."""
    found = []
    for one in figures:
        bound, most = bounds[one.key]
        if not one.good(bounds):
            found.append(
                f"{one.layer}: {one.said} is {one.value:.4g}, and must be at {'most' if most else 'least'} {bound:g}"
            )
    return found


def _tiles(folder: Path) -> Iterator[Figure]:
    planted, found = _faults(folder)
    share = len(planted & found) / max(len(planted), 1)
    yield Figure("faults", "tiles", "planted faults found", share, "", f"{len(planted & found)} of {len(planted)}")
    scores = [_json(path) for path in sorted((folder / "montage/scores").glob("z*.json"))]
    tiles = sum(one["tiles"] for one in scores)
    square = sum(one["position_rms"] ** 2 * one["tiles"] for one in scores) / max(tiles, 1)
    worst = max((one["position_max"] for one in scores), default=0.0)
    wrong, matches = (sum(one[key] for one in scores) for key in ("wrong", "matches"))
    yield Figure("tile_error", "stitching", "tile position error, RMS", square**0.5, "px",
                 f"{tiles} tiles, the worst {worst:.2f} px; {wrong} of {matches} matches wrong")  # fmt: skip
    p95 = sorted(one["overlap"]["p95"] for one in scores if one["overlap"])
    yield Figure("overlap_error", "stitching", "what two tiles show of one place, 95th percentile",
                 p95[len(p95) // 2] if p95 else 0.0, "px", "median of sections")  # fmt: skip


def _faults(folder: Path) -> tuple[set[tuple[str, str, str]], set[tuple[str, str, str]]]:
    """Planted faults, and reported ones: section, what, and the tile unless it is lost."""
    planted, found = set(), set()
    for path in sorted((folder / "tiles/truth").glob("z*.json")):
        for tile in _json(path)["tiles"]:
            if tile["fault"]:
                where = "" if tile["fault"] == "lost" else f"r{tile['row']:03d}_c{tile['col']:03d}"
                planted.add((path.stem, _CODES[tile["fault"]], where))
    for path in sorted((folder / "montage/findings").glob("z*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            where = "" if row["code"] == "missing" else "_".join(row["tile"].rpartition("/")[2].split("_")[1:3])
            found.add((path.stem, row["code"], where))
    return planted, found


def _sections(folder: Path) -> Iterator[Figure]:
    raw = _json(folder / "alignment/scores/2/scores.json")
    one, all_ = raw["neighbour"]["all"], raw["absolute"]["all"]
    detail = f"{raw['shown']} sections; beside one affine map of all, median {all_['p50']} px, p95 {all_['p95']}"
    yield Figure("neighbour_error", "alignment", "section against its neighbour, median", one["p50"], "px", detail)
    yield Figure("neighbour_p95", "alignment", "section against its neighbour, 95th percentile", one["p95"], "px")


def _neurons(folder: Path) -> Iterator[Figure]:
    raw = _json(folder / "scores/segmentation/scores.json")
    one = raw["one"]
    counts = f"{raw['objects']} objects, {raw['segments']} segments"
    parts = f"split {one['voi_split']:.3f}, merge {one['voi_merge']:.3f}; {counts}"
    yield Figure("voi", "segmentation", "variation of information", one["voi"], "bits", parts)
    yield Figure("arand", "segmentation", "adapted Rand error", one["arand"])


def _skeletons(folder: Path) -> Iterator[Figure]:
    raw = _json(folder / "scores/skeletons/run_lengths.json")
    detail = f"{raw['expected'] / 1000:.2f} of {raw['possible'] / 1000:.2f} um; {raw['skeletons']} true skeletons"
    yield Figure("run_length", "skeletons", "expected run length, of what is possible", raw["normalized"], "", detail)
    share, nodes = covered(folder)
    yield Figure("coverage", "skeletons", "true axes with a skeleton within 150 nm in their segment", share, "",
                 f"{nodes} nodes")  # fmt: skip


def _synapses(folder: Path) -> Iterator[Figure]:
    clefts = _json(folder / "scores/clefts/clefts.json")
    detail = f"{clefts['false']:,} of {clefts['found']:,} false, {clefts['missed']:,} of {clefts['truth']:,} missed"
    yield Figure("cleft_voxels", "synapses", "clefts, F1 of voxels", clefts["f1"], "", detail)
    raw = _json(folder / "scores/synapses/scores.json")
    for key, name, said in (("cleft_f1", "detection", "clefts, F1"), ("partner_f1", "partners", "partners, F1")):
        level = raw[name][0]  # of all that was found, however sure
        detail = f"precision {level['precision']:.2f}, recall {level['recall']:.2f}"
        yield Figure(key, "synapses", said, level["f1"], "", detail)
    edges = _json(folder / "scores/graph/edges.json")
    yield Figure("edges_found", "graph", "edges found", edges["recall"], "",
                 f"{edges['found']} of {edges['true']}; {edges['right']} of {edges['edges']} right")  # fmt: skip
    yield Figure("edges_either_way", "graph", "edges found, whichever way", edges["recall_either_way"], "",
                 f"{edges['turned']} of {edges['edges']} the wrong way round")  # fmt: skip


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); give the command again, so that all is measured") from error
