"""Makes a classifier of claims out of an encoder, by fine-tuning it on the claims of a dataset.

What it learns from are the locality probes of the fit split: claims with their true label, whatever the dataset. What
it is judged by are those of the tune split; cases of the test split are not looked at.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from bench.editing.dataset import Dataset, Split
from bench.editing.request import ProbeKind
from bench.errors import DataError, ModelError
from bench.models.catalogue import find_model
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.models.loading import wrap_model

__all__ = ["Claims", "ClassifierSettings", "FineTuned", "fine_tuned", "labelled_claims"]

Claims = list[tuple[str, str]]  # each with its label

_MEASURED_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierSettings:
    """How a classifier is trained.

    Args:
        steps: of the optimiser.
        batch: claims a step.
        lr: AdamW's step size, after a warm-up of a tenth of the steps; it falls linearly to 0.
        seed: of the new head, the dropout and the order of the claims.
    """

    steps: int = 1000
    batch: int = 32
    lr: float = 5e-5  # Devlin et al. 2019 (arXiv:1810.04805), appendix A.3: 5e-5, 3e-5 or 2e-5, batches of 16 or 32
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuned:
    """A classifier, and how well it does.

    Args:
        lm: the model, in eval mode.
        accuracy: the share of the tune split's claims that it labels rightly.
        claims: how many it learned from.
        left_out: claims that do not fit into it.
    """

    lm: LanguageModel
    accuracy: float
    claims: int
    left_out: int


def labelled_claims(dataset: Dataset[Any], split: Split) -> Claims:
    """Give the claims of a split with their true label, each once, in an order that never changes.

    Raises:
        DataError: there are none.
    """
    claims: dict[str, str] = {}
    for case in dataset.cases(split):
        for probe in case.probes:
            if probe.kind is ProbeKind.LOCALITY and isinstance(probe.prompt, str):
                claims.setdefault(probe.prompt, str(probe.answer))
    if not claims:
        raise DataError(f"dataset {dataset.name!r} has no claim with a label in its {split} split.")
    return list(claims.items())


def fine_tuned(
    base: str,
    dataset: Dataset[Any],
    settings: ClassifierSettings,
    *,
    name: str,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> FineTuned:
    """Fine-tune a base on the claims of a dataset.

    Args:
        base: an imported name, a folder or a hub id; every weight but a new head's comes from it.
        dataset: for classifiers.
        settings: of the training.
        name: of the new model.
        on_step: told after each step which it was, and its loss in nats.

    Raises:
        ModelError: the base can not be read, or is no encoder.
        DataError: there are no claims, or none that fits.
    """
    claims, tune = labelled_claims(dataset, Split.FIT), labelled_claims(dataset, Split.TUNE)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        lm = _with_head(base, sorted({label for _, label in claims}), name)
        fitting = _fitting(lm, claims)
        if not fitting:
            raise DataError(f"no claim of dataset {dataset.name!r} fits into {base!r}.")
        _train(lm, fitting, settings, on_step)
    lm.model.eval().requires_grad_(False)
    known = _fitting(lm, tune)
    return FineTuned(
        lm=lm,
        accuracy=_accuracy(lm, known),
        claims=len(fitting),
        left_out=len(claims) - len(fitting) + len(tune) - len(known),
    )


def _with_head(base: str, labels: Sequence[str], name: str) -> LanguageModel:
    entry = find_model(base)
    if entry.shape is not None:
        raise ModelError(f"{base!r} has random weights. Name an encoder that has learned something.")
    options = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            entry.source, revision=entry.revision or None, trust_remote_code=False
        )
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            entry.source,
            **options,
            revision=entry.revision or None,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{base!r} can not be made a classifier: {first}") from error
    if model.config.is_encoder_decoder or getattr(model.config, "is_decoder", False):
        raise ModelError(f"{base!r} is no encoder. Name one, such as all-minilm-l6-v2.")
    return wrap_model(model, tokenizer, ModelKind.CLASSIFIER, name=name, identity="")


def _fitting(lm: LanguageModel, claims: Claims) -> Claims:
    kept = []
    for claim, label in claims:
        try:
            lm.encoder.encode(claim, label)
        except DataError:
            continue
        kept.append((claim, label))
    return kept


def _train(
    lm: LanguageModel, claims: Claims, settings: ClassifierSettings, on_step: Callable[[int, float], None]
) -> None:
    lm.model.train().requires_grad_(True)
    optimiser = torch.optim.AdamW(lm.model.parameters(), lr=settings.lr, weight_decay=0.01)
    warm = max(1, settings.steps // 10)

    def pace(step: int) -> float:
        return min((step + 1) / warm, (settings.steps - step) / max(1, settings.steps - warm))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace)
    order = random.Random(settings.seed)
    waiting: Claims = []
    for step in range(settings.steps):
        while len(waiting) < settings.batch:
            waiting += order.sample(claims, len(claims))
        chosen, waiting = waiting[: settings.batch], waiting[settings.batch :]
        loss = lm.answers(lm.batch(chosen)).loss()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lm.model.parameters(), 1.0)  # as BERT was fine-tuned
        optimiser.step()
        schedule.step()
        on_step(step + 1, loss.item())


@torch.inference_mode()
def _accuracy(lm: LanguageModel, claims: Claims) -> float:
    right = 0
    for start in range(0, len(claims), _MEASURED_AT_ONCE):
        right += int(lm.answers(lm.batch(claims[start : start + _MEASURED_AT_ONCE])).is_right().sum())
    return right / len(claims) if claims else float("nan")
