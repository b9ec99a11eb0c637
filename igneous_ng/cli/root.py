"""The whole program: all stages by area, then the fixed commands; errors become exit codes here."""

from __future__ import annotations

import sys
from typing import Any

import click

from igneous_ng import __version__, catalog, redaction
from igneous_ng.cli import (
    annotating,
    completing,
    demo,
    graphs,
    inspecting,
    looking,
    pipelines,
    redoing,
    slurm,
    steering,
    telling,
    tracing,
    verifying,
    viewing,
    working,
)
from igneous_ng.cli.commands import CONFIGURATION, DEAD, INTERNAL, PREEMPTED, PROGRAM, WRONG, Group
from igneous_ng.cli.stages import command
from igneous_ng.errors import ConfigurationError, IgneousError, SpecError, TransientError
from igneous_ng.worker import machine

ASIDE: dict[str, dict[str, click.Command]] = {
    "annotate": {"table": annotating.table},
    "graph": {
        "partners": graphs.partners,
        "degrees": graphs.degrees,
        "path": graphs.path,
        "subgraph": graphs.subgraph,
        "neighbours": graphs.neighbours,
        "export": graphs.export,
        "sql": graphs.sql,
        "versions": graphs.versions,
    },
    "image": {"info": inspecting.info},
    "ingest": {"formats": inspecting.formats},
}
"""Commands of an area that are no stages."""
_UNASKED = getattr(click.exceptions, "NoArgsIsHelpError", ())  # from click 8.2 on


class Area(Group):
    """The commands of one area, ``image create`` and so on; a stage is imported when its command is.

    A stage of more words, ``segment train net``, is in an area of the area.
    """

    def __init__(self, area: str) -> None:
        self.area = area
        stages = {name.removeprefix(f"{area} ").split()[0] for name in _below(area)}
        self.verbs = sorted({*stages, *ASIDE.get(area, ())})
        super().__init__(area.split()[-1], help=f"{', '.join(self.verbs)}: see igneous-ng {area} VERB --help.")

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs of this area."""
        return self.verbs

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb."""
        name = f"{self.area} {cmd_name}"
        if cmd_name in ASIDE.get(self.area, ()):
            return ASIDE[self.area][cmd_name]
        if name in catalog.everything():
            return command(catalog.load(name))
        return Area(name) if _below(name) else None

    def summaries(self, ctx: click.Context) -> dict[str, str]:
        """Each verb's line; no stage is imported."""
        aside = {verb: found.get_short_help_str(80) for verb, found in ASIDE.get(self.area, {}).items()}
        said = _summaries()
        parted = {verb: ", ".join(_below(f"{self.area} {verb}")) for verb in self.verbs}
        return {verb: aside.get(verb) or said.get(f"{self.area} {verb}") or parted[verb] for verb in self.verbs}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing their stages."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries(ctx).items()))


def _below(area: str) -> list[str]:
    """The stages of an area."""
    return [name for name in catalog.everything() if name.startswith(f"{area} ")]


class Main(Group):
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

    def summaries(self, ctx: click.Context) -> dict[str, str]:
        """Each area's and each fixed command's line; no stage is imported."""
        said = {name: found.get_short_help_str(80) for name, found in self.commands.items()}
        areas: dict[str, list[str]] = {}
        for area, _, verb in (name.partition(" ") for name in catalog.everything()):
            areas.setdefault(area, []).append(verb)
        return dict(sorted({**{area: ", ".join(verbs) for area, verbs in areas.items()}, **said}.items()))

    def meant(self, ctx: click.Context, name: str) -> str:
        """What there is in place of the command ``name``: its area, where that was left out."""
        whole = [found for found in catalog.everything() if found.split()[-1] == name]
        return f"did you mean {' or '.join(whole)}?" if whole else super().meant(ctx, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the stages without importing them, then the fixed commands."""
        with formatter.section("Stages"):
            formatter.write_dl(sorted(_summaries().items()))
        with formatter.section("Commands"):
            aside = {f"{area} {verb}": found for area, verbs in ASIDE.items() for verb, found in verbs.items()}
            fixed = {**self.commands, **aside}
            formatter.write_dl([(n, c.get_short_help_str(80)) for n, c in sorted(fixed.items())])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes its message and its exit status, one of usage also its usage."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if isinstance(error, _UNASKED):  # nothing is wrong: an area alone shows its help
                raise
            said, asked = error.format_message(), error.ctx or ctx
            click.echo(asked.get_usage(), err=True)
            _refuse(f"{said.rstrip('.')}\n{asked.command_path} --help says more")
            ctx.exit(WRONG)
        except IgneousError as error:
            _refuse(_told(error))
            ctx.exit(_status(error))


def _refuse(text: str) -> None:
    """Say what is wrong on standard error."""
    label = click.style("Error:", fg="red", bold=True)
    click.echo(f"{label} {redaction.redacted(text)}", err=True, color=telling.coloured())


def _told(error: IgneousError) -> str:
    """What an error says; a worker tries again what may pass, and a person who gave a command is asked to."""
    if not isinstance(error, TransientError):
        return str(error)
    return f"{str(error).removesuffix('; will be tried again')}; this may pass: give the same command again"


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
    completing.completion,
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
main.params.append(telling.QUIET)


def entry_point() -> None:
    """Run the program; a defect of ours is an internal error, with its trace."""
    machine.one_thread_each()
    try:
        main(prog_name=PROGRAM)
    except IgneousError as error:  # before any command was found: two stages of one name, say
        _refuse(str(error))
        sys.exit(_status(error))
    except Exception:
        import traceback

        click.echo(redaction.redacted(traceback.format_exc()), err=True)
        _refuse("this is a defect of igneous-ng; please report it with the trace above")
        sys.exit(INTERNAL)
