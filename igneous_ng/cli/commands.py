"""What all commands share: an example in the help, a guess where a name is misspelt, places that shells complete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from igneous_ng import spelling

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROGRAM = "igneous-ng"
DEAD, WRONG, CONFIGURATION, INTERNAL, PREEMPTED = 1, 2, 64, 70, 75
"""Exit statuses, as the help of the program explains them."""


class Command(click.Command):
    """A command with an example: what is typed behind its name."""

    def __init__(self, *args: Any, example: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.example = example

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example, then the options: these may be many."""
        if self.example:
            with formatter.section("Example"):
                formatter.write(f"{'':{formatter.current_indent}}{path(ctx)} {self.example}\n")
        super().format_options(ctx, formatter)


class Group(click.Group):
    """A command with commands of its own; names that it does not have are answered with those it has."""

    command_class = Command
    group_class = type

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant; a usage error with a guess where there is none."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and name not in self.list_commands(ctx):
            raise click.UsageError(f"there is no command {path(ctx)} {name}; {self.meant(ctx, name)}", ctx)
        return super().resolve_command(ctx, args)

    def meant(self, ctx: click.Context, name: str) -> str:
        """What there is in place of the command ``name``, for a message."""
        return spelling.choices(name, self.list_commands(ctx))

    def summaries(self, ctx: click.Context) -> dict[str, str]:
        """Each command's line."""
        found = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        return {name: command.get_short_help_str(80) for name, command in found.items() if command}

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        """Commands and options that begin so; no command is made for it."""
        from click.shell_completion import CompletionItem

        found = [(name, said) for name, said in self.summaries(ctx).items() if name.startswith(incomplete)]
        return [CompletionItem(name, help=said) for name, said in found] + click.Command.shell_complete(
            self, ctx, incomplete
        )


class Choice(click.Choice):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.2 on
    """One of some words; another one is answered with a guess."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word, or a usage error."""
        known = {str(choice): choice for choice in self.choices}
        if str(value) not in known:
            self.fail(f"{value!r} is not known; {spelling.choices(str(value), known)}", param, ctx)
        return known[str(value)]


class Place(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    """A folder, a file or a URL: shells complete the first two."""

    name = "text"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        """Folders and files, by the shell itself."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


def path(ctx: click.Context) -> str:
    """A command as it is typed: the program, its areas, its verb."""
    names: list[str] = []
    at: click.Context | None = ctx
    while at is not None and at.parent is not None:
        names.append(at.info_name or "")
        at = at.parent
    return " ".join([PROGRAM, *reversed(names)])
