"""The command that lets shells complete commands, options and paths: completion."""

from __future__ import annotations

import click

from igneous_ng.cli.commands import PROGRAM, Choice, Command

_VARIABLE = "_IGNEOUS_NG_COMPLETE"  # click looks for it when the program starts


@click.command(cls=Command, example="bash > ~/.local/share/bash-completion/completions/igneous-ng")
@click.argument("shell", type=Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Write the script by which SHELL completes commands, options and paths.

    \b
    bash  as in the example, with the package bash-completion; or: eval "$(igneous-ng completion bash)" in ~/.bashrc
    zsh   eval "$(igneous-ng completion zsh)" in ~/.zshrc, behind compinit
    fish  igneous-ng completion fish > ~/.config/fish/completions/igneous-ng.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(ctx.find_root().command, {}, PROGRAM, _VARIABLE).source())
