"""What goes wrong in a cell becomes its status, and the next cell is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bench.records.cell import Cell
from bench.records.status import Status
from bench.running.task import Outcome
from bench.running.worker import Worker

CellMaker = Callable[..., list[Cell]]
EditorFile = Callable[[str, str], Path]
Run = Callable[..., Outcome]


_BAD = {
    "in_place": """
        def edit(self, requests, *, memory, generator):
            self.lm.model.get_parameter(self.lm.matrices("default")[0].name).data.add_(1)
            return WeightEdit(changes={})
    """,
    "in_place_then_error": """
        def edit(self, requests, *, memory, generator):
            self.lm.model.get_parameter(self.lm.matrices("default")[0].name).data.add_(1)
            raise EditError("the request can not be installed.")
    """,
    "hook_then_error": """
        def edit(self, requests, *, memory, generator):
            self.lm.model.register_forward_pre_hook(lambda *_: 1 / 0)
            raise ValueError("no")
    """,
    "dtype": """
        def edit(self, requests, *, memory, generator):
            torch.set_default_dtype(torch.float64)
            return WeightEdit(changes={})
    """,
    "flags": """
        def edit(self, requests, *, memory, generator):
            self.lm.model.train()
            torch.set_grad_enabled(False)
            torch.manual_seed(0)
            return WeightEdit(changes={})
    """,
}


@pytest.mark.parametrize("name", list(_BAD))
def test_an_editor_that_damages_the_model_fails_and_the_next_cell_is_right(
    name: str, cells: CellMaker, run: Run, editor_file: EditorFile
) -> None:
    path = editor_file(name, _BAD[name])
    (bad,) = cells(methods=(name,), plugins=(path,))
    (good,) = cells()
    worker = Worker()

    failed = run(bad, worker=worker, plugins=(path,)).result
    after = run(good, worker=worker)

    assert failed.status == Status.FAILED
    assert failed.failure is not None
    assert failed.failure.traceback
    fresh = run(good).result
    assert after.result.status == fresh.status == Status.DONE
    pd.testing.assert_frame_equal(after.result.tables["answers"], fresh.tables["answers"], check_exact=True)


def test_an_editor_that_changes_the_model_is_told_what_to_do(
    cells: CellMaker, run: Run, editor_file: EditorFile
) -> None:
    path = editor_file("in_place", _BAD["in_place"])

    failure = run(cells(methods=("in_place",), plugins=(path,))[0], plugins=(path,)).result.failure

    assert failure is not None
    assert failure.phase == "check"
    assert failure.message == (
        "'in_place' changed the model's own weights. An editor must return its change and leave the model and the "
        "process as they are."
    )


@pytest.mark.parametrize(
    ("methods", "status", "phase", "message"),
    [
        (
            """
            def edit(self, requests, *, memory, generator):
                name = self.lm.matrices("default")[0].name
                delta = torch.full_like(self.lm.model.get_parameter(name), float("nan"))
                return WeightEdit(changes={name: Dense(delta)})
            """,
            Status.NAN,
            "edit",
            "the edit of request 'tiny/0400' holds NaN or infinity.",
        ),
        (
            """
            def edit(self, requests, *, memory, generator):
                path = self.lm.matrices("default")[-1].name.rpartition(".")[0]
                return ModuleEdit(patches={path: lambda output, _, rows: output * float("nan")})
            """,
            Status.NAN,
            "evaluate",
            "edit 'tiny/0400', probe 'request/0': the log-probability is NaN.",
        ),
        (
            """
            def edit(self, requests, *, memory, generator): return WeightEdit(changes={})
            def edit_each(self, groups, *, generators): return [WeightEdit(changes={})]
            """,
            Status.FAILED,
            "edit",
            "the editor gave 1 edits for 4 groups of requests.",
        ),
        (
            """
            @classmethod
            def prepare(cls, lm, config, data): raise KeyError("x")
            def edit(self, requests, *, memory, generator): ...
            """,
            Status.FAILED,
            "fit",
            "KeyError: 'x'",
        ),
        (
            "def edit(self, requests, *, memory, generator): raise EditError('no subject in the prompt.')",
            Status.FAILED,
            "edit",
            "no subject in the prompt.",
        ),
        (
            "def edit(self, requests, *, memory, generator): raise MemoryError",
            Status.OOM,
            "edit",
            "MemoryError",
        ),
        (
            "def edit(self, requests, *, memory, generator): raise SystemExit(3)",
            Status.FAILED,
            "edit",
            "SystemExit: 3",
        ),
        (
            "def edit(self, requests, *, memory, generator): return None",
            Status.FAILED,
            "edit",
            "the editor gave a NoneType where an Edit is expected.",
        ),
    ],
    ids=["nan edit", "nan answer", "wrong number", "prepare", "edit", "memory", "exit", "no edit"],
)
def test_what_goes_wrong_becomes_the_status_of_the_cell(
    methods: str, status: Status, phase: str, message: str, cells: CellMaker, run: Run, editor_file: EditorFile
) -> None:
    path = editor_file("bad", methods)

    result = run(cells(methods=("bad",), plugins=(path,))[0], plugins=(path,)).result

    assert result.failure is not None
    assert (result.status, result.failure.phase, result.failure.message) == (status, phase, message)
    assert len(result.tables["answers"]) == 0


def test_a_failed_cell_keeps_what_it_cost_until_then(cells: CellMaker, run: Run, editor_file: EditorFile) -> None:
    methods = """
        @classmethod
        def prepare(cls, lm, config, data): return State(values={"known": 1})
        def edit(self, requests, *, memory, generator): raise EditError('no.')
        """
    path = editor_file("bad", methods)

    outcome = run(cells(methods=("bad",), plugins=(path,))[0], plugins=(path,))

    assert set(outcome.result.tables["costs"]["phase"]) == {"load", "base", "fit"}


def test_a_model_that_an_editor_can_not_edit_is_skipped_with_its_reason(
    cells: CellMaker, run: Run, editor_file: EditorFile
) -> None:
    path = editor_file(
        "choosy",
        """
        @classmethod
        def unsupported(cls, architecture, config, *, at_once): return "it needs gated blocks"
        def edit(self, requests, *, memory, generator): ...
        """,
    )

    result = run(cells(methods=("choosy",), plugins=(path,))[0], plugins=(path,)).result

    assert (result.status, result.reason) == (Status.SKIPPED, "it needs gated blocks")


def test_a_model_that_changed_on_disk_is_refused(cells: CellMaker, run: Run) -> None:
    (cell,) = cells()

    failure = run(replace(cell, model_digest="another")).result.failure

    assert failure is not None
    assert failure.phase == "load"
    assert "changed on disk while the run was going on" in failure.message
