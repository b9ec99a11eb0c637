"""The command of a stage: its fields as arguments and options, and how to run it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from igneous_ng import words
from igneous_ng.cli import sizes
from igneous_ng.cli.fields import parameter
from igneous_ng.errors import IgneousError
from igneous_ng.queues.protocol import PRIORITIES, Priority
from igneous_ng.stage import Stage, describe, field_types

_RUN_OPTIONS: tuple[tuple[list[str], dict[str, Any]], ...] = (
    (["--queue"], {"help": "Put the tasks on fq://DIR or sqs://NAME instead of executing them here; of several "
                           "stages in a row each is put, and waited for, when the one before is finished."}),
    (["--priority"], {"type": click.Choice(PRIORITIES), "default": "normal", "show_default": True,
                      "help": "Which tasks of a queue come first."}),
    (["--missing"], {"is_flag": True,
                     "help": "Continue the newest run of this very request: only units without a record are done."}),
    (["-p", "--processes"], {"type": click.IntRange(1), "default": 1, "show_default": True,
                             "help": "Worker processes when executing here."}),
    (["--dry-run"], {"is_flag": True, "help": "Say what would be done and what it would take; write nothing."}),
    (["--price"], {"type": click.FloatRange(0), "metavar": "N",
                   "help": "What a CPU-hour costs, to tell the cost in a dry run."}),
    *sizes.ESTIMATE,
    (["--json", "as_json"], {"is_flag": True, "help": "For --estimate: say it in JSON, one line."}),
)  # fmt: skip


@dataclass(frozen=True)
class _Options:
    """How to run a stage."""

    queue: str | None
    priority: Priority
    missing: bool
    processes: int
    dry_run: bool
    price: float | None
    estimate: bool
    like: tuple[str, ...]
    prices: Path | None
    as_json: bool


def command(cls: type[Stage]) -> click.Command:
    """The command of one stage."""
    hints = field_types(cls)
    params: list[click.Parameter] = [parameter(f, hints[f.name]) for f in dataclasses.fields(cls)]
    params.sort(key=lambda p: isinstance(p, click.Option))
    params += [click.Option(names, **options) for names, options in _RUN_OPTIONS]

    def callback(**values: Any) -> None:
        options = {field.name: values.pop(field.name) for field in dataclasses.fields(_Options)}
        _start(cls(**values), _Options(**options))

    text = inspect.cleandoc(cls.__doc__ or "") + "\n\n" + _arguments(cls)
    verb = cls.name.split()[-1]
    return click.Command(verb, params=params, callback=callback, help=text, short_help=text.split("\n")[0])


def _arguments(cls: type[Stage]) -> str:
    hints = field_types(cls)
    needed = [f for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
    lines = [f"  {f.name.upper()}  ({describe(hints[f.name])}) {f.metadata['help']}" for f in needed]
    return "\b\nArguments:\n" + "\n".join(lines)


def _start(stage: Stage, options: _Options) -> None:
    """Plan ``stage``, then show, enqueue or execute it."""
    sizes.check(options.estimate, options.dry_run, like=options.like, prices=options.prices, json=options.as_json)
    if options.estimate:
        _estimate(stage, options)
    elif options.dry_run:
        _forecast(stage, options)
    elif options.queue:
        _enqueue(stage, options.queue, options)
    else:
        _execute(stage, options)


def _estimate(stage: Stage, options: _Options) -> None:
    from igneous_ng.sizing import Estimator

    asked = sizes.Asked(options.processes, sizes.prices(options.prices, None, options.price), options.as_json)
    parts = list(Estimator(sizes.layers(options.like)).stage(stage, options.missing))
    sizes.show(parts, asked, f"{stage.name}, for {stage.home()}")


def _enqueue(stage: Stage, queue: str, options: _Options) -> None:
    from igneous_ng import chains

    said: list[str] = []
    for ready in chains.queued(stage, queue, options.priority, options.missing, said.append):
        name = "" if ready.name == stage.name else f"{ready.name}: "
        told = said.pop() if said else f"{words.count(ready.units, 'task')} queued on {queue} as run {ready.id}"
        click.echo(f"{name}{told}")
        click.echo(f"now execute them:  igneous-ng execute {queue} -p 2")
        click.echo(f"and watch them:    igneous-ng status {ready.folder} --watch")


def _execute(stage: Stage, options: _Options) -> None:
    from igneous_ng import catalog, chains
    from igneous_ng.io import IO
    from igneous_ng.reporting.progress import Progress
    from igneous_ng.worker.crew import Crew

    with Crew() as crew, Progress() as progress:
        crew.prepare()
        done = list(chains.here(stage, options.processes, progress, options.missing, crew))
    for ready in done:
        if told := catalog.decode(ready.stage).said(IO()):
            click.echo(told)
        click.echo(f"{ready.name}: {words.count(ready.units, 'task')} done; records are in {ready.folder}")


def _forecast(stage: Stage, options: _Options) -> None:
    """Say what running ``stage`` would take; the time only where an earlier run of it at the same place tells it.

    Of several steps it is the first: the others depend on what that leaves.
    """
    from igneous_ng import history, run
    from igneous_ng.geometry import Box
    from igneous_ng.io import IO

    io = IO()
    asked, steps = stage, stage.steps(io)
    stage = next(steps)
    plan = run.plan(stage)
    click.echo(next(plan.run.messages()).to_json())
    units, first = plan.run.units, stage.units(io)[0]
    boxes = [part for part in (first if isinstance(first, tuple) else (first,)) if isinstance(part, Box)]
    shape = f" of {' x '.join(map(str, boxes[0].shape))} voxels" if boxes else ""
    several = stage != asked and _goes_on(steps)
    first_of = f"{stage.name}, the first of several stages: " if several else ""
    lines = [f"{first_of}{words.count(units, 'task')}{shape}, each of at most {words.amount(plan.peak_bytes)}"]
    seconds = history.usual_seconds(io.store, stage.home(), stage.name)
    if seconds is None:
        lines.append("no earlier run of this stage is recorded here, so the time is not known")
    else:
        total = units * seconds
        lines.append(
            f"about {words.duration(total / options.processes)} on {options.processes} at once: "
            f"{words.duration(seconds)} a task in the last run"
        )
        if options.price is not None:
            lines.append(f"cost about {total / 3600 * options.price:.3g}")
    lines += [*stage.forecast(io), "nothing was written"]
    click.echo("\n".join(lines), err=True)


def _goes_on(steps: Iterator[Stage]) -> bool:
    """Whether a stage follows the one that was just asked for; one that needs what is not made yet does."""
    try:
        return next(steps, None) is not None
    except IgneousError:
        return True
