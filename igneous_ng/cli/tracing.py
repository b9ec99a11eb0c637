"""The commands that tell how things came to be: trace, in words, and provenance, as an RO-Crate."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from igneous_ng import words
from igneous_ng.cli.commands import Command, Place
from igneous_ng.cli.fields import FieldType
from igneous_ng.cli.telling import JSON, tell
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Vec3
from igneous_ng.stage import Layer

if TYPE_CHECKING:
    from igneous_ng.origins import Origin
    from igneous_ng.tracing import Input, Source, Step, Trace

_WIDTH = 7  # of the names at the left
_DIGITS = 12  # of a digest that are shown
_BEFORE = {"replaced": "in place of another", "same": "in place of the same", "kept": "which was there already"}
_FRAME = {"prepared": "preparing", "finished": "publishing"}


@click.command(cls=Command, example="./seg --at 1200,340,77")
@click.argument("what", type=Place())
@click.option("--at", type=FieldType(Vec3), metavar="X,Y,Z", help="A voxel of the layer WHAT.")
@click.option("--mip", type=click.IntRange(0), default=0, show_default=True, help="The level of that voxel.")
@click.option("--label", type=click.IntRange(1), help="The mesh and the skeleton of this label of the layer WHAT.")
@click.option("--box", type=FieldType(Box), help="Compare this box, x0:x1,y0:y1,z0:z1, in voxels of WHAT, a layer.")
@click.option("--against", type=FieldType(Box), help="The box to compare with; by default all the rest.")
@click.option("--maps", metavar="FOLDER", help="Write what is compared as layers in this folder, one a figure.")
@click.option("--report", metavar="FILE", help="Write the comparison as an HTML page.")
@JSON
def trace(what: str, at: Vec3 | None, mip: int, label: int | None, as_json: bool, box: Box | None, **more: Any) -> None:
    """Say how WHAT came to be: who made it, when, how, and from what, down to what nobody here made.

    WHAT is the URL of an object (a mesh, a skeleton, a chunk, an info), or of a layer with --at or --label.

    With --box say instead why a place of the layer, or table of synapses, WHAT is not like the others: what its units
    noted of quality is compared, in it and in all layers that it came from. The root is the first layer that differs.
    """
    from igneous_ng import tracing
    from igneous_ng.store import Store

    store, url = Store(), str(Layer.parse(what))
    if box is not None:
        if at is not None or label is not None:
            raise SpecError("--box compares places, --at and --label ask how one thing came to be; give one of them")
        _compare(url, (box, more["against"]), as_json, more["maps"], more["report"])
        return
    if given := [f"--{name}" for name, value in more.items() if value is not None]:
        raise SpecError(f"{given[0]} goes with --box, which says what is compared; give that, too")
    if at is not None:
        found = tracing.of_voxel(store, url, mip, at)
    elif label is not None:
        found = tracing.of_label(store, url, label)
    elif store.exists(f"{url}/info"):
        raise SpecError(f"{url} is a folder; name one of its objects, a voxel (--at) or a label (--label)")
    else:
        found = tracing.of_objects(store, url, [url])
    if not found.steps and not found.removed:
        raise DataError(f"{found.what}: no record tells who made it")
    tell(as_json, dataclasses.asdict(found), "\n".join(_lines(found)))


@click.command(cls=Command, example="./seg --to ./seg/ro-crate-metadata.json")
@click.argument("layer", type=Place())
@click.option("--to", metavar="FILE", help="Where to write it, such as LAYER/ro-crate-metadata.json; else it is shown.")
def provenance(layer: str, to: str | None) -> None:
    """Tell how LAYER was made as an RO-Crate (Process Run Crate), for other programs and for archives.

    It has all finished runs of LAYER, and of the layers that it was made from where they can be reached.
    """
    from igneous_ng import crates
    from igneous_ng.store import Store

    store = Store()
    made = crates.crate(store, str(Layer.parse(layer)))
    if to is None:
        click.echo(made, nl=False)
    else:
        store.put(str(Layer.parse(to)), made)
        store.flush()


def _compare(url: str, boxes: tuple[Box, Box | None], as_json: bool, maps: str | None, report: str | None) -> None:
    """Compare places, and show it."""
    from igneous_ng import anomalies, anomaly_words, quality_maps
    from igneous_ng.store import Store

    store, (box, against) = Store(), boxes
    region = anomalies.region(store, url, box, against)
    found = anomalies.compared(store, url, region)
    click.echo(json.dumps(anomalies.to_json(found)) if as_json else "\n".join(anomaly_words.lines(found)))
    if maps is not None:
        made = quality_maps.write(store, str(Layer.parse(maps)), found)
        click.echo(f"{words.count(len(made), 'map')} written: igneous-ng view {url} {' '.join(made[:2])} ...", err=True)
    if report is not None:
        other = "the rest" if against is None else str(against)
        target = str(Layer.parse(report))
        store.put(target, quality_maps.page(found, region, f"{url}: {box} against {other}"))
        store.flush()
        click.echo(f"report: {target.removeprefix('file://')}", err=True)


def _lines(found: Trace) -> Iterator[str]:
    yield found.what
    if found.removed:
        yield f"was removed by {found.removed}"
    names = {step.origin.run: _name(step.origin) for step in found.steps}
    made_with = [list(_with(step)) for step in found.steps]
    common = [row for row in made_with[0] if all(row in rows for rows in made_with)] if len(made_with) > 1 else []
    yield from _table(common)
    for step, rows in zip(found.steps, made_with, strict=True):
        yield f"\n{_name(step.origin)}, of {step.origin.layer}"
        yield from _table([*_done(step), *(row for row in rows if row not in common), *_asked(step, names)])
    if found.inputs:
        yield "\nmade by no run that is recorded"
        yield from (f"  {_input(one, names)}" for one in found.inputs)
    if found.lost:
        yield f"\nno record tells who made {_some(found.lost)}"
    if found.rough:
        yield "\nSo much was read that it was looked for in larger boxes: some units may not have mattered."


def _table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Each row with its name, but for one that is that of the row above."""
    last = ""
    for name, text in rows:
        yield f"  {'' if name == last else name:<{_WIDTH}}  {text}"
        last = name


