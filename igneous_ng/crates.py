"""Records of a layer as an RO-Crate: JSON-LD that says which actions made it, by which software, from what.

Sources: RO-Crate 1.1 (Soiland-Reyes et al. 2022) and its profile Process Run Crate 0.5 (Leo et al. 2024). The root is
the layer. Each of its finished runs is a ``CreateAction``, and so are those of the layers that it was made from. The
``object`` of an action are its inputs, their versions and all parameters; its ``result`` the folders that it wrote to,
with counts and bytes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from igneous_ng import history, origins, records
from igneous_ng.errors import DataError
from igneous_ng.origins import Origin
from igneous_ng.records import Run
from igneous_ng.store import Store

CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_DEPTH = 2  # folders of a layer that are told apart
_DIGITS = 12  # of a digest, in a name

Entity = dict[str, Any]
Ref = dict[str, str]


def crate(store: Store, layer: str) -> bytes:
    """The RO-Crate of ``layer``, the same for the same records; DataError where no run is finished."""
    runs = _runs(store, layer)
    if not any(run.home == layer for run in runs):
        raise DataError(f"{layer}: no finished run is recorded here; check the path")
    graph = _Graph(layer)
    actions = [_action(graph, store, run) for run in runs]
    ends = [entity["endTime"] for entity in graph.entities.values() if "endTime" in entity]
    head: list[Entity] = [
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
            "about": {"@id": "./"},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "conformsTo": {"@id": PROFILE},
            "name": layer.rpartition("/")[2],
            "description": f"How {layer} was made: {len(actions)} runs, from their records.",
            "url": layer,
            "datePublished": max(ends),
            "hasPart": [{"@id": name} for name in sorted(graph.data)],
            "mentions": actions,
        },
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
    ]
    return (json.dumps({"@context": CONTEXT, "@graph": head + list(graph.entities.values())}, indent=2) + "\n").encode()


def _runs(store: Store, layer: str) -> list[Run]:
    """The finished runs of ``layer`` and of all layers that it came from, the oldest first."""
    found: list[Run] = []
    seen, left = {layer}, [layer]
    while left:
        here = list(_finished(store, left.pop()))
        read = {one["url"] for run in here for one in records.about(store, run).get("inputs", ())}
        left += sorted(read - seen)
        seen |= read
        found += here
    return sorted(found, key=lambda run: (run.id, run.home))


def _finished(store: Store, layer: str) -> Iterator[Run]:
    for run in history.runs(store, layer) if layer.startswith(history.LISTED) else ():
        data = records.makes_data(store, run)
        if data and records.finished(store, run) and not records.marked(store, run, "rolledback"):
            yield run


class _Graph:
    """Entities by their ids, in the order in which they came; ``data`` are the ids of folders and files."""

    def __init__(self, layer: str) -> None:
        self._layer = layer
        self.entities: dict[str, Entity] = {}
        self.data: set[str] = set()

    def add(self, ident: str, kind: str, **properties: Any) -> Ref:
        """Enter an entity, if there is none of this id; what refers to it."""
        self.entities.setdefault(ident, {"@id": ident, "@type": kind, **properties})
        if kind in ("Dataset", "File"):
            self.data.add(ident)
        return {"@id": ident}

    def folder(self, url: str, name: str) -> Ref:
        """Enter a folder; the layer itself is the root."""
        return {"@id": "./"} if url == self._layer else self.add(f"{_uri(url)}/", "Dataset", name=name)

    def value(self, ident: str, name: str, value: Any, unit: str = "") -> Ref:
        """Enter a named value; lists and boxes are text in JSON."""
        plain = value if isinstance(value, (str, int, float, bool)) else json.dumps(value)
        return self.add(ident, "PropertyValue", name=name, value=str(plain), **({"unitText": unit} if unit else {}))


@dataclass
class _Done:
    """What a run wrote: objects and bytes by folder, files beside the folders, objects removed; when, and in what."""

    folders: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    files: set[str] = field(default_factory=set)
    removed: int = 0
    start: float | None = None
    environments: set[str] = field(default_factory=set)


def _action(graph: _Graph, store: Store, run: Run) -> Ref:
    """Enter a run and all that belongs to it."""
    origin, done = origins.origin(store, run), _done(store, run)
    started = [moment for moment in (origin.planned, done.start) if moment is not None]
    instruments = [_software(graph, store, origin, name) for name in sorted(done.environments or {origin.environment})]
    objects, results = list(_objects(graph, origin)), list(_results(graph, origin, done))
    agent = {"agent": graph.add(_local("person", origin.by), "Person", name=origin.by)} if origin.by else {}
    return graph.add(
        _local("run", origin.id),
        "CreateAction",
        name=f"{origin.stage} of {origin.layer}",
        description=f"{origin.units} units; records are in {origin.run}",
        **({"startTime": _iso(min(started))} if started else {}),
        endTime=_iso(origin.finished or 0.0),
        actionStatus={"@id": "http://schema.org/CompletedActionStatus"},
        instrument=instruments if len(instruments) > 1 else instruments[0],
        **agent,
        object=objects,
        result=results,
    )


def _done(store: Store, run: Run) -> _Done:
    """Go through the records of ``run``."""
    done = _Done()
    lines = records.all_lines(store, run, only=("writes", "start", "environment"))
    for page in (*records.frame(store, run).values(), *lines):
        _sum(done, run.home, page.get("writes", ()))
        if "start" in page:
            done.start = min(page["start"], done.start or page["start"])
        if page.get("environment"):
            done.environments.add(page["environment"])
    return done


def _sum(done: _Done, layer: str, writes: Iterable[Entity]) -> None:
    for entry in writes:
        if entry.get("deleted"):
            done.removed += 1
        elif not entry.get("kept"):
            folder = _folder(entry["url"], layer)
            if folder == layer:
                done.files.add(entry["url"])
            else:
                done.folders[folder][0] += 1
                done.folders[folder][1] += entry["bytes"]


def _folder(url: str, layer: str) -> str:
    """The folder of an object, at most two below the layer."""
    folder = url.rpartition("/")[0]
    if not folder.startswith(f"{layer}/"):
        return folder
    return "/".join([layer, *folder[len(layer) + 1 :].split("/")[:_DEPTH]])


def _objects(graph: _Graph, origin: Origin) -> Iterator[Ref]:
    """The inputs, their versions, and the parameters."""
    for number, one in enumerate(origin.inputs):
        url, kind = str(one["url"]), str(one.get("kind"))
        version = {key: value for key, value in one.items() if key not in ("url", "kind")}
        if kind == "file":
            yield graph.add(_uri(url), "File", name=url.rpartition("/")[2])
        elif kind == "other":
            yield graph.add(_uri(url), "CreativeWork", name=url)
        else:
            place = url.partition("*")[0].rpartition("/")[0] if "*" in url else url
            yield graph.folder(place, place.rpartition("/")[2])
        if version:
            yield graph.value(_local("run", origin.id, f"input-{number}"), f"version of {url}", version)
    yield graph.value(_local("run", origin.id, "stage"), "version of the stage", origin.version)
    for name, value in origin.parameters.items():
        yield graph.value(_local("run", origin.id, "parameter", name), name, value)


def _results(graph: _Graph, origin: Origin, done: _Done) -> Iterator[Ref]:
    """The folders and files written, with how many objects and bytes."""
    for url in sorted(done.files):
        yield graph.add(_uri(url), "File", name=url.rpartition("/")[2])
    for folder in sorted(done.folders):
        name = folder.removeprefix(f"{origin.layer}/")
        objects, size = done.folders[folder]
        yield graph.folder(folder, name)
        yield graph.value(_local("run", origin.id, "objects", name), f"objects written to {name}", objects, "objects")
        yield graph.value(_local("run", origin.id, "bytes", name), f"bytes written to {name}", size, "bytes")
    if done.removed:
        yield graph.value(_local("run", origin.id, "removed"), "objects removed", done.removed, "objects")


def _software(graph: _Graph, store: Store, origin: Origin, environment: str) -> Ref:
    """The program as it ran in an environment."""
    found = store.get_json(f"{origin.layer}/runs/environments/{environment}.json") if environment else None
    found = found or {}
    code = found.get("code", origin.code)
    planned = code.get("digest") == origin.code.get("digest")  # the commit is known of the code that planned
    commit = origin.code.get("commit", "") if planned else ""
    known = {
        "softwareVersion": code.get("version"),
        "identifier": f"commit {commit}{' with changes' if origin.code.get('changed') else ''}" if commit else None,
        "description": f"files of digest {code['digest']}" if "digest" in code else None,
        "softwareRequirements": _environment(graph, environment, found) if found else None,
    }
    ident = _local("igneous_ng", environment[:_DIGITS] or str(code.get("version")), commit[:_DIGITS])
    return graph.add(ident, "SoftwareApplication", name="igneous_ng", **_given(known))


def _environment(graph: _Graph, digest: str, found: Entity) -> Ref:
    """What the program ran with, and on what."""
    known = {
        "operatingSystem": found.get("system"),
        "processorRequirements": ", ".join([str(found.get("processor", "")), *found.get("accelerators", ())]),
        "softwareRequirements": [f"{name} {version}" for name, version in found.get("packages", {}).items()],
        "description": f"container {found['container']}" if found.get("container") else None,
    }
    name = str(found.get("python", "environment"))
    return graph.add(
        _local("environment", digest), "SoftwareApplication", name=name, identifier=digest, **_given(known)
    )


def _given(properties: Entity) -> Entity:
    return {key: value for key, value in properties.items() if value}


def _local(*parts: str) -> str:
    """The id of what is described here alone."""
    return "#" + "/".join(quote(part, safe="@._-") for part in parts if part)


def _uri(url: str) -> str:
    return quote(url, safe=":/@._-~")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
