"""The command that carries out a pipeline, says how far one is, or what it would take: run."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igneous_ng.cli import redoing, sizes, telling
from igneous_ng.cli.commands import Choice, Command
from igneous_ng.cli.looking import WATCH, repeat
from igneous_ng.cli.telling import JSON
from igneous_ng.errors import SpecError
from igneous_ng.queues.protocol import PRIORITIES

if TYPE_CHECKING:
    from igneous_ng.recipes import Recipe


@dataclass(frozen=True)
class _Options:
    """What to do with a pipeline."""

    dry_run: bool
    status: bool
    watch: float | None
    price: float | None
    as_json: bool
    estimate: bool
    like: tuple[str, ...]
    prices: Path | None


def _settings(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    if wrong := [name for name, sign, _ in pairs if not sign]:
        raise click.BadParameter(f"{wrong[0]!r}: write NAME=VALUE")
    return {name.strip(): value for name, _, value in pairs}


@telling.quietly
@click.command("run", cls=Command, example="PIPELINE.toml --set cell=256 -p 2")
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.option("--profile", help="How to run: a profile of the file, instead of its default one.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_settings,
    help="Give a parameter another value. Paths are taken from the folder of the file. May be repeated.",
)
@click.option(
    "--from", "first", multiple=True, metavar="STEP",
    help="Begin at this step: what those before it make is there already. May be repeated.",
)  # fmt: skip
@click.option("--to", "last", multiple=True, metavar="STEP", help="Do only what leads to this step. May be repeated.")
@click.option("--queue", help="Put the tasks on fq://DIR or sqs://NAME, instead of where the profile says.")
@click.option("--priority", type=Choice(PRIORITIES), help="Which tasks of a queue come first.")
@click.option("-p", "--processes", type=click.IntRange(1), help="Worker processes when executing here.")
@click.option("--dry-run", is_flag=True, help="Say what is left to do and what it would take; write nothing.")
@click.option("--price", type=click.FloatRange(0), metavar="N", help="What a CPU-hour costs, for --dry-run.")
@sizes.options
@click.option("--status", is_flag=True, help="Say how far each step is; write nothing.")
@WATCH
@JSON
def run(pipeline: Path, profile: str | None, settings: dict[str, str], **other: Any) -> None:
    """Carry out the steps in the file PIPELINE: here, or on a queue.

    Steps that are done are passed over and those begun are gone on with, so the same command, given again anywhere
    that sees the same storage, continues. On a queue it enqueues each step when those it needs are finished, while any
    number of `igneous-ng execute QUEUE --wait` work.
    """
    recipe = _read(pipeline, profile, settings)
    first, last = other.pop("first"), other.pop("last")
    if first or last:
        recipe = _part(recipe, first, last)
    over = {key: other.pop(key) for key in ("queue", "priority", "processes")}
    over = {key: value for key, value in over.items() if value is not None}
    recipe = dataclasses.replace(recipe, profile=dataclasses.replace(recipe.profile, **over))
    options = _Options(**other)
    sizes.check(options.estimate, options.dry_run, like=options.like, prices=options.prices)
    if options.estimate:
        _estimate(recipe, options)
    elif options.dry_run:
        _forecast(recipe, options)
    elif options.status or options.watch is not None:
        _status(recipe, options)
    else:
        _carry_out(recipe, options.as_json)


def _read(path: Path, profile: str | None, settings: dict[str, str]) -> Recipe:
    from igneous_ng import recipes

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SpecError(f"{path}: cannot be read ({why}); name a TOML file of steps") from error
    return recipes.parse(text, str(path.absolute()), profile, settings)


def _part(recipe: Recipe, first: tuple[str, ...], last: tuple[str, ...]) -> Recipe:
    from igneous_ng import excerpts

    return excerpts.part(recipe, first, last)


def _carry_out(recipe: Recipe, as_json: bool) -> None:
    from igneous_ng import pipeline
    from igneous_ng.reporting.steps import Board
    from igneous_ng.run import Preempted

    board = Board([step.name for step in recipe.steps], quiet=telling.quiet())
    if recipe.profile.queue is None:
        _execute(recipe, board)
    else:
        place = pipeline.Fleet(recipe.profile.queue, recipe.profile.priority)
        telling.remark(f"execute with:  igneous-ng execute {recipe.profile.queue} --wait -p 2", err=True)
        try:
            with board:
                pipeline.carry_out(recipe, place, board, board.pause)
        except KeyboardInterrupt:
            raise Preempted("interrupted; what is queued is executed all the same. To go on, run it again") from None
    if recipe.steps:
        steps = [{"step": step.name, "stage": step.stage.name, "layer": step.stage.home()} for step in recipe.steps]
        said = f"{recipe.name}: all {len(recipe.steps)} steps are done"
        telling.tell(as_json, {"pipeline": recipe.name, "steps": steps}, said)
    if recipe.redo:
        work = redoing.work(**vars(recipe.redo))
        redoing.carry_out(work, recipe.profile.processes, recipe.profile.queue, as_json)


def _execute(recipe: Recipe, board: Any) -> None:
    from igneous_ng import pipeline
    from igneous_ng.worker.crew import Crew

    with Crew() as crew, telling.progress(above=board.view) as progress:
        crew.prepare()
        pipeline.carry_out(recipe, pipeline.Here(recipe.profile.processes, progress, crew), board)


def _status(recipe: Recipe, options: _Options) -> None:
    from igneous_ng import survey
    from igneous_ng.cli import outlining
    from igneous_ng.store import Store

    def show() -> tuple[str, bool]:
        views = list(survey.views(Store(), recipe))
        over = all(view.state in ("done", "failed", "waits") for view in views)
        said = [outlining.raw(view) for view in views]
        return json.dumps(said) if options.as_json else outlining.status(recipe, views), over

    repeat(show, options.watch)


def _estimate(recipe: Recipe, options: _Options) -> None:
    """Say what all that is left takes; at the end the error of a step that could begin now and is refused."""
    from igneous_ng import survey
    from igneous_ng.sizing import Estimator
    from igneous_ng.store import Store

    found = sizes.prices(options.prices, recipe.prices, options.price)
    parts = list(Estimator(sizes.layers(options.like)).recipe(survey.views(Store(), recipe)))
    sizes.show(parts, sizes.Asked(recipe.profile.processes, found, options.as_json), f"{recipe.name}: what is left")
    if refused := next((part.error for part in parts if part.error), None):
        raise refused


def _forecast(recipe: Recipe, options: _Options) -> None:
    """Say what is left of each step; at the end the error of one that could begin now and is refused."""
    from igneous_ng import survey
    from igneous_ng.cli import outlining
    from igneous_ng.store import Store

    found = [survey.forecast(view) for view in survey.views(Store(), recipe)]
    if options.as_json:
        click.echo(json.dumps([outlining.raw_forecast(one, options.price) for one in found]))
    elif found:
        click.echo(outlining.forecast(recipe, found, options.price))
    if recipe.redo and all(one.view.state == "done" for one in found):
        redoing.forecast(**vars(recipe.redo), as_json=options.as_json)
    if refused := next((one.error for one in found if one.error and one.view.state != "waits"), None):
        raise refused