def _done(step: Step) -> Iterator[tuple[str, str]]:
    """What was done, by which units, where and when."""
    yield from (("made", _made(entry, step.origin.layer)) for entry in step.made)
    yield "by", _who(step)
    if step.used:
        yield "on", f"{_counts(step.hosts)}, {_period(step)}"
    if step.example.get("notes"):
        notes = ", ".join(f"{key} {_value(value)}" for key, value in step.example["notes"].items())
        yield "noted", notes if step.used == 1 else f"of unit {step.example['unit']}: {notes}"


def _with(step: Step) -> Iterator[tuple[str, str]]:
    """With what, in words that are the same where it was the same."""
    yield "code", _code(step.origin)
    yield from (("with", _environment(name, found)) for name, found in step.environments.items())


def _asked(step: Step, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What was asked for, when and by whom; and what that read."""
    origin = step.origin
    if origin.planned is not None:
        yield "asked", f"{_clock(origin.planned)} by {origin.by or 'nobody known'}"
    yield "stage", f"{origin.stage}, version {origin.version}"
    yield from (("options", f"{key} {_value(value)}") for key, value in origin.chosen.items() if key != "layer")
    yield from (("from", _source(source, names[folder], origin.layer)) for folder, source in step.sources.items())
    yield from (("from", f"{url}, {words.count(count, 'read')}") for url, count in step.inputs.items())


def _name(origin: Origin) -> str:
    return f"{origin.stage} {origin.id}"


def _made(entry: dict[str, Any], layer: str) -> str:
    if "box" in entry:
        return f"{entry['box']} of mip {entry['mip']}"
    figures = f", {words.amount(entry['bytes'])}, digest {entry['digest'][:_DIGITS]}" if "digest" in entry else ""
    was = [f", {text}" for key, text in _BEFORE.items() if entry.get(key)]
    return f"{_short(entry['url'], layer)}{figures}{''.join(was)}"


def _who(step: Step) -> str:
    """Which units, and what beside them."""
    parts = [_FRAME[name] for name in step.frame]
    if step.used:
        unit, what = step.example["unit"], step.example.get("what")
        named = f"{unit}" if what in (None, unit) else f"{unit} ({_value(what)})"
        total = words.count(step.origin.units, "unit")
        parts.insert(
            0,
            f"unit {named} of {step.origin.units:,}"
            if step.used == 1
            else f"{step.used:,} of {total}, such as {named}",
        )
    return "; ".join(parts)


def _period(step: Step) -> str:
    took = words.duration(step.last - step.first)
    return f"{_clock(step.first)}, {'in' if step.used == 1 else 'within'} {took}"


def _code(origin: Origin) -> str:
    code = origin.code
    said = [f"igneous_ng {code.get('version', 'of no known version')}"]
    if "commit" in code:
        said.append(f"commit {code['commit'][:_DIGITS]}{' with changes' if code.get('changed') else ''}")
    if "digest" in code:
        said.append(f"files {code['digest'][:_DIGITS]}")
    return ", ".join(said)


def _environment(name: str, found: dict[str, Any]) -> str:
    known = [found[key] for key in ("python", "system", "processor") if found.get(key)]
    return ", ".join([*map(str, known), *found.get("accelerators", ()), f"environment {name[:_DIGITS]}"])


def _source(source: Source, name: str, layer: str) -> str:
    what = [words.count(source.objects, "object")] if source.objects else []
    what += [f"voxels of {words.count(source.cells, 'unit')}"] if source.cells else []
    return f"{name}: {' and '.join(what)}, such as {_short(source.example, layer)}"


def _input(one: Input, names: dict[str, str]) -> str:
    known = {key: value for key, value in one.version.items() if key not in ("url", "kind")}
    version = ", ".join(f"{key} {_value(value)}" for key, value in known.items()) or "no version was recorded"
    readers = [names[folder] for folder in one.read_by]
    return f"{one.url}: {version}" + (f"; read by {_some(readers)}" if readers else "")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _short(url: str, layer: str) -> str:
    """The name of an object within its layer, or its URL."""
    return url.removeprefix(f"{layer}/")


def _counts(hosts: dict[str, int]) -> str:
    if len(hosts) == 1:
        return next(iter(hosts))
    most = sorted(hosts, key=lambda name: -hosts[name])
    return _some([f"{name} ({hosts[name]:,})" for name in most])


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if type(value) is int and abs(value) > 9999 else json.dumps(value)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
