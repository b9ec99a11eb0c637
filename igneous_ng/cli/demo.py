"""The command that shows all of it: demo."""

from __future__ import annotations

from pathlib import Path

import click

from igneous_ng.cli.commands import Choice, Command

_SIZES = ("normal", "small")


@click.command(cls=Command, example="./demo")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo"))
@click.option("--size", type=Choice(_SIZES), default="normal", show_default=True, help="How much tissue.")
@click.option("-p", "--processes", type=click.IntRange(1), default=2, show_default=True, help="Worker processes.")
@click.pass_context
def demo(ctx: click.Context, folder: Path, size: str, processes: int) -> None:
    """Go the whole way on synthetic tissue, from raw tiles to a graph, and measure each layer against the truth.

    All is written into FOLDER: PIPELINE.toml, which is carried out by workers on a queue, its layers, and report.html.
    Stopped or killed, the same command goes on where it was. Exit status 1 where a layer is below its floor.
    """
    from igneous_ng.demo import whole
    from igneous_ng.demo.course import Course

    if wrong := whole.carried_out(Course(folder.absolute(), size, processes), click.echo):
        for one in wrong:
            click.echo(f"Error: {one}", err=True)
        ctx.exit(1)
