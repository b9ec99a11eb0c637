"""The command of a stage: its fields as arguments and options, and how to run it."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igneous_ng import words
from igneous_ng.cli import sizes, telling
from igneous_ng.cli.commands import Choice, Command
from igneous_ng.cli.fields import parameter
from igneous_ng.errors import IgneousError
from igneous_ng.queues.protocol import PRIORITIES, Priority
from igneous_ng.stage import Stage, describe, field_types

if TYPE_CHECKING:
    from igneous_ng.records import Run

_RUN_OPTIONS: tuple[tuple[list[str], dict[str, Any]], ...] = (
    (["--queue"], {"help": "Put the tasks on fq://DIR or sqs://NAME instead of executing them here; of several "
                           "stages in a row each is put, and waited for, when the one before is finished."}),
    (["--priority"], {"type": Choice(PRIORITIES), "default": "normal", "show_default": True,
                      "help": "Which tasks of a queue come first."}),
    (["--missing"], {"is_flag": True,
                     "help": "Continue the newest run of this very request: only units without a record are done."}),
    (["-p", "--processes"], {"type": click.IntRange(1), "default": 1, "show_default": True,
                             "help": "Worker processes when executing here."}),
    (["--dry-run"], {"is_flag": True, "help": "Say what would be done and what it would take; write nothing."}),
    (["--price"], {"type": click.FloatRange(0), "metavar": "N",
                   "help": "What a CPU-hour costs, to tell the cost in a dry run."}),
    *sizes.ESTIMATE,
    (["--json", "as_json"], {"is_flag": True, "help": "Say it in JSON, one line."}),
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
    params.append(telling.QUIET)

    def callback(**values: Any) -> None:
        options = {field.name: values.pop(field.name) for field in dataclasses.fields(_Options)}
        _start(cls(**values), _Options(**options))

    text = inspect.cleandoc(cls.__doc__ or "") + "\n\n" + _arguments(cls)
    verb = cls.name.split()[-1]
    about = {"help": text, "short_help": text.split("\n")[0], "example": cls.example}
    return Command(verb, params=params, callback=callback, **about)


def _arguments(cls: type[Stage]) -> str:
    hints = field_types(cls)
    needed = [f for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
    lines = [f"  {f.name.upper()}  ({describe(hints[f.name])}) {f.metadata['help']}" for f in needed]
    return "\b\nArguments:\n" + "\n".join(lines)


def _start(stage: Stage, options: _Options) -> None:
    """Plan ``stage``, then show, enqueue or execute it."""
    sizes.check(options.estimate, options.dry_run, like=options.like, prices=options.prices)
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
    runs: list[dict[str, Any]] = []
    for ready in chains.queued(stage, queue, options.priority, options.missing, said.append):
        runs.append(_raw(ready))
        name = "" if ready.name == stage.name else f"{ready.name}: "
        told = said.pop() if said else f"{words.count(ready.units, 'task')} queued on {queue} as run {ready.id}"
        if not options.as_json:
            click.echo(f"{name}{told}")
            telling.remark(f"now execute them:  igneous-ng execute {queue} -p 2")
            telling.remark(f"and watch them:    igneous-ng status {ready.folder} --watch")
    if options.as_json:
        click.echo(json.dumps({"queue": queue, "runs": runs}))


def _execute(stage: Stage, options: _Options) -> None:
    from igneous_ng import catalog, chains
    from igneous_ng.io import IO
    from igneous_ng.worker.crew import Crew

    with Crew() as crew, telling.progress() as progress:
        crew.prepare()
        done = list(chains.here(stage, options.processes, progress, options.missing, crew))
    said = [catalog.decode(ready.stage).said(IO()) for ready in done]
    if options.as_json:
        runs = [{**_raw(ready), "said": told} for ready, told in zip(done, said, strict=True)]
        click.echo(json.dumps({"runs": runs}))
        return
    for ready, told in zip(done, said, strict=True):
        if told:
            click.echo(told)
        telling.remark(f"{ready.name}: {words.count(ready.units, 'task')} done; records are in {ready.folder}")


def _raw(ready: Run) -> dict[str, Any]:
    """A run in JSON's types."""
    return {"stage": ready.name, "id": ready.id, "folder": ready.folder, "units": ready.units}


def _forecast(stage: Stage, options: _Options) -> None:
    """Say what running ``stage`` would take; the time only where an earlier run of it at the same place tells it.

    Of several steps it is the first: the others depend on what that leaves.
    """
    from igneous_ng import history, run
    from igneous_ng.io import IO

    io = IO()
    asked, steps = stage, stage.steps(io)
    stage = next(steps)
    plan = run.plan(stage)
    message = next(plan.run.messages()).to_json()
    units, seconds = plan.run.units, history.usual_seconds(io.store, stage.home(), stage.name)
    total = None if seconds is None else units * seconds
    cost = None if total is None or options.price is None else total / 3600 * options.price
    notes, goes_on = list(stage.forecast(io)), stage != asked and _goes_on(steps)
    if options.as_json:
        figures = {"peak_bytes": plan.peak_bytes, "cpu_seconds": total, "cost": cost, "notes": notes, "more": goes_on}
        click.echo(json.dumps({"stage": stage.name, "units": units, **figures, "message": json.loads(message)}))
        return
    click.echo(message)
    first_of = f"{stage.name}, the first of several stages: " if goes_on else ""
    shape = _shape(stage.units(io)[0])
    lines = [f"{first_of}{words.count(units, 'task')}{shape}, each of at most {words.amount(plan.peak_bytes)}"]
    lines += _time(seconds, total, cost, options.processes)
    click.echo("\n".join([*lines, *notes, "nothing was written"]), err=True)


def _shape(unit: Any) -> str:
    """How large a unit is, where it is a box or begins with one."""
    from igneous_ng.geometry import Box

    boxes = [part for part in (unit if isinstance(unit, tuple) else (unit,)) if isinstance(part, Box)]
    return f" of {' x '.join(map(str, boxes[0].shape))} voxels" if boxes else ""


def _time(seconds: float | None, total: float | None, cost: float | None, processes: int) -> Iterator[str]:
    """What the last run tells of the time, and of the cost."""
    if seconds is None or total is None:
        yield "no earlier run of this stage is recorded here, so the time is not known"
        return
    usual = f"{words.duration(seconds)} a task in the last run"
    yield f"about {words.duration(total / processes)} on {processes} at once: {usual}"
    if cost is not None:
        yield f"cost about {cost:.3g}"


def _goes_on(steps: Iterator[Stage]) -> bool:
    """Whether a stage follows the one that was just asked for; one that needs what is not made yet does."""
    try:
        return next(steps, None) is not None
    except IgneousError:
        return True
