"""An encoder becomes a classifier of claims, from the fit split alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from bench.building.classifier import made_classifier
from bench.building.finetuning import TrainingSettings
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase, EditRequest, Probe, ProbeKind
from bench.errors import ModelError
from bench.models.kind import ModelKind
from bench.models.loading import load_model
from bench.testing import tiny_model, tiny_tokenizer

LABELS = {"good": "true", "bad": "false"}
QUICK = TrainingSettings(steps=60, batch=8, lr=5e-3)


class Claimed(Dataset[None]):
    """Claims that are true if they end in `good`; what a request asks for is always wrong."""

    name = "claimed"
    kinds = ("classifier",)

    def __init__(self) -> None:
        super().__init__(None, ModelKind.CLASSIFIER)
        self.asked: list[Split] = []

    def cases(self, split: Split) -> Iterator[EditCase]:
        self.asked.append(split)
        for number in range(24):
            word = ("good", "bad")[number % 2]
            prompt = f"{split} {number} is {word}"
            wrong = LABELS[{"good": "bad", "bad": "good"}[word]]
            request = EditRequest(id=f"{split}/{number}", prompt=prompt, target=wrong)
            probes = (
                Probe(id="request", kind=ProbeKind.REQUEST, prompt=prompt, answer=wrong),
                Probe(id="near", kind=ProbeKind.LOCALITY, prompt=prompt, answer=LABELS[word]),
                Probe(id="first", kind=ProbeKind.LOCALITY, prompt=f"{split} 0 is good", answer="true"),
            )
            yield EditCase(request=request, probes=probes)

    def digest(self) -> str:
        return "claimed"


@pytest.fixture
def encoder(tmp_path: Path) -> str:
    tokenizer = tiny_tokenizer("<s>", "</s>")
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=64, initializer_range=0.2, pad_token_id=0, **size
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    return str(tmp_path / "encoder")


def test_it_learns_the_true_labels_and_never_looks_at_the_test_split(encoder: str) -> None:
    data = Claimed()

    made = made_classifier(encoder, data, QUICK, name="judge")

    assert made.accuracy_tune > 0.9
    assert (made.questions, made.left_out) == (24, 0)
    assert made.lm.encoder.label_ids == {"false": 0, "true": 1}
    assert set(data.asked) == {Split.FIT, Split.TUNE}
    assert not made.lm.model.training


def test_the_same_seed_gives_the_same_classifier_and_leaves_the_global_random_state(encoder: str) -> None:
    before = torch.random.get_rng_state()

    first, second, other = (
        made_classifier(encoder, Claimed(), replace(QUICK, steps=3, seed=seed), name="judge").lm.digest()
        for seed in (0, 0, 1)
    )

    assert first == second != other
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("base", ["nowhere/at-all", "random:bert-base"])
def test_a_base_that_has_learned_nothing_or_is_not_there_is_refused(base: str) -> None:
    with pytest.raises(ModelError):
        made_classifier(base, Claimed(), QUICK, name="judge")


def test_a_decoder_is_no_base(tmp_path: Path) -> None:
    lm = tiny_model("t5")
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)

    with pytest.raises(ModelError, match="Name one, such as all-minilm-l6-v2"):
        made_classifier(str(tmp_path), Claimed(), QUICK, name="judge")


def test_the_command_stores_it_where_it_is_found(
    encoder: str, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    from bench.commands.models import Further, classifier

    monkeypatch.setenv("BENCH_MODELS", str(tmp_path / "store"))
    further = Further("toy", ("toy.size=8",), ("fit",), (toy,), replace(QUICK, steps=2), threads=1)

    said = classifier(encoder, "judge", further, Console(stderr=True))

    assert said.splitlines()[0].split()[:2] == ["judge", "classifier"]
    assert said.splitlines()[-1] == "use it with --models judge --datasets toy --set toy.size=8"
    assert load_model("judge").kind is ModelKind.CLASSIFIER
    card = json.loads((tmp_path / "store" / "judge" / "card.json").read_text())
    assert (card["base"], card["steps"], card["dataset"]) == ("encoder", 2, "toy")
    with pytest.raises(ModelError, match="another model is stored"):
        classifier(encoder, "judge", further, Console(stderr=True))
