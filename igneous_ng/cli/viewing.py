"""The command that shows layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from igneous_ng.cli.commands import Command, Place
from igneous_ng.cli.fields import FieldType
from igneous_ng.stage import Layer


@click.command(cls=Command, example="./em ./seg --segments 17,42")
@click.argument("layers", nargs=-1, required=True, type=Place())
@click.option("--port", default=0, help="Port to serve on; by default any free one.")
@click.option("--segments", type=FieldType(tuple[int, ...]), default=(), help="Labels to select, 1,2,3.")
@click.option("--screenshot", type=click.Path(path_type=Path), help="Write a PNG and end (needs chromium).")
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to serve on. Any but this machine's own needs the token in the URL that is printed.",
)
@click.option("--cors", multiple=True, help="Let pages of this origin, https://NAME, read the layers.")
@click.option("--graph", "graphs", multiple=True, help="A graph, for /api/partners.")
@click.option("--remap", "remaps", multiple=True, help="A table of labels, for /api/supervoxel: a file, or a folder.")
def view(layers: tuple[str, ...], segments: tuple[int, ...], browser: bool, **options: Any) -> None:
    """Show LAYERS in Neuroglancer, served from this machine without internet.

    Programs may ask at /api/layers, segment, supervoxel, partners and cutout: see docs/design/005-viewer.md.
    """
    from igneous_ng.viewer.view import view as show

    urls = [str(Layer.parse(layer)) for layer in layers]
    for name in ("graphs", "remaps"):
        options[name] = [str(Layer.parse(url)) for url in options[name]]
    opened = browser and options["screenshot"] is None
    options["cors"] = tuple(options["cors"])
    show(urls, segments=tuple(segments), open_browser=opened, announce=click.echo, **options)
