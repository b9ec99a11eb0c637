"""Alignment measured against truth: slices of a registered stack, bent at random, come back as a volume.

    python bench/align.py accuracy [A1 A2 A3 A4] [STAGE.FIELD=VALUE ...]
    python bench/align.py faults|long|exact|redo|speed [STAGE.FIELD=VALUE ...]
    python bench/align.py prototypes FOLDER [A1 ...]     FOLDER: synth2.py and synth3.py, which the bounds come from

The stack is `fib25/em_520x520x128.npz` of the test data (IGNEOUS_NG_TEST_DATA, or ../shared/data), its voxels taken as
8 nm. Errors are pixels of 8 nm, median / 95th percentile. Fields such as `relax.strain=0.03` or `flow.stride=20` go to
the stage `align relax`, `align flow` ...; `rounds=2` and `folder=DIR` (kept, else temporary) to the benchmark itself.

Each bound is that of the research note, moved by what its prototype does better or worse on this stack than on the
larger one of the note, at the same stride of 40 pixels.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from align_wide import spread
from scipy import ndimage

from igneous_ng import catalog, redo, run
from igneous_ng.formats import columns
from igneous_ng.formats.info import IMAGE, new_info
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.store import Store

DATA = Path(os.environ.get("IGNEOUS_NG_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
EM = DATA / "fib25" / "em_520x520x128.npz"
MIDDLE = 64  # the slice that is shown again and again


@dataclass(frozen=True)
class Test:
    """A stack to make, and what the errors of neighbours may be: in the note, and on this stack."""

    fields: dict[str, Any]
    margin: int
    noted: tuple[float, float]
    bound: tuple[float, float]
    prototype: str


TESTS = {
    "A1": Test({"every": 0, "first": MIDDLE, "count": 10}, 96, (0.20, 0.60), (0.19, 0.54), "3 0 10 2 160 40 1 .1"),
    "A2": Test({"every": 1, "first": 20, "count": 80}, 80, (0.45, 1.00), (0.43, 0.96), "2 1 80 2 128 40 1"),
    "A3": Test({"every": 4, "first": 20, "count": 24}, 96, (0.95, 2.10), (0.91, 1.90), "3 4 24 2 160 40 1 1.0"),
    "A4": Test({"every": 4, "first": 20, "count": 24, "warp": 0.0}, 112, (0.80, 1.60), (0.78, 1.39),
               "3 4 24 0 192 40 1 .1"),
    "A6": Test({"every": 1, "first": 4, "count": 120}, 80, (0.45, 1.00), (0.43, 0.96), "2 1 120 2 128 40 1"),
}  # fmt: skip
FAULTS = {"lost": (3,), "masked": (6,), "inverted": (9,), "turned": (12,), "folded": (16,), "cracked": (20,)}
WORSE = 1.15  # how much worse than without faults it may be elsewhere
HARM = 1.03  # how much worse a further round may make a registered stack
CORNERS = ((110, 110), (410, 110), (110, 410), (410, 410))  # of what all sections show
HELD = 1.0  # pixels: sigma of the places that sections of A6.held came from
LONG = 3.1  # pixels: 95th percentile of absolute errors; 3.5 in the note
DIRECT = 0.05  # pixels: 99th percentile between two levels and one
SEAM = 0.1  # pixels
FAST, WARPED = 1.0, 40.0  # megapixels a second and core


@dataclass
class Bench:
    """Where things are made, and fields that the user chose."""

    folder: Path
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    rounds: int = 3

    def do(self, name: str, **fields: Any) -> float:
        """Run a stage, step by step, here; CPU seconds."""
        start = time.process_time()
        more = self.chosen.get(name.removeprefix("align "), {})
        for step in catalog.load(name)(**{**fields, **more}).steps(IO()):
            run.inline(step)
        return time.process_time() - start

    def stack(self, name: str = "stack", side: int = 0, slices: int = 128) -> str:
        """The registered stack as a layer; with a ``side`` so wide, spread out."""
        layer = f"file://{self.folder}/{name}"
        if Store().exists(f"{layer}/info"):
            return layer
        with np.load(EM) as found:
            voxels = found["em"].transpose(2, 1, 0)
        voxels = spread(voxels, side, slices) if side else voxels[:, :, :slices]
        bounds, io = Box((0, 0, 0), voxels.shape), IO()
        info = new_info(kind=IMAGE, dtype="uint8", channels=1, bounds=bounds, resolution=(8, 8, 8), chunk=(512, 512, 1),
                        encoding="raw")  # fmt: skip
        io.create_layer(layer, info)
        io.write(io.volume(layer, 0), bounds, np.asfortranarray(voxels)[..., np.newaxis])
        return layer

    def sections(self, name: str, stack: str, **fields: Any) -> str:
        """Sections of a stack, with their truth."""
        out = f"file://{self.folder}/{name}.sections"
        self.do("synth sections", image=stack, out=out, **fields)
        return out

    def begun(self, name: str, sections: str) -> str:
        """An alignment with rough maps."""
        home = f"file://{self.folder}/{name}.alignment"
        self.do("align coarse", layer=f"{sections}/image", alignment=home, mask=f"{sections}/mask")
        return home

    def scores(self, home: str, sections: str, number: int, margin: int) -> dict[str, Any]:
        """How far the maps of a round are from the truth; ``nodes``: neighbour errors as the prototypes measure them.

        They look at nodes of their lattice alone, and so at nothing that is interpolated between nodes.
        """
        lattice = local(f"{home}/rounds/{number}/round.json")
        step = json.loads(lattice.read_text())["step"] if number else 40
        found = []
        for spacing in (step, 16):
            self.do("eval align", alignment=home, truth=sections, round=number, margin=margin, spacing=spacing)
            found.append(json.loads(local(f"{home}/scores/{number}/scores.json").read_text()))
        return {**found[1], "nodes": found[0]["neighbour"]}

    def aligned(self, name: str, stack: str, margin: int, **fields: Any) -> tuple[str, list[dict[str, Any]]]:
        """An alignment of a new stack after all rounds, and the scores of each; prints them."""
        sections = self.sections(name, stack, **fields)
        print(f"{name}: sections bent by {bent(sections):.2f} px rms", flush=True)
        home = self.begun(name, sections)
        found = [self.scores(home, sections, 0, margin)]
        print(f"{name} rough: {told(found[0])}", flush=True)
        for number in range(1, self.rounds + 1):
            seconds = [self.do(f"align {step}", alignment=home, round=number) for step in ("flow", "relax")]
            found.append(self.scores(home, sections, number, margin))
            print(f"{name} round {number}: {told(found[-1])}; CPU s {seconds[0]:.0f} + {seconds[1]:.0f}", flush=True)
        return home, found

    def shown(self, name: str, home: str) -> None:
        """Check what was aligned, and render it: what is held back as an operator does who has seen the reasons."""
        checked = self.do("align check", alignment=home, round=self.rounds)
        found = json.loads(local(f"{home}/verdict.json").read_text())
        layer = f"file://{self.folder}/{name}.volume"
        rendered = self.do("align render", alignment=home, layer=layer, unchecked=not found["publish"])
        how = "passed" if found["publish"] else f"held back, shown with --unchecked: {found['reasons']}"
        print(f"{name}: {how}; CPU s {checked:.0f} + {rendered:.0f}", flush=True)


def local(url: str) -> Path:
    return Path(url.removeprefix("file://"))


def bent(sections: str) -> float:
    """Root mean square of the planted field, without the mean of each section."""
    field = values(f"{sections}/truth/field")
    return float(np.sqrt(((field - field.mean(axis=(0, 1, 3), keepdims=True)) ** 2).mean()))


def pair(one: dict[str, Any]) -> str:
    return f"{one['p50']:.2f} / {one['p95']:.2f} (max {one['max']:.1f})" if one["count"] else "nothing"


def told(found: dict[str, Any]) -> str:
    """Scores in a line."""
    flow = found["flow"].get("1", {"count": 0})
    said = f"neighbours {pair(found['nodes']['all'])} at nodes, {pair(found['neighbour']['all'])} everywhere"
    said += f"; absolute {pair(found['absolute']['all'])}"
    if flow["count"]:
        said += f"; flow {pair(flow)}, {flow['good']:.1%} good, {flow['far']:.2%} > 5 px"
    return said + (f"; hidden {found['hidden']}" if found["hidden"] else "")


def verdict(what: str, reached: Iterable[float], bounds: Iterable[float], noted: str = "") -> None:
    """Say whether figures are within their bounds."""
    figures, limits = list(reached), list(bounds)
    word = "reached" if all(a <= b for a, b in zip(figures, limits, strict=True)) else "MISSED"
    said = " / ".join(f"{value:.3g}" for value in figures)
    print(f"{what}: {said} of {' / '.join(f'{value:.3g}' for value in limits)} {word}{noted}", flush=True)


def judged(name: str, found: list[dict[str, Any]]) -> None:
    """The last round against the bound, which is one of errors at nodes."""
    test = TESTS[name]
    for where, key in (("at nodes", "nodes"), ("everywhere", "neighbour")):
        last = found[-1][key]["all"]
        noted = f" (the note: {test.noted[0]} / {test.noted[1]})"
        verdict(f"{name}, {where}", (last["p50"], last["p95"]), test.bound, noted)
    if name == "A4":
        errors = [[one["neighbour"]["all"][key] for key in ("p50", "p95")] for one in found[1:]]
        for before, after in itertools.pairwise(errors):
            verdict("A4, a further round", after, (HARM * value for value in before))


def accuracy(bench: Bench, names: list[str]) -> None:
    """A1 to A4."""
    for name in names or ("A1", "A2", "A3", "A4"):
        test = TESTS[name]
        home, found = bench.aligned(name, bench.stack(), test.margin, **test.fields)
        judged(name, found)
        bench.shown(name, home)


def faults(bench: Bench, _: list[str]) -> None:
    """A5: what six faults do to the rest of the stack."""
    test = TESTS["A3"]
    plain = bench.aligned("A3", bench.stack(), test.margin, **test.fields)[1][-1]["neighbour"]["all"]
    home, found = bench.aligned("A5", bench.stack(), test.margin, **test.fields, **FAULTS)
    last = found[-1]
    clean = last["neighbour"]["elsewhere"]
    verdict("A5, elsewhere", (clean["p50"], clean["p95"]), (WORSE * plain[key] for key in ("p50", "p95")))
    for z, one in last["sections"].items():
        if one["fault"]:
            print(f"  section {z}, {one['fault']}: {pair(one)}")
    for z, one in last["tears"].items():
        print(f"  section {z}: jump missed by {pair(one)} at its borders, {pair(one['beyond'])} a cell farther on")
    print(f"  hidden: {last['hidden']}; rough.json: {json.loads(local(f'{home}/rough.json').read_text())['sections']}")
    bench.shown("A5", home)


def long(bench: Bench, _: list[str]) -> None:
    """A6: 120 sections of one slice each; nothing else known, and held where they came from, as by the prototype.

    It pulls each node to where it was: with a spring of 1 %, so that a section goes with some seven beside it.
    """
    test = TESTS["A6"]
    came = bench.folder / "A6.places.jsonl"
    lines = [{"z": z, "section": p, "volume": p, "sigma": HELD} for z in range(test.fields["count"]) for p in CORNERS]
    came.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, anchors in (("A6", {}), ("A6.held", {"anchors": f"file://{came}"})):
        bench.chosen["relax"] = {**bench.chosen.get("relax", {}), **anchors}
        home, found = bench.aligned(name, bench.stack(), test.margin, **test.fields)
        drifted(name, home, bench, found)


def drifted(name: str, home: str, bench: Bench, found: list[dict[str, Any]]) -> None:
    """How far sections are from their places, and from those some sections away."""
    test = TESTS["A6"]
    verdict(f"{name}, absolute p95", (found[-1]["absolute"]["all"]["p95"],), (LONG,), " (the note: 3.5)")
    apart, off = growth(home, bench.rounds, test.fields["count"])
    slope = np.polyfit(np.log(apart), np.log(off), 1)[0]
    print("  sections apart, px: " + ", ".join(f"{k}: {value:.2f}" for k, value in zip(apart, off, strict=True)))
    verdict(f"{name}, exponent of growth", (float(slope),), (0.5,))


def growth(home: str, number: int, count: int) -> tuple[list[int], list[float]]:
    """By how much errors at one point differ between sections so and so many apart, root mean square."""
    tables = []
    for z in range(count):
        found = columns.unpack(local(f"{home}/scores/{number}/z{z:06d}.cols").read_bytes(), f"section {z}")
        places = [tuple(point) for point in found["point"].tolist()] if found else []
        tables.append(dict(zip(places, found.get("error", ()), strict=True)))
    apart, off = [1, 2, 4, 8, 16, 32, 64], []
    for k in apart:
        pairs = [b[p] - a[p] for a, b in zip(tables, tables[k:], strict=False) for p in a.keys() & b.keys()]
        off.append(float(np.sqrt((np.array(pairs) ** 2).sum(axis=1).mean())))
    return apart, off


def exact(bench: Bench, _: list[str]) -> None:
    """A7: the same bytes by several workers, killed again and again; two levels against all nodes at once."""
    sections = bench.sections("A7", bench.stack(), **TESTS["A3"].fields)
    homes = [bench.begun(name, sections) for name in ("A7.here", "A7.killed")]
    for step in ("flow", "relax"):
        bench.do(f"align {step}", alignment=homes[0], round=1)
        killed = harried(step, homes[1])
        print(f"A7, align {step}: killed {killed} times")
    one, two = (results(local(home) / "rounds") for home in homes)
    other = [name for name in one.keys() | two.keys() if one.get(name) != two.get(name)]
    verdict(f"A7, files of {len(one)} that differ", (len(other),), (0,), f" {other[:4]}" if other else "")
    direct = f"file://{bench.folder}/A7.direct.alignment"
    shutil.copytree(local(homes[0]), local(direct), ignore=shutil.ignore_patterns("runs", "coarse", "sweep*"))
    bench.do("align relax", alignment=direct, round=1, coarsening=1)  # so that no subdomain is held at the wrong place
    off = np.hypot(*np.moveaxis(np.subtract(*(values(f"{h}/rounds/1/forward") for h in (homes[0], direct))), -1, 0))
    verdict("A7, two levels against one, p99", (float(np.percentile(off, 99)),), (DIRECT,), f" (max {off.max():.3f})")


def harried(step: str, home: str) -> int:
    """Run a stage by two processes, and kill it with all of them while it works; how often."""
    command = [sys.executable, "-m", "igneous_ng.cli", "align", step, local(home).as_posix(), "--round", "1", "-p", "2"]
    chance, killed, more, runs = random.Random(0), 0, [], local(home) / "runs"
    known = len(list(runs.iterdir()))
    while True:
        process = subprocess.Popen([*command, *more], start_new_session=True, stdout=subprocess.DEVNULL)
        try:
            if process.wait(None if killed == 5 else chance.uniform(4, 12)) == 0:
                return killed
            raise SystemExit(f"{' '.join(command)}: failed")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed, more = killed + 1, ["--missing"] if len(list(runs.iterdir())) > known else []


def results(folder: Path) -> dict[str, bytes]:
    """All files below a folder but records."""
    found = (p for p in folder.rglob("*") if p.is_file() and "runs" not in p.parts and p.name != "provenance")
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def values(url: str) -> np.ndarray:
    """A whole field."""
    io = IO()
    volume = io.volume(url, 0)
    return io.read(volume, volume.bounds).astype(np.float64)


def again(bench: Bench, _: list[str]) -> None:
    """A8: one region in 64 of the area of a section changes, and is made again."""
    side, z, stride = 3120, 2, 16
    bench.chosen.setdefault("flow", {}).update(stride=stride, patch=128)
    stack = bench.stack("wide", side, slices=24)
    sections = bench.sections("A8", stack, every=4, count=5)
    home = bench.begun("A8", sections)
    for step in ("flow", "relax"):
        bench.do(f"align {step}", alignment=home, round=1)
    bench.do("align lock", alignment=home, round=1)
    before, files = values(f"{home}/rounds/1/forward"), results(local(home) / "rounds")
    region = changed(f"{sections}/image", z, side // 8)
    units = 0
    for wave, _run in redo.carried_out(redo.Redo(Store(), [home]), lambda wave: run.inline(wave.stage, wave.subset)):
        units += len(wave.subset)
        print(f"  {wave.stage.name}: {len(wave.subset)} of {wave.subset.of} units")
    after = results(local(home) / "rounds")
    other = [name for name in files if files[name] != after.get(name)]
    moved = np.hypot(*np.moveaxis(values(f"{home}/rounds/1/forward") - before, -1, 0))
    nodes = np.argwhere(moved > 0)
    print(f"A8: region {region}; {units} units; {len(other)} of {len(files)} files changed; nodes {nodes.min(axis=0)}")
    print(f"  to {nodes.max(axis=0)} of {moved.shape} moved, at most {moved.max():.2f} px")
    verdict("A8, step at the rim of what moved", (rim(moved),), (SEAM,))


def changed(layer: str, z: int, side: int) -> Box:
    """Show something else in a square of section ``z``: its own mirror image."""
    io = IO()
    volume = io.volume(layer, 0)
    chunk = next(c for c in volume.chunks(volume.bounds) if c.lo[2] == z and min(c.lo[:2]) >= volume.chunk[0])
    voxels = io.read(volume, chunk)
    voxels[:side, :side] = voxels[:side, :side][::-1]
    io.write(volume, chunk, voxels)
    return Box.sized(chunk.lo, (side, side, 1))


def rim(moved: np.ndarray) -> float:
    """The largest step from a node that did not move at all to one beside it that did."""
    beside = ndimage.binary_dilation(moved == 0, np.ones((3, 3, 1), bool))
    return float(moved[beside].max(initial=0))


def speed(bench: Bench, _: list[str]) -> None:
    """A9: CPU seconds of each step for sections of 3,120 by 3,120 pixels."""
    sections = bench.sections("A9", bench.stack("wide", 3120, slices=24), every=4, count=4)
    home = f"file://{bench.folder}/A9.alignment"
    seconds = {"coarse": bench.do("align coarse", layer=f"{sections}/image", alignment=home)}
    for step in ("flow", "relax", "check"):
        seconds[step] = bench.do(f"align {step}", alignment=home, round=1)
    layer = f"file://{bench.folder}/A9.volume"
    seconds["render"] = bench.do("align render", alignment=home, layer=layer)
    io, lattice = IO(), json.loads(local(f"{home}/rounds/1/round.json").read_text())
    found = [
        values(f"{home}/rounds/1/flow/{d}")[..., 0] for d in (1, 2, 3, 4) if io.exists(f"{home}/rounds/1/flow/{d}/info")
    ]
    factor = 2 ** lattice["mip"]
    matched = sum(int(np.isfinite(one).sum()) for one in found) * (lattice["step"] / factor) ** 2 / 1e6
    shown = io.volume(layer, 0).bounds.voxels / 1e6
    raw = io.volume(f"{sections}/image", 0).bounds.voxels / 1e6
    for step, taken in seconds.items():
        print(f"align {step}: {taken:.1f} CPU s")
    print(f"A9, flow: {matched / seconds['flow']:.2f} of {FAST} Mpx/s at mip {lattice['mip']}")
    print(f"A9, render: {shown / seconds['render']:.1f} of {WARPED} Mpx/s, all of the stage included")
    print(f"A9, all: {raw / sum(seconds.values()):.2f} MB raw/s")


def prototypes(bench: Bench, names: list[str]) -> None:
    """The programs that bounds were taken from, on this stack."""
    source = Path(names[0])
    with np.load(EM) as found:
        np.save(bench.folder / "em.npy", found["em"])
    for name in names[1:] or TESTS:
        which, *fields = TESTS[name].prototype.split()
        text = (source / f"synth{which}.py").read_text().replace("V[260]", f"V[{MIDDLE}]")
        text = text.replace("V[20+", f"V[{TESTS[name].fields['first'] if TESTS[name].fields['every'] else 20}+")
        (bench.folder / "prototype.py").write_text(text)
        print(f"{name}: synth{which}.py {' '.join(fields)}", flush=True)
        subprocess.run([sys.executable, "prototype.py", *fields], cwd=bench.folder, check=True)


def main() -> None:
    """Measure what is asked for."""
    what, *rest = sys.argv[1:]
    given = dict(word.split("=", 1) for word in rest if "=" in word)
    keep = given.pop("folder", "")
    folder = Path(keep or tempfile.mkdtemp(prefix="align-")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(folder, rounds=int(given.pop("rounds", 3)))
    for key, value in given.items():
        stage, _, name = key.partition(".")
        bench.chosen.setdefault(stage, {})[name] = json.loads(value)
    ways = {"accuracy": accuracy, "faults": faults, "long": long, "exact": exact, "redo": again, "speed": speed,
            "prototypes": prototypes}  # fmt: skip
    try:
        ways[what](bench, [word for word in rest if "=" not in word])
    finally:
        if not keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
