"""A stage is one new file: the command, the docs, the message and the contract tests follow from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
TOY = '''"""Toys: a stage as small as one can be."""

from dataclasses import dataclass

import numpy as np

from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.stage import LayerUrl, Stage, arg, opt


@dataclass(frozen=True, kw_only=True)
class Invert(Stage, name="toy invert"):
    """Write the negative of an image."""

    source: LayerUrl = arg("Layer to read.")
    layer: LayerUrl = arg("Layer to create.")
    mip: int = opt(0, "Level to read.")

    def home(self) -> str:
        return self.layer

    def prepare(self, io: IO) -> None:
        io.create_layer(self.layer, io.info(self.source))

    def units(self, io: IO) -> Grid:
        volume = io.volume(self.source, self.mip)
        return Grid(volume.bounds, volume.chunk)

    def peak_bytes(self, unit: Box, io: IO) -> int:
        return 3 * unit.voxels

    def execute(self, unit: Box, io: IO) -> None:
        negative = np.invert(io.read(io.volume(self.source, self.mip), unit))
        io.write(io.volume(self.layer, self.mip), unit, negative)
'''


def test_one_file_gives_command_docs_and_contract_tests(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "igneous_ng", tmp_path / "igneous_ng", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "igneous_ng" / "stages" / "toy.py").write_text(TOY)
    np.save(tmp_path / "em.npy", np.arange(40 * 30 * 20, dtype=np.uint16).reshape(40, 30, 20).astype(np.uint8))

    def python(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "Write the negative of an image." in python("igneous_ng.cli", "--help")
    assert "--mip" in python("igneous_ng.cli", "toy", "invert", "--help")
    python("igneous_ng.cli", "image", "create", "em.npy", "em", "--axes", "xyz", "--chunk", "16,16,16")
    python("igneous_ng.cli", "toy", "invert", "em", "negative", "--queue", "fq://queue")
    python("igneous_ng.cli", "execute", "fq://queue", "-p", "2")
    from cloudvolume import CloudVolume

    negative = CloudVolume(f"file://{tmp_path}/negative", progress=False)[:][..., 0]
    np.testing.assert_array_equal(negative, np.invert(np.load(tmp_path / "em.npy")))
    python("igneous_ng.reference")
    assert "Write the negative" in (tmp_path / "docs" / "reference" / "toy-invert.md").read_text()
    tested = python("pytest", "-q", "tests/test_every_stage.py", "-k", "toy", "-p", "no:cacheprovider")
    assert "5 passed" in tested
