"""`bench run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.options import AsJson, Plugins, Results, names

__all__ = ["run_app"]

run_app = typer.Typer()

_FIELDS = {  # of RunOptions, where they are called otherwise than the parameter
    "settings": "sets",
    "plugin": "plugins",
    "dtype": "dtypes",
}

_EPILOG = (  # \b keeps the lines as they are
    "\b\nSeveral configurations side by side; the quotes keep brackets from the shell:"
    "\n  bench run --methods 'mend[rank=64,steps=300],mend,ft[kl=true]' --set mend.lr=1e-3"
    "\nThe same sweep again, on two models:  bench run results/2026-11-23-facts/sweep.toml --models facts-gpt2-1m,gpt2"
    "\nA thousand edits, each kept:  bench run --methods mend,ft,none --edits 1000 --mode sequential:1000:every100"
    "\nExample:  bench run --methods mend,ft --edits 100 --seeds 3 --set ft.lr=1e-4"
)


@run_app.command(epilog=_EPILOG)
def run(
    ctx: typer.Context,
    sweep_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[SWEEP.TOML]", help="A sweep file: options by their names, as every run writes; flags win."
        ),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            help="Methods, separated by commas, each perhaps with fields: NAME[FIELD=VALUE,preset=VALUE]; "
            "`bench list methods` shows all."
        ),
    ] = "",
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
            "edit, for which learned editors are fitted, too; sequential:n, n edits made one after the other and kept, "
            "the model looked at after 1, 10, 100, … of them, and each k-th with sequential:n:every k (no shell needs "
            "quotes without that space).",
        ),
    ] = "single",
    edits: Annotated[int, typer.Option(help="Test edits a cell; a multiple of n in the modes of n.")] = 200,
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
        str, typer.Option(help="auto, cpu, cuda, or mps (unproven); auto takes a CUDA GPU if this machine has one.")
    ] = "auto",
    dtype: Annotated[
        str,
        typer.Option(help="Of the weights, separated by commas: fp32, bf16, fp16, or auto: as each model has them."),
    ] = "fp32",
    gpus_per_cell: Annotated[
        float,
        typer.Option(
            help="GPUs that hold one model together (unproven, needs accelerate); with --engine ray also a fraction: "
            "at 0.5 two cells share a GPU, its memory and its time, so that their seconds are no costs to compare."
        ),
    ] = 1.0,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that a model brings with it.")
    ] = False,
    allow_pickle: Annotated[
        bool,
        typer.Option("--allow-pickle", help="Read a pickle where a model has no safetensors: it could run anything."),
    ] = False,
    application: Annotated[
        str,
        typer.Option(
            help="factored: edits are applied beside the weights; written: into them; auto: written in sequential "
            "mode, otherwise factored."
        ),
    ] = "auto",
    name: Annotated[str, typer.Option("--run", help="Name of the run; by default the date and the datasets.")] = "",
    results: Results = Path("results"),
    plugin: Plugins = None,
    workers: Annotated[
        int,
        typer.Option(
            help="Worker processes; 0: one a GPU (see --gpus-per-cell), or one on the CPU; with Ray, as many as its "
            "cluster has room for."
        ),
    ] = 0,
    devices: Annotated[
        str, typer.Option(help="Numbers of the GPUs to use, separated by commas, dealt out to the workers; empty: all.")
    ] = "",
    threads: Annotated[
        int, typer.Option(help="CPU threads of each worker, part of a cell's identity; 0: all cores.")
    ] = 0,
    checkpoint_minutes: Annotated[
        float, typer.Option(help="Minutes between two checkpoints of a fit; 0: after every step.")
    ] = 5.0,
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds of wall-clock time after which a cell is ended, loading its model included."),
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first cell that fails.")] = False,
    engine: Annotated[
        str,
        typer.Option(
            help="local: workers on this machine; ray: on a Ray cluster (needs editbench[ray]), a cell with --threads "
            "CPUs, or with a CPU and --gpus-per-cell GPUs."
        ),
    ] = "local",
    address: Annotated[
        str,
        typer.Option(
            help="Of the Ray cluster: auto, if this machine belongs to it, or HOST:PORT of its head; empty: a Ray of "
            "this run's own on this machine."
        ),
    ] = "",
    in_process: Annotated[bool, typer.Option("--in-process", help="No worker processes, for debugging.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Compute cells that failed again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Edit, score and time: every method on every model and dataset. Finished cells are not computed again."""
    from bench.commands.run import RunOptions, execute
    from bench.running.specs import split_specs

    stated: dict[str, Any] = dict(
        methods=split_specs(methods),
        models=names(models),
        datasets=names(datasets),
        modes=names(modes),
        edits=edits,
        seeds=seeds,
        sets=tuple(settings or ()),
        device=device,
        dtypes=names(dtype),
        application=application,
        name=name,
        results=results,
        plugins=tuple(plugin or ()),
        workers=workers,
        devices=names(devices),
        threads=threads,
        timeout=timeout,
        fail_fast=fail_fast,
        checkpoint_minutes=checkpoint_minutes,
        known_only=known_only,
        chat=chat,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
        gpus_per_cell=gpus_per_cell,
        engine=engine,
        address=address,
        is_in_process=in_process,
        retries_failed=retry_failed,
        is_dry=dry_run,
        is_json=as_json,
    )
    if sweep_file is not None:
        stated = _over_file(sweep_file, stated, ctx)
    raise typer.Exit(execute(RunOptions(**stated)))


def _over_file(path: Path, stated: dict[str, Any], ctx: typer.Context) -> dict[str, Any]:
    """Give what a sweep file says, and over it what was said on the command line."""
    from bench.commands.sweep_file import read_sweep_file

    given = {
        _FIELDS.get(name, name)
        for name in ctx.params
        if name != "sweep_file" and (source := ctx.get_parameter_source(name)) and source.name == "COMMANDLINE"
    }
    filed = read_sweep_file(path, trusted=frozenset(given))
    for field in ("sets", "plugins"):  # the later one of two settings wins
        stated[field] = (*filed.get(field, ()), *stated[field])
    return stated | {field: value for field, value in filed.items() if field not in given | {"sets", "plugins"}}
