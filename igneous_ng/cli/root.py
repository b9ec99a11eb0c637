"""The whole program: all stages by area, then the fixed commands; errors become exit codes here."""

from __future__ import annotations

import sys
from typing import Any

import click

from igneous_ng import __version__, catalog, redaction
from igneous_ng.cli import (
    annotating,
    demo,
    graphs,
    inspecting,
    looking,
    pipelines,
    redoing,
    slurm,
    steering,
    tracing,
    verifying,
    viewing,
    working,
)
from igneous_ng.cli.stages import command
from igneous_ng.errors import ConfigurationError, IgneousError, SpecError, TransientError
from igneous_ng.worker import machine

_ASIDE: dict[str, dict[str, click.Command]] = {
    "annotate": {"table": annotating.table},
    "graph": {
        "partners": graphs.partners,
        "degrees": graphs.degrees,
        "path": graphs.path,
        "subgraph": graphs.subgraph,
        "export": graphs.export,
        "sql": graphs.sql,
        "versions": graphs.versions,
    },
    "image": {"info": inspecting.info},
    "ingest": {"formats": inspecting.formats},
}  # commands of an area that are no stages
DEAD, WRONG, CONFIGURATION, INTERNAL, PREEMPTED = 1, 2, 64, 70, 75


class Area(click.Group):
    """The commands of one area, ``image create`` and so on; a stage is imported when its command is.

    A stage of more words, ``segment train net``, is in an area of the area.
    """

    def __init__(self, area: str) -> None:
        self.area = area
        stages = {name.removeprefix(f"{area} ").split()[0] for name in _below(area)}
        self.verbs = sorted({*stages, *_ASIDE.get(area, ())})
        super().__init__(area.split()[-1], help=f"{', '.join(self.verbs)}: see igneous-ng {area} VERB --help.")

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs of this area."""
        return self.verbs

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb."""
        name = f"{self.area} {cmd_name}"
        if cmd_name in _ASIDE.get(self.area, ()):
            return _ASIDE[self.area][cmd_name]
        if name in catalog.everything():
            return command(catalog.load(name))
        return Area(name) if _below(name) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing their stages."""
        aside = {verb: found.get_short_help_str(80) for verb, found in _ASIDE.get(self.area, {}).items()}
        said = _summaries()
        parted = {verb: ", ".join(_below(f"{self.area} {verb}")) for verb in self.verbs}
        rows = [(verb, aside.get(verb) or said.get(f"{self.area} {verb}") or parted[verb]) for verb in self.verbs]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _below(area: str) -> list[str]:
    """The stages of an area."""
    return [name for name in catalog.everything() if name.startswith(f"{area} ")]


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
            formatter.write_dl(sorted(_summaries().items()))
        with formatter.section("Commands"):
            aside = {f"{area} {verb}": found for area, verbs in _ASIDE.items() for verb, found in verbs.items()}
            fixed = {**self.commands, **aside}
            formatter.write_dl([(n, c.get_short_help_str(80)) for n, c in sorted(fixed.items())])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes its message and its exit status."""
        try:
            return super().invoke(ctx)
        except IgneousError as error:
            click.echo(f"Error: {redaction.redacted(str(error))}", err=True)
            ctx.exit(_status(error))


def _summaries() -> dict[str, str]:
    """The first line of each stage and chain."""
    return {name: entry.summary for name, entry in catalog.everything().items()}


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
    for handler in logging.getLogger().handlers:
        handler.setFormatter(redaction.Formatter(logging.BASIC_FORMAT))


for _fixed in (
    demo.demo,
    pipelines.run,
    working.execute,
    looking.status,
    looking.queue,
    slurm.slurm,
    steering.cancel,
    steering.pause,
    steering.resume,
    steering.clean,
    redoing.stale,
    redoing.redo,
    redoing.rollback,
    redoing.prune,
    redoing.archive,
    tracing.trace,
    tracing.provenance,
    verifying.fingerprint,
    verifying.verify,
    viewing.view,
):
    main.add_command(_fixed)


def entry_point() -> None:
    """Run the program; a defect of ours is an internal error, with its trace."""
    machine.one_thread_each()
    try:
        main()
    except IgneousError as error:  # before any command was found: two stages of one name, say
        click.echo(f"Error: {redaction.redacted(str(error))}", err=True)
        sys.exit(_status(error))
    except Exception:
        import traceback

        click.echo(redaction.redacted(traceback.format_exc()), err=True)
        click.echo("Error: this is a defect of igneous-ng; please report it with the trace above", err=True)
        sys.exit(INTERNAL)
