"""The fit loop skips what is not finite, keeps the best state, and gives the same state for the same seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.editing.edit import State
from bench.editing.editor import FitProgress, PreparationData
from bench.editing.fit import FitConfig, FitScores, fit, fit_batches
from bench.editing.objective import FitBatch, FitLoss
from bench.editing.request import ProbeKind
from bench.errors import DataError, NotFinite
from bench.testing import tiny_cases

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
    """Learns one number: the loss is its squared distance from 3. Chosen steps give NaN."""

    def __init__(self, *, broken: frozenset[int] = frozenset(), tune_losses: tuple[float, ...] = ()) -> None:
        self.x = torch.zeros((), requires_grad=True)
        self.broken = broken
        self.tune_losses = list(tune_losses)
        self.steps = self.after_steps = 0
        self.looks: list[FitScores] = []
        self.rates: list[float] = []
        self.seen: list[tuple[str, ...]] = []

    def outer_parameters(self) -> list[dict[str, Any]]:
        return [{"params": [self.x], "lr": 0.2}]

    def optimiser(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        self.sgd = torch.optim.SGD(groups)
        return self.sgd

    def schedule(self, step: int) -> float | None:
        return None

    def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss:
        total = (self.x - 3).square()
        if is_training:
            self.rates.append(float(self.sgd.param_groups[0]["lr"]))
            self.seen.append(tuple(request.id for group in batch.groups for request in group))
            if self.steps in self.broken:
                total = total * float("nan")
            self.steps += 1
        elif self.tune_losses:
            total = torch.tensor(self.tune_losses.pop(0))
        return FitLoss(total=total, edit=_zero(), locality=_zero(), success=_zero(), parts={})

    def after_step(self, loss: FitLoss) -> None:
        self.after_steps += 1

    def after_validation(self, scores: FitScores) -> None:
        self.looks.append(scores)

    def state(self) -> State:
        return State(tensors={"x": self.x.detach().clone()}, values={"steps": self.steps})


def _zero() -> Tensor:
    return torch.zeros(())


def data(*, tune: int = 4, seed: int = 0, cases: int = 12) -> PreparationData:
    made = tiny_cases("causal", cases + tune)
    return PreparationData(cases=made[:cases], tune=made[cases:], texts=[], seed=seed)


def settings(**changes: Any) -> FitConfig:
    return FitConfig(**(SETTINGS | changes))


def test_a_fit_learns() -> None:
    state = fit(Valley(), settings(), data())

    assert float(state.tensors["x"]) == pytest.approx(3.0, abs=1e-3)


def test_a_step_with_nan_is_skipped_and_counted() -> None:
    given, editor = data(), Valley(broken=frozenset({2, 5}))

    state = fit(editor, settings(), given)

    assert given.log[-2]["skipped"] == 2
    assert editor.after_steps == 38
    assert bool(torch.isfinite(state.tensors["x"]))


def test_too_many_steps_with_nan_end_the_fit() -> None:
    with pytest.raises(NotFinite, match="4 of 4 steps"):
        fit(Valley(broken=frozenset(range(4))), settings(), data())


def test_the_best_state_on_the_tune_split_is_kept() -> None:
    editor = Valley(tune_losses=(5.0, 4.0, 1.0, 2.0, 3.0))

    state = fit(editor, settings(), data())

    assert state.values["steps"] == 20
    assert [look.step for look in editor.looks] == [0, 10, 20, 30, 40]


def test_a_fit_stops_when_patience_is_at_an_end() -> None:
    editor = Valley(tune_losses=(1.0, 2.0, 2.0))

    state = fit(editor, settings(patience=2), data())

    assert editor.steps == 20
    assert state.values["steps"] == 0
    assert [look.step for look in editor.looks] == [0, 10, 20]


def test_a_look_that_is_not_finite_is_never_the_best() -> None:
    editor = Valley(tune_losses=(5.0, float("nan"), 4.0, float("nan"), float("nan")))

    assert fit(editor, settings(), data()).values["steps"] == 20


def test_without_a_tune_split_the_last_state_is_kept() -> None:
    assert fit(Valley(), settings(), data(tune=0)).values["steps"] == 40


def test_the_rate_falls_along_a_cosine() -> None:
    editor = Valley()

    fit(editor, settings(decay_to=0.1), data())

    assert editor.rates[0] == pytest.approx(0.2)
    assert editor.rates[20] == pytest.approx(0.2 * 0.55)
    assert editor.rates[-1] == pytest.approx(0.02, rel=0.02)


def test_the_same_seed_gives_the_same_batches_and_another_seed_others() -> None:
    first, again, other = Valley(), Valley(), Valley()

    states = [fit(editor, settings(), data(seed=seed)) for editor, seed in [(first, 1), (again, 1), (other, 2)]]

    assert first.seen == again.seen != other.seen
    assert torch.equal(states[0].tensors["x"], states[1].tensors["x"])


def test_too_few_cases_are_refused() -> None:
    with pytest.raises(DataError, match="a fit needs 4 cases, the fit split has 3"):
        fit(Valley(), settings(), data(cases=3))


def test_progress_and_log_tell_every_tenth_step_and_the_last() -> None:
    told: list[FitProgress] = []
    made = data()
    given = PreparationData(cases=made.cases, tune=[], texts=[], seed=0, on_progress=told.append)

    fit(Valley(), settings(steps=25), given)

    assert [progress.step for progress in told] == [1, 11, 21, 25]
    assert [row["step"] for row in given.log] == [0, 10, 20, 24]
    assert told[-1].seconds_left == 0


def test_the_sampler_takes_every_case_once_before_any_twice() -> None:
    cases = tiny_cases("causal", 12)

    batches = list(islice(fit_batches(cases, settings(), seed=0), 6))

    ids = [request.id for batch in batches for group in batch.groups for request in group]
    assert set(Counter(ids[:12]).values()) == {1}
    assert set(Counter(ids).values()) == {2}
    assert ids[:12] != ids[12:]


def test_a_group_never_holds_a_case_twice() -> None:
    cases = tiny_cases("causal", 5)

    for batch in islice(fit_batches(cases, settings(edits_per_step=1, group_size=3), seed=0), 60):
        assert len({request.id for request in batch.groups[0]}) == 3


def test_a_look_has_whole_groups_only() -> None:
    sizes: list[set[int]] = []

    class Counting(Valley):
        def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss:
            sizes.append({len(group) for group in batch.groups})
            return super().loss(batch, is_training=is_training)

    fit(Counting(), settings(group_size=2, steps=10), data(tune=5))

    assert set().union(*sizes) == {2}


def test_probes_of_a_batch_name_their_group_and_kind() -> None:
    batch = next(fit_batches(tiny_cases("causal", 12), settings(group_size=2), seed=0))

    assert [group for group, _ in batch.outer] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {probe.kind for _, probe in batch.outer} <= {ProbeKind.REQUEST, ProbeKind.REPHRASE}
    assert {probe.kind for _, probe in batch.locality} == {ProbeKind.LOCALITY}
    for group, probe in batch.outer:
        assert probe.answer in [request.target for request in batch.groups[group]]


def test_a_step_may_take_several_probes_of_each_case() -> None:
    both = settings(outer_probes=2, locality_probes=2)

    batch = next(fit_batches(tiny_cases("causal", 8), both, seed=0))

    assert Counter(group for group, _ in batch.outer) == dict.fromkeys(range(4), 2)
    assert Counter(group for group, _ in batch.locality) == dict.fromkeys(range(4), 2)
    assert len({(group, probe.id) for group, probe in batch.outer}) == 8


def test_cases_without_locality_probes_are_refused() -> None:
    bare = [replace(case, probes=case.probes[:1]) for case in tiny_cases("causal", 8)]

    with pytest.raises(DataError, match="locality probes"):
        next(fit_batches(bare, settings(), seed=0))
