"""The command `bench`. Each verb imports what it needs when it is called, so that `--help` is quick."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import bench
from bench.errors import BenchError, ConfigError, nearest

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["app", "main"]

app = typer.Typer(
    name="bench",
    help="Run editors of language models under one protocol: what an edit changed, broke and cost.",
    epilog="Start with:  bench run --methods mend,ke",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="Import models, and build the embedded ones.", no_args_is_help=True)
app.add_typer(models_app, name="models")
editors_app = typer.Typer(
    help="Hand fitted editors on, so that nobody fits twice: export one here, import it there; "
    "the same `bench run` then finds it and fits nothing.",
    no_args_is_help=True,
)
app.add_typer(editors_app, name="editors")
datasets_app = typer.Typer(help="Look at datasets, and sample edits for them.", no_args_is_help=True)
app.add_typer(datasets_app, name="datasets")

Results = Annotated[Path, typer.Option("--results", envvar="BENCH_RESULTS", help="Folder of all runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


_LISTS = ("methods", "models", "datasets", "metrics")
_FORMATS = ("text", "csv", "json", "md", "latex")


def main() -> None:
    """Run the command; an error of ours is one sentence on stderr and exit code 2."""
    try:
        try:
            app(prog_name="bench")
        finally:
            sys.stdout.flush()  # while a reader that has gone can still be told from a fault
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # the reader of a pipe has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _version(is_asked: bool) -> None:
    if is_asked:
        print(f"editbench {bench.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


@app.command(
    # \b keeps the lines as they are
    epilog="\b\nSeveral configurations side by side; the quotes keep brackets from the shell:"
    "\n  bench run --methods 'mend[rank=64,steps=300],mend,ft[kl=true]' --set mend.lr=1e-3"
    "\nExample:  bench run --methods mend,ft --edits 100 --seeds 3 --set ft.lr=1e-4"
)
def run(
    methods: Annotated[
        str,
        typer.Option(
            help="Methods, separated by commas, each perhaps with fields: NAME[FIELD=VALUE,preset=VALUE]; "
            "`bench list methods` shows all."
        ),
    ],
    models: Annotated[
        str,
        typer.Option(
            help="Models, separated by commas: names of `bench list models`, folders, hub ids (ID@REVISION pins one), "
            "random:SHAPE for costs only."
        ),
    ] = "facts-gpt2-3m",
    datasets: Annotated[str, typer.Option(help="Datasets, separated by commas.")] = "facts",
    modes: Annotated[
        str,
        typer.Option(
            "--mode",
            help="Modes, separated by commas: single, each request edited alone; batch:n, n requests installed by one "
            "edit, for which learned editors are fitted, too.",
        ),
    ] = "single",
    edits: Annotated[int, typer.Option(help="Test edits a cell; a multiple of n in mode batch:n.")] = 200,
    seeds: Annotated[int, typer.Option(help="Fits of each method, with the seeds 0, 1, …")] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="NAME.FIELD=VALUE, or NAME.preset=VALUE, wherever brackets do not say otherwise; may be repeated.",
        ),
    ] = None,
    known_only: Annotated[
        bool, typer.Option("--known-only", help="Edit only cases that the unedited model gets right.")
    ] = False,
    chat: Annotated[bool, typer.Option("--chat", help="Put prompts into the model's chat template.")] = False,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, or mps (unproven); auto takes a CUDA GPU if there is one.")
    ] = "auto",
    dtype: Annotated[
        str, typer.Option(help="Of the weights: fp32, bf16, fp16, or auto, as each model's are stored.")
    ] = "fp32",
    gpus_per_cell: Annotated[
        int, typer.Option(help="GPUs that hold one model together (unproven, needs accelerate).")
    ] = 1,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that a model brings with it.")
    ] = False,
    allow_pickle: Annotated[
        bool,
        typer.Option("--allow-pickle", help="Read a pickle where a model has no safetensors: it could run anything."),
    ] = False,
    application: Annotated[
        str, typer.Option(help="factored: edits are applied beside the weights; written: into them.")
    ] = "factored",
    name: Annotated[str, typer.Option("--run", help="Name of the run; by default the date and the datasets.")] = "",
    results: Results = Path("results"),
    plugin: Annotated[list[Path] | None, typer.Option(help="A file with a method or dataset; may be repeated.")] = None,
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 1,
    threads: Annotated[
        int, typer.Option(help="CPU threads of each worker, part of a cell's identity; 0: all cores.")
    ] = 0,
    checkpoint_minutes: Annotated[
        float, typer.Option(help="Minutes between two checkpoints of a fit; 0: after every step.")
    ] = 5.0,
    in_process: Annotated[bool, typer.Option("--in-process", help="No worker processes, for debugging.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Compute cells that failed again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Edit, score and time: every method on every model and dataset. Finished cells are not computed again."""
    from bench.commands.run import RunOptions, execute
    from bench.running.specs import split_specs

    options = RunOptions(
        methods=split_specs(methods),
        models=_names(models),
        datasets=_names(datasets),
        modes=_names(modes),
        edits=edits,
        seeds=seeds,
        sets=tuple(settings or ()),
        device=device,
        dtype=dtype,
        application=application,
        name=name,
        results=results,
        plugins=tuple(plugin or ()),
        workers=workers,
        threads=threads,
        checkpoint_minutes=checkpoint_minutes,
        known_only=known_only,
        chat=chat,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
        gpus_per_cell=gpus_per_cell,
        is_in_process=in_process,
        retries_failed=retry_failed,
        is_dry=dry_run,
        is_json=as_json,
    )
    raise typer.Exit(execute(options))


