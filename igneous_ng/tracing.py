"""How a voxel or an object came to be, told from records: which run made it, from what, and so on down to the inputs.

What is looked for is asked of the runs of its layer, the newest first: the newest that wrote it made it. What that
read is then looked for in the runs before it, here and in other layers. Runs are taken in the order of their ids,
so each is gone through once, as a stream, however much is looked for.

Within a run publishing comes last and preparing first. Entries that say what was there already count only where no run
says that it wrote the object. Of boxes more than a thousand are looked for as the one box that holds them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from igneous_ng import history, origins, records, sheets
from igneous_ng.errors import SpecError
from igneous_ng.formats import info as infos
from igneous_ng.formats import mesh, multires
from igneous_ng.formats.sharding import Spec
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.meshes import Folder
from igneous_ng.origins import Origin
from igneous_ng.records import Line, Run
from igneous_ng.spans import joined
from igneous_ng.store import MISSING, Store
from igneous_ng.volume import Volume
from igneous_ng.wanted import Wanted

YOU = ""
"""Stands for the run that looks for something, where it is the user."""
_MESHES = (mesh.TYPE, multires.TYPE)
_SHOWN = 5  # of what was asked for, in full
_ENVIRONMENT = ("python", "system", "machine", "processor", "accelerators", "container")


@dataclass
class Source:
    """What a run had from another: so many objects, voxels of so many units; one of them by name."""

    objects: int = 0
    cells: int = 0
    example: str = ""


@dataclass
class Step:
    """A run, and what of it matters.

    ``used`` of its units do, of which ``example`` is the first, whole but for the lists of its ledger; ``frame`` says
    whether preparing or publishing did, too. ``made`` is what of it the user had asked for, at most five entries.
    ``sources`` are runs by their folders, ``inputs`` what no run made, by URL, and how often it was read.
    """

    origin: Origin
    used: int = 0
    frame: list[str] = field(default_factory=list)
    example: Line = field(default_factory=dict)
    made: list[dict[str, Any]] = field(default_factory=list)
    first: float = 0.0
    last: float = 0.0
    hosts: dict[str, int] = field(default_factory=dict)
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)


@dataclass
class Input:
    """What no run made. ``version`` is what was recorded of it; ``read_by`` are folders of runs."""

    url: str
    version: dict[str, Any]
    read_by: list[str]


@dataclass
class Trace:
    """How ``what`` came to be: ``steps``, the newest first, and ``inputs`` below them.

    ``removed`` is the run that removed it, if one did; ``lost`` are objects in layers that have runs, of which no
    record tells who wrote them; ``rough``: some units may be named that did not matter.
    """

    what: str
    steps: list[Step]
    inputs: list[Input]
    lost: list[str]
    removed: str = ""
    rough: bool = False


@dataclass
class _Hit:
    """What of one ledger was looked for: objects and whether it covers, each by whom."""

    objects: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    boxes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.objects or self.boxes)


def of_objects(store: Store, what: str, urls: Iterable[str]) -> Trace:
    """How the objects ``urls`` came to be, together called ``what``."""
    tracer = _Tracer(store)
    for url in urls:
        tracer.ask(YOU, [{"url": url}])
    return tracer.run(what)


def of_voxel(store: Store, layer: str, mip: int, point: Vec3) -> Trace:
    """How the voxel ``point`` at level ``mip`` of ``layer`` came to be."""
    box = Box.sized(point, (1, 1, 1))
    tracer = _Tracer(store, _chunk(store, layer, mip, box))
    tracer.ask(YOU, [{"layer": layer, "mip": mip, "box": str(box)}])
    return tracer.run(f"voxel {','.join(map(str, point))} of mip {mip} of {layer}")


def _chunk(store: Store, layer: str, mip: int, box: Box) -> str:
    """The object that holds the chunk of ``box``; empty where it is in a shard, or there is no such chunk."""
    raw = store.get_json(f"{layer}/info")
    info = None if raw is None else infos.parse(raw, f"{layer}/info")
    if info is None or mip >= len(info.scales) or info.scales[mip].sharded:
        return ""
    volume = Volume(layer, mip, info, store)
    return next((volume.url(chunk) for chunk in volume.chunks(box)), "")


def of_label(store: Store, layer: str, label: int) -> Trace:
    """How the mesh and the skeleton of ``label`` came to be; SpecError where ``layer`` names folders of neither."""
    info = store.get_json(f"{layer}/info") or {}
    named = [f"{layer}/{info[key]}" for key in ("mesh", "skeletons") if key in info]
    if not named:
        raise SpecError(f"{layer}/info names no folder of meshes or skeletons; name a voxel (--at) or an object")
    urls = [f"{url}/{name}" for url in named for name in _names(store, url, label)]
    return of_objects(store, f"label {label} of {layer}", urls)


def _names(store: Store, folder: str, label: int) -> list[str]:
    """What objects of ``folder`` hold that of ``label``: its own, or a shard."""
    info = store.get_json(f"{folder}/info") or {}
    if info.get("sharding"):
        spec = Spec.parse(info["sharding"])
        (shard,), _ = spec.locate(np.array([label], np.uint64))
        return [spec.name(int(shard))]
    return list(Folder(IO(store), folder, info).names(label)) if info.get("@type") in _MESHES else [str(label)]


class _Tracer:
    """What is looked for, in each layer, and the steps found so far. A removal of ``watched`` is told."""

    def __init__(self, store: Store, watched: str = "") -> None:
        self._store, self._watched, self._removed = store, watched, ""
        self._steps: dict[str, Step] = {}
        self._wanted: dict[str, Wanted] = defaultdict(Wanted)
        self._runs: dict[str, list[Run]] = {}
        self._due: dict[str, Run] = {}  # runs that are to be gone through, by their ids and folders
        self._asked: set[tuple[str, str]] = set()  # seekers and layers
        self._kept: dict[str, tuple[Run, int | str]] = {}  # objects that a ledger says were there already
        self._inputs: dict[str, Input] = {}

    def run(self, what: str) -> Trace:
        """Go through all runs that may matter."""
        while self._due or self._fall_back():
            run = self._due.pop(max(self._due))
            if wanted := self._wanted[run.home]:
                self._scan(run, wanted)
        lost = self._leftovers()
        steps = sorted(self._steps.values(), key=lambda step: step.origin.id, reverse=True)
        rough = any(wanted.rough for wanted in self._wanted.values())
        inputs = [self._inputs[url] for url in sorted(self._inputs)]
        return Trace(what, steps, inputs, lost, self._removed, rough)

    # What is looked for.

    def ask(self, seeker: str, entries: Iterable[dict[str, Any]]) -> None:
        """Look for what ``entries`` of a ledger name, in runs before that of ``seeker``."""
        for entry in entries:
            if "layer" in entry:
                if self._home(entry["layer"] + "/") == entry["layer"]:
                    self._wanted[entry["layer"]].add_box(int(entry["mip"]), Box.parse(entry["box"]), seeker)
                    self._push(entry["layer"], seeker)
                else:
                    self._read(seeker, entry["layer"])
            elif "url" in entry and entry.get("digest") != MISSING:
                home = "" if "box" in entry else self._home(entry["url"])
                if home:
                    self._wanted[home].urls[entry["url"]].add(seeker)
                    self._push(home, seeker)
                else:
                    self._read(seeker, entry["url"])

    def _home(self, url: str) -> str:
        """The nearest folder above ``url`` that has runs; empty where none has."""
        while (url := url.rpartition("/")[0]) and not url.endswith("/"):
            if self._of(url):
                return url
        return ""

    def _of(self, layer: str) -> list[Run]:
        """The runs of a layer that made data and were not undone, the newest first."""
        if layer not in self._runs:
            found = history.runs(self._store, layer) if layer.startswith(history.LISTED) else ()
            self._runs[layer] = [run for run in found if not self._void(run)]
        return self._runs[layer]

    def _void(self, run: Run) -> bool:
        undone = records.marked(self._store, run, "rolledback")
        return undone or not records.makes_data(self._store, run)

    def _push(self, layer: str, seeker: str) -> None:
        """Let the runs of ``layer`` before that of ``seeker`` be gone through."""
        if (seeker, layer) not in self._asked:
            self._asked.add((seeker, layer))
            before = seeker.rpartition("/")[2]
            self._due |= {f"{run.id} {layer}": run for run in self._of(layer) if not before or run.id < before}

    def _read(self, seeker: str, url: str) -> None:
        """Enter an input."""
        step = self._steps.get(seeker)
        version = step.origin.input(url) if step else {}
        place = str(version.get("url", url))
        found = self._inputs.setdefault(place, Input(place, version, []))
        if step:
            step.inputs[place] = step.inputs.get(place, 0) + 1
            found.read_by += [seeker] if seeker not in found.read_by else []

    # Looking.

    def _scan(self, run: Run, wanted: Wanted) -> None:
        frame = records.frame(self._store, run)
        self._look_at(run, "finished", frame.get("finished", {}), wanted)
        hits: dict[int, _Hit] = {}
        covers: dict[int, list[Box]] = defaultdict(list)
        for line in records.all_lines(self._store, run, only=self._columns(wanted)):
            if hit := self._match(run, line["unit"], line, wanted):
                hits[line["unit"]] = hit
                for entry in line.get("covers", ()):
                    covers[int(entry["mip"])].append(Box.parse(entry["box"]))
        for mip, boxes in covers.items():
            wanted.found(mip, boxes)
        for line in self._lines(run, hits):
            self._enter(run, line["unit"], line, hits[line["unit"]])
            self.ask(run.folder, line.get("reads", ()))
        self._look_at(run, "prepared", frame.get("prepared", {}), wanted)

    def _columns(self, wanted: Wanted) -> list[str]:
        """What of lines tells whether they matter."""
        watching = self._watched and not self._steps
        return ["covers"] * wanted.boxed + ["writes"] * bool(wanted.urls or watching)

    def _look_at(self, run: Run, name: str, page: Line, wanted: Wanted) -> None:
        """As units are looked at: the ledger of preparing or of publishing."""
        if hit := self._match(run, name, page, wanted):
            self._enter(run, name, page, hit)
            self.ask(run.folder, page.get("reads", ()))

    def _match(self, run: Run, page: int | str, line: Line, wanted: Wanted) -> _Hit:
        """What of a ledger is looked for; objects are so no more."""
        hit = _Hit()
        for entry in line.get("writes", ()):
            url = entry["url"]
            if entry.get("deleted"):
                self._note_removal(run, url, wanted)
            elif entry.get("kept") and url in wanted.urls:
                self._kept.setdefault(url, (run, page))
            elif url in wanted.urls:
                for seeker in wanted.urls.pop(url):
                    hit.objects[seeker].append(entry)
        for entry in line.get("covers", ()):
            if entry["layer"] == run.home:
                hit.boxes |= dict.fromkeys(wanted.seekers(int(entry["mip"]), Box.parse(entry["box"])), entry)
        return hit

    def _note_removal(self, run: Run, url: str, wanted: Wanted) -> None:
        if not self._steps and (url == self._watched or YOU in wanted.urls.get(url, ())):
            self._removed = self._removed or run.folder

    def _lines(self, run: Run, units: Iterable[int]) -> Iterator[Line]:
        """The whole lines of ``units``."""
        left, spans = set(units), joined(units)
        files = (file for file in records.stored(self._store, run) if file.touches(spans))
        for line in sheets.lines(self._store, files) if left else ():
            if line["unit"] in left:
                left.remove(line["unit"])
                yield line

    def _enter(self, run: Run, page: int | str, line: Line, hit: _Hit) -> None:
        """Tell of a ledger of ``run`` what of it mattered to whom."""
        step = self._steps.setdefault(run.folder, Step(origins.origin(self._store, run)))
        if isinstance(page, str):
            step.frame.append(page)
        else:
            _count(step, line)
            self._describe(step, str(line.get("environment", "")))
        if YOU in hit.objects or YOU in hit.boxes:
            asked_for = [*hit.objects.get(YOU, []), *filter(None, [hit.boxes.get(YOU)])]
            asked_for += [entry for entry in line.get("writes", ()) if entry["url"] == self._watched]
            step.made += asked_for[: _SHOWN - len(step.made)]
        for seeker in (hit.objects.keys() | hit.boxes.keys()) - {YOU, run.folder}:
            objects = hit.objects.get(seeker, [])
            source = self._steps[seeker].sources.setdefault(run.folder, Source())
            source.objects += len(objects)
            source.cells += seeker in hit.boxes
            if not source.example or isinstance(page, int):
                source.example = objects[0]["url"] if objects else hit.boxes[seeker]["box"]

    def _describe(self, step: Step, environment: str) -> None:
        if environment and environment not in step.environments:
            found = self._store.get_json(f"{step.origin.layer}/runs/environments/{environment}.json") or {}
            step.environments[environment] = {key: found[key] for key in _ENVIRONMENT if key in found}

    # What no run wrote.

    def _fall_back(self) -> bool:
        """Take ledgers that found objects there for those that made them; whether there was such a one."""
        for url, (run, page) in self._kept.items():
            wanted = self._wanted[run.home]
            if url in wanted.urls:
                hit = _Hit()
                for seeker in wanted.urls.pop(url):
                    hit.objects[seeker].append({"url": url, "kept": True})
                lines = [records.frame(self._store, run)[page]] if isinstance(page, str) else self._lines(run, [page])
                for line in lines:
                    self._enter(run, page, line, hit)
                    self._asked.clear()  # runs that were gone through may matter again
                    self.ask(run.folder, line.get("reads", ()))
                return True
        return False

    def _leftovers(self) -> list[str]:
        """Enter voxels that no run wrote as inputs; objects that none did are lost."""
        lost = []
        for layer, wanted in self._wanted.items():
            for seeker in sorted({seeker for _, seeker, _ in wanted.boxes()}):
                self._read(seeker, layer)
            lost += sorted(wanted.urls)
        return lost


def _count(step: Step, line: Line) -> None:
    """Enter a unit."""
    start, end = float(line["start"]), float(line["start"] + line["seconds"])
    step.first, step.last = (min(step.first, start), max(step.last, end)) if step.used else (start, end)
    step.example = step.example or {k: v for k, v in line.items() if k not in ("reads", "writes", "covers", "log")}
    step.used += 1
    host = str(line.get("host", "unknown"))
    step.hosts[host] = step.hosts.get(host, 0) + 1
