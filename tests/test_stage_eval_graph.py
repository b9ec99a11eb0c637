"""Edges of a graph against true ones: what splits keep, what mergers lose, and what lies the wrong way round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.stages.eval_graph import EvalGraph
from igneous_ng.stages.eval_segmentation import EvalSegmentation
from igneous_ng.stages.graph_build import Build
from igneous_ng.stages.synapse_import import SynapseImport
from tests.layers import create

SHAPE = (16, 16, 16)
TRUE = [(1, 2), (2, 3), (3, 4), (4, 1)]


def chain(stage: Any) -> None:
    for step in stage.steps(IO()):
        run.inline(step)


def table(path: Path, pairs: list[tuple[int, int]]) -> str:
    """A table of one synapse for each pair."""
    rows = [{"pre": str(a), "post": str(b), "position": [2 + n, 4, 4]} for n, (a, b) in enumerate(pairs)]
    path.with_suffix(".json").write_text(json.dumps({"resolution": [8, 8, 8], "synapses": rows}))
    chain(SynapseImport(source=str(path.with_suffix(".json")), layer=str(path)))
    return str(path)


def slabs(labels: list[int]) -> np.ndarray:
    """Four slabs along x with these labels."""
    return np.asfortranarray(np.repeat(labels, 4)[:, None, None, None] * np.ones((1, 16, 16, 1)), np.uint64)


def scored(path: Path, segments: np.ndarray, pairs: list[tuple[int, int]], **more: Any) -> dict[str, Any]:
    """The scores of a graph with an edge for each of ``pairs`` of ``segments``."""
    pytest.importorskip("pyarrow", reason="the extra `parquet` is optional")
    for name, voxels in (("truth", slabs([1, 2, 3, 4])), ("seg", segments)):
        create(path / name, voxels, (0, 0, 0), (16, 16, 16), kind="segmentation")
    chain(EvalSegmentation(segmentation=str(path / "seg"), truth=str(path / "truth"), layer=str(path / "overlaps")))
    chain(Build(table=table(path / "found", pairs), graph=str(path / "graph"), parts=2))
    stage = EvalGraph(graph=str(path / "graph"), truth=table(path / "true", TRUE), overlaps=str(path / "overlaps"),
                      layer=str(path / "out"), **more)  # fmt: skip
    run.inline(stage)
    found: dict[str, Any] = json.loads((path / "out/edges.json").read_text())
    assert f"{found['found']} of {found['true']} true ones found" in stage.said(IO())
    return found


def test_the_truth_is_without_error(tmp_path: Path) -> None:
    segments = slabs([11, 12, 13, 14])
    found = scored(tmp_path, segments, [(11, 12), (12, 13), (13, 14), (14, 11)])
    assert (found["true"], found["edges"], found["right"], found["found"], found["turned"]) == (4, 4, 4, 4, 0)
    assert (found["precision"], found["recall"], found["f1"]) == (1.0, 1.0, 1.0)


@pytest.mark.long
def test_splits_keep_an_edge_and_mergers_lose_it_and_the_way_counts(tmp_path: Path) -> None:
    segments = slabs([11, 12, 13, 13])  # 3 and 4 merged: of equal ones the smaller, so 13 stands for 3
    segments[:4, 8:] = 21  # 1 in two
    pairs = [(11, 12), (21, 12), (13, 12), (11, 13)]
    found = scored(tmp_path, segments, pairs)
    # 1-2 twice, 3-2 is 2-3 the wrong way round, 1-3 is none
    assert (found["edges"], found["right"], found["found"], found["turned"]) == (4, 2, 1, 1)
    assert (found["precision"], found["recall"], found["recall_either_way"]) == (0.5, 0.25, 0.5)


@pytest.mark.long
def test_an_empty_graph_finds_nothing(tmp_path: Path) -> None:
    found = scored(tmp_path, slabs([11, 12, 13, 14]), [(11, 12)], min_count=2)
    assert (found["edges"], found["precision"], found["recall"], found["f1"]) == (0, 0.0, 0.0, 0.0)


def test_nothing_is_measured_without_overlaps(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing is evaluated here"):
        run.inline(EvalGraph(graph="a", truth="b", overlaps=str(tmp_path), layer=str(tmp_path / "out")))
    with pytest.raises(SpecError, match="at least 1"):
        EvalGraph(graph="a", truth="b", overlaps="c", layer="d", min_count=0)