@app.command("list", epilog="Example:  bench list methods --json")
def list_(
    what: Annotated[str, typer.Argument(metavar="|".join(_LISTS), help="What to list.")],
    check: Annotated[bool, typer.Option("--check", help="Import each method or dataset, too.")] = False,
    plugin: Annotated[list[Path] | None, typer.Option(help="A file with a method or dataset; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what there is: methods, models, datasets or metrics."""
    from bench.commands.listing import listing

    _check("WHAT", what, _LISTS)
    print(listing(what, _console(), is_checked=check, plugins=tuple(plugin or ()), as_json=as_json), end="")


@app.command(epilog="Example:  bench table 2026-11-23-facts --format md --metrics success,drawdown")
def table(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Name or folder of a run.")],
    format_: Annotated[str, typer.Option("--format", help=f"How to print: {', '.join(_FORMATS)}.")] = "text",
    metrics: Annotated[str, typer.Option(help="Metrics, separated by commas; `bench list metrics` shows all.")] = "",
    results: Results = Path("results"),
) -> None:
    """Print the summary of a run.

    csv and json give every metric, one row each.
    """
    from bench.commands.results import print_table

    _check("--format", format_, _FORMATS)
    print_table(_run_folder(name, results), format_, _names(metrics), _console())


@app.command(epilog="Example:  bench plot 2026-11-23-facts --x locality_kl --y success")
def plot(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Name or folder of a run.")],
    x: Annotated[str, typer.Option(help="Metric of the horizontal axis.")] = "drawdown",
    y: Annotated[str, typer.Option(help="Metric of the vertical axis.")] = "success",
    results: Results = Path("results"),
) -> None:
    """Draw the trade-off of two metrics.

    It gives a PNG, an SVG, and a CSV with the numbers.
    """
    from bench.commands.results import draw

    for path in draw(_run_folder(name, results), x, y):
        print(path)


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

    build(tuple(names or ()), out, dataset, seed=seed, threads=threads, console=_console(is_stderr=True))


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
    settings: Annotated[list[str] | None, typer.Option("--set", help="NAME.FIELD=VALUE; may be repeated.")] = None,
    steps: Annotated[int, typer.Option(help="Steps of the optimiser.")] = 1000,
    batch: Annotated[int, typer.Option(help="Claims a step.")] = 32,
    lr: Annotated[float, typer.Option(help="Highest step size.")] = 5e-5,
    seed: Annotated[int, typer.Option(help="Fixes every random choice.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    plugin: Annotated[list[Path] | None, typer.Option(help="A file with a dataset; may be repeated.")] = None,
) -> None:
    """Fine-tune an encoder on the claims of a dataset's fit split, and store it where `--models NAME` finds it."""
    from bench.building.classifier import ClassifierSettings
    from bench.commands import models

    chosen = ClassifierSettings(steps=steps, batch=batch, lr=lr, seed=seed)
    console = _console(is_stderr=True)
    made = models.classifier(base, name, dataset, tuple(settings or ()), tuple(plugin or ()), chosen, threads, console)
    print(made, end="")


@editors_app.command("list", epilog="Example:  bench editors list --json")
def list_editors(results: Results = Path("results"), as_json: AsJson = False) -> None:
    """List the fitted editors, and the fits that were interrupted."""
    from bench.commands import editors

    print(editors.list_editors(results, as_json=as_json), end="")


@editors_app.command("export", epilog="Example:  bench editors export 2026-11-23-facts mend.safetensors")
def export_editor(
    name: Annotated[
        str, typer.Argument(metavar="RUN|KEY", help="A run with one fitted editor, or a key of `bench editors list`.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    results: Results = Path("results"),
) -> None:
    """Write a fitted editor into one file, with its card, its log, its cost and a digest."""
    from bench.commands import editors

    print(editors.export_editor(name, _run_folder(name, results), file, results), end="")


@editors_app.command("import", epilog="Example:  bench editors import mend.safetensors")
def import_editor(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written by `bench editors export`.")],
    results: Results = Path("results"),
) -> None:
    """Store an exported editor where `bench run` finds it, and print the run that does."""
    from bench.commands import editors

    print(editors.import_editor(file, results), end="")


@datasets_app.command("show", epilog="Example:  bench datasets show zsre --set zsre.path=zsre_mend_eval.json")
def show_dataset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset; `bench list datasets` shows all.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="NAME.FIELD=VALUE; may be repeated.")] = None,
    kind: Annotated[str, typer.Option(help="Of model: causal, seq2seq or classifier; the dataset's first.")] = "",
    plugin: Annotated[list[Path] | None, typer.Option(help="A file with a dataset; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a dataset makes of its files: its card, the cases of each split, and what was left out and why."""
    from bench.commands import datasets

    _check("--kind", kind, ("", "causal", "seq2seq", "classifier"))
    print(datasets.show(name, tuple(settings or ()), kind, tuple(plugin or ()), as_json=as_json), end="")


@datasets_app.command(
    "sample",
    epilog="Example:  bench datasets sample distilgpt2 edits.jsonl --set wikitext.path=wiki.valid.tokens",
)
def sample_edits(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A causal model: embedded name, folder or hub id.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, JSON Lines.")],
    dataset: Annotated[str, typer.Option(help="One that has passages.")] = "wikitext",
    settings: Annotated[list[str] | None, typer.Option("--set", help="NAME.FIELD=VALUE; may be repeated.")] = None,
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


def _check(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{option} is {value!r}; it can be {', '.join(known)}.{nearest(value, known)}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _run_folder(name: str, results: Path) -> Path:
    """Give the folder of a run by its name, or by a path to it."""
    folder = Path(name).expanduser()
    return folder if folder.is_dir() and (folder / "cells").is_dir() else results / name


def _console(*, is_stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=is_stderr, highlight=False)
