"""How good the network `cleft` is: synapses found in synthetic tissue that it never saw, against the truth.

    python bench/synapse_accuracy.py [model=cleft] [side=384] [seed=11] [thresholds=0.85] [min_size=100] [folder=DIR]

Draws a volume of SIDE voxels of 10 nm, asks the model, detects clefts from each threshold on and assigns partners in
the true segmentation, by the channels of the evidence. A found synapse and a true one are the same where they are less
than 200 nm apart, each in one pair at most, the pairs of least distance together; partners are right where both
segments are. Layers that are in FOLDER already are used as they are.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.stage import Layer
from igneous_ng.stages.segment_infer import Infer
from igneous_ng.stages.synapse_assign import Assign
from igneous_ng.stages.synapse_detect import Detect
from igneous_ng.stages.synth_volume import Synth
from igneous_ng.synapses import LEFT_OUT, Synapses

NEAR = 200.0  # nm
FAR = 1e9


def main(words: list[str]) -> None:
    """Print a line for each threshold."""
    chosen = {"model": "cleft", "side": "384", "seed": "11", "thresholds": "0.85", "min_size": "100", "folder": ""}
    chosen |= dict(word.split("=", 1) for word in words)
    with tempfile.TemporaryDirectory() as made:
        folder = Layer.parse(str(Path(chosen["folder"] or made).resolve()))
        evidence = prepared(folder, int(chosen["side"]), int(chosen["seed"]), chosen["model"])
        for threshold in map(float, chosen["thresholds"].split(",")):
            table = f"{evidence}-{threshold:g}"
            seconds = assigned(folder, evidence, table, threshold, int(chosen["min_size"]))
            print(f"threshold {threshold:g}: {scored(folder, f'{table}-table')}; {seconds:.1f} CPU s", flush=True)


def prepared(folder: str, side: int, seed: int, model: str) -> str:
    """The evidence of a volume, drawn and inferred where that was not done before."""
    evidence = f"{folder}/evidence-{Path(model).name}"
    if not IO().exists(f"{folder}/synapses.json"):
        run.inline(Synth(out=Layer(folder), shape=(side, side, side), seed=seed))
    if not IO().exists(f"{evidence}/info"):
        begun = time.process_time()
        run.inline(Infer(image=f"{folder}/image", layer=evidence, model=model))
        print(f"{model}: {(time.process_time() - begun) / side**3 * 1e6:.2f} CPU s per million voxels", flush=True)
    return evidence


def assigned(folder: str, evidence: str, name: str, threshold: float, min_size: int) -> float:
    """Detect clefts and assign partners; CPU seconds."""
    begun, clefts = time.process_time(), f"{name}-clefts"
    chain(Detect(evidence=evidence, layer=clefts, threshold=threshold, min_size=min_size))
    chain(
        Assign(
            clefts=clefts, segmentation=f"{folder}/segmentation", table=f"{name}-table", sides="channels",
            evidence=Layer(evidence),
        )
    )  # fmt: skip
    return time.process_time() - begun


def chain(stage: Any) -> None:
    """Run all steps."""
    for step in stage.steps(IO()):
        run.inline(step)


def scored(folder: str, table: str) -> str:
    """What of the true synapses a table has, in words."""
    truth = IO().get_json(f"{folder}/synapses.json") or {}
    size = np.array(truth["resolution"])
    true = np.array([[int(row["pre"]), int(row["post"])] for row in truth["synapses"]], np.uint64)
    places = (np.array([row["position"] for row in truth["synapses"]]) + 0.5) * size
    synapses = Synapses(IO(), table)
    parts = [synapses.rows(at) for at in synapses.blocks()]
    found = {name: np.concatenate([rows[name] for rows in parts]) for name in ("place", "pre", "post", "flags")}
    mine, theirs = matched(found["place"], places)
    partners = np.stack([found["pre"], found["post"]], axis=1)
    same = (partners[mine] == true[theirs]) & ((found["flags"][mine] & LEFT_OUT) == 0)[:, np.newaxis]
    swapped = (partners[mine][:, ::-1] == true[theirs]).all(axis=1)
    right = int(same.all(axis=1).sum())
    return (
        f"{len(true)} true, {len(partners)} found; clefts {f1(len(mine), len(partners), len(true))}; "
        f"partners {f1(right, len(partners), len(true))}, of {len(mine)} matched {right} right, {int(swapped.sum())} "
        f"with their sides exchanged"
    )


def matched(found: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of places less than NEAR apart: as many as can be, of the least sum of distances."""
    apart = cdist(found, true)
    one, other = linear_sum_assignment(np.where(apart < NEAR, apart, FAR))
    near = apart[one, other] < NEAR
    return one[near], other[near]


def f1(right: int, found: int, true: int) -> str:
    """Precision, recall and F1."""
    precision, recall = right / max(found, 1), right / max(true, 1)
    return f"precision {precision:.3f}, recall {recall:.3f}, F1 {2 * right / max(found + true, 1):.3f}"


if __name__ == "__main__":
    main(sys.argv[1:])
