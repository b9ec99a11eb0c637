"""Tables read in and measured with every phase killed in its middle: the bytes are those of an undisturbed run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.eval_synapse import EvalSynapse
from igneous_ng.stages.synapse_import import SynapseImport
from tests.killing import calm_and_killed
from tests.layers import files
from tests.test_stage_eval_synapse import scene
from tests.test_stage_synapse_import import RES, drawn, written

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_every_phase_of_an_evaluation_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    scene(tmp_path, count=1500)

    def steps(name: str) -> Iterator[Stage]:
        found, truth = f"{tmp_path}/found", f"{tmp_path}/truth"
        return EvalSynapse(found=found, truth=truth, layer=f"{tmp_path}/{name}", cell=300).steps(IO())

    names = calm_and_killed(tmp_path, steps)
    assert {"eval groups sites", "eval groups candidates", "eval matches", "eval outcomes"} <= set(names)
    assert files(tmp_path / "killed") == files(tmp_path / "calm")


def test_every_phase_of_an_import_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra `parquet` is optional")
    source = written(tmp_path, "parquet", drawn(3000))

    def steps(name: str) -> Iterator[Stage]:
        return SynapseImport(source=f"{source}", layer=f"{tmp_path}/{name}", resolution=RES, block=64).steps(IO())

    assert calm_and_killed(tmp_path, steps) == ["synapse read", "synapse sort"]
    assert files(tmp_path / "killed") == files(tmp_path / "calm")
