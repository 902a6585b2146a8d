"""`bench datasets`: look at datasets, and sample edits for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import AsJson, Plugins, Settings, check_choice

__all__ = ["datasets_app"]

datasets_app = typer.Typer(help="Look at datasets, and sample edits for them.", no_args_is_help=True)


@datasets_app.command("show", epilog="Example:  bench datasets show zsre --set zsre.path=zsre_mend_eval.json")
def show_dataset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset; `bench list datasets` shows all.")],
    settings: Settings = None,
    kind: Annotated[str, typer.Option(help="Of model: causal, seq2seq or classifier; the dataset's first.")] = "",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show what a dataset makes of its files: its card, the cases of each split, and what was left out and why."""
    from bench.commands import datasets

    check_choice("--kind", kind, ("", "causal", "seq2seq", "classifier"))
    print(datasets.show(name, tuple(settings or ()), kind, tuple(plugin or ()), as_json=as_json), end="")


@datasets_app.command(
    "sample",
    epilog="Example:  bench datasets sample distilgpt2 edits.jsonl --set wikitext.path=wiki.valid.tokens",
)
def sample_edits(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A causal model: embedded name, folder or hub id.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, JSON Lines.")],
    dataset: Annotated[str, typer.Option(help="One that has passages.")] = "wikitext",
    settings: Settings = None,
    edits: Annotated[int, typer.Option(help="How many at most.")] = 2000,
    tokens: Annotated[int, typer.Option(help="Of a continuation; 10 in the MEND paper.")] = 10,
    unlikely: Annotated[
        int, typer.Option(help="How many of these must not be the model's first choice; draws with fewer are repeated.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
) -> None:
    """Sample edits from a model: how it might go on behind the beginnings of passages."""
    from bench.commands import datasets

    text = datasets.sample_edits(
        model, file, dataset, tuple(settings or ()), edits=edits, tokens=tokens, unlikely=unlikely, seed=seed
    )
    print(text, end="")
