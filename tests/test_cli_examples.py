"""Every command has an example, and every example is one that the command takes as it stands."""

from __future__ import annotations

import dataclasses
import shlex

import click
import pytest
from click.testing import CliRunner

from igneous_ng import catalog, cli
from igneous_ng.cli import manual
from igneous_ng.cli import stages as stage_commands
from igneous_ng.cli.commands import Command
from igneous_ng.errors import SpecError
from igneous_ng.stage import Stage

FIXED = dict(manual.fixed())


def wrong(cls: type[Stage]) -> str:
    """What is wrong with the example of a stage, and what to do; empty where nothing is."""
    where = f"{cls.__module__}.{cls.__name__}"
    example = vars(cls).get("example")
    if not example:
        return (
            f"{where} has no example: add one below its docstring, as one types it behind "
            f'`igneous-ng {cls.name}`:  example = "./seg --mip 1 -p 4"'
        )
    try:
        given = stage_commands.command(cls).make_context(cls.name, shlex.split(example)).params
        own = {field.name for field in dataclasses.fields(cls)}
        cls(**{name: value for name, value in given.items() if name in own})
    except (click.UsageError, SpecError) as error:
        return f"the example of {where}, igneous-ng {cls.name} {example}, is refused: {error}"
    return ""


@pytest.mark.parametrize("name", list(catalog.everything()))
def test_the_example_of_a_stage_is_taken(name: str) -> None:
    assert wrong(catalog.load(name)) == ""


def test_a_stage_without_an_example_or_with_a_wrong_one_is_told_what_to_add() -> None:
    class Forge(catalog.load("mesh forge"), name="mesh forge"):  # type: ignore[misc,call-arg]
        """Inherits an example, which is not its own."""

    assert 'example = "' in wrong(Forge)
    assert "below its docstring" in wrong(Forge)
    Forge.example = "./seg --mips 3"
    assert "is refused" in wrong(Forge)
    assert "--mips" in wrong(Forge)
    Forge.example = "./seg --cell 0,1,1"
    assert "is refused" in wrong(Forge)


@pytest.mark.parametrize("name", list(FIXED))
def test_the_example_of_a_command_is_taken(name: str) -> None:
    command = FIXED[name]
    assert isinstance(command, Command), f"igneous-ng {name}: make it with cls=Command and an example"
    assert command.example, f"igneous-ng {name}: give @click.command an example=..., what is typed behind its name"
    words = shlex.split(command.example.partition(" > ")[0])
    command.make_context(name, words, parent=click.Context(cli.main, info_name="igneous-ng"))


@pytest.mark.parametrize("name", ["image downsample", "segment train trees", "status", "annotate table read"])
def test_the_help_shows_the_example_before_the_options(name: str) -> None:
    shown = CliRunner().invoke(cli.main, [*name.split(), "--help"]).output
    made = FIXED.get(name)
    example = made.example if isinstance(made, Command) else catalog.load(name).example
    assert f"Example:\n  igneous-ng {name} {example}\n" in shown
    assert shown.index("Example:") < shown.index("Options:")


def test_the_page_of_commands_has_each_with_its_example() -> None:
    page = manual.page()
    for name, command in FIXED.items():
        assert isinstance(command, Command)
        assert f"## {name}\n" in page
        assert f"    igneous-ng {name} {command.example}\n" in page
