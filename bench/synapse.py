"""Synapses measured: the published prediction of the protocerebral bridge of FAFB against 14,779 true pairs.

    python bench/synapse.py [folder=DIR]

The tables are `synapse_tables/pbfull_*.json` of the test data (IGNEOUS_NG_TEST_DATA, or ../shared/data). The figures
that their authors tell (Buhmann et al. 2021, Nature Methods 18:771, and their repository synful_fafb) are of 27
neurons: sites of one pair of labels 250 nm or less apart are one, what lies in no segment is left out, only the
distance of presynaptic sites counts, up to 700 nm, and a pair of two of these neurons counts twice. That is done here,
too, from our outcomes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from igneous_ng import run
from igneous_ng.formats import columns
from igneous_ng.io import IO
from igneous_ng.kernels import synapse_scores
from igneous_ng.stages.eval_synapse import EvalSynapse, told
from igneous_ng.stages.synapse_import import SynapseImport

DATA = Path(os.environ.get("IGNEOUS_NG_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data") / "synapse_tables"
NEURONS = [
    1274114, 806288, 4087066, 525851, 1274268, 3423772, 1274528, 668576, 861090, 3286828, 676911, 659759, 437814,
    3512247, 1032767, 607812, 2703303, 3457743, 1568214, 649823, 3491680, 4210786, 3338987, 963438, 3349747, 3849973,
    4040702,
]  # fmt: skip
PUBLISHED = (0.616, 0.567, 0.590)


def chain(stage: Any) -> float:
    """Run all steps; CPU seconds."""
    start = time.process_time()
    for step in stage.steps(IO()):
        run.inline(step)
    return time.process_time() - start


def imported(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / f"{name}.json").write_text(json.dumps(rows))
    spent = chain(SynapseImport(source=f"{folder}/{name}.json", layer=f"{folder}/{name}", resolution=(4, 4, 40),
                                block=4096, sure=255.0, nothing=(-2,)))  # fmt: skip
    print(f"{name}: {len(rows):,} rows imported, {spent:.1f} CPU s", flush=True)


def filtered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the authors evaluate of their prediction."""

    def pair(row: dict[str, Any]) -> tuple[Any, Any]:
        return row["id_skel_pre"], row["id_skel_post"]

    kept = [row for row in rows if set(pair(row)) & set(NEURONS) and row["id_segm_pre"] and row["id_segm_post"]]
    kept = [row for row in kept if row["id_skel_pre"] != row["id_skel_post"]]
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in kept:
        ends = pair(row)
        alone = None in ends or -2 in ends
        groups.setdefault((*ends, row["id"]) if alone else ends, []).append(row)
    found = []
    for group in groups.values():
        places = np.array([row["location_post"] for row in group])
        apart = cdist(places, places)
        same = connected_components((apart <= 250) & (apart > 0), directed=False)[1]
        clusters = ([group[n] for n in np.flatnonzero(same == one)] for one in np.unique(same))
        found += [max(cluster, key=lambda row: row["score"]) for cluster in clusters]
    return found


def weighted(folder: Path) -> dict[str, Any]:
    """Scores with a pair of two of the neurons counted twice."""
    sums = {}
    for side in ("found", "truth"):
        parts = [columns.unpack(path.read_bytes(), str(path)) for path in sorted((folder / side).iterdir())]
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        weight = np.isin(rows["pre"], NEURONS).astype(int) + np.isin(rows["post"], NEURONS)
        counted = rows["partner_outcome"]
        sums[side] = int(weight[counted > 0].sum()), int(weight[counted == 1].sum())
    assert sums["found"][1] == sums["truth"][1]
    return synapse_scores.scores(sums["found"][1], sums["found"][0], sums["truth"][0])


def main(folder: Path) -> None:
    truth, found = (json.loads((DATA / f"pbfull_{name}.json").read_text()) for name in ("gt", "pred"))
    listed = [row for row in truth if {row["id_skel_pre"], row["id_skel_post"]} & set(NEURONS)]
    for name, rows in (("truth", truth), ("found", found), ("listed", listed), ("kept", filtered(found))):
        imported(folder, name, rows)
    for distance in (200.0, 400.0):
        stage = EvalSynapse(found=f"{folder}/found", truth=f"{folder}/truth", layer=f"{folder}/at-{distance:g}",
                            distance=distance, reach=distance, partial=True)  # fmt: skip
        spent = chain(stage)
        print(f"{told(IO(), stage.layer)}\n{spent:.1f} CPU s", flush=True)
    stage = EvalSynapse(found=f"{folder}/kept", truth=f"{folder}/listed", layer=f"{folder}/published", sites="pre",
                        reach=700.0, partial=True)  # fmt: skip
    chain(stage)
    scores = weighted(folder / "published")
    print("as the authors do: precision {precision:.3f}, recall {recall:.3f}, F1 {f1:.3f} ({true:,} true, {false:,} "
          "false, {missed:,} missed)".format(**scores))  # fmt: skip
    ours = (scores["precision"], scores["recall"], scores["f1"])
    off = max(abs(a - b) for a, b in zip(PUBLISHED, ours, strict=True))
    print("published: precision {}, recall {}, F1 {}; off by at most {:.4f}".format(*PUBLISHED, off))


if __name__ == "__main__":
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(words.get("folder", temporary)))
