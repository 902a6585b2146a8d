"""The fit loop skips what is not finite, keeps the best state, stops in time, and can be gone on with."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.editing.checkpoint import part
from bench.editing.edit import State
from bench.editing.editor import FitProgress, PreparationData
from bench.editing.fit import PAPER_FIT, FitConfig, FitScores, fit
from bench.editing.learner import Diverged
from bench.editing.objective import FitBatch, FitLoss
from bench.errors import DataError
from bench.testing import tiny_cases
from bench.testing.resuming import stored

SETTINGS: dict[str, Any] = {
    "steps": 40,
    "edits_per_step": 4,
    "validate_every": 10,
    "validation_edits": 8,
    "decay_to": 1.0,
    "outer_probes": 1,
    "locality_probes": 1,
    "clip": 100.0,
}


class Valley:
    """Learns one number: the loss is its squared distance from 3, times a weight that grows with every step.

    Chosen micro-batches give NaN; the losses on the tune split can be given.
    """

    def __init__(
        self, *, broken: frozenset[int] = frozenset(), tune_losses: tuple[float, ...] = (), start: State | None = None
    ) -> None:
        self.x = torch.zeros((), requires_grad=True) if start is None else start.tensors["x"].requires_grad_()
        self.broken = broken
        self.tune_losses = list(tune_losses)
        self.weight = 1.0
        self.steps = 0 if start is None else start.values["steps"]
        self.after_steps = 0
        self.looks: list[FitScores] = []
        self.rates: list[float] = []
        self.seen: list[tuple[str, ...]] = []

    def outer_parameters(self) -> list[dict[str, Any]]:
        return [{"params": [self.x], "lr": 0.2}]

    def optimiser(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        self.sgd = torch.optim.SGD(groups, momentum=0.5)
        return self.sgd

    def schedule(self, step: int) -> float | None:
        return None

    def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss:
        total = self.weight * (self.x - 3).square()
        edit = total.detach()
        if is_training:
            self.rates.append(float(self.sgd.param_groups[0]["lr"]))
            self.seen.append(tuple(request.id for group in batch.groups for request in group))
            if self.steps in self.broken:
                total = total * float("nan")
            self.steps += 1
        elif self.tune_losses:
            edit = torch.tensor(self.tune_losses.pop(0))
        return FitLoss(
            total=total,
            edit=edit,
            locality=_zero(),
            success=torch.tensor(0.25),
            drawdown=torch.tensor(0.125),
            parts={"distance": (3 - self.x).detach()},
        )

    def after_step(self, loss: FitLoss) -> None:
        self.after_steps += 1
        self.weight *= 1.01

    def after_validation(self, scores: FitScores) -> None:
        self.looks.append(scores)

    def step_sizes(self) -> Mapping[str, Tensor]:
        return {"x": self.x}

    def state(self) -> State:
        return State(tensors={"x": self.x.detach().clone()}, values={"steps": self.steps})

    def fit_state(self) -> State:
        return State(values={"weight": self.weight})

    def resume(self, state: State) -> None:
        self.weight = state.values["weight"]


def _zero() -> Tensor:
    return torch.zeros(())


def data(*, tune: int = 4, seed: int = 0, cases: int = 12, **hooks: Any) -> PreparationData:
    made = tiny_cases("causal", cases + tune)
    return PreparationData(cases=made[:cases], tune=made[cases:], texts=[], seed=seed, **hooks)


def settings(**changes: Any) -> FitConfig:
    return FitConfig(**(SETTINGS | changes))


def test_a_fit_learns() -> None:
    state = fit(Valley(), settings(), data())

    assert float(state.tensors["x"]) == pytest.approx(3.0, abs=1e-3)


def test_a_micro_batch_with_nan_is_skipped_alone_and_counted() -> None:
    given, editor = data(tune=0), Valley(broken=frozenset({2, 5}))

    state = fit(editor, settings(micro_batch=2), given)

    assert editor.steps == 2 * 40
    assert editor.after_steps == 40  # the other half of each of the two steps was finite
    assert given.log[-1]["skipped"] == 2
    assert bool(torch.isfinite(state.tensors["x"]))


def test_a_step_of_which_nothing_is_finite_is_none() -> None:
    editor = Valley(broken=frozenset({2, 5}))

    fit(editor, settings(), data())

    assert editor.after_steps == 38


def test_too_many_micro_batches_with_nan_end_the_fit_with_the_last_good_state() -> None:
    editor = Valley(broken=frozenset(range(10, 30)), tune_losses=(5.0, 4.0))

    with pytest.raises(Diverged, match=r"4 of 14 micro-batches .* stopped after step 14") as caught:
        fit(editor, settings(), data())

    assert caught.value.step == 10
    assert caught.value.state.values["steps"] == 10


def test_nothing_finite_for_long_ends_a_fit_whose_limit_is_far() -> None:
    editor = Valley(broken=frozenset(range(100, 10_000)))

    with pytest.raises(Diverged, match="21 of 121 micro-batches"):
        fit(editor, settings(steps=10_000, validate_every=10_000), data())


def test_a_fit_whose_every_look_is_nan_has_diverged() -> None:
    with pytest.raises(Diverged, match="no look at the tune split gave a finite loss") as caught:
        fit(Valley(tune_losses=(math.nan,) * 5), settings(), data())

    assert caught.value.state.values["steps"] == 0


def test_the_best_state_on_the_tune_split_is_kept() -> None:
    editor = Valley(tune_losses=(5.0, 4.0, 1.0, 2.0, 3.0))

    state = fit(editor, settings(), data())

    assert state.values["steps"] == 20
    assert [look.step for look in editor.looks] == [0, 10, 20, 30, 40]


def test_a_look_is_judged_by_the_papers_objective_and_not_by_what_an_editor_adds_to_it() -> None:
    class Weighted(Valley):
        def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss:
            loss = super().loss(batch, is_training=is_training)
            return FitLoss(
                total=loss.total,
                edit=torch.tensor(2.0),
                locality=torch.tensor(0.5),
                success=loss.success,
                drawdown=loss.drawdown,
                parts={},
            )

    editor = Weighted()

    fit(editor, settings(c_edit=0.1, steps=10), data())

    assert [look.loss for look in editor.looks] == pytest.approx([0.1 * 2.0 + 0.5] * 2)
    assert editor.looks[0].drawdown == 0.125


def test_a_fit_stops_when_patience_is_at_an_end() -> None:
    editor = Valley(tune_losses=(1.0, 2.0, 2.0))

    state = fit(editor, settings(patience=2), data())

    assert editor.steps == 20
    assert state.values["steps"] == 0
    assert [look.step for look in editor.looks] == [0, 10, 20]


def test_the_paper_waits_for_20000_micro_batches() -> None:
    paper = FitConfig(**PAPER_FIT)

    micro_batches = paper.edits_per_step / paper.micro_batch
    assert paper.validate_every * micro_batches == 5_000
    assert paper.patience * paper.validate_every * micro_batches == 20_000
    assert paper.steps * micro_batches == 500_000


def test_a_look_that_is_not_finite_is_never_the_best() -> None:
    editor = Valley(tune_losses=(5.0, math.nan, 4.0, math.nan, math.nan))

    assert fit(editor, settings(), data()).values["steps"] == 20


def test_without_a_tune_split_the_last_state_is_kept() -> None:
    assert fit(Valley(), settings(), data(tune=0)).values["steps"] == 40


@pytest.mark.parametrize(("few", "looks"), [(3, 5), (0, 0)])
def test_a_look_takes_a_whole_group_even_if_it_is_larger_than_the_edits_asked_for(few: int, looks: int) -> None:
    editor = Valley()

    fit(editor, settings(validation_edits=few, group_size=4, edits_per_step=1), data(tune=6))

    assert len(editor.looks) == looks


def test_the_rate_falls_along_a_cosine() -> None:
    editor = Valley()

    fit(editor, settings(decay_to=0.1), data())

    assert editor.rates[0] == pytest.approx(0.2)
    assert editor.rates[20] == pytest.approx(0.2 * 0.55)
    assert editor.rates[-1] == pytest.approx(0.02, rel=0.02)


def test_a_gradient_above_the_limit_is_clipped_to_it() -> None:
    given = data(tune=0)

    state = fit(Valley(), settings(steps=1, clip=1.5), given)

    assert given.log[0]["gradient_norm"] == pytest.approx(6.0)  # 2 · (0 - 3)
    assert float(state.tensors["x"]) == pytest.approx(0.2 * 1.5)


def test_the_same_seed_gives_the_same_batches_and_another_seed_others() -> None:
    first, again, other = Valley(), Valley(), Valley()

    states = [fit(editor, settings(), data(seed=seed)) for editor, seed in [(first, 1), (again, 1), (other, 2)]]

    assert first.seen == again.seen != other.seen
    assert torch.equal(states[0].tensors["x"], states[1].tensors["x"])


def test_too_few_cases_are_refused() -> None:
    with pytest.raises(DataError, match="a fit needs 4 cases, the fit split has 3"):
        fit(Valley(), settings(), data(cases=3))


def test_progress_tells_every_step_and_the_log_every_tenth_and_the_last() -> None:
    told: list[FitProgress] = []
    given = data(on_progress=told.append)

    fit(Valley(broken=frozenset({3})), settings(steps=25, validate_every=20), given)

    assert [progress.step for progress in told] == list(range(1, 26))
    assert (told[2].skipped, told[3].skipped, told[-1].skipped) == (0, 1, 1)
    assert told[0].success == 0.25
    assert told[-1].seconds_left == 0
    assert [row["step"] for row in given.log if "loss" in row] == [0, 10, 20, 24]
    assert [row["step"] for row in given.log if "tune_loss" in row] == [0, 20, 25]


def test_the_time_left_is_that_of_the_steps_behind_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Slow(Valley):
        """Takes 50 s for each part of a look, 30 s for the first step and 2 s for each later one."""

        def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss:
            nonlocal now
            now += (2.0 if self.steps else 30.0) if is_training else 50.0
            return super().loss(batch, is_training=is_training)

    told: list[FitProgress] = []
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    fit(Slow(), settings(steps=4), data(on_progress=told.append))

    assert [progress.seconds_left for progress in told] == [None, 4.0, 2.0, 0.0]


def test_a_row_of_the_log_has_what_tells_how_a_fit_went() -> None:
    given = data()

    fit(Valley(), settings(steps=1), given)

    tune, step, _ = given.log
    assert set(tune) == {"step", "tune_loss", "tune_edit", "tune_locality", "tune_success", "tune_drawdown"}
    assert step["loss"] == pytest.approx(9.0)
    assert step["distance"] == pytest.approx(3.0)
    assert step["alpha/x"] == pytest.approx(0.2 * 6)
    assert {"edit_loss", "locality_loss", "success", "drawdown", "gradient_norm", "rate", "skipped"} <= set(step)


def kept(after: int) -> tuple[list[State], Callable[[Callable[[], State]], None]]:
    """Give where the checkpoint after a step will be, and a `keep` that makes it."""
    offers, checkpoints = 0, []

    def keep(make: Callable[[], State]) -> None:
        nonlocal offers
        offers += 1
        if offers == after:
            checkpoints.append(stored(make()))

    return checkpoints, keep


@pytest.mark.parametrize("after", [1, 9, 10, 13, 40])
def test_a_fit_that_is_gone_on_with_ends_as_one_that_never_stopped(after: int) -> None:
    broken = frozenset({5, 22})
    checkpoints, keep = kept(after)
    whole, part_two = data(keep=keep), Valley(broken=broken)
    state = fit(part_two, settings(), whole)
    (checkpoint,) = checkpoints
    resumed, editor = data(resume=checkpoint), Valley(broken=broken, start=part(checkpoint, "editor"))

    again = fit(editor, settings(), resumed)

    assert torch.equal(again.tensors["x"], state.tensors["x"])
    assert again.values == state.values
    assert editor.seen == part_two.seen[after:]
    assert [without_seconds(row) for row in resumed.log] == [without_seconds(row) for row in whole.log]


def without_seconds(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "seconds"}


def test_patience_and_the_best_state_survive_an_interruption() -> None:
    losses = (2.0, 1.0, 3.0, 3.0)
    checkpoints, keep = kept(25)
    state = fit(Valley(tune_losses=losses), settings(patience=2), data(keep=keep))
    (checkpoint,) = checkpoints
    editor = Valley(tune_losses=losses[3:], start=part(checkpoint, "editor"))

    again = fit(editor, settings(patience=2), data(resume=checkpoint))

    assert [look.step for look in editor.looks] == [30]
    assert again.values == state.values == {"steps": 10}
    assert torch.equal(again.tensors["x"], state.tensors["x"])


def test_skipped_micro_batches_are_counted_over_all_parts() -> None:
    checkpoints, keep = kept(20)
    fit(Valley(broken=frozenset({1, 2})), settings(), data(keep=keep))
    editor = Valley(broken=frozenset({30, 31}), start=part(checkpoints[0], "editor"))

    with pytest.raises(Diverged, match="4 of 32 micro-batches"):
        fit(editor, settings(), data(resume=checkpoints[0]))
