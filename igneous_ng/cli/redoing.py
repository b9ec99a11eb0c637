"""The commands that mend layers by their records: stale, redo, rollback, prune, archive."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from igneous_ng.cli.fields import FieldType
from igneous_ng.cli.steering import found, run_arguments
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box
from igneous_ng.stage import Layer

_LAYERS = click.argument("layers", metavar="LAYER...", nargs=-1, required=True)
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


@click.command()
@_LAYERS
@_BOX
@_MIP
@click.option("--json", "as_json", is_flag=True, help="Say it in JSON, one line.")
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


@click.command()
@_LAYERS
@_BOX
@_MIP
@click.option("-p", "--processes", type=click.IntRange(1), default=1, show_default=True, help="Worker processes here.")
@click.option("--queue", help="Put the units on this queue instead, and wait for those who execute them.")
@click.option(
    "--set", "options", multiple=True, metavar="OPTION=VALUE", help="With --box: another value of an option there."
)
def redo(
    layers: tuple[str, ...], box: Box | None, mip: int, processes: int, queue: str | None, options: tuple[str, ...]
) -> None:
    """Run again what is stale at LAYERs, in the order in which it was made, and nothing else.

    With --box what read some of that region is run in any case, and of what follows from it what then is stale.
    Results that come out the same stop there. Killed, the same command goes on.

    With --set what read some of that region is run again with other options, of stages that can have others in a part
    of a layer (such as `synapse detect`: --set threshold=0.6), and then only what that changes.
    """
    carry_out(work(layers, box, mip, _options(options)), processes, queue)


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


def carry_out(asked: Any, processes: int, queue: str | None) -> None:
    """Redo, and say what came of it."""
    from igneous_ng import redo as redoing
    from igneous_ng.store import Store
    from igneous_ng.words import count

    total = redoing.Outcome()
    with _executing(processes, queue) as execute:
        for wave, ready in redoing.carried_out(asked, execute):
            came = redoing.outcome(Store(), wave, ready)
            total.add(came)
            why = " to have back what was removed" if wave.restoring else ""
            click.echo(f"{ready.name}: {count(ready.units, 'unit')} run again{why}: {came}")
    if total == redoing.Outcome():
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
    from igneous_ng.reporting.progress import Progress

    if queue:
        with waves.on_queue(queue, click.echo) as execute:
            yield execute
    else:
        with Progress() as progress, waves.here(processes, progress) as execute:
            yield execute


@click.command()
@run_arguments
@click.option(
    "--with-later", is_flag=True, help="Undo first, newest first, the later runs that wrote the same objects."
)
def rollback(where: str, ident: str, with_later: bool) -> None:
    """Undo a run: put back what it replaced, remove what it made. Of a layer, the newest that made data."""
    from igneous_ng import ledger
    from igneous_ng import rollback as undoing

    store, run = found(where, ident)
    if not ident and not where.rstrip("/").endswith(run.id):
        run = (ledger.runs(store, run.home) or [run])[-1]
    later = undoing.followers(store, run) if with_later else []
    for one in (*later, run):
        undone = undoing.rollback(store, one)
        click.echo(
            f"{one.name} {one.id} is rolled back: {undone.restored} objects restored, {undone.removed} removed; "
            f"`igneous-ng stale {one.home}` tells what was made of them"
        )


@click.command()
@click.argument("layer")
@click.option(
    "--older-than", type=click.FloatRange(0), default=30.0, show_default=True, metavar="DAYS",
    help="Keep what is kept for runs that finished later than so many days ago.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
def prune(layer: str, older_than: float, dry_run: bool) -> None:
    """Let go the replaced objects of LAYER that are kept for `rollback`."""
    from igneous_ng import rollback as undoing
    from igneous_ng import words
    from igneous_ng.store import Store

    store, total = Store(), 0
    for run, objects, size in undoing.prunable(store, str(Layer.parse(layer)), older_than * 86400):
        if not dry_run:
            undoing.prune(store, run)
        total += size
        done = "would let go" if dry_run else "let go"
        click.echo(f"{done} {words.count(objects, 'object')}, {words.amount(size)}, kept for {run.name} {run.id}")
    click.echo(f"{words.amount(total)} in all{'; nothing was removed' if dry_run else ''}")


def _marking(function: Callable[..., None]) -> click.Command:
    return click.command("archive")(
        click.argument("layer")(
            click.option("--note", default="", help="Why, for those who are refused.")(
                click.option("--release", is_flag=True, help="Take the mark away.")(function)
            )
        )
    )


@_marking
def archive(layer: str, note: str, release: bool) -> None:
    """Mark LAYER as raw archive: no stage writes into it from then on."""
    from igneous_ng import guards
    from igneous_ng.store import Store

    place = str(Layer.parse(layer))
    if release:
        guards.release(Store(), place)
    else:
        guards.archive(Store(), place, note)
    click.echo(f"{place} is {'no raw archive any more' if release else 'a raw archive: no stage writes into it'}")
