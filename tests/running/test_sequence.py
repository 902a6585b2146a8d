"""Cells of mode `sequential:n`: edits are made one after the other, kept, and scored at once and at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bench import registry
from bench.editing.dataset import Split
from bench.editing.edit import Dense, WeightEdit
from bench.editing.request import EditCase, ProbeKind
from bench.editing.written import written
from bench.models.language_model import LanguageModel
from bench.models.loading import load_model
from bench.records.cell import Cell
from bench.records.schema import Phase
from bench.records.status import Status
from bench.running import inquiry
from bench.running.task import Outcome, Progress, fit_identity
from bench.running.trial import edit_generator
from bench.running.unedited import Unedited
from bench.running.worker import Worker

METHODS = [name for name, plugin in registry.plugins("methods").items() if not plugin.problem]
CellMaker = Callable[..., list[Cell]]
EditorFile = Callable[[str, str], Path]
Run = Callable[..., Outcome]

# Its change depends on the generator and on the weights as they are when it is asked: each is a tenth of them.
_GROWING = """
def edit(self, requests, *, memory, generator):
    name = self.lm.matrices("default")[-1].name
    weight = self.lm.model.get_parameter(name).detach()
    noise = torch.randn(weight.shape, generator=generator)
    return WeightEdit(changes={name: Dense(0.1 * weight + 0.2 * noise)})
"""
# Adds the number of the edit, which only its memory knows.
_COUNTING = """
def edit(self, requests, *, memory, generator):
    count = 1 if memory is None else memory.values["count"] + 1
    name = self.lm.matrices("default")[-1].name
    delta = torch.full_like(self.lm.model.get_parameter(name), float(count))
    return WeightEdit(changes={name: Dense(delta)}, memory=State(values={"count": count}))
"""
# Changes the lowest matrix first and the highest later, so that what lies below an edit is not what it was.
_ALTERNATING = """
def edit(self, requests, *, memory, generator):
    name = self.lm.matrices("all")[0 if memory is None else -1].name
    noise = torch.randn(self.lm.model.get_parameter(name).shape, generator=generator)
    return WeightEdit(changes={name: Dense(0.3 * noise)}, memory=State())
"""
# Makes logits so large that the model is as sure of what is wrong as it can be.
_BREAKING = """
def edit(self, requests, *, memory, generator):
    name = "transformer.ln_f.weight"
    delta = torch.randn(self.lm.model.get_parameter(name).shape, generator=generator)
    return WeightEdit(changes={name: Dense(delta * self.config.size)})
"""
# Each case has a locality probe about the fact of the next case.
_CLASHING = """
            probes[0] = replace(probes[0], about=f"fact {number}")
            probes[3] = replace(probes[3], about=f"fact {(number + 1) % self.config.size}")
            yield replace(case, probes=tuple(probes))
"""


def answers(outcome: Outcome, phase: Phase | None = Phase.EDITED) -> pd.DataFrame:
    """Give the answers of the edits themselves."""
    assert outcome.result.status == Status.DONE, outcome.result.failure
    table = outcome.result.tables["answers"]
    table = table[table["edit_id"] != table["edit_group"]]
    return table if phase is None else table[table["phase"] == phase].reset_index(drop=True)


def looks(outcome: Outcome, phase: Phase = Phase.EDITED) -> pd.DataFrame:
    """Give the answers to the fixed questions of the sequences."""
    table = outcome.result.tables["answers"]
    return table[(table["edit_id"] == table["edit_group"]) & (table["phase"] == phase)].reset_index(drop=True)


def summary(outcome: Outcome) -> pd.Series:
    return outcome.result.tables["summary"].set_index("metric")["mean"]


def order(cell: Cell) -> list[str]:
    """Give the ids of a cell's edits in the order in which they are made."""
    return [f"tiny/{400 + place:04d}" for place in np.random.default_rng(cell.seed).permutation(cell.edits)]


def cases_of(cell: Cell, lm: LanguageModel) -> dict[str, EditCase]:
    dataset = registry.load("datasets", "toy")
    return {case.request.id: case for case in dataset(dataset.Config(), lm.kind).cases(Split.TEST)}


def log_prob(lm: LanguageModel, case: EditCase, probe_id: str) -> float:
    probe = next(probe for probe in case.probes if probe.id == probe_id)
    with torch.no_grad():
        return float(lm.answers(lm.batch([(probe.prompt, probe.answer)])).log_probs().sum())


