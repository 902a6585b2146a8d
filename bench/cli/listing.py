"""`bench list`."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.options import AsJson, Plugins, check_choice, output

__all__ = ["list_app"]

list_app = typer.Typer()

_LISTS = ("methods", "models", "datasets", "metrics")


@list_app.command("list", epilog="Example:  bench list methods --json")
def list_(
    what: Annotated[str, typer.Argument(metavar="|".join(_LISTS), help="What to list.")],
    check: Annotated[bool, typer.Option("--check", help="Import each method or dataset, too.")] = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List what there is: methods, models, datasets or metrics."""
    from bench.commands.listing import listing

    check_choice("WHAT", what, _LISTS)
    print(listing(what, output(), is_checked=check, plugins=tuple(plugin or ()), as_json=as_json), end="")
