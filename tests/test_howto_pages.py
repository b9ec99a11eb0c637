"""The how-tos, block by block: those of Python and of the shell in the order of the page, in one folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import cremi
from tests.pages import ROOT, environment

HOWTO = ROOT / "docs" / "howto"
PLUGIN = ROOT / "examples" / "plugin"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run(page: str, place: Path, tools: Path, skip: int = 0) -> str:
    """What the blocks of a page print, without the first ``skip``, which show files; each must succeed."""
    surroundings = environment(tools)
    site = place / "site"
    pip = f"{shlex.quote(sys.executable)} -m pip install -q --no-deps --no-build-isolation --target {site}"
    (tools / "pip").write_text(f'#!/bin/sh\nshift\nexec {pip} "$@"\n')
    (tools / "pip").chmod(0o755)
    surroundings["PYTHONPATH"] += f"{os.pathsep}{site}"
    said = []
    for language, block in BLOCK.findall((HOWTO / page).read_text())[skip:]:
        words = ["bash", "-euo", "pipefail", "-c", block] if language == "sh" else [sys.executable, "-c", block]
        done = subprocess.run(words, cwd=place, env=surroundings, capture_output=True, text=True, timeout=550)
        assert done.returncode == 0, block + done.stdout + done.stderr
        said.append(done.stdout)
    return "".join(said)


@pytest.mark.parametrize(("page", "file"), [("write-a-stage.md", "median.py"), ("write-an-adapter.md", "bench.py")])
def test_the_page_shows_the_file_that_is_there(page: str, file: str) -> None:
    block = BLOCK.findall((HOWTO / page).read_text())[0][1]
    assert block == (PLUGIN / "igneous_lab" / file).read_text()


@pytest.mark.long
def test_a_stage_of_a_package_of_its_own_is_found_and_run(tmp_path: Path) -> None:
    place = tmp_path / "place"
    shutil.copytree(PLUGIN, place / "examples" / "plugin")
    said = run("write-a-stage.md", place, tmp_path / "tools", skip=1)
    assert "Usage: igneous-ng image median" in said.replace("python -m igneous_ng.cli", "igneous-ng")
    assert re.search(r"^ *state +finished$", said, re.MULTILINE)
    assert "image median" in said.split("state")[-1]  # trace


@pytest.mark.long
def test_an_adapter_of_a_package_of_its_own_is_found_and_run(tmp_path: Path) -> None:
    place = tmp_path / "place"
    shutil.copytree(PLUGIN, place / "examples" / "plugin")
    said = run("write-an-adapter.md", place, tmp_path / "tools", skip=1)
    assert re.search(r"^bench +The microscope on our bench", said, re.MULTILINE)
    assert "2 tiles in 1 section" in said


@pytest.mark.long
def test_a_file_of_cremi_becomes_layers_and_scores(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    cremi.write(place / "sample.hdf")
    said = run("cremi.md", place, tmp_path / "tools")
    assert "volumes/labels/clefts (16, 64, 64) uint64 offset in voxels, x,y,z: [16, 16, 2]" in said
    scores = json.loads((place / "cremi/errors/scores.json").read_text())
    assert scores["cremi"] < 1.5  # a filter, on cells that are cut thick
    clefts = json.loads((place / "cremi/cleft_scores/clefts.json").read_text())
    assert (clefts["found"], clefts["false"], clefts["missed"]) == (30, 0, 0)


@pytest.mark.long
def test_a_model_is_trained_used_and_measured(tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / "examples").mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "train_network.toml", place / "examples")
    said = run("train-a-model.md", place, tmp_path / "tools")
    assert re.search(r"models/trees: .*[0-9]", said)
    scores = json.loads((place / "tissue/errors/scores.json").read_text())
    assert scores["one"]["voi"] < 2  # bits
