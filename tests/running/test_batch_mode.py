"""Cells of mode `batch:n`: n requests are installed by one edit and scored under it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from bench import registry
from bench.editing.dataset import Split
from bench.editing.edit import LowRank, WeightEdit
from bench.editing.written import written
from bench.models.loading import load_model
from bench.records.cell import Cell
from bench.records.schema import Phase
from bench.records.status import Status
from bench.running.task import Outcome, Task
from bench.running.trial import edit_generator
from bench.running.worker import Worker

METHODS = [name for name, plugin in registry.plugins("methods").items() if not plugin.problem]
CellMaker = Callable[..., list[Cell]]
EditorFile = Callable[[str, str], Path]
Run = Callable[..., Outcome]

# Its change depends on the generator, and so on the requests that it is given together.
_RANDOM = """
def edit(self, requests, *, memory, generator):
    matrix = self.lm.matrices("default")[-1]
    left = torch.randn(matrix.in_features, 2, generator=generator) * 0.3
    right = torch.randn(2, matrix.out_features, generator=generator) * 0.3
    return WeightEdit(changes={matrix.name: LowRank(left, right)})
"""
# Each case has a locality probe about the fact of the next case.
_CLASHING = """
            probes[0] = replace(probes[0], about=f"fact {number}")
            probes[3] = replace(probes[3], about=f"fact {(number + 1) % self.config.size}")
            yield replace(case, probes=tuple(probes))
