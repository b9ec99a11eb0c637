"""The command of a chain: the fields of a stage, and where its stages are executed."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import click

from igneous_ng import words
from igneous_ng.chains import Chain
from igneous_ng.cli.fields import parameter
from igneous_ng.stage import field_types

_OPTIONS = (
    (["--queue"], {"help": "Put the tasks on fq://DIR or sqs://NAME, stage after stage, and wait for each."}),
    (["-p", "--processes"], {"type": click.IntRange(1), "default": 1, "show_default": True,
                             "help": "Worker processes when executing here."}),
)  # fmt: skip


def command(cls: type[Chain]) -> click.Command:
    """The command of one chain."""
    hints = field_types(cls)
    params: list[click.Parameter] = [parameter(f, hints[f.name]) for f in dataclasses.fields(cls)]
    params.sort(key=lambda p: isinstance(p, click.Option))
    params += [click.Option(names, **options) for names, options in _OPTIONS]

    def callback(queue: str | None, processes: int, **values: Any) -> None:
        _start(cls(**values), queue, processes)

    text = inspect.cleandoc(cls.__doc__ or "")
    verb = cls.name.split()[-1]
    return click.Command(verb, params=params, callback=callback, help=text, short_help=text.split("\n")[0])


def _start(chain: Chain, queue: str | None, processes: int) -> None:
    from igneous_ng import chains

    if queue:
        for run in chains.queued(chain, queue):
            click.echo(f"{run.name}: {words.count(run.units, 'task')} on {queue} as run {run.id}")
        return
    from igneous_ng.reporting.progress import Progress
    from igneous_ng.worker.crew import Crew

    with Crew() as crew, Progress() as progress:
        crew.prepare()
        for run in chains.here(chain, processes, progress, crew):
            click.echo(f"{run.name}: {words.count(run.units, 'task')} done; records are in {run.folder}")
