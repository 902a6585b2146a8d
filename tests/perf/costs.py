"""Measures what editors cost, beside a plain implementation, and writes a table.

    python tests/perf/costs.py --shapes distilgpt2,bart-base --out results/reference/cpu_costs.csv
    python tests/perf/costs.py --device cuda --shapes gpt2-xl,gpt-j-6b,t5-xl --precisions bf16,fp32 --out gpu_costs.csv

Each line is measured in a process of its own, on one CPU thread. Seconds are those of the CPU, or of the wall on a GPU
that is synchronised. Beside them stand the multiplications that the step is made of, as torch counts them, and the rate
at which the same process multiplied square float32 matrices: what is above their quotient is not arithmetic.
"""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import transformers
import typer
from plain import Case, Plain, fine_tune, plain_for
from subjects import VALUES, batch_of, cases, make_editor, precision, single_thread
from torch.utils.flop_counter import FlopCounterMode

from bench.editing.editor import Editor
from bench.models.loading import load_model

__all__ = ["OURS", "PLAIN", "actions"]

OURS, PLAIN = "harness", "plain"
Action = Callable[[], object]


def actions(editor: Editor[Any], drawn: list[Case], implementation: str, *, name: str, kind: str) -> dict[str, Action]:
    """Give what can be timed of an editor: a step of its fit and its edits, or steps of fine-tuning; for all cases.

    Args:
        editor: unfitted.
        drawn: the cases of a batch.
        implementation: OURS or PLAIN.
        name: bf16 for autocast, or fp32.
        kind: of device.
    """
    if editor.name == "ft":
        return {"step": _fine_tuning(editor, drawn, implementation, name=name, kind=kind)}
    optimiser = editor.optimiser(editor.outer_parameters())  # type: ignore[attr-defined]
    groups = [[case.request] for case in drawn]
    generators = [torch.Generator() for _ in drawn]
    if implementation == PLAIN:
        plain: Plain = plain_for(editor)
        return {
            "fit step": lambda: plain.step(drawn, optimiser),
            "edit": lambda: [plain.edit(case.request) for case in drawn],
        }

    def fit_step() -> None:
        optimiser.zero_grad()
        with precision(name, kind):
            loss = editor.loss(batch_of(drawn), is_training=True)  # type: ignore[attr-defined]
        loss.total.backward()
        optimiser.step()

    def edit() -> None:
        with precision(name, kind):
            editor.edit_each(groups, generators=generators)

    return {"fit step": fit_step, "edit": edit}


def _fine_tuning(editor: Editor[Any], drawn: list[Case], implementation: str, *, name: str, kind: str) -> Action:
    if implementation == PLAIN:
        return lambda: [fine_tune(editor, case, editor.config.steps) for case in drawn]
    groups = [[case.request] for case in drawn]

    def edit() -> None:
        with precision(name, kind):
            editor.edit_each(groups, generators=[torch.Generator().manual_seed(i) for i in range(len(drawn))])

    return edit


def _seconds(action: Action, rounds: int, device: torch.device) -> float:
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    taken = []
    for _ in range(rounds):
        _wait(device)
        start = clock()
        action()
        _wait(device)
        taken.append(clock() - start)
    return sorted(taken)[len(taken) // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _rate(device: torch.device) -> float:
    """Give the GFLOP/s of square float32 matrices."""
    a = torch.randn(2048, 2048, device=device)
    return 2 * 2048**3 / _seconds(lambda: a @ a, 5, device) / 1e9


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux


def _measure(shape: str, method: str, implementation: str, name: str, edits: int, device: str) -> list[dict[str, Any]]:
    where = torch.device(device)
    with single_thread():
        lm = load_model(f"random:{shape}", device=device)
        drawn = cases(lm, edits)
        editor = make_editor(lm, method, drawn)
        before = _peak(where)
        rows = []
        for what, action in actions(editor, drawn, implementation, name=name, kind=where.type).items():
            steps = editor.config.steps if what == "step" else 1
            if where.type == "cuda":
                torch.cuda.reset_peak_memory_stats(where)
            with FlopCounterMode(display=False) as counter:
                action()  # its time does not count: it allocates, and fills caches
            seconds = _seconds(action, 3, where) / edits / steps
            rows.append(
                {
                    "shape": shape,
                    "method": method,
                    "what": what,
                    "implementation": implementation,
                    "precision": name,
                    "edits": edits,
                    "seconds": round(seconds, 5),
                    "gigaflop": round(counter.get_total_flops() / edits / steps / 1e9, 3),
                    # a process's peak never falls: on a CPU it is told of the first thing that it does
                    "peak_memory_bytes": _peak(where) if where.type == "cuda" or not rows else None,
                    "model_memory_bytes": before,
                    "gflops": round(_rate(where), 1),
                }
            )
    return rows


def _in_a_process(arguments: list[str]) -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, __file__, "--one", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed"])[-1]
        typer.echo(f"{' '.join(arguments)}: {last}", err=True)
        return []
    rows: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return rows


def main(  # options of a command
    shapes: str = "distilgpt2,bart-base",
    methods: str = ",".join(VALUES),
    implementations: str = f"{OURS},{PLAIN}",
    precisions: str = "fp32,bf16",
    edits: str = "16",
    device: str = "cpu",
    out: Path | None = None,
    one: Annotated[bool, typer.Option("--one", hidden=True)] = False,
) -> None:
    """Measure each combination, print a line each and write the table."""
    if one:
        print(json.dumps(_measure(shapes, methods, implementations, precisions, int(edits), device)))
        return
    rows = []
    for shape in shapes.split(","):
        for method in methods.split(","):
            for implementation in implementations.split(","):
                # plain code is measured in float32 and, since it makes one edit after another, on few of them
                for name in precisions.split(",") if implementation == OURS else ["fp32"]:
                    for count in edits.split(",") if implementation == OURS else ["2"]:
                        options = {"shapes": shape, "methods": method, "implementations": implementation}
                        options |= {"precisions": name, "edits": count, "device": device}
                        found = _in_a_process([part for key, value in options.items() for part in (f"--{key}", value)])
                        for row in found:
                            typer.echo("  ".join(str(value) for value in row.values()))
                        rows += found
    table = pd.DataFrame(rows)
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    table["device"], table["torch"], table["transformers"] = name, torch.__version__, transformers.__version__
    if out is not None:
        table.to_csv(out, index=False)


if __name__ == "__main__":
    typer.run(main)
