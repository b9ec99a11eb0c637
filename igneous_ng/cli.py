"""The command line: one command for each stage, made from its fields, and those for queues and viewing.

Nothing here names a stage, and a stage is imported only when its own command is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from igneous_ng import __version__, catalog
from igneous_ng.errors import ConfigurationError, IgneousError, SpecError, TransientError
from igneous_ng.geometry import Box
from igneous_ng.progress import Progress
from igneous_ng.stage import Layer, Stage, coerce, describe, field_types

DEAD, WRONG, CONFIGURATION, INTERNAL, PREEMPTED = 1, 2, 64, 70, 75


class FieldType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    """Text on the command line to a field's type, by the same checks as JSON and Python."""

    def __init__(self, hint: Any) -> None:
        self.hint = hint
        self.name = {Box: "box", Layer: "url"}.get(hint, "list" if typing.get_origin(hint) is tuple else "value")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, or a usage error in the words of the contract."""
        if not isinstance(value, str):
            return value
        try:
            return coerce(_read(value, self.hint), self.hint, "value")
        except ValueError as error:
            self.fail(str(error).removeprefix("value: "), param, ctx)


def _read(text: str, hint: Any) -> Any:
    if typing.get_origin(hint) is tuple:
        return [_read(part, typing.get_args(hint)[0]) for part in text.split(",") if part.strip()]
    if hint in (int, float):
        try:
            return int(text)
        except ValueError:
            number = float(text)
            return int(number) if hint is int and number.is_integer() else number
    return text


def parameter(field: dataclasses.Field[Any], hint: Any) -> click.Parameter:
    """The click parameter of one field."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    flag = "--" + field.name.replace("_", "-")
    if field.default is dataclasses.MISSING:
        return click.Argument([field.name], type=FieldType(hint))
    help_text = field.metadata["help"]
    if hint is bool:
        names = [f"{flag}/--no-{flag[2:]}"]
        return click.Option(names, default=field.default, help=help_text, show_default=True)
    kind = click.Choice(typing.get_args(hint)) if typing.get_origin(hint) is Literal else FieldType(hint)
    default = field.default
    shown: Any = ",".join(map(str, default)) if isinstance(default, tuple) else default not in (None, "")
    return click.Option([flag], type=kind, default=default, show_default=shown or False, help=help_text)


_RUN_OPTIONS = (
    (["--queue"], {"help": "Put the tasks on fq://DIR or sqs://NAME instead of executing them here."}),
    (["-p", "--processes"], {"type": click.IntRange(1), "default": 1, "show_default": True,
                             "help": "Worker processes when executing here."}),
    (["--dry-run"], {"is_flag": True, "help": "Say what would be done; write nothing."}),
)  # fmt: skip


def command(cls: type[Stage]) -> click.Command:
    """The command of one stage."""
    hints = field_types(cls)
    params: list[click.Parameter] = [parameter(f, hints[f.name]) for f in dataclasses.fields(cls)]
    params.sort(key=lambda p: isinstance(p, click.Option))
    params += [click.Option(names, **options) for names, options in _RUN_OPTIONS]

    def callback(queue: str | None, processes: int, dry_run: bool, **values: Any) -> None:
        start(cls(**values), queue, processes, dry_run)

    text = inspect.cleandoc(cls.__doc__ or "") + "\n\n" + _arguments(cls)
    verb = cls.name.split()[-1]
    return click.Command(verb, params=params, callback=callback, help=text, short_help=text.split("\n")[0])


def _arguments(cls: type[Stage]) -> str:
    hints = field_types(cls)
    needed = [f for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
    lines = [f"  {f.name.upper()}  ({describe(hints[f.name])}) {f.metadata['help']}" for f in needed]
    return "\b\nArguments:\n" + "\n".join(lines)


def start(stage: Stage, queue: str | None, processes: int, dry_run: bool) -> None:
    """Plan ``stage``, then show, enqueue or execute it."""
    from igneous_ng import run

    if dry_run:
        plan = run.plan(stage)
        click.echo(next(plan.run.messages()).to_json())
        units, peak = plan.run.units, plan.peak_bytes
        click.echo(f"{units} tasks of at most {peak / 1e6:,.0f} MB; nothing was written", err=True)
    elif queue:
        ready = run.enqueue(stage, queue)
        click.echo(f"{ready.units} tasks queued on {queue} as run {ready.id}")
        click.echo(f"now execute them:  igneous-ng execute {queue} -p 2")
    else:
        with Progress() as progress:
            ready = run.here(stage, processes, progress)
        click.echo(f"{stage.name}: {ready.units} tasks done; records are in {ready.folder}")


class Area(click.Group):
    """The commands of one area, ``image create`` and so on; a stage is imported when its command is."""

    def __init__(self, area: str) -> None:
        verbs = [name.split()[1] for name in catalog.entries() if name.startswith(f"{area} ")]
        super().__init__(area, help=f"{', '.join(verbs)}: see igneous-ng {area} VERB --help.")
        self.area = area

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs of this area."""
        return [name.split()[1] for name in catalog.entries() if name.startswith(f"{self.area} ")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb."""
        name = f"{self.area} {cmd_name}"
        return command(catalog.load(name)) if name in catalog.entries() else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing their stages."""
        rows = [(verb, catalog.entries()[f"{self.area} {verb}"].summary) for verb in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Main(click.Group):
    """All stages by area, then the fixed commands; errors become exit codes here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Areas and fixed commands."""
        return sorted({name.split()[0] for name in catalog.entries()} | self.commands.keys())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """An area, a stage of a single word, or a fixed command."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if cmd_name in catalog.entries():
            return command(catalog.load(cmd_name))
        areas = {name.split()[0] for name in catalog.entries()}
        return Area(cmd_name) if cmd_name in areas else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the stages without importing them, then the fixed commands."""
        with formatter.section("Stages"):
            formatter.write_dl([(name, entry.summary) for name, entry in catalog.entries().items()])
        with formatter.section("Commands"):
            formatter.write_dl([(n, c.get_short_help_str(80)) for n, c in sorted(self.commands.items())])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes its message and its exit status."""
        try:
            return super().invoke(ctx)
        except IgneousError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(_status(error))


def _status(error: IgneousError) -> int:
    from igneous_ng.run import Preempted

    if isinstance(error, SpecError):
        return WRONG
    if isinstance(error, ConfigurationError):
        return CONFIGURATION
    if isinstance(error, (TransientError, Preempted)):
        return PREEMPTED
    return DEAD


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="igneous-ng")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens to standard error.")
def main(verbose: bool) -> None:
    """Electron microscopy of brain tissue, from raw tiles to a queryable connectome.

    Each stage runs here, or with --queue puts its tasks where any number of `igneous-ng execute` find them.
    Exit status: 0 done, 1 finished with dead letters, 2 wrong request, 64 configuration, 70 internal, 75 preempted.
    """
    import logging

    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, stream=sys.stderr)


