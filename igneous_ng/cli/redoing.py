"""The commands that mend layers by their records: stale, redo, rollback, prune, archive."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from igneous_ng.cli import telling
from igneous_ng.cli.commands import Command, Place
from igneous_ng.cli.fields import FieldType
from igneous_ng.cli.steering import found, run_arguments
from igneous_ng.cli.telling import JSON, row, tell
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box
from igneous_ng.stage import Layer

_LAYERS = click.argument("layers", metavar="LAYER...", nargs=-1, required=True, type=Place())
_BOX = click.option(
    "--box", type=FieldType(Box), help="A region of the first LAYER, x0:x1,y0:y1,z0:z1: what reads some of it is meant."
)
_MIP = click.option("--mip", type=click.IntRange(0), default=0, show_default=True, help="The level that the box is of.")


def work(layers: tuple[str, ...], box: Box | None, mip: int, changes: dict[str, Any] | None = None) -> Any:
    """The redo that is meant."""
    if changes and box is None:
        raise SpecError("--set goes with --box: options of a whole layer are changed by making it anew")
    from igneous_ng import redo as redoing
    from igneous_ng.store import Store

    store, places = Store(), [str(Layer.parse(layer)) for layer in layers]
    made = redoing.Redo(store, places, redoing.region(store, places[0], mip, box) if box else None, changes)
    if not made.requests:
        raise SpecError(f"{', '.join(places)}: no runs are recorded here; name the layers that were made")
    return made


@click.command(cls=Command, example="./em ./seg ./cc")
@_LAYERS
@_BOX
@_MIP
@JSON
def stale(layers: tuple[str, ...], box: Box | None, mip: int, as_json: bool) -> None:
    """Say which units of which runs at LAYERs are stale, and which may be when those are redone.

    A unit is stale when something that it read has changed since; all that was read is read again to tell. With
    --box it is those that read some of that region, and only records are read.
    """
    forecast(layers, box, mip, as_json)


def forecast(layers: tuple[str, ...], box: Box | None, mip: int, as_json: bool = False) -> None:
    """Say what a redo would run."""
    from igneous_ng.words import count

    redo = work(layers, box, mip)
    forecasts = list(redo.forecast())
    if as_json:
        click.echo(json.dumps([one.to_json() for one in forecasts]))
        return
    for one in (one for one in forecasts if one.stale or one.following):
        told = f"{one.stale} of {count(one.units, 'unit')} stale, {one.following} more may follow"
        click.echo(f"{one.run.name} {one.run.id}: {told}")
    if not any(one.stale for one in forecasts):
        click.echo("nothing is stale")
    _tell_unknown(redo)


@telling.quietly
@click.command(cls=Command, example="./em ./seg --box 0:512,0:512,0:64 -p 4")
@_LAYERS
@_BOX
@_MIP
@click.option("-p", "--processes", type=click.IntRange(1), default=1, show_default=True, help="Worker processes here.")
@click.option("--queue", help="Put the units on this queue instead, and wait for those who execute them.")
@JSON
@click.option(
    "--set", "options", multiple=True, metavar="OPTION=VALUE", help="With --box: another value of an option there."
)
def redo(layers: tuple[str, ...], options: tuple[str, ...], as_json: bool, **place: Any) -> None:
    """Run again what is stale at LAYERs, in the order in which it was made, and nothing else.

    With --box what read some of that region is run in any case, and of what follows from it what then is stale.
    Results that come out the same stop there. Killed, the same command goes on.

    With --set what read some of that region is run again with other options, of stages that can have others in a part
    of a layer (such as `synapse detect`: --set threshold=0.6), and then only what that changes.
    """
    asked = work(layers, place["box"], place["mip"], _options(options))
    carry_out(asked, place["processes"], place["queue"], as_json)


def _options(given: tuple[str, ...]) -> dict[str, Any]:
    """Options by their names, as they are written on the command line; values that are no JSON are texts."""
    found: dict[str, Any] = {}
    for one in given:
        name, there, value = one.partition("=")
        if not there or not name:
            raise SpecError(f"--set {one}: write OPTION=VALUE, such as threshold=0.6")
        try:
            found[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            found[name.replace("-", "_")] = value
    return found


def carry_out(asked: Any, processes: int, queue: str | None, as_json: bool = False) -> None:
    """Redo, and say what came of it."""
    from igneous_ng import redo as redoing
    from igneous_ng.store import Store
    from igneous_ng.words import count

    total, waves = redoing.Outcome(), list[dict[str, Any]]()
    with _executing(processes, queue) as execute:
        for wave, ready in redoing.carried_out(asked, execute):
            came = redoing.outcome(Store(), wave, ready)
            total.add(came)
            about = {"stage": ready.name, "id": ready.id, "layer": ready.home, "units": ready.units}
            waves.append({**about, **dataclasses.asdict(came), "restoring": wave.restoring})
            why = " to have back what was removed" if wave.restoring else ""
            row(as_json, f"{ready.name}: {count(ready.units, 'unit')} run again{why}: {came}")
    if as_json:
        click.echo(json.dumps({"waves": waves, "unchecked": asked.unknown}))
    elif total == redoing.Outcome():
        click.echo("nothing is stale: no unit was run")
    elif not total.altered:
        click.echo("nothing has changed: every object has the bytes that it had")
    _tell_unknown(asked)


def _tell_unknown(redo: Any) -> None:
    if redo.unknown:
        click.echo(f"{redo.unknown} reads of sources that have no versions could not be checked", err=True)


@contextmanager
def _executing(processes: int, queue: str | None) -> Iterator[Any]:
    from igneous_ng import waves

    if queue:
        with waves.on_queue(queue, telling.remark) as execute:
            yield execute
    else:
        with telling.progress() as progress, waves.here(processes, progress) as execute:
            yield execute


@click.command(cls=Command, example="./seg --with-later")
@run_arguments
@click.option(
    "--with-later", is_flag=True, help="Undo first, newest first, the later runs that wrote the same objects."
)
@JSON
def rollback(where: str, ident: str, with_later: bool, as_json: bool) -> None:
    """Undo a run: put back what it replaced, remove what it made. Of a layer, the newest that made data."""
    from igneous_ng import ledger
    from igneous_ng import rollback as undoing

    store, run = found(where, ident)
    if not ident and not where.rstrip("/").endswith(run.id):
        run = (ledger.runs(store, run.home) or [run])[-1]
    done = []
    for one in (*(undoing.followers(store, run) if with_later else []), run):
        undone = undoing.rollback(store, one)
        done.append({"stage": one.name, "id": one.id, "restored": undone.restored, "removed": undone.removed})
        row(
            as_json,
            f"{one.name} {one.id} is rolled back: {undone.restored} objects restored, {undone.removed} removed; "
            f"`igneous-ng stale {one.home}` tells what was made of them",
        )
    if as_json:
        click.echo(json.dumps(done))


@click.command(cls=Command, example="./seg --older-than 7 --dry-run")
@click.argument("layer", type=Place())
@click.option(
    "--older-than", type=click.FloatRange(0), default=30.0, show_default=True, metavar="DAYS",
    help="Keep what is kept for runs that finished later than so many days ago.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@JSON
def prune(layer: str, older_than: float, dry_run: bool, as_json: bool) -> None:
    """Let go the replaced objects of LAYER that are kept for `rollback`."""
    from igneous_ng import rollback as undoing
    from igneous_ng import words
    from igneous_ng.store import Store

    store, runs, total = Store(), list[dict[str, Any]](), 0
    for run, objects, size in undoing.prunable(store, str(Layer.parse(layer)), older_than * 86400):
        if not dry_run:
            undoing.prune(store, run)
        total += size
        runs.append({"stage": run.name, "id": run.id, "objects": objects, "bytes": size})
        done = "would let go" if dry_run else "let go"
        row(as_json, f"{done} {words.count(objects, 'object')}, {words.amount(size)}, kept for {run.name} {run.id}")
    sum_ = f"{words.amount(total)} in all{'; nothing was removed' if dry_run else ''}"
    tell(as_json, {"runs": runs, "bytes": total, "removed": not dry_run}, sum_)


@click.command(cls=Command, example="/archive/tiles --note 'raw data of 2026'")
@click.argument("layer", type=Place())
@click.option("--note", default="", help="Why, for those who are refused.")
@click.option("--release", is_flag=True, help="Take the mark away.")
@JSON
def archive(layer: str, note: str, release: bool, as_json: bool) -> None:
    """Mark LAYER as raw archive: no stage writes into it from then on."""
    from igneous_ng import guards
    from igneous_ng.store import Store

    place = str(Layer.parse(layer))
    if release:
        guards.release(Store(), place)
    else:
        guards.archive(Store(), place, note)
    said = f"{place} is {'no raw archive any more' if release else 'a raw archive: no stage writes into it'}"
    tell(as_json, {"layer": place, "archive": not release}, said)
