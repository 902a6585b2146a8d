"""Makes a classifier of claims out of an encoder, by fine-tuning it on the claims of a dataset.

What it learns from are the locality probes of the fit split: claims with their true label, whatever the dataset. What
it is judged by are those of the tune split; cases of the test split are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from bench.building.finetuning import FineTuned, OnStep, TrainingSettings, learn, true_answers
from bench.editing.dataset import Dataset, Split
from bench.errors import ModelError
from bench.models.catalogue import find_model
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.models.loading import wrap_model

__all__ = ["made_classifier"]


def made_classifier(
    base: str,
    dataset: Dataset[Any],
    settings: TrainingSettings,
    *,
    name: str,
    on_step: OnStep = lambda step, loss: None,
) -> FineTuned:
    """Fine-tune a base on the claims of a dataset's fit split.

    Args:
        base: an imported name, a folder or a hub id; every weight but a new head's comes from it.
        dataset: for classifiers.
        settings: of the training.
        name: of the new model.
        on_step: told after each step.

    Raises:
        ModelError: the base can not be read, or is no encoder.
        DataError: there are no claims, or none that fits.
    """
    labels = sorted({label for _, label in true_answers(dataset, [Split.FIT])})
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return learn(_with_head(base, labels, name), dataset, settings, on_step=on_step)


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