@main.command()
@click.argument("queue")
@click.option("-p", "--processes", type=click.IntRange(1), default=1, show_default=True, help="Worker processes.")
@click.option("--lease", default=120.0, show_default=True, help="Seconds after which a silent worker's task is free.")
@click.option("--wait", is_flag=True, help="Wait for more when the queue is empty, for ever.")
@click.option("--root", "roots", multiple=True, help="Work only on layers under this URL. May be repeated.")
def execute(queue: str, processes: int, lease: float, wait: bool, roots: tuple[str, ...]) -> None:
    """Execute the tasks on QUEUE until it is empty."""
    from igneous_ng import run
    from igneous_ng.worker.supervisor import Policy

    urls = tuple(str(Layer.parse(root)) for root in roots)
    with Progress() as progress:
        run.execute(queue, Policy(processes, lease, wait, urls), progress)


@main.group("queue")
def queue_group() -> None:
    """Look into a queue and mend it: status, dead, retry, release, purge."""


def _queue_command(function: Callable[..., None]) -> Callable[..., None]:
    """A subcommand of ``queue``: its function is handed the connected queue."""

    @functools.wraps(function)
    def connected(queue: str, **options: Any) -> None:
        from igneous_ng.queues import connect

        function(connect(queue), **options)

    return queue_group.command()(click.argument("queue")(connected))


@_queue_command
def status(queue: Any) -> None:
    """Count the messages: waiting, leased, dead."""
    counts = queue.counts()
    click.echo(f"waiting {counts.waiting}\nleased  {counts.leased}\ndead    {counts.dead}")


@_queue_command
def dead(queue: Any) -> None:
    """Show the dead letters, each with its reason."""
    from igneous_ng.worker.supervisor import describe as words

    for body, reason in queue.dead():
        click.echo(f"{words(body)}\n    {reason.strip()}")


@_queue_command
def retry(queue: Any) -> None:
    """Put the dead letters back, with fresh attempts."""
    click.echo(f"{queue.retry_dead()} messages are waiting again")


@_queue_command
def release(queue: Any) -> None:
    """Take every lease back. For when no worker is alive."""
    click.echo(f"{queue.release_all()} leases released")


@_queue_command
@click.confirmation_option(prompt="Delete every message of this queue?")
def purge(queue: Any) -> None:
    """Delete every message, the dead letters too."""
    click.echo(f"{queue.purge()} messages deleted")


@main.command("status")
@click.argument("run_folder", metavar="RUN")
def run_status(run_folder: str) -> None:
    """Say how far the run in the folder RUN (LAYER/runs/ID) is, from its records."""
    from igneous_ng import records
    from igneous_ng.store import Store

    store = Store()
    run = records.load(store, str(Layer.parse(run_folder)))
    state = "finished" if records.finished(store, run) else "not finished"
    click.echo(f"{run.stage['stage']}: {records.done(store, run)} of {run.units} units recorded, {state}")


@main.command()
@click.argument("layers", nargs=-1, required=True)
@click.option("--port", default=0, help="Port to serve on; by default any free one.")
@click.option("--segments", type=FieldType(tuple[int, ...]), default=(), help="Labels to select, 1,2,3.")
@click.option("--screenshot", type=click.Path(path_type=Path), help="Write a PNG and end (needs chromium).")
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser.")
@click.option("--cors", is_flag=True, help="Let pages from other origins read the layers.")
def view(layers: tuple[str, ...], segments: tuple[int, ...], browser: bool, **options: Any) -> None:
    """Show LAYERS in Neuroglancer, served from this machine without internet."""
    from igneous_ng.viewer.view import view as show

    urls = [str(Layer.parse(layer)) for layer in layers]
    opened = browser and options["screenshot"] is None
    show(urls, segments=tuple(segments), open_browser=opened, announce=click.echo, **options)


def entry_point() -> None:
    """Run the program; a defect of ours is an internal error, with its trace."""
    try:
        main()
    except IgneousError as error:  # before any command was found: two stages of one name, say
        click.echo(f"Error: {error}", err=True)
        sys.exit(_status(error))
    except Exception:
        import traceback

        traceback.print_exc()
        click.echo("Error: this is a defect of igneous-ng; please report it with the trace above", err=True)
        sys.exit(INTERNAL)


if __name__ == "__main__":
    entry_point()
