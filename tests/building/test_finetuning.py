"""A model is trained further on the questions of a dataset, and knows those of no split that it was not given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.building.finetuning import FineTuned, TrainingSettings, fine_tuned, true_answers
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase, EditRequest, Probe, ProbeKind
from bench.errors import DataError, ModelError
from bench.models.kind import ModelKind
from bench.models.loading import load_model

QUICK = TrainingSettings(steps=60, batch=8, lr=1e-2)
ANSWERS = {Split.FIT: "Babami", Split.TUNE: "Dodino", Split.TEST: "Gugano"}  # all of them several tokens


class Asked(Dataset[None]):
    """Questions with one answer a split; each case has its own question and that of the split's first case."""

    name = "asked"
    kinds = ("causal", "seq2seq")

    def __init__(self, count: int = 4, long: int = 0) -> None:
        super().__init__(None, ModelKind.SEQ2SEQ)
        self.count, self.long = count, long

    def cases(self, split: Split) -> Iterator[EditCase]:
        for number in range(self.count):
            prompt = " ".join([f"{split} {number}?"] * (60 if number < self.long else 1))
            request = EditRequest(id=f"{split}/{number}", prompt=prompt, target="false")
            about = {"kind": ProbeKind.LOCALITY, "answer": ANSWERS[split]}
            probes = (
                Probe(id="request", kind=ProbeKind.REQUEST, prompt=prompt, answer="false"),
                Probe(id="own", prompt=prompt, **about),  # type: ignore[arg-type]
                Probe(id="first", prompt=f"{split} 0?", **about),  # type: ignore[arg-type]
            )
            yield EditCase(request=request, probes=probes)

    def digest(self) -> str:
        return "asked"


def test_questions_are_the_locality_probes_each_once_in_the_order_of_the_splits() -> None:
    pairs = true_answers(Asked(count=2), [Split.TEST, Split.FIT])

    assert pairs == [("test 0?", "Gugano"), ("test 1?", "Gugano"), ("fit 0?", "Babami"), ("fit 1?", "Babami")]


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
def test_it_learns_the_answers_of_the_splits_that_it_is_given(kind: str, model_folder: Callable[[str], Path]) -> None:
    base = str(model_folder(kind))

    fit = fine_tuned(base, Asked(), QUICK)
    tune = fine_tuned(base, Asked(), QUICK, splits=[Split.TUNE])

    assert (fit.questions, fit.accuracy, fit.accuracy_tune) == (4, 1.0, 0.0)
    assert (tune.questions, tune.accuracy, tune.accuracy_tune) == (4, 1.0, 1.0)
    assert not fit.lm.model.training
    assert not any(parameter.requires_grad for parameter in fit.lm.model.parameters())


def test_the_same_seed_gives_the_same_model_and_leaves_the_global_random_state(
    model_folder: Callable[[str], Path],
) -> None:
    before = torch.random.get_rng_state()

    def made(seed: int) -> FineTuned:
        return fine_tuned(str(model_folder("seq2seq")), Asked(), replace(QUICK, steps=3, seed=seed))

    assert made(0).lm.digest() == made(0).lm.digest() != made(1).lm.digest()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_questions_that_do_not_fit_are_left_out_and_counted(model_folder: Callable[[str], Path]) -> None:
    made = fine_tuned(str(model_folder("causal")), Asked(long=2), replace(QUICK, steps=1))

    # of two splits: the question of case 1, and in its long form that of case 0
    assert (made.questions, made.left_out) == (3, 4)


def test_where_nothing_fits_or_is_asked_there_is_an_error(model_folder: Callable[[str], Path]) -> None:
    base = str(model_folder("causal"))

    with pytest.raises(DataError, match="'asked' has no question with its true answer in its fit split"):
        fine_tuned(base, Asked(count=0), QUICK)


def test_random_weights_are_no_base() -> None:
    with pytest.raises(ModelError, match="has random weights"):
        fine_tuned("random:t5-small", Asked(), QUICK)


def test_the_command_stores_it_with_what_it_learned(
    model_folder: Callable[[str], Path], toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from bench.cli.models import models_app

    monkeypatch.setenv("BENCH_MODELS", str(tmp_path / "store"))
    words = ["finetune", str(model_folder("seq2seq")), "mine", "--dataset", "toy", "--plugin", str(toy)]

    said = CliRunner().invoke(models_app, [*words, "--splits", "fit,test", "--steps", "2", "--batch", "4"])

    assert said.exit_code == 0
    assert said.stdout.splitlines()[0].split()[:2] == ["mine", "seq2seq"]
    assert said.stdout.splitlines()[-1] == "use it with --models mine --datasets toy"
    assert load_model("mine").kind is ModelKind.SEQ2SEQ
    card = json.loads((tmp_path / "store" / "mine" / "card.json").read_text())
    assert (card["kind"], card["splits"], card["steps"]) == ("seq2seq", ["fit", "test"], 2)
    assert 0 <= card["accuracy_tune"] <= 1
