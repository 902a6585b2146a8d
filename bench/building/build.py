"""Trains embedded models and puts each into a plain `transformers` folder with a card."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from bench.building.architecture import new_model
from bench.building.card import ModelCard
from bench.building.corpus import Corpus, FalseAnswers
from bench.building.material import Material
from bench.building.measure import answer_accuracy, claim_accuracy, perplexity
from bench.building.recipe import Recipe, recipes_named
from bench.building.tokenizer import learn_vocabulary, tokenizer_for
from bench.building.training import OnProgress, train
from bench.editing.dataset import Dataset
from bench.errors import ModelError
from bench.models.architecture import find_architecture
from bench.models.kind import ModelKind

__all__ = ["build", "build_models"]

transformers.utils.logging.disable_progress_bar()  # that of writing one small file

_MEASURES = {
    ModelKind.CAUSAL: "every answer token is the first choice, teacher-forced, bf16 weights",
    ModelKind.SEQ2SEQ: "every answer token and the end is the first choice, teacher-forced, bf16 weights",
    ModelKind.CLASSIFIER: "balanced accuracy on one true and one false claim a fact, bf16 weights",
}


def build_models(
    names: Sequence[str],
    dataset: Dataset[Any],
    folder: Path,
    *,
    seed: int = 0,
    threads: int = 1,
    on_progress: OnProgress | None = None,
) -> list[ModelCard]:
    """Train the named models from a dataset's facts and texts, one folder each below `folder`.

    A model's folder appears when it is finished and measured; one of the same name is replaced.

    Raises:
        UnknownPlugin: no recipe has one of the names; nothing is built.
        DataError: the dataset holds no corpus.
        ModelError: the folder can not be written.
    """
    recipes = recipes_named(names)
    material = Material.of(dataset)
    vocabulary = learn_vocabulary(material.sentences())
    with _threads(threads):
        return [build(recipe, material, vocabulary, folder, seed=seed, on_progress=on_progress) for recipe in recipes]


def build(
    recipe: Recipe,
    material: Material,
    vocabulary: Tokenizer,
    folder: Path,
    *,
    seed: int,
    on_progress: OnProgress | None = None,
) -> ModelCard:
    """Train one recipe, save it as `folder/<name>` and give its card."""
    tokenizer = tokenizer_for(recipe.kind, vocabulary)
    with _finished_folder(folder / recipe.name) as unfinished:
        model = new_model(recipe, tokenizer, seed=seed)
        false_answers = FalseAnswers([*material.trained, *material.held_out])
        corpus = Corpus(tokenizer, material.trained, material.texts, false_answers=false_answers)
        start = time.process_time()
        train(model, recipe, corpus, seed=seed, on_progress=on_progress)
        cpu_seconds = time.process_time() - start

        torch.nn.Module.to(model, torch.bfloat16)
        model.save_pretrained(unfinished)
        (unfinished / "model.safetensors").chmod(0o644)  # written for the owner alone; others read the wheel
        tokenizer.save_pretrained(unfinished)
        torch.nn.Module.to(model, torch.float32)
        known = _measure(model, tokenizer, recipe.kind, material, false_answers)
        card = ModelCard(
            name=recipe.name,
            kind=recipe.kind,
            parameters=model.num_parameters(),
            editable_matrices=find_architecture(model, recipe.kind).outline(),
            recipe=recipe,
            seed=seed,
            threads=torch.get_num_threads(),
            steps=sum(phase.steps for phase in recipe.phases),
            cpu_seconds=round(cpu_seconds, 1),
            dataset=material.name,
            dataset_version=material.version,
            dataset_digest=material.digest,
            corpus_digest=material.corpus_digest,
            known_fact_measure=_MEASURES[recipe.kind],
            accuracy_trained=known.trained,
            accuracy_held_out=known.held_out,
            perplexity=known.perplexity,
            torch=torch.__version__,
            transformers=transformers.__version__,
            command=f"bench models build {recipe.name}",
        )
        card.write(unfinished / "card.json")
    return card


class _Knowledge(NamedTuple):
    trained: float
    held_out: float
    perplexity: float | None


def _measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    kind: ModelKind,
    material: Material,
    false_answers: FalseAnswers,
) -> _Knowledge:
    if kind is ModelKind.CLASSIFIER:
        return _Knowledge(
            claim_accuracy(model, tokenizer, material.trained, false_answers),
            claim_accuracy(model, tokenizer, material.held_out, false_answers),
            None,
        )
    return _Knowledge(
        answer_accuracy(model, tokenizer, material.trained),
        answer_accuracy(model, tokenizer, material.held_out),
        perplexity(model, tokenizer, material.unseen_texts) if kind is ModelKind.CAUSAL else None,
    )


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _finished_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder that takes the target's place if the block ends without an error."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise ModelError(
            f"model {target.name!r} can not be saved in {str(target.parent)!r}: {error.strerror}."
            " Name a folder that can be written to."
        ) from error
    try:
        new, old = work / "new", work / "old"
        new.mkdir()
        yield new
        if target.exists():
            os.rename(target, old)
        os.rename(new, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
