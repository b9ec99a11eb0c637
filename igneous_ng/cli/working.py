"""The command that works: execute."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from igneous_ng.cli import telling
from igneous_ng.cli.commands import PREEMPTED, Command
from igneous_ng.cli.fields import Duration, Size
from igneous_ng.errors import SpecError
from igneous_ng.stage import Layer


def _split(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


@telling.quietly
@click.command(cls=Command, example="fq://queue -p 4 --memory 16G")
@click.argument("queue")
@click.option("-p", "--processes", type=click.IntRange(1), default=1, show_default=True, help="Worker processes.")
@click.option("--memory", type=Size(), help="Memory of all processes together, such as 8G; by default the machine's.")
@click.option("--time-limit", type=Duration(), help="Time after which a unit is stopped: seconds, or 90s, 10m, 2h.")
@click.option("--gpus", default="", callback=_split, help="Accelerators to use: 0,1 or auto. By default none.")
@click.option(
    "--lease", type=Duration(), default="120s", show_default=True, help="A worker silent for so long loses its task."
)
@click.option(
    "--wait/--exit-on-empty", help="Wait for more when nothing is left, or end (the default).", show_default=False
)
@click.option("--speculate", is_flag=True, help="With nothing else to do, do again what others are slow with.")
@click.option("--root", "roots", multiple=True, help="Work only on layers under this URL. May be repeated.")
@click.option("--log", type=click.Path(), help="Append a line of JSON for each task to this file; - is the output.")
@click.option(
    "--metrics", type=click.Path(path_type=Path), envvar="IGNEOUS_NG_METRICS", show_envvar=True,
    help="Keep figures for Prometheus in this file; a live worker renews it every few seconds.",
)  # fmt: skip
def execute(queue: str, **options: Any) -> None:
    """Execute the tasks on QUEUE until none is left."""
    from igneous_ng.worker.machine import heeding

    with heeding(_stop):  # nothing is held yet
        _execute(queue, **options)


def _stop() -> None:
    raise SystemExit(PREEMPTED)


def _execute(queue: str, log: str | None, metrics: Path | None, roots: tuple[str, ...], **policy: Any) -> None:
    from igneous_ng import run
    from igneous_ng.reporting import to_all
    from igneous_ng.worker.policy import Policy

    urls = tuple(str(Layer.parse(root)) for root in roots)
    with contextlib.ExitStack() as stack:
        sinks = [*_files(stack, log, metrics), stack.enter_context(telling.progress())]
        run.execute(queue, Policy(roots=urls, **policy), to_all(sinks))


def _files(stack: contextlib.ExitStack, log: str | None, metrics: Path | None) -> list[Any]:
    """The sinks that write files; SpecError where one cannot be written."""
    from igneous_ng.reporting.journal import Journal
    from igneous_ng.reporting.metrics import Metrics

    sinks: list[Any] = []
    try:
        if log == "-":
            sinks.append(Journal(sys.stdout))
        elif log:
            file = Path(log).open("a", encoding="utf-8")  # noqa: SIM115 - the stack closes it
            sinks.append(Journal(stack.enter_context(file)))
        if metrics:
            sinks.append(stack.enter_context(Metrics(metrics)))
    except OSError as error:
        raise SpecError(f"{error.filename}: cannot be written ({error.strerror}); choose another place") from error
    return sinks
