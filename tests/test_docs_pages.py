"""Pages that teach by examples: each block is run as it stands, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from igneous_ng.cli.root import main
from tests.layers import create, whole

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = ("workstation.md", "scripting.md", "sizing.md", "morphology.md")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def path(folder: Path) -> dict[str, str]:
    """The environment, with `igneous-ng` as this Python has it, and this tree."""
    script = folder / "igneous-ng"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m igneous_ng.cli "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    paths = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **paths}


def commands(text: str) -> list[list[str]]:
    """The words of each command of ours in a block."""
    lines = [line.split("#")[0].removesuffix("&").strip() for line in text.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("igneous-ng ")]


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_of_a_page_exist(page: str) -> None:
    found = [words for block in blocks(page, "sh") for words in commands(block)]
    assert found or page == "scripting.md"
    for words in found:
        here: click.Command = main
        while isinstance(here, click.Group):
            name, *words = words
            inner = here.get_command(click.Context(here), name)
            assert inner is not None, name
            here = inner
        known = {option for param in here.params for option in (*param.opts, *param.secondary_opts)}
        assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known


def test_python_of_the_scripting_page_is_python() -> None:
    for block in blocks("scripting.md", "python"):
        compile(block, "scripting.md", "exec")
    assert len(blocks("scripting.md", "python")) >= 8


@pytest.mark.long
def test_the_workstation_page_runs(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    place = tmp_path / "place"
    place.mkdir()
    script = "set -euo pipefail\n" + "\n".join(blocks("workstation.md", "sh"))
    done = subprocess.run(
        ["bash", "-c", script], cwd=place, env=path(tmp_path / "bin"), capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stdout + done.stderr
    states = re.findall(r"^ *state +(.*)$", done.stdout, flags=re.MULTILINE)
    assert states[0].startswith("waiting for workers")
    assert states[1:] == ["finished"] * 2
    info = (place / "tissue" / "segmentation" / "info").read_text()
    assert '"mesh"' in info
    assert '"skeletons"' in info
    assert "there are no dead letters" in done.stdout


@pytest.mark.long
def test_the_scripting_page_runs(tmp_path: Path) -> None:
    script = "\n".join(blocks("scripting.md", "python"))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "27 units of at most" in done.stdout
    assert "2 of 27" in done.stdout
    assert "9 of 27 units were done again" in done.stdout
    assert "the slowest unit was" in done.stdout


@pytest.mark.long
def test_the_example_of_many_layers_makes_a_table(tmp_path: Path) -> None:
    array = np.arange(16**3, dtype=np.uint8).reshape(16, 16, 16, 1)
    layers = [str(create(tmp_path / name, array, (0, 0, 0), chunk=(8, 8, 8))) for name in ("a", "b")]
    words = [str(ROOT / "examples" / "layers.py"), f"fq://{tmp_path}/queue", *layers, "--processes", "2"]
    done = subprocess.run(
        [sys.executable, *words], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, head, *rows = done.stdout.splitlines()
    assert re.fullmatch(r"\d+ units, about [\d.e-]+ CPU-hours", first)
    assert head == "layer,units,cpu_seconds,bytes_written"
    assert [row.split(",")[0] for row in rows] == [f"file://{layer}" for layer in layers]
    assert all(whole(Path(layer), 1).shape == (8, 8, 8, 1) for layer in layers)
