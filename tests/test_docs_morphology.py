"""The page on contacts and morphology: each of its blocks, as it stands, in order, beside a layer and a graph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import cli
from igneous_ng.io import IO
from igneous_ng.stages.graph_build import Build
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from tests.layers import create
from tests.pages import DOCS, blocks, commands
from tests.synaptic import table
from tests.test_forging import run

KNOWN = 28820221


@pytest.mark.long
def test_the_morphology_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("duckdb")
    rows = table(f"file://{tmp_path}/table", 300, 10)
    names = np.unique(rows["pre"][rows["pre"] > 0])[:7]
    rods = np.repeat(np.append(names, np.uint64(KNOWN)), 6)[:, None, None] * np.ones((1, 30, 9), np.uint64)
    create(tmp_path / "SEGMENTATION", rods[..., None], (0, 0, 0), (16, 16, 16), kind="segmentation")
    run(SkeletonForge(layer=f"{tmp_path}/SEGMENTATION", const=10.0))
    run(SkeletonMerge(layer=f"{tmp_path}/SEGMENTATION"))
    for stage in Build(table=f"{tmp_path}/table", graph=f"{tmp_path}/GRAPH").steps(IO()):
        run(stage)
    (tmp_path / "proofread.json").write_text(json.dumps({str(names[0]): str(names[1])}))
    monkeypatch.chdir(tmp_path)
    said = []
    for words in (words for block in blocks(DOCS / "morphology.md", "sh") for words in commands(block)):
        done = CliRunner().invoke(cli.main, words)
        assert done.exit_code == 0, (words, done.output)
        said.append(done.output)
    assert "um^2" in said[0]
    assert str(names[-1]) in said[1]
    assert (tmp_path / "contacts.graphml").exists()
    assert '"properties"' in (tmp_path / "SEGMENTATION/info").read_text()
    for block in blocks(DOCS / "morphology.md", "python"):
        exec(compile(block, "morphology.md", "exec"), {})
