"""One cell, from its model's folder to its tables, for every registered method."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch

from bench import registry
from bench.editing.editor import Editor
from bench.models.encoding import Batch, Encoded
from bench.models.language_model import LanguageModel
from bench.records.cell import Cell
from bench.records.schema import Phase
from bench.records.status import Status
from bench.running.task import Outcome, Progress
from bench.running.worker import Worker

METHODS = [name for name, plugin in registry.plugins("methods").items() if not plugin.problem]
CellMaker = Callable[..., list[Cell]]
EditorFile = Callable[[str, str], Path]

_RANDOM = """
def edit(self, requests, *, memory, generator):
    matrix = self.lm.matrices("default")[-1]
    left = torch.randn(matrix.in_features, 2, generator=generator) * 0.3
    right = torch.randn(2, matrix.out_features, generator=generator) * 0.3
    return WeightEdit(changes={matrix.name: LowRank(left, right)})
"""


Run = Callable[..., Outcome]


def answers(outcome: Outcome, phase: Phase | None = None) -> pd.DataFrame:
    assert outcome.result.status == Status.DONE, outcome.result.failure
    table = outcome.result.tables["answers"]
    return table if phase is None else table[table["phase"] == phase].reset_index(drop=True)


def costs(outcome: Outcome, phase: str, measure: str) -> pd.DataFrame:
    table = outcome.result.tables["costs"]
    return table[(table["phase"] == phase) & (table["measure"] == measure)].reset_index(drop=True)


def metric(outcome: Outcome, name: str) -> float:
    table = outcome.result.tables["summary"].set_index("metric")
    return float(table.loc[name, "mean"])


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_cell_of_every_method_is_whole_and_the_same_twice(method: str, cells: CellMaker, run: Run) -> None:
    (cell,) = cells(methods=(method,))
    (control,) = cells()
    worker = Worker()
    unedited = run(control, worker=worker)

    fresh = run(cell, worker=worker)
    again = run(cell)
    cached = run(cell, fitted=fresh.fitted)

    _check_phases(fresh, registry.load("methods", method))
    pd.testing.assert_frame_equal(answers(fresh, Phase.ORIGINAL), answers(unedited, Phase.ORIGINAL), check_exact=True)
    pd.testing.assert_frame_equal(answers(fresh), answers(again), check_exact=True)
    pd.testing.assert_frame_equal(answers(fresh), answers(cached), check_exact=True)
    if fresh.fitted is not None:
        assert costs(cached, "fit", "seconds")["cached"].all()
        for measure in ("seconds", "cpu_seconds", "peak_memory_bytes", "state_bytes"):
            assert costs(cached, "fit", measure)["value"].tolist() == costs(fresh, "fit", measure)["value"].tolist()
        assert cached.fitted is None


def _check_phases(outcome: Outcome, cls: type[Editor[object]]) -> None:
    table = answers(outcome)
    probes = len(table[["edit_id", "probe_id"]].drop_duplicates())
    counts = table["phase"].value_counts().to_dict()
    assert counts.pop(Phase.ORIGINAL) == counts.pop(Phase.EDITED) == probes == 4 * 6
    has_base_change = cls.base_change is not Editor.base_change
    assert counts == ({Phase.BASE: probes} if has_base_change else {})


def test_a_control_draws_nothing_down(cells: CellMaker, run: Run) -> None:
    controls = [name for name in METHODS if registry.load("methods", name).is_control]
    found = {
        name: {m: metric(outcome, m) for m in ("drawdown", "drawdown_perplexity", "base_drawdown")}
        for name, outcome in ((name, run(cells(methods=(name,))[0])) for name in controls)
    }

    assert found
    assert [(name, m, value) for name, values in found.items() for m, value in values.items() if value != 0.0] == []


def test_an_alternative_joins_the_row_of_its_probe(cells: CellMaker, run: Run) -> None:
    table = answers(run(cells()[0]), Phase.EDITED).set_index(["edit_id", "probe_id"])

    request = table.loc[("tiny/0400", "request/0")]
    assert request["alternative_log_prob"] < 0
    assert request["alternative_tokens"] > 0
    assert pd.isna(table.loc[("tiny/0400", "locality/3"), "alternative_log_prob"])


def test_the_edited_model_speaks_on_requests_and_rephrases_only(cells: CellMaker, run: Run) -> None:
    table = answers(run(cells()[0]))

    spoken = table[table["output"].notna()]
    assert set(spoken["phase"]) == {Phase.EDITED}
    assert set(spoken["kind"]) == {"request", "rephrase"}
    assert len(spoken) == 4 * 3


def test_token_ids_of_another_vocabulary_are_no_cases_for_a_model(
    cells: CellMaker, run: Run, toy: Path, tmp_path: Path
) -> None:
    alien = tmp_path / "alien.py"
    source = toy.read_text(encoding="utf-8").replace('"toy"', '"alien"')
    alien.write_text(f"{source}\n    vocabulary = 'of another tokenizer'\n", encoding="utf-8")

    result = run(cells(datasets=("alien",), plugins=(alien,))[0], plugins=(alien,)).result

    assert result.status == Status.FAILED
    assert result.failure is not None
    assert "'alien' are token ids of another vocabulary than that of" in result.failure.message


def test_every_cost_is_there(cells: CellMaker, run: Run) -> None:
    outcome = run(cells(methods=("mend",), edits=5)[0])

    for phase in ("load", "base", "fit", "edit", "evaluate"):
        (total,) = costs(outcome, phase, "seconds").query("edit_id.isna()")["value"]
        assert total > 0
        (peak,) = costs(outcome, phase, "peak_memory_bytes")["value"]
        assert peak >= 0
    alone = costs(outcome, "edit", "seconds").query("edit_id.notna()")
    assert len(alone) == len(set(alone["edit_id"])) == 5
    assert len(costs(outcome, "edit", "edit_bytes")) == 5
    (amortised,) = costs(outcome, "edit", "edit_seconds_amortised")["value"]
    (total,) = costs(outcome, "edit", "seconds").query("edit_id.isna()")["value"]
    assert amortised == pytest.approx(total / 5)


@pytest.mark.parametrize("config", ["ft", "ft[kl=true]"])
def test_a_fit_has_a_cost_only_where_it_gave_something(config: str, cells: CellMaker, run: Run) -> None:
    outcome = run(cells(methods=(config,), sets=("ft.steps=2",))[0])

    has_cost = len(costs(outcome, "fit", "seconds")) > 0
    assert has_cost == ("fit_seconds" in set(outcome.result.tables["summary"]["metric"])) == ("kl" in config)


def test_latency_is_taken_of_at_most_twenty_edits_alone(cells: CellMaker, run: Run) -> None:
    outcome = run(cells(edits=25, sets=("toy.size=30",))[0])

    assert costs(outcome, "edit", "seconds")["edit_id"].notna().sum() == 20
    assert len(costs(outcome, "edit", "edit_bytes")) == 25


@pytest.mark.parametrize("kind", ["causal", "seq2seq", "classifier"])
def test_a_cell_scores_the_same_factored_and_written(
    kind: str, cells: CellMaker, run: Run, editor_file: EditorFile
) -> None:
    path = editor_file("random", _RANDOM)
    tables = []
    for application in ("factored", "written"):
        (cell,) = cells(methods=("random",), plugins=(path,), kind=kind, application=application)
        tables.append(answers(run(cell, plugins=(path,)), Phase.EDITED))

    factored, written = tables

    assert factored["probe_id"].tolist() == written["probe_id"].tolist()
    assert factored["log_prob"].tolist() == pytest.approx(written["log_prob"].tolist(), rel=1e-5)
    assert factored["output"].tolist() == written["output"].tolist()
    assert factored["log_prob"].tolist() != pytest.approx(
        answers(run(cells(kind=kind)[0]), Phase.EDITED)["log_prob"].tolist(), rel=1e-3
    )


def test_random_choices_depend_on_seed_and_request_only(cells: CellMaker, run: Run, editor_file: EditorFile) -> None:
    path = editor_file("random", _RANDOM)
    small, seeded = cells(methods=("random",), plugins=(path,), seeds=2)
    (large,) = cells(methods=("random",), plugins=(path,), edits=9)

    few, other, many = (answers(run(c, plugins=(path,)), Phase.EDITED)["log_prob"] for c in (small, seeded, large))

    assert few.tolist() == pytest.approx(many[: len(few)].tolist(), rel=1e-5)
    assert few.tolist() != pytest.approx(other.tolist(), rel=1e-3)


def test_cases_that_do_not_fit_are_left_out_and_noted(cells: CellMaker, run: Run) -> None:
    outcome = run(cells(sets=("toy.long=2",))[0])

    assert sorted(set(answers(outcome)["edit_id"])) == ["tiny/0402", "tiny/0403", "tiny/0404", "tiny/0405"]
    count, *sentences = outcome.result.notes
    assert count == "cases left out because they do not fit into the model: 2"
    assert [f"'tiny/040{i}' was left out" in sentence for i, sentence in enumerate(sentences)] == [True, True]


def test_rows_of_a_file_that_are_in_no_split_are_counted_by_their_reason(
    cells: CellMaker, run: Run, tmp_path: Path
) -> None:
    splits = ["test", "test", "tune", "fit", "fit", "fit"]
    lines = [{"id": str(i), "prompt": f"{i % 4} is", "target": "odd", "split": split} for i, split in enumerate(splits)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    outcome = run(cells(datasets=("jsonl",), sets=(f"jsonl.path={tmp_path / 'own.jsonl'}",), edits=2)[0])

    assert outcome.result.notes == (
        "rows of the dataset's files that are in no split: 2 (2: the subject or prompt is in test too)",
    )


def test_cases_that_do_not_fit_are_kept_from_the_fit_and_counted(cells: CellMaker, run: Run) -> None:
    (cell,) = cells(methods=("mend",), sets=("toy.long=2",))
    outcome = run(cell)

    assert outcome.result.status == Status.DONE
    assert outcome.result.notes[-1] == (
        "cases kept from the fit because they do not fit into the model: 2 of the fit split, 2 of the tune split "
        "('tiny/0000', 'tiny/0001', 'tiny/0200', 'tiny/0201')"
    )
    assert run(cell, fitted=outcome.fitted).result.notes == outcome.result.notes


def test_batches_that_did_not_fit_into_the_memory_are_noted(
    cells: CellMaker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = cells()[0]
    whole = run(cell)
    collate = LanguageModel.collate

    def small(self: LanguageModel, encoded: Sequence[Encoded]) -> Batch:
        if len(encoded) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return collate(self, encoded)

    monkeypatch.setattr(LanguageModel, "collate", small)
    outcome = run(cell)

    assert outcome.result.notes[-1].startswith("memory ran out while scoring: batches had at most ")
    assert answers(outcome)["log_prob"].tolist() == pytest.approx(answers(whole)["log_prob"].tolist(), rel=1e-5)


def test_too_few_edits_fail_with_the_number_that_there_is(cells: CellMaker, run: Run) -> None:
    result = run(cells(edits=20)[0]).result

    assert result.status == Status.FAILED
    assert result.failure is not None
    assert result.failure.message.startswith("20 edits were asked for and the split has 12 that fit into")
    assert "Traceback" in result.failure.traceback


def test_progress_names_each_phase_in_order(cells: CellMaker, run: Run) -> None:
    said: list[Progress] = []
    (cell,) = cells(methods=("mend",))

    run(cell, worker=Worker(said.append))

    assert list(dict.fromkeys(p.phase for p in said)) == ["load", "base", "fit", "edit", "evaluate"]
    fit = [p for p in said if p.phase == "fit" and p.done]
    assert (fit[-1].done, fit[-1].total) == (4, 4)
    assert fit[-1].loss is not None
    assert (said[-1].done, said[-1].total) == (4, 4)
