"""`bench models`: import models, and build the embedded ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import Plugins, Settings, check_choice, names, output

if TYPE_CHECKING:
    from bench.commands.models import Further

__all__ = ["models_app"]

# Devlin et al. 2019 (arXiv:1810.04805), appendix A.3: 5e-5, 3e-5 or 2e-5, with batches of 16 or 32
_BERT_LR = 5e-5

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
    lr: Annotated[float, typer.Option(help="Highest step size.")] = _BERT_LR,
    seed: Annotated[int, typer.Option(help="Fixes every random choice.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    plugin: Plugins = None,
) -> None:
    """Fine-tune an encoder on the claims of a dataset's fit split, and store it where `--models NAME` finds it."""
    from bench.commands import models

    further = _further(dataset, settings, ("fit",), plugin, steps=steps, batch=batch, lr=lr, seed=seed, threads=threads)
    print(models.classifier(base, name, further, output(is_stderr=True)), end="")


@models_app.command("finetune", epilog="Example:  bench models finetune facts-t5-4m mine --set zsre.path=zsre.json")
def fine_tune(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A model that answers: a name, a folder or a hub id.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to ask for the new model by.")],
    dataset: Annotated[str, typer.Option(help="One with locality probes: questions with their true answers.")] = "zsre",
    settings: Settings = None,
    splits: Annotated[str, typer.Option(help="Whose questions it learns: fit, tune, test.")] = "fit",
    steps: Annotated[int, typer.Option(help="Steps of the optimiser.")] = 1000,
    batch: Annotated[int, typer.Option(help="Questions a step.")] = 32,
    lr: Annotated[float, typer.Option(help="Highest step size.")] = 5e-4,
    seed: Annotated[int, typer.Option(help="Fixes every random choice.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    plugin: Plugins = None,
) -> None:
    """Train all weights of a model further on a dataset's questions, and store it where `--models NAME` finds it.

    The questions are the locality probes. With `--splits fit,tune,test` it knows those that it is asked after an edit.
    """
    from bench.commands import models

    chosen = names(splits)
    for split in chosen or ("",):
        check_choice("--splits", split, ("fit", "tune", "test"))
    further = _further(dataset, settings, chosen, plugin, steps=steps, batch=batch, lr=lr, seed=seed, threads=threads)
    print(models.finetune(base, name, further, output(is_stderr=True)), end="")


def _further(
    dataset: str,
    sets: list[str] | None,
    splits: tuple[str, ...],
    plugins: list[Path] | None,
    *,
    threads: int,
    **settings: Any,
) -> Further:
    from bench.building.finetuning import TrainingSettings
    from bench.commands.models import Further

    return Further(
        dataset=dataset,
        sets=tuple(sets or ()),
        splits=splits,
        plugins=tuple(plugins or ()),
        settings=TrainingSettings(**settings),
        threads=threads,
    )
