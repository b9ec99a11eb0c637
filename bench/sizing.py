"""The tables of docs/sizing.md, computed by the commands themselves: what jobs of some teravoxels take.

Layers are made of which there is nothing but the info; `--dry-run --estimate --json` plans on them. Each table stands
between two comments that name it. With --check it fails where the page is stale.

usage: python bench/sizing.py [--check]
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from igneous_ng import words
from igneous_ng.cli.root import main as command
from igneous_ng.formats.info import new_info
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.models.base import Shape
from igneous_ng.models.folder import Card

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "sizing.md"
PRICES = str(ROOT / "examples" / "prices.toml")
EM, SEG = "image", "segmentation"
Found = dict[str, Any]
_TERA = 10**12
_DOWNSAMPLE, _MESH_FORGE, _MESH_MERGE, _SKELETON_FORGE, _SKELETON_MERGE = (
    seconds / 512**3 * 1e9 for seconds in (1.8, 441.5, 27.6, 609.1, 17.6)
)  # CPU nanoseconds a voxel of Igneous 4.37, by the first table of docs/benchmarks.md
_MESHES = """
[steps.forge]
stage = "{kind} forge"
layer = "{layer}"
mip = {mip}
[steps.merge]
stage = "{kind} merge"
layer = "@forge"
dust = 1000
"""
_NEURONS = """
[steps.infer]
stage = "segment infer"
image = "{layer}"
layer = "aff"
model = "{model}"
[steps.watershed]
stage = "segment watershed"
affinities = "@infer"
layer = "sv"
[steps.graph]
stage = "segment graph"
layer = "@watershed"
[steps.agglomerate]
stage = "segment agglomerate"
layer = "@graph"
thresholds = [0.9, 0.7, 0.5]
[steps.relabel]
stage = "segment relabel"
supervoxels = "@agglomerate"
layer = "seg"
"""
_SYNAPSES = """
[steps.infer]
stage = "segment infer"
image = "{layer}"
layer = "evidence"
model = "cleft"
[steps.detect]
stage = "synapse detect"
evidence = "@infer"
layer = "clefts"
[steps.assign]
stage = "synapse assign"
clefts = "@detect"
segmentation = "{seg}"
table = "synapses"
sides = "channels"
evidence = "@infer"
"""


@dataclass(frozen=True)
class Desk:
    """A folder for layers of nothing, and the command."""

    folder: Path

    def layer(self, name: str, kind: str, shape: Vec3, nm: tuple[float, float, float], mips: int = 1) -> str:
        """A layer of ``shape`` at its finest level, halved in x and y from level to level."""
        url, io = f"file://{self.folder}/{name}", IO()
        for mip in range(mips):
            x, y, z = shape
            made = new_info(
                kind=kind,
                dtype="uint8" if kind == EM else "uint64",
                channels=1,
                resolution=(nm[0] * 2**mip, nm[1] * 2**mip, nm[2]),
                bounds=Box((0, 0, 0), (x >> mip, y >> mip, z)),
                chunk=(64, 64, 64),
                encoding="raw" if kind == EM else "compressed_segmentation",
            )
            if mip:
                io.edit_info(url, *made.scales)
            else:
                io.create_layer(url, made)
        return url

    def volume(self, kind: str, teravoxels: float, z: float = 40.0) -> str:
        """A layer of so many teravoxels: a slab four times as wide as it is thick, of voxels of 8 x 8 x 40 nm."""
        side = round((teravoxels * _TERA / 16) ** (1 / 3) / 64) * 64
        across = 8.0 if z == 40 else z
        return self.layer(f"{kind}_{teravoxels:g}_{z:g}", kind, (4 * side, 4 * side, side), (across, across, z))

    def estimate(self, *said: str) -> Found:
        """What `--dry-run --estimate --json` says."""
        done = CliRunner().invoke(command, [*said, "--dry-run", "--estimate", "--json", "--prices", PRICES])
        if done.exit_code:
            raise SystemExit(f"igneous-ng {' '.join(said)}: {done.output}{done.exception or ''}")
        return dict(json.loads(done.stdout))

    def pipeline(self, text: str, **names: object) -> Found:
        """The same of steps that follow one another."""
        path = self.folder / "pipe.toml"
        for name, value in names.items():
            text = text.replace(f"{{{name}}}", str(value))
        path.write_text(text, encoding="utf-8")
        return self.estimate("run", str(path))


def jobs(desk: Desk, teravoxels: float) -> dict[str, Found]:
    """What each job takes of a volume of so many teravoxels."""
    em, seg = desk.volume(EM, teravoxels), desk.volume(SEG, teravoxels)
    fib, labels = desk.volume(EM, teravoxels, 10), desk.volume(SEG, teravoxels, 10)
    new = str(desk.folder / "new")
    return {
        "image downsample, image, 4 levels": desk.estimate("image", "downsample", em, "--num-mips", "4"),
        "image downsample, segmentation": desk.estimate("image", "downsample", seg, "--num-mips", "4"),
        "image transfer, image": desk.estimate("image", "transfer", em, new),
        "image transfer, segmentation, sharded": desk.estimate("image", "transfer", seg, new, "--sharded"),
        "ccl auto": desk.estimate("ccl", "auto", seg, new),
        "mesh forge, merge": desk.pipeline(_MESHES, kind="mesh", layer=seg, mip=0),
        "skeleton forge, merge": desk.pipeline(_MESHES, kind="skeleton", layer=seg, mip=0),
        "segment infer to relabel, `sheet`": desk.pipeline(_NEURONS, layer=fib, model="sheet"),
        "segment infer alone, boosted trees": desk.estimate("segment", "infer", fib, new, "--model", trees(desk)),
        "segment infer alone, `net`": desk.estimate("segment", "infer", fib, new, "--model", "net"),
        "synapses: infer, detect, assign": desk.pipeline(_SYNAPSES, layer=fib, seg=labels),
    }


def trees(desk: Desk) -> str:
    """A model of trees that learnt nothing, of the size that `segment train trees` makes."""
    made = Card("trees", Shape((96, 96, 96), (16, 16, 16), 3), (10.0, 10.0, 10.0), None, 0.0, 100)
    IO().put_json(f"file://{desk.folder}/trees/model.json", made.to_json())
    return str(desk.folder / "trees")


def row(name: str, found: Found) -> str:
    """A line of the table of jobs."""
    total = found["total"]
    later = "+" if total["unknown"]["units"] else ""
    hours = total["cpu_seconds"] / 3600
    cells = [
        name,
        f"{total['left']:,}{later}",
        f"{total['messages']:,}{later}",
        rounded(hours),
        words.amount(total["process_bytes"]),
        words.amount(total["written_bytes"]),
        rounded((total["get_requests"] + total["put_requests"]) / 1e6),
        rounded(total["cost_sum"]),
    ]
    return f"| {' | '.join(cells)} |"


def rounded(value: float) -> str:
    """Two digits, for no more is known."""
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def table(desk: Desk, teravoxels: float) -> str:
    """All jobs on one volume."""
    head = "| job | tasks | messages | CPU-hours | memory of a process | written | million requests | USD |\n"
    return head + "| --- |" + " --- |" * 7 + "\n" + "\n".join(row(*job) for job in jobs(desk, teravoxels).items())


@dataclass(frozen=True)
class Theirs:
    """A run of Igneous as its paper tells it: hours are CPU-hours, or the cores that were there times wall time."""

    job: str
    hours: float
    speed: float
    voxels: float
    ours: Found
    why: str


def history(desk: Desk) -> list[Theirs]:
    """The runs at the end of Igneous' paper of 2022, and what the same volumes would take here."""
    em = desk.layer("em95", EM, (196_608, 131_072, 3_686), (8.0, 8.0, 40.0))
    seg = desk.layer("seg298", SEG, (262_144, 212_992, 5_337), (8.0, 8.0, 40.0))
    fine = desk.layer("seg298mips", SEG, (262_144, 212_992, 5_337), (8.0, 8.0, 40.0), mips=3)
    s1 = desk.layer("s1", SEG, (8_192, 8_192, 4_219), (6.0, 6.0, 30.0), mips=3)
    meshes, skeletons = (desk.pipeline(_MESHES, kind=kind, layer=fine, mip=2) for kind in ("mesh", "skeleton"))
    parts = [
        desk.estimate("image", "downsample", s1, "--num-mips", "4"),
        desk.pipeline(_MESHES, kind="mesh", layer=s1, mip=2),
        desk.pipeline(_MESHES, kind="skeleton", layer=s1, mip=2),
        desk.estimate("image", "transfer", s1, str(desk.folder / "s1new"), "--sharded"),
    ]
    everything: Found = {"total": {"cpu_seconds": sum(one["total"]["cpu_seconds"] for one in parts)}}
    per_s1 = _DOWNSAMPLE + (_MESH_FORGE + _MESH_MERGE + _SKELETON_FORGE + _SKELETON_MERGE) / 16
    return [
        Theirs("downsample of an image, 95 TVx", 16_000, _DOWNSAMPLE, 95e12,
               desk.estimate("image", "downsample", em, "--num-mips", "4"), "16,000 cores for a little over an hour"),
        Theirs("downsample of a segmentation, 298 TVx", 51_200, _DOWNSAMPLE, 298e12,
               desk.estimate("image", "downsample", seg, "--num-mips", "4"),
               "a little over 3 hours, on cores whose number is not told: taken as 16,000"),
        Theirs("mesh forge, cubic millimetre", 99_800, _MESH_FORGE, 298e12 / 16, first(meshes),
               "the volume is not told: taken as 298 TVx at mip 2. Theirs simplifies here, ours when it merges"),
        Theirs("mesh merge of it", 2_450, _MESH_MERGE, 298e12 / 16, last(meshes), "ours simplifies whole objects here"),
        Theirs("skeleton forge, the same data", 91_000, _SKELETON_FORGE, 298e12 / 16, first(skeletons),
               "their own estimate; the volume as above"),
        Theirs("S1, 283.1 GVx: levels, meshes, skeletons, shards", 36, per_s1, 283.1e9, everything,
               "meshes and skeletons at 24 x 24 x 30 nm; third column without the shards"),
    ]  # fmt: skip


