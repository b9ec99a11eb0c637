"""Every command that a page shows exists, with its options; pages that teach are run as they stand, block by block."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from igneous_ng.cli.root import main
from tests.layers import create, whole
from tests.pages import DOCS, ROOT, blocks, commands, environment, spans, written

# Commands that pages name and that are not here: one that a page teaches to write.
OTHERS = ("median",)


def found(words: list[str]) -> tuple[click.Command | None, list[str]]:
    """The command that is meant, and the words after its name; no command for one of the others."""
    here: click.Command = main
    while isinstance(here, click.Group) and words and not words[0].startswith("-"):
        inner = here.get_command(click.Context(here), words[0])
        if inner is None and words[0] in OTHERS:
            return None, []
        assert inner is not None, f"there is no command {words[0]}"
        here, words = inner, words[1:]
    return here, words


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", written(), ids=name)
def test_commands_of_a_page_are_understood(page: Path) -> None:
    for block in blocks(page, "sh", "bash", "console"):
        for words in commands(block):
            command, rest = found(words)
            if command is not None:
                try:
                    command.make_context("igneous-ng", rest)
                except click.UsageError as error:
                    pytest.fail(f"igneous-ng {' '.join(words)}: {error.format_message()}")


@pytest.mark.parametrize("page", written(), ids=name)
def test_commands_in_the_text_of_a_page_exist(page: Path) -> None:
    """Between backticks, where capitals and brackets stand for what the reader puts there."""
    for span in spans(page):
        for line in re.findall(r"^igneous-ng ((?:[a-z-]+ ?)+.*)$", span):
            command, rest = found(re.sub(r"[\[\]']|\.\.\.$", "", line).split())
            if command is not None:
                known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
                given = {word.partition("=")[0] for word in rest if re.match("--?[a-z]", word)}
                assert given <= {*known, "--help"}, line


def test_commands_are_taken_out_of_what_stands_around_them() -> None:
    script = "a=$(igneous-ng x -p 2) && B=1 igneous-ng y 'p (q)' | wc  # igneous-ng z"
    assert list(commands(f"{script}\nrun -c 'exec /bin/igneous-ng v w'")) == [
        ["x", "-p", "2"],
        ["y", "p (q)"],
        ["v", "w"],
    ]
    assert list(commands("igneous-ng a \\\n  --b c\nigneous-ng d > e")) == [["a", "--b", "c"], ["d"]]


def ran(page: str, folder: Path) -> tuple[str, Path]:
    """What the blocks of a page say, run in order in an empty folder, and that folder."""
    place = folder / "place"
    place.mkdir()
    script = "set -euo pipefail\n" + "\n".join(blocks(DOCS / page, "sh"))
    done = subprocess.run(
        ["bash", "-c", script], cwd=place, env=environment(folder / "bin"), capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr, place


@pytest.mark.long
def test_the_tutorial_runs(tmp_path: Path) -> None:
    said, place = ran("tutorial.md", tmp_path)
    info = json.loads((place / "tissue" / "segmentation" / "info").read_text())
    assert len(info["scales"]) == 3
    assert {"mesh", "skeletons"} <= info.keys()
    assert re.search("^ *state +finished$", said, re.MULTILINE)
    assert re.search(r"^http://127\.0\.0\.1:\d+/", said, re.MULTILINE)
    assert "synth volume" in said


@pytest.mark.long
def test_the_page_about_tiles_runs(tmp_path: Path) -> None:
    said, place = ran("howto/tiles.md", tmp_path)
    assert "45 tiles in 5 sections" in said
    assert "40 of 45 tiles of 5 sections are used; 5 findings are bad" in said
    assert (place / "montage" / "report" / "index.html").exists()
    assert (place / "alignment" / "report" / "index.html").exists()
    assert len(json.loads((place / "volume" / "info").read_text())["scales"]) > 1


@pytest.mark.long
def test_the_page_about_segmentations_runs(tmp_path: Path) -> None:
    said, place = ran("howto/segmentation.md", tmp_path)
    given = np.load(place / "labels.npy").transpose(2, 1, 0)
    assert np.array_equal(whole(place / "seg", 0)[..., 0], given)
    assert "segmentation of uint64" in said
    assert any((place / "swc").rglob("*.swc"))
    assert {path.name for path in (place / "obj").glob("*.*")} == {"118.obj", "120.obj"}
    assert re.search(r"^VOI [01]\.\d+ bits", said, re.MULTILINE)


@pytest.mark.long
def test_the_page_about_redoing_runs(tmp_path: Path) -> None:
    said, place = ran("howto/redo.md", tmp_path)
    assert said.count("nothing is stale") == 2
    assert said.count(" is rolled back") == 4
    assert re.search("[1-9] of 8 units stale", said[: said.index("nothing is stale")])
    assert "nothing is wrong" in said
    assert np.array_equal(whole(place / "seg", 0)[..., 0], np.load(place / "labels.npy").transpose(2, 1, 0))


@pytest.mark.long
def test_the_page_about_pipelines_runs(tmp_path: Path) -> None:
    said, place = ran("howto/pipeline.md", tmp_path)
    info = json.loads((place / "data" / "segmentation" / "info").read_text())
    assert {"mesh", "skeletons"} <= info.keys()
    assert len(list((place / "data" / "segmentation" / "runs").glob("*/finished.json"))) == 5
    assert "study.toml: 5 of 5 steps done" in said


def test_python_of_the_scripting_page_is_python() -> None:
    for block in blocks(DOCS / "scripting.md", "python"):
        compile(block, "scripting.md", "exec")
    assert len(blocks(DOCS / "scripting.md", "python")) >= 8


@pytest.mark.long
def test_the_workstation_page_runs(tmp_path: Path) -> None:
    said, place = ran("workstation.md", tmp_path)
    states = re.findall(r"^ *state +(.*)$", said, flags=re.MULTILINE)
    assert states[0].startswith("waiting for workers")
    assert states[1:] == ["finished"] * 2
    info = (place / "tissue" / "segmentation" / "info").read_text()
    assert '"mesh"' in info
    assert '"skeletons"' in info
    assert "there are no dead letters" in said


@pytest.mark.long
def test_the_scripting_page_runs(tmp_path: Path) -> None:
    script = "\n".join(blocks(DOCS / "scripting.md", "python"))
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
