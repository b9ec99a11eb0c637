"""The commands that steer runs: cancel, pause, resume, clean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from igneous_ng.cli.commands import Command, Place
from igneous_ng.cli.telling import JSON, row, tell
from igneous_ng.stage import Layer

_WHICH = "RUN is the run's folder, or a layer: its newest run, or with RUN_ID that one."


def run_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments RUN and RUN_ID, and in the help what they are."""
    function.__doc__ = f"{function.__doc__}\n\n    {_WHICH}\n"
    ident = click.argument("ident", metavar="[RUN_ID]", default="")
    return click.argument("where", metavar="RUN", type=Place())(ident(function))


def found(where: str, ident: str) -> Any:
    """The run that is meant, and a store to reach it."""
    from igneous_ng import history
    from igneous_ng.store import Store

    store = Store()
    return store, history.find(store, str(Layer.parse(where)), ident)


def _command(verb: str, text: str, said: str) -> click.Command:
    """The command that does to a run what the function ``verb`` of :mod:`igneous_ng.steering` does, and says so."""

    def act(where: str, ident: str, as_json: bool) -> None:
        from igneous_ng import steering

        store, run = found(where, ident)
        getattr(steering, verb)(store, run)
        tell(as_json, {"stage": run.name, "id": run.id, "folder": run.folder}, said.format(run=run))

    act.__doc__ = text
    return click.command(verb, cls=Command, example="./seg")(run_arguments(JSON(act)))


cancel = _command(
    "cancel",
    "Let no worker begin another unit of a run; what is recorded stays.",
    "{run.name} {run.id} is cancelled; workers stop at it when their present unit is done",
)
pause = _command(
    "pause",
    "Let workers leave a run alone until it is resumed.",
    "{run.name} {run.id} is paused; to go on:  igneous-ng resume {run.folder}",
)
resume = _command(
    "resume",
    "Let workers go on with a paused run.",
    "{run.name} {run.id} goes on, within minutes where workers wait",
)


@click.command(cls=Command, example="./seg --older-than 7 --dry-run")
@click.argument("layer", type=Place())
@click.option(
    "--older-than", type=click.FloatRange(0), default=30.0, show_default=True, metavar="DAYS",
    help="Keep what is known of failures in runs that finished later than so many days ago.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@JSON
def clean(layer: str, older_than: float, dry_run: bool, as_json: bool) -> None:
    """Remove what finished runs of LAYER no longer need.

    That is: leftover checkpoints, notes on failures, temporary files older than a day, and the fragments of meshes
    and skeletons once the whole layer is merged. Records and results stay.
    """
    from igneous_ng import cleaning, words
    from igneous_ng.store import Store

    store, done, total = Store(), list[dict[str, Any]](), 0
    for waste in cleaning.wastes(store, str(Layer.parse(layer)), older_than * 86400):
        done.append({name: getattr(waste, name) for name in ("place", "what", "objects", "bytes", "kept")})
        if waste.kept:
            row(as_json, f"kept {waste.place} ({waste.what}): {waste.kept}")
            continue
        if not dry_run:
            cleaning.remove(store, waste)
        total += waste.bytes
        said = f"{waste.what}, {words.count(waste.objects, 'object')}, {words.amount(waste.bytes)}"
        row(as_json, f"{'would remove' if dry_run else 'removed'} from {waste.place}: {said}")
    sum_ = f"{words.amount(total)} in all{'; nothing was removed' if dry_run else ''}"
    tell(as_json, {"wastes": done, "bytes": total, "removed": not dry_run}, sum_)