"""


@pytest.fixture
def run(toy: Path) -> Run:
    """Compute a cell in this process."""

    def compute(cell: Cell, *plugins: Path, **task: object) -> Outcome:
        return Worker().run(Task(cell=cell, plugins=(toy, *plugins), **task))  # type: ignore[arg-type]

    return compute


@pytest.fixture
def random_editor(editor_file: EditorFile) -> Path:
    return editor_file("random", _RANDOM)


def answers(outcome: Outcome, phase: Phase = Phase.EDITED) -> pd.DataFrame:
    assert outcome.result.status == Status.DONE, outcome.result.failure
    table = outcome.result.tables["answers"]
    return table[table["phase"] == phase].reset_index(drop=True)


def groups(table: pd.DataFrame) -> dict[str, set[str]]:
    return {str(name): set(rows["edit_id"]) for name, rows in table.groupby("edit_group")}


def test_every_edit_is_in_one_group_and_a_seed_changes_the_groups_only(
    cells: CellMaker, run: Run, random_editor: Path
) -> None:
    zero, one = cells(methods=("random",), plugins=(random_editor,), modes=("batch:2",), edits=6, seeds=2)

    first, other = (answers(run(cell, random_editor)) for cell in (zero, one))

    assert [len(members) for members in groups(first).values()] == [2, 2, 2]
    assert groups(first) != groups(other)
    assert set(first["edit_id"]) == set(other["edit_id"]) == {f"tiny/040{number}" for number in range(6)}


def test_each_probe_is_scored_under_the_edit_of_its_group(cells: CellMaker, run: Run, random_editor: Path) -> None:
    (cell,) = cells(methods=("random",), plugins=(random_editor,), modes=("batch:2",), edits=4)

    found = answers(run(cell, random_editor))

    lm = load_model(cell.model)
    matrix = lm.matrices("default")[-1]
    dataset = registry.load("datasets", "toy")
    cases = {case.request.id: case for case in dataset(dataset.Config(), lm.kind).cases(Split.TEST)}
    for _, rows in found.groupby("edit_group"):
        by_hand = edit_generator(cell.seed, list(dict.fromkeys(_order(rows, cell))))
        left = torch.randn(matrix.in_features, 2, generator=by_hand) * 0.3
        right = torch.randn(2, matrix.out_features, generator=by_hand) * 0.3
        with written(lm, WeightEdit(changes={matrix.name: LowRank(left, right)})), torch.no_grad():
            for row in rows.to_dict("records"):
                probe = next(p for p in cases[row["edit_id"]].probes if p.id == row["probe_id"])
                expected = float(lm.answers(lm.batch([(probe.prompt, probe.answer)])).log_probs().sum())
                assert row["log_prob"] == pytest.approx(expected, rel=1e-4)


def _order(rows: pd.DataFrame, cell: Cell) -> list[str]:
    """Give the ids of a group in the order in which the editor got them."""
    import numpy as np

    order = [f"tiny/040{place}" for place in np.random.default_rng(cell.seed).permutation(cell.edits)]
    return [name for name in order if name in set(rows["edit_id"])]


@pytest.mark.parametrize("application", ["factored", "written"])
def test_groups_score_the_same_however_many_are_scored_together(
    cells: CellMaker, run: Run, random_editor: Path, application: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.running import independent

    options = {"methods": ("random",), "plugins": (random_editor,), "modes": ("batch:2",), "edits": 6}
    together = answers(run(cells(**options)[0], random_editor))
    monkeypatch.setattr(independent, "_AT_ONCE", {"factored": 2, "written": 1})

    apart = answers(run(cells(**options, application=application)[0], random_editor))

    keys = ["edit_id", "probe_id"]
    both = together.merge(apart, on=keys, validate="one_to_one")
    assert len(both) == len(together) == 6 * 6
    assert both["log_prob_x"].tolist() == pytest.approx(both["log_prob_y"].tolist(), rel=1e-5)
    assert both["output_x"].fillna("").tolist() == both["output_y"].fillna("").tolist()


def test_groups_of_one_give_the_answers_of_single_mode(cells: CellMaker, run: Run, random_editor: Path) -> None:
    single, batch = cells(methods=("random",), plugins=(random_editor,), modes=("single", "batch:1"))

    alone, grouped = (
        answers(run(cell, random_editor)).sort_values(["edit_id", "probe_id"]) for cell in (single, batch)
    )

    assert alone["edit_group"].isna().all()
    assert grouped["edit_group"].nunique() == 4
    assert alone["log_prob"].tolist() == pytest.approx(grouped["log_prob"].tolist(), rel=1e-5)


def test_the_unedited_answers_are_those_of_single_mode(cells: CellMaker, run: Run) -> None:
    single, batch = (run(cell) for cell in cells(modes=("single", "batch:4")))

    one, two = (answers(outcome, Phase.ORIGINAL).drop(columns="edit_group") for outcome in (single, batch))

    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_latency_is_that_of_a_group_and_amortised_that_of_a_request(
    cells: CellMaker, run: Run, random_editor: Path
) -> None:
    outcome = run(cells(methods=("random",), plugins=(random_editor,), modes=("batch:3",), edits=12)[0], random_editor)

    costs = outcome.result.tables["costs"].query("phase == 'edit'")
    alone = costs[(costs["measure"] == "seconds") & costs["edit_id"].notna()]
    assert alone["edit_id"].tolist() == [f"group/000{number}" for number in range(4)]
    assert costs.loc[costs["measure"] == "edit_bytes", "edit_id"].tolist() == alone["edit_id"].tolist()
    (total,) = costs.loc[(costs["measure"] == "seconds") & costs["edit_id"].isna(), "value"]
    (amortised,) = costs.loc[costs["measure"] == "edit_seconds_amortised", "value"]
    assert amortised == pytest.approx(total / 12)


def test_intervals_resample_groups(cells: CellMaker, run: Run, random_editor: Path) -> None:
    outcome = run(cells(methods=("random",), plugins=(random_editor,), modes=("batch:3",), edits=12)[0], random_editor)

    summary = outcome.result.tables["summary"].set_index("metric")
    assert set(summary.loc[["success", "drawdown", "locality_kl", "edit_seconds"], "n"]) == {4}


def test_a_probe_that_another_request_of_its_group_changes_is_not_scored(
    cells: CellMaker, run: Run, random_editor: Path, toy: Path
) -> None:
    toy.write_text(toy.read_text().replace("            yield replace(case, probes=tuple(probes))\n", _CLASHING[1:]))
    options = {"methods": ("random",), "plugins": (random_editor,), "edits": 4, "sets": ("toy.size=4",)}
    single, batch = cells(**options, modes=("single", "batch:4"))

    alone, grouped = run(single, random_editor), run(batch, random_editor)

    assert answers(alone)["probe_id"].tolist().count("locality/3") == 4
    assert answers(grouped)["probe_id"].tolist().count("locality/3") == 0
    assert answers(grouped)["probe_id"].tolist().count("locality/4") == 4
    assert answers(grouped, Phase.ORIGINAL)["probe_id"].tolist().count("locality/3") == 4
    assert alone.result.notes == ()
    (note,) = grouped.result.notes
    assert note == "locality probes left out because another request of their group changes what they ask: 4"
    scores = grouped.result.tables["scores"]
    assert set(scores.loc[scores["metric"] == "drawdown", "probes"]) == {1}


def test_an_editor_of_few_requests_at_once_is_skipped_with_its_reason(
    cells: CellMaker, run: Run, editor_file: EditorFile
) -> None:
    path = editor_file("shy", "max_batch = 3\n" + _RANDOM)
    small, large = cells(methods=("shy",), plugins=(path,), modes=("batch:2", "batch:4"), edits=4)

    fits, exceeds = run(small, path).result, run(large, path).result

    assert fits.status == Status.DONE
    assert (exceeds.status, exceeds.reason) == (Status.SKIPPED, "shy installs at most 3 requests at once, not 4")


def test_a_group_that_can_not_be_edited_is_named(cells: CellMaker, run: Run, editor_file: EditorFile) -> None:
    path = editor_file(
        "bad",
        """
        def edit(self, requests, *, memory, generator):
            name = self.lm.matrices("default")[0].name
            delta = torch.full_like(self.lm.model.get_parameter(name), float("nan"))
            return WeightEdit(changes={name: Dense(delta)})
        """,
    )

    result = run(cells(methods=("bad",), plugins=(path,), modes=("batch:2",))[0], path).result

    assert result.status == Status.NAN
    assert result.failure is not None
    assert result.failure.message == "the edit of group 'group/0000' holds NaN or infinity."


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_installs_groups_or_says_why_not(method: str, cells: CellMaker, run: Run) -> None:
    (cell,) = cells(methods=(method,), modes=("batch:2",), sets=(), edits=4)
    most = registry.load("methods", method).max_batch

    outcome = run(cell)

    if most is not None and most < 2:
        assert outcome.result.status == Status.SKIPPED
        assert outcome.result.reason == f"{method} installs at most 1 request at once, not 2"
    else:
        assert len(groups(answers(outcome))) == 2
        pd.testing.assert_frame_equal(answers(run(cell, fitted=outcome.fitted)), answers(outcome), check_exact=True)
