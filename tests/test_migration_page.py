"""The page for those who come from Igneous: nothing of theirs is left out, and all of ours that it names is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest

from igneous_ng import catalog
from igneous_ng.cli.root import main
from igneous_ng.io import IO
from igneous_ng.meshes import Folder
from igneous_ng.stages.mesh import MeshForge
from igneous_ng.stages.skeleton import SkeletonForge
from tests import igneous_made
from tests.pages import DOCS, ROOT, blocks, environment
from tests.test_forging import make_layer, run
from tests.test_stage_fragments_import import CELL, LO, MESH_INFO, RESOLUTION, SKELETON_INFO, lines, surfaces
from tests.test_stage_mesh import BIG, two_objects

PAGE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
THEIRS = """
design bounds, design ds-memory, design ds-shape, execute, image ccl auto, image ccl calc-labels, image ccl
clean, image ccl faces, image ccl links, image ccl relabel, image contrast clahe, image contrast equalize, image
contrast histogram, image create, image downsample, image reorder, image rm, image roi, image voxels count,
image voxels sum, image xfer, license, mesh clean, mesh forge, mesh merge, mesh merge-sharded, mesh rm, mesh
spatial-index create, mesh spatial-index db, mesh xfer, queue cp, queue mv, queue purge, queue release, queue
rezero, queue status, queue wait, skeleton clean, skeleton convert, skeleton forge, skeleton merge, skeleton
merge-sharded, skeleton rm, skeleton spatial-index create, skeleton spatial-index db, skeleton xfer, view
"""
THEIR_OPTIONS = """
--bg-color --bounds-mip --clean-info --clip-fraction --clip-limit --codec-threads --compress --const --coverage
--cutout --delete-bg --dest-voxel-offset --dir --dust --dust-global --dust-threshold --encoding
--encoding-effort --encoding-level --exclude-labels --factor --fill-missing --fix-autapses --h5-dataset
--lease-sec --magnitude --mapping-file --max-axial-len --max-cable-length --max-error --maxval --memory --method
--min-cable-length --min-chunk-size --min-sec --minval --name --ng --nlod --num-mips --pos --queue --root-ids
--scale --seg --shape --sharded --simplify --skip-downsample --skip-spatial-index --soma-accept --soma-const
--soma-detect --soma-scale --spatial-index --spatial-index-db --suppress-faint --threshold-gte --threshold-lte
--tick-threshold --timestamp --translate --truncate-scales --use-https-src --volumetric --vqb --xrange --yrange
--z-step --zrange
"""
PTQ = "cp, license, mv, purge, release, rezero, status"


def rows(section: str) -> list[list[str]]:
    """The cells of the tables between a heading and the next of its kind."""
    part = PAGE.split(f"\n{section}\n")[1].split("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| `")
    ]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def command(words: list[str]) -> click.Command:
    here: click.Command = main
    for word in words:
        assert isinstance(here, click.Group)
        inner = here.get_command(click.Context(here), word)
        assert inner is not None, words
        here = inner
    return here


def test_every_command_of_igneous_has_a_row() -> None:
    named = {name for row in rows("## Commands") for name in code(row[0])}
    wanted = {f"igneous {' '.join(name.split())}" for name in THEIRS.split(",")}
    wanted |= {f"ptq {name.strip()}" for name in PTQ.split(",")}
    assert len(wanted) == 47 + 7
    assert wanted <= named


def test_our_commands_and_options_are_there() -> None:
    """What the page calls an option is one of ours, or one of theirs of which it says what became of it."""
    names = (*(name.split() for name in catalog.everything()), ["execute"], ["status"], ["view"])
    known = {option for name in names for param in command(name).params for option in param.opts + param.secondary_opts}
    for row in rows("## Commands"):
        if row[0].startswith("`igneous ") and row[1] != "-":
            command(code(row[1])[0].split())
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    said = {word for span in code(prose) for word in span.split() if word.startswith("--")}
    assert said - known - set(THEIR_OPTIONS.split()) == set()


def test_stages_of_the_python_table_are_there() -> None:
    classes = {f"{e.module.rpartition('.')[2]}.{e.cls}" for e in catalog.everything().values()}
    modules = {name.partition(".")[0] for name in classes}
    found = [
        name for row in rows("## Python") for name in code(row[1]) if "." in name or ("_" in name and "-" not in name)
    ]
    assert len(found) > 20
    for name in found:
        assert name in classes or name in modules, name


@pytest.mark.long
def test_what_follows_forging_runs_as_it_stands(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, two_objects(), LO, RESOLUTION)
    run(MeshForge(layer=layer, cell=CELL, buckets=2))
    run(SkeletonForge(layer=layer, cell=CELL, buckets=2))
    igneous_made.leave(tmp_path / "seg" / "mesh_mip_0_err_40", surfaces(layer), MESH_INFO, sharded=True)
    igneous_made.leave(tmp_path / "seg" / "skeletons_mip_0", lines(layer), SKELETON_INFO, sharded=True)
    for folder in ("mesh", "skeletons"):
        (tmp_path / "seg" / folder).rename(tmp_path / folder)
    (script,) = blocks(DOCS / "migration.md", "sh")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environment(tmp_path / "tools"),
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert Folder.open(IO(), f"{layer}/mesh").read(BIG) is not None
    assert IO().info(layer).extra == {"mesh": "mesh", "skeletons": "skeletons"}
    assert not (tmp_path / "seg" / "mesh" / "fragments").exists()
