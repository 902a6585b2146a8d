"""`bench models`: import models, and build the embedded ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import Plugins, Settings, output

__all__ = ["models_app"]

models_app = typer.Typer(help="Import models, and build the embedded ones.", no_args_is_help=True)


@models_app.command("build", epilog="Example:  bench models build facts-gpt2-1m --out models")
def build_models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Embedded models; all of them by default.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder that gets one folder a model.")] = Path("models"),
    dataset: Annotated[str, typer.Option(help="Dataset with the facts and texts to train on.")] = "facts",
    seed: Annotated[int, typer.Option(help="Fixes every random choice.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    """Train embedded models anew from the embedded facts, on the CPU."""
    from bench.commands.build import build

    build(tuple(names or ()), out, dataset, seed=seed, threads=threads, console=output(is_stderr=True))


@models_app.command("import", epilog="Example:  bench models import smollm2-135m")
def import_models(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|FOLDER|NAME",
            help="A GGUF file, a folder with a transformers model or one GGUF file, or a packaged model by its name: "
            "smollm2-135m, all-minilm-l6-v2.",
        ),
    ],
    name: Annotated[str, typer.Option(help="What to ask for it by; by default as the file or folder is called.")] = "",
    allow_pickle: Annotated[
        bool,
        typer.Option("--allow-pickle", help="Read a pickle where there are no safetensors: it could run anything."),
    ] = False,
) -> None:
    """Store a model as a plain safetensors folder, once, where `--models NAME` finds it.

    It goes into the folder that BENCH_MODELS names, or into the user's data folder.
    """
    from bench.commands.models import import_

    print(import_(source, name, reads_pickle=allow_pickle), end="")


@models_app.command("classifier", epilog="Example:  bench models classifier all-minilm-l6-v2 minilm-fever")
def make_classifier(
    base: Annotated[str, typer.Argument(metavar="BASE", help="An encoder: an imported name, a folder or a hub id.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to ask for the classifier by.")],
    dataset: Annotated[str, typer.Option(help="One with claims for classifiers.")] = "fever",
    settings: Settings = None,
    steps: Annotated[int, typer.Option(help="Steps of the optimiser.")] = 1000,
    batch: Annotated[int, typer.Option(help="Claims a step.")] = 32,
    lr: Annotated[float, typer.Option(help="Highest step size.")] = 5e-5,
    seed: Annotated[int, typer.Option(help="Fixes every random choice.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    plugin: Plugins = None,
) -> None:
    """Fine-tune an encoder on the claims of a dataset's fit split, and store it where `--models NAME` finds it."""
    from bench.building.classifier import ClassifierSettings
    from bench.commands import models

    chosen = ClassifierSettings(steps=steps, batch=batch, lr=lr, seed=seed)
    console = output(is_stderr=True)
    made = models.classifier(base, name, dataset, tuple(settings or ()), tuple(plugin or ()), chosen, threads, console)
    print(made, end="")
