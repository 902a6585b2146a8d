"""What the fit loop promises, with the editors that it fits."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.editing.accumulation import gather
from bench.editing.edit import State
from bench.editing.editor import PreparationData
from bench.editing.learned import LearnedEditor
from bench.editing.objective import FitLoss
from bench.editing.sampling import Sampler, micro_batches
from bench.registry import load, plugins
from bench.testing import Subject, tiny_cases, tiny_model
from bench.testing.resuming import preparation_can_be_gone_on_with

LEARNED = [
    name
    for name, plugin in plugins("methods").items()
    if not plugin.problem and issubclass(load("methods", name), LearnedEditor)
]
KINDS = ["causal", "seq2seq", "classifier"]


def config(cls: type[LearnedEditor[Any]], **changes: Any) -> Any:
    """Give a small fit whose gradients do not depend on the order in which edits are seen."""
    unordered = {"no_norm": True} if "no_norm" in {field.name for field in fields(cls.Config)} else {}
    small = {"steps": 4, "edits_per_step": 6, "validate_every": 2, "validation_edits": 4}
    return cls.Config(**small | unordered | changes)


def gradient(name: str, kind: str, micro_batch: int) -> Tensor:
    cls = load("methods", name)
    lm, settings = tiny_model(kind), config(cls, micro_batch=micro_batch)
    editor = cls(lm, settings, cls.initial_state(lm, settings, torch.Generator().manual_seed(0)))
    parameters = [p for group in editor.outer_parameters() for p in group["params"]]
    batches = micro_batches(Sampler(tiny_cases(kind, 12), settings, seed=0).draw(), settings.micro_batch)
    gathered = gather(editor, batches, parameters, precision="fp32")
    assert gathered.skipped == 0
    return torch.cat([g.flatten() for g in gathered.gradient if g is not None])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("micro_batch", [1, 4])
def test_micro_batches_give_the_gradient_of_one_batch(name: str, kind: str, micro_batch: int) -> None:
    whole, parts = gradient(name, kind, 0), gradient(name, kind, micro_batch)

    assert whole.norm() > 0
    assert float((parts - whole).norm() / whole.norm()) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LEARNED)
def test_a_fit_in_bf16_is_near_that_in_fp32_but_another(name: str, kind: str) -> None:
    cls, lm = load("methods", name), tiny_model(kind)
    first: dict[str, float] = {}
    for precision in ("fp32", "bf16"):
        data = PreparationData(cases=tiny_cases(kind, 12), tune=tiny_cases(kind, 4, start=50), texts=[], seed=0)

        state = cls.prepare(lm, config(cls, precision=precision), data)

        assert all(tensor.dtype == torch.float32 for tensor in state.tensors.values() if tensor.is_floating_point())
        first[precision] = next(row["loss"] for row in data.log if "loss" in row)

    assert first["bf16"] != first["fp32"]
    assert first["bf16"] == pytest.approx(first["fp32"], rel=0.1)


class _Counting:
    """Slows down with every step, and forgets or remembers how many there were."""

    remembers: bool
    count = 0

    def after_step(self, loss: FitLoss) -> None:
        self.count += 1

    def schedule(self, step: int) -> float:
        return 1 / (1 + self.count)

    def fit_state(self) -> State:
        return State(values={"count": self.count if self.remembers else 0})

    def resume(self, state: State) -> None:
        self.count = state.values["count"]


@pytest.mark.parametrize("remembers", [False, True])
def test_an_editor_that_forgets_what_its_fit_depends_on_is_found_out(remembers: bool) -> None:
    cls = load("methods", LEARNED[0])
    subject = Subject(type("Counting", (_Counting, cls), {"remembers": remembers}), tiny_model("causal"))

    if remembers:
        assert preparation_can_be_gone_on_with(subject) is None
    else:
        with pytest.raises(AssertionError, match="differs"):
            preparation_can_be_gone_on_with(subject)