def first(found: Found) -> Found:
    """The first step alone."""
    return {"total": found["steps"][0]}


def last(found: Found) -> Found:
    """The last step alone."""
    return {"total": found["steps"][-1]}


def compared(desk: Desk) -> str:
    """Theirs, ours and the ratio."""
    lines = [
        "| job | theirs, core-hours | Igneous 4.37 at its speed on our machine | ours, predicted CPU-hours "
        "| theirs / ours | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in history(desk):
        ours, here = one.ours["total"]["cpu_seconds"] / 3600, one.speed * one.voxels / 3600e9
        cells = [one.job, f"{one.hours:,.0f}", rounded(here), rounded(ours), rounded(one.hours / ours), one.why]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def tables(folder: Path) -> dict[str, str]:
    """Every table of the page by its name."""
    desk = Desk(folder)
    return {**{f"{size:g} TVx": table(desk, size) for size in (1, 100)}, "history": compared(desk)}


def filled(page: str, folder: Path) -> str:
    """The page with its tables as they are now."""
    for name, text in tables(folder).items():
        mark = f"<!-- {name} -->"
        page, count = re.subn(
            f"{re.escape(mark)}.*?{re.escape(mark)}", f"{mark}\n{text}\n{mark}", page, flags=re.DOTALL
        )
        if count != 1:
            raise SystemExit(f"{PAGE}: {count} places for the table {name!r}; there must be one, between two {mark}")
    return page


def main() -> None:
    """Write the page, or compare it."""
    with tempfile.TemporaryDirectory() as folder:
        made = filled(PAGE.read_text(encoding="utf-8"), Path(folder))
    if "--check" not in sys.argv:
        PAGE.write_text(made, encoding="utf-8")
    elif made != PAGE.read_text(encoding="utf-8"):
        sys.exit("docs/sizing.md is stale; run python bench/sizing.py")


if __name__ == "__main__":
    main()