@pytest.fixture
def growing(editor_file: EditorFile) -> Path:
    return editor_file("growing", _GROWING)


@pytest.fixture
def run_growing(cells: CellMaker, run: Run, growing: Path) -> Callable[..., tuple[Cell, Outcome]]:
    """Run the growing editor over a sequence of four; keywords override that."""

    def compute(**options: Any) -> tuple[Cell, Outcome]:
        chosen = {"methods": ("growing",), "plugins": (growing,), "modes": ("sequential:4",), "edits": 4} | options
        (cell,) = cells(**chosen)
        return cell, run(cell, plugins=(growing,))

    return compute


def test_each_edit_is_made_of_the_model_with_all_earlier_ones_and_scored_at_once_and_at_the_end(
    run_growing: Callable[..., tuple[Cell, Outcome]],
) -> None:
    cell, outcome = run_growing()

    found = answers(outcome).set_index(["edit_id", "step", "probe_id"])["log_prob"]
    lm = load_model(cell.model)
    name = lm.matrices("default")[-1].name
    cases = cases_of(cell, lm)
    parameter = lm.model.get_parameter(name)
    made = order(cell)
    for number, edit_id in enumerate(made):
        noise = torch.randn(parameter.shape, generator=edit_generator(cell.seed, [edit_id]))
        parameter.data = parameter.data + (0.1 * parameter.data + 0.2 * noise)
        for probe in ("request/0", "rephrase/1", "locality/3"):
            expected = log_prob(lm, cases[edit_id], probe)
            assert found[edit_id, 0, probe] == pytest.approx(expected, rel=1e-4), (number, probe)
    for number, edit_id in enumerate(made):
        expected = log_prob(lm, cases[edit_id], "request/0")
        assert found[edit_id, 3 - number, "request/0"] == pytest.approx(expected, rel=1e-4)
    assert set(found.index.droplevel("probe_id")) == {(e, 0) for e in made} | {(e, 3 - n) for n, e in enumerate(made)}


def test_unedited_answers_are_those_of_the_model_before_any_edit_of_every_sequence(
    cells: CellMaker, run: Run, growing: Path
) -> None:
    options = {"methods": ("growing",), "plugins": (growing,), "edits": 4}
    single, sequential = cells(**options, modes=("single", "sequential:2"))

    alone, kept = (answers(run(cell, plugins=(growing,)), Phase.ORIGINAL) for cell in (single, sequential))

    columns = ["edit_id", "probe_id", "log_prob"]
    alone = alone[alone["kind"] != "text"]
    pd.testing.assert_frame_equal(alone[columns].reset_index(drop=True), kept[columns], check_exact=True)


