"""The commands that are no stages, for the reference: their names, what they say of themselves, their options."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping

import click

from igneous_ng.cli.commands import PROGRAM, Command
from igneous_ng.cli.root import ASIDE, main

_HEAD = """# Commands

Made by `python -m igneous_ng.reference` from the commands themselves: all that are no stages. Stages have
[pages of their own](README.md).
"""


def page() -> str:
    """All of them in Markdown, by name."""
    found = sorted(fixed(), key=lambda one: one[0])
    return "\n".join([_HEAD, *(_section(name, command) for name, command in found)])


def fixed() -> Iterator[tuple[str, click.Command]]:
    """Each command that is no stage, by its name without the program's."""
    yield from _within("", main.commands)
    for area, verbs in ASIDE.items():
        yield from _within(f"{area} ", verbs)


def _within(prefix: str, commands: Mapping[str, click.Command]) -> Iterator[tuple[str, click.Command]]:
    for name, command in commands.items():
        if isinstance(command, click.Group):
            yield from _within(f"{prefix}{name} ", command.commands)
        else:
            yield f"{prefix}{name}", command


def _section(name: str, command: click.Command) -> str:
    ctx = click.Context(command, info_name=f"{PROGRAM} {name}")
    usage = " ".join([PROGRAM, name, *command.collect_usage_pieces(ctx)])
    example = f"Example:\n\n    {PROGRAM} {name} {command.example}\n\n" if isinstance(command, Command) else ""
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    chosen = [param for param in command.params if isinstance(param, click.Option)]
    rows = [record for param in chosen if (record := param.get_help_record(ctx)) is not None]
    options = "\n".join(f"| `{_cell(names)}` | {_cell(said)} |" for names, said in rows)
    table = f"| option | |\n| --- | --- |\n{options}\n" if rows else ""
    return f"## {name}\n\n{text}\n\n    {usage}\n\n{example}{table}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