def test_the_divergence_is_from_the_model_before_any_edit_at_every_age(
    run_growing: Callable[..., tuple[Cell, Outcome]],
) -> None:
    cell, outcome = run_growing()

    found = answers(outcome).set_index(["edit_id", "step", "probe_id"])["kl"]
    lm = load_model(cell.model)
    parameter = lm.model.get_parameter(lm.matrices("default")[-1].name)
    cases, made = cases_of(cell, lm), order(cell)

    before = {edit_id: _log_softmax(lm, cases[edit_id], "locality/3") for edit_id in made}
    for number, edit_id in enumerate(made):
        noise = torch.randn(parameter.shape, generator=edit_generator(cell.seed, [edit_id]))
        parameter.data = parameter.data + (0.1 * parameter.data + 0.2 * noise)
        for asked in [edit_id] if number < 3 else made:
            after = _log_softmax(lm, cases[asked], "locality/3")
            expected = float((before[asked].exp() * (before[asked] - after)).sum(1).mean())
            age = 0 if number < 3 else 3 - made.index(asked)
            assert found[asked, age, "locality/3"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", ["causal", "seq2seq", "classifier"])
def test_nothing_below_an_edit_is_replayed_that_an_earlier_one_changed(
    kind: str, cells: CellMaker, run: Run, editor_file: EditorFile
) -> None:
    path = editor_file("alternating", _ALTERNATING)
    options = {"kind": kind, "methods": ("alternating",), "plugins": (path,)}
    (cell,) = cells(**options, modes=("sequential:2",), edits=2)

    outcome = run(cell, plugins=(path,))

    lm = load_model(cell.model)
    (first, second), cases = order(cell), cases_of(cell, lm)
    changes = {}
    for place, edit_id in ((0, first), (-1, second)):
        name = lm.matrices("all")[place].name
        generator = edit_generator(cell.seed, [edit_id])
        changes[name] = Dense(0.3 * torch.randn(lm.model.get_parameter(name).shape, generator=generator))
    found = answers(outcome).set_index(["edit_id", "step", "probe_id"])
    asked = [(first, 1, "request/0"), (first, 1, "locality/3"), (second, 0, "rephrase/1"), (second, 0, "locality/4")]
    before = {where: _log_softmax(lm, cases[where[0]], where[2]) for where in asked}
    with written(lm, WeightEdit(changes=changes)):
        for edit_id, step, probe in asked:
            row = found.loc[(edit_id, step, probe)]
            assert row["log_prob"] == pytest.approx(log_prob(lm, cases[edit_id], probe), rel=1e-4)
            if probe.startswith("locality"):
                was, now = before[edit_id, step, probe], _log_softmax(lm, cases[edit_id], probe)
                assert row["kl"] == pytest.approx(float((was.exp() * (was - now)).sum(1).mean()), rel=1e-3)


def _log_softmax(lm: LanguageModel, case: EditCase, probe_id: str) -> torch.Tensor:
    probe = next(probe for probe in case.probes if probe.id == probe_id)
    with torch.no_grad():
        return lm.answers(lm.batch([(probe.prompt, probe.answer)])).logits.double().log_softmax(1)


def test_sequences_start_from_the_same_model(cells: CellMaker, run: Run, growing: Path) -> None:
    options = {"methods": ("growing",), "plugins": (growing,), "edits": 4}
    single, sequential = cells(**options, modes=("single", "sequential:2"), application="written")

    alone, kept = (answers(run(cell, plugins=(growing,))) for cell in (single, sequential))

    first = [name for place, name in enumerate(order(sequential)) if place % 2 == 0]
    columns = ["edit_id", "probe_id"]
    at_once = kept[(kept["step"] == 0) & kept["edit_id"].isin(first)]
    both = at_once.merge(alone, on=columns, validate="one_to_one")
    assert len(both) == 2 * 5
    assert both["log_prob_x"].tolist() == pytest.approx(both["log_prob_y"].tolist(), rel=1e-5)
    assert both["output_x"].fillna("").tolist() == both["output_y"].fillna("").tolist()


def test_the_memory_of_each_edit_comes_back_with_the_next_and_not_in_the_next_sequence(
    cells: CellMaker, run: Run, editor_file: EditorFile
) -> None:
    path = editor_file("counting", _COUNTING)
    (cell,) = cells(methods=("counting",), plugins=(path,), modes=("sequential:3",), edits=6)

    outcome = run(cell, plugins=(path,))

    lm = load_model(cell.model)
    name = lm.matrices("default")[-1].name
    cases, made = cases_of(cell, lm), order(cell)
    found = answers(outcome).set_index(["edit_id", "step", "probe_id"])["log_prob"]
    for place, total in enumerate((1.0, 3.0, 6.0, 1.0, 3.0, 6.0)):
        delta = torch.full_like(lm.model.get_parameter(name), total)
        with written(lm, WeightEdit(changes={name: Dense(delta)})):
            expected = log_prob(lm, cases[made[place]], "request/0")
        assert found[made[place], 0, "request/0"] == pytest.approx(expected, rel=1e-4)


def test_a_seed_changes_the_order_and_never_which_edits_are_made(cells: CellMaker, run: Run, growing: Path) -> None:
    options = {"methods": ("growing",), "plugins": (growing,), "modes": ("sequential:3",), "edits": 6, "seeds": 2}
    zero, one = cells(**options)

    first, other = (answers(run(cell, plugins=(growing,))) for cell in (zero, one))

    assert set(first["edit_id"]) == set(other["edit_id"]) == set(order(zero))
    assert order(zero) != order(one)
    for cell, table in ((zero, first), (one, other)):
        ages = table[table["probe_id"] == "request/0"].groupby("edit_id")["step"].max()
        assert ages.to_dict() == {name: 2 - place % 3 for place, name in enumerate(order(cell))}
        assert set(table["edit_group"]) == {"sequence/0000", "sequence/0001"}


def test_the_model_as_a_whole_is_looked_at_at_the_checkpoints(
    run_growing: Callable[..., tuple[Cell, Outcome]],
) -> None:
    _, outcome = run_growing(modes=("sequential:12:every 5",), edits=12)

    found = looks(outcome)
    assert sorted(set(found["step"])) == [1, 5, 10, 12]
    assert set(found["edit_id"]) == {"sequence/0000"}
    questions = {step: rows["probe_id"].tolist() for step, rows in found.groupby("step")}
    assert all(asked == questions[1] for asked in questions.values())
    assert questions[1] == looks(outcome, Phase.ORIGINAL)["probe_id"].tolist()
    assert set(found["kind"]) == {"locality", "text"}
    change = found.groupby("step")["weight_change"].first()
    assert change.is_monotonic_increasing
    assert answers(outcome, None)["weight_change"].isna().all()


def test_the_weight_change_and_the_perplexity_are_those_of_the_model_then(
    run_growing: Callable[..., tuple[Cell, Outcome]],
) -> None:
    cell, outcome = run_growing()

    lm = load_model(cell.model)
    parameter = lm.model.get_parameter(lm.matrices("default")[-1].name)
    before = parameter.data.clone()
    for edit_id in order(cell):
        noise = torch.randn(parameter.shape, generator=edit_generator(cell.seed, [edit_id]))
        parameter.data = parameter.data + (0.1 * parameter.data + 0.2 * noise)
    expected = float((parameter.data - before).norm() / before.norm())
    assert summary(outcome)["weight_change"] == pytest.approx(expected, rel=1e-5)
    nll, tokens = 0.0, 0
    for case in cases_of(cell, lm).values():
        if case.request.id in order(cell):
            nll -= log_prob(lm, case, "text")
            (text,) = (probe for probe in case.probes if probe.id == "text")
            tokens += len(lm.batch([(text.prompt, text.answer)]).labels)
    assert summary(outcome)["perplexity"] == pytest.approx(float(np.exp(nll / tokens)), rel=1e-4)


def test_passages_are_read_at_checkpoints_only(run_growing: Callable[..., tuple[Cell, Outcome]]) -> None:
    _, outcome = run_growing()

    assert "text" not in set(answers(outcome, None)["kind"])
    assert (looks(outcome)["kind"] == "text").sum() == 2 * 4  # after 1 and 4 edits, the passages of 4 cases


def test_the_fixed_questions_are_bounded_distinct_and_independent_of_the_order(
    cells: CellMaker, run: Run, growing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inquiry, "_MOST_LOCALITY", 5)
    monkeypatch.setattr(inquiry, "_MOST_TEXTS", 3)
    options = {"methods": ("growing",), "plugins": (growing,), "modes": ("sequential:6",), "edits": 6, "seeds": 2}

    zero, one = (looks(run(cell, plugins=(growing,)), Phase.ORIGINAL) for cell in cells(**options))

    assert zero["kind"].value_counts().to_dict() == {"locality": 5, "text": 3}
    assert zero["probe_id"].tolist() == one["probe_id"].tolist()
    assert not zero.duplicated(["prompt", "answer"]).any()


def test_a_probe_that_another_edit_of_its_sequence_changes_is_not_scored_at_any_time(
    cells: CellMaker, run: Run, growing: Path, toy: Path
) -> None:
    toy.write_text(toy.read_text().replace("            yield replace(case, probes=tuple(probes))\n", _CLASHING[1:]))
    options = {"methods": ("growing",), "plugins": (growing,), "edits": 4, "sets": ("toy.size=4",)}
    (cell,) = cells(**options, modes=("sequential:4",))

    outcome = run(cell, plugins=(growing,))

    assert "locality/3" not in set(answers(outcome)["probe_id"])
    assert answers(outcome)["probe_id"].tolist().count("locality/4") == 4 + 3
    assert {name.rpartition("/")[2] for name in looks(outcome)["probe_id"]} == {"4", "text"}
    (note,) = outcome.result.notes
    assert note == "locality probes left out because another request of their sequence changes what they ask: 4"


def test_the_model_is_the_same_afterwards(cells: CellMaker, run: Run, growing: Path) -> None:
    options = {"methods": ("growing",), "plugins": (growing,)}
    (sequential,) = cells(**options, modes=("sequential:2",), edits=4)
    (single,) = cells()
    worker = Worker()
    before = answers(run(single, worker=worker), None)

    run(sequential, worker=worker, plugins=(growing,))
    assert worker._loaded is not None
    worker._loaded = worker._loaded._replace(unedited=Unedited(worker._loaded.lm))  # it is to be asked again

    pd.testing.assert_frame_equal(answers(run(single, worker=worker), None), before, check_exact=True)


@pytest.mark.parametrize("kind", ["causal", "seq2seq", "classifier"])
def test_the_control_changes_nothing_at_any_age(kind: str, cells: CellMaker, run: Run) -> None:
    (cell,) = cells(kind=kind, modes=("sequential:4",))

    outcome = run(cell)

    found = summary(outcome)
    zero = ["drawdown", "drawdown_immediate", "drawdown_fixed", "locality_kl"]
    assert found[zero].tolist() == [0.0] * 4
    assert found["success"] == found["success_immediate"]
    assert "weight_change" not in found
    if kind == "causal":
        assert (found["perplexity_ratio"], found["collapsed"]) == (1.0, 0.0)
    else:
        assert "perplexity" not in found
        assert "collapsed" not in found


def test_a_model_that_is_broken_is_found_collapsed(cells: CellMaker, run: Run, editor_file: EditorFile) -> None:
    path = editor_file("breaking", _BREAKING)
    (cell,) = cells(
        methods=("breaking",), plugins=(path,), modes=("sequential:4:every 1",), sets=("breaking.size=100",)
    )

    found = summary(run(cell, plugins=(path,)))

    assert found["collapsed"] == 1.0
    assert found["edits_until_collapse"] == 1.0
    assert found["perplexity_ratio"] > 10


_STOPPING = """
def edit(self, requests, *, memory, generator):
    count = 1 if memory is None else memory.values["count"] + 1
    name = "transformer.ln_f.weight"
    delta = torch.randn(self.lm.model.get_parameter(name).shape, generator=generator) * 100
    if count == 3:
        {third}
    return WeightEdit(changes={{name: Dense(delta)}}, memory=State(values={{"count": count}}))
"""


@pytest.mark.parametrize(
    ("third", "status", "phase", "message"),
    [
        ("delta[0] = float('nan')", Status.NAN, "edit", "the edit holds NaN or infinity."),
        ("raise EditError('no such fact.')", Status.FAILED, "edit", "no such fact."),
        ("raise ValueError('odd')", Status.FAILED, "edit", "ValueError: odd"),
        ("return 3", Status.FAILED, "edit", "the editor gave a int where an Edit is expected."),
        ("raise MemoryError", Status.OOM, "edit", "MemoryError"),
        ("delta.fill_(3e38)", Status.NAN, "evaluate", "is NaN after this edit."),
    ],
)
def test_an_edit_that_ends_a_sequence_is_named_and_what_was_scored_until_then_stays(
    third: str, status: Status, phase: str, message: str, cells: CellMaker, run: Run, editor_file: EditorFile
) -> None:
    path = editor_file("stopping", _STOPPING.format(third=third))
    (cell,) = cells(methods=("stopping",), plugins=(path,), modes=("sequential:4",))
    worker = Worker()

    result = run(cell, plugins=(path,), worker=worker).result

    assert result.status == status
    assert result.failure is not None
    assert result.failure.phase == phase
    assert result.failure.message.startswith("edit 3 of 4 of 'sequence/0000': ")
    assert result.failure.message.endswith(message)
    table = result.tables["answers"]
    own = table[(table["phase"] == "edited") & (table["edit_id"] != table["edit_group"])]
    assert list(dict.fromkeys(own["edit_id"])) == order(cell)[:2]
    assert not result.tables["scores"].empty
    assert result.tables["summary"].empty
    assert result.notes == (
        "edits whose answers are kept: 2",
        "'sequence/0000': perplexity was first above 10 times the original's at edit 1",
    )
    assert run(cells()[0], worker=worker).result.status == Status.DONE


def test_an_editor_that_writes_into_the_model_in_mid_sequence_fails(
    cells: CellMaker, run: Run, editor_file: EditorFile
) -> None:
    path = editor_file(
        "rude",
        """
        def edit(self, requests, *, memory, generator):
            name = self.lm.matrices("default")[-1].name
            parameter = self.lm.model.get_parameter(name)
            if memory is not None:
                parameter.data.mul_(2)
            delta = torch.ones_like(parameter)
            return WeightEdit(changes={name: Dense(delta)}, memory=State())
        """,
    )
    (cell,) = cells(methods=("rude",), plugins=(path,), modes=("sequential:4",))

    result = run(cell, plugins=(path,)).result

    assert result.status == Status.FAILED
    assert result.failure is not None
    assert "was written to while the edits of a sequence were in force" in result.failure.message


def test_an_edit_beside_the_weights_stands_for_all_before_it(
    cells: CellMaker, run: Run, editor_file: EditorFile
) -> None:
    path = editor_file(
        "prompting",
        """
        def edit(self, requests, *, memory, generator):
            told = () if memory is None else tuple(memory.values["told"])
            told = (*told, f"{requests[0].target}.")
            return PromptEdit(replace=lambda prompt: " ".join((*told[-2:], str(prompt))),
                              memory=State(values={"told": list(told)}))
        """,
    )
    (cell,) = cells(methods=("prompting",), plugins=(path,), modes=("sequential:3",), edits=3)

    outcome = run(cell, plugins=(path,))

    lm = load_model(cell.model)
    cases, made = cases_of(cell, lm), order(cell)
    told = [f"{cases[name].request.target}." for name in made]
    found = answers(outcome).set_index(["edit_id", "step", "probe_id"])["log_prob"]
    request = cases[made[0]].request
    with torch.no_grad():
        batch = lm.batch([(" ".join((*told[1:], str(request.prompt))), request.target)])
        expected = float(lm.answers(batch).log_probs().sum())
    assert found[made[0], 2, "request/0"] == pytest.approx(expected, rel=1e-4)
    assert outcome.result.notes == ()


def test_edits_that_forget_those_before_them_are_noted(cells: CellMaker, run: Run, editor_file: EditorFile) -> None:
    path = editor_file(
        "forgetful",
        """
        def edit(self, requests, *, memory, generator):
            return PromptEdit(replace=lambda prompt: prompt)
        """,
    )
    (cell,) = cells(methods=("forgetful",), plugins=(path,), modes=("sequential:2",), edits=4)

    notes = run(cell, plugins=(path,)).result.notes

    assert notes == ("edits whose place was taken by the next one, which has no memory of them: 2",)


def test_every_edit_has_its_own_latency_and_bytes(run_growing: Callable[..., tuple[Cell, Outcome]]) -> None:
    cell, outcome = run_growing(modes=("sequential:3",), edits=6)

    costs = outcome.result.tables["costs"].query("phase == 'edit'")
    for measure in ("seconds", "edit_bytes"):
        own = costs[(costs["measure"] == measure) & costs["edit_id"].notna()]
        assert own["edit_id"].tolist() == order(cell)
    (total,) = costs.loc[(costs["measure"] == "seconds") & costs["edit_id"].isna(), "value"]
    (amortised,) = costs.loc[costs["measure"] == "edit_seconds_amortised", "value"]
    assert amortised == pytest.approx(total / 6)


def test_progress_never_goes_back(cells: CellMaker, run: Run, growing: Path) -> None:
    said: list[Progress] = []
    (cell,) = cells(methods=("growing",), plugins=(growing,), modes=("sequential:2",), edits=4)

    run(cell, plugins=(growing,), worker=Worker(said.append))  # type: ignore[arg-type]

    done = [message.done for message in said if message.phase in ("edit", "evaluate")]
    assert done == sorted(done)
    assert (said[-1].done, said[-1].total) == (4, 4)


def test_single_and_sequential_mode_share_a_fit(cells: CellMaker) -> None:
    single, sequential = cells(methods=("mend",), modes=("single", "sequential:4"))

    assert fit_identity(single) == fit_identity(sequential)
    assert (single.application, sequential.application) == ("factored", "written")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_edits_in_sequence_and_the_same_twice(method: str, cells: CellMaker, run: Run) -> None:
    (cell,) = cells(methods=(method,), modes=("sequential:4",), edits=8)

    outcome = run(cell)

    assert set(answers(outcome)["edit_id"]) == set(order(cell))
    again = run(cell, fitted=outcome.fitted).result.tables["answers"]
    pd.testing.assert_frame_equal(outcome.result.tables["answers"], again, check_exact=True)
    cls = registry.load("methods", method)
    if cls.is_control:
        assert summary(outcome)["drawdown"] == 0.0
    assert {kind.value for kind in (ProbeKind.REQUEST, ProbeKind.LOCALITY)} <= set(answers(outcome)["kind"])
