"""`bench datasets`: shows what a dataset makes of its files, and samples edits from a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import registry
from bench.building.continuations import sample
from bench.editing.config import build_config
from bench.editing.dataset import Dataset, Split, check_splits
from bench.errors import ConfigError
from bench.models.kind import ModelKind
from bench.models.loading import load_model
from bench.models.vocabulary import vocabulary_digest

__all__ = ["made_dataset", "sample_edits", "show"]


def show(name: str, sets: Sequence[str], kind: str, plugins: Sequence[Path], *, as_json: bool) -> str:
    """Give the card of a dataset, how many cases its splits have, and what was left out and why.

    Raises:
        BenchError: there is no such dataset, or its files are wrong.
    """
    for path in plugins:
        registry.add_file(path)
    plugin = registry.find("datasets", name)
    chosen = ModelKind(kind) if kind else ModelKind(plugin.kinds[0])
    dataset = made_dataset(name, sets, chosen)
    check_splits(dataset)
    splits = {str(split): _counted(dataset, split) for split in Split}
    about = {"name": name, "version": plugin.version, "kind": str(chosen), "source": plugin.source, **plugin.card}
    if as_json:
        answer = {**about, "digest": dataset.digest(), "splits": splits, "left_out": dict(dataset.left_out())}
        return json.dumps(answer, indent=1, ensure_ascii=False) + "\n"
    lines = [f"{field:9} {value}" for field, value in about.items() if value != ""]
    lines.append(f"{'digest':9} {dataset.digest()}")
    for split, counts in splits.items():
        probes = ", ".join(f"{number:,} {what}" for what, number in counts.items() if what != "cases")
        lines.append(f"{split:9} {counts['cases']:,} cases{f' with {probes} probes' if probes else ''}")
    lines += [f"{'left out':9} {count:,}: {reason}" for reason, count in dataset.left_out().items()]
    return "\n".join(lines) + "\n"


def sample_edits(
    model: str, file: Path, dataset: str, sets: Sequence[str], *, edits: int, tokens: int, unlikely: int, seed: int
) -> str:
    """Sample a continuation behind beginnings of a dataset's passages, write them, and say what to do with the file.

    Args:
        model: a causal model, as `bench run` takes it.
        file: a new file.
        dataset: one that has passages.
        sets: `NAME.FIELD=VALUE` for it.
        edits: how many at most.
        tokens: of a continuation.
        unlikely: how many of these must not be the model's first choice.
        seed: of the sampling.

    Raises:
        BenchError: the file is there, or the model or dataset can not be used.
    """
    for option, number, least in (("--edits", edits, 1), ("--tokens", tokens, 1), ("--unlikely", unlikely, 0)):
        if number < least:
            raise ConfigError(f"{option} is {number}; it must be at least {least}.")
    if unlikely > tokens:
        raise ConfigError(f"--unlikely is {unlikely}, and a target has {tokens} tokens (--tokens).")
    if file.exists():
        raise ConfigError(f"{str(file)!r} is there already. Name a new file.")
    lm = load_model(model)
    if lm.kind is not ModelKind.CAUSAL:
        raise ConfigError(f"{model!r} is a {lm.kind} model, and only a causal one continues a text.")
    source = made_dataset(dataset, sets, ModelKind.CAUSAL)
    found = list(source.beginnings(lambda text: list(lm.tokenizer(text)["input_ids"]), edits))
    if not found:
        raise ConfigError(f"{dataset!r} has no passage that is long enough to be edited. Name a larger file.")
    names = [beginning.name for beginning in found]
    asked = [beginning.tokens for beginning in found]
    targets, again = sample(lm, asked, names, seed, tokens=tokens, fewest_unlikely=unlikely)
    special = set(lm.tokenizer.all_special_ids)
    start = next((place for place, token in enumerate(asked[0]) if token not in special), 0)
    header = {
        "n_tokens": tokens,
        "model": Path(lm.name).name,
        "model_digest": lm.identity,
        "vocabulary": vocabulary_digest(lm.tokenizer.get_vocab()),
        "seed": seed,
        "unlikely": unlikely,
    }
    lines: list[Mapping[str, Any]] = [header]
    lines += [
        {"id": beginning.name, "group": beginning.group, "start": start, "prompt": beginning.tokens, "target": target}
        for beginning, target in zip(found, targets, strict=True)
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return (
        f"{len(found):,} edits of {tokens} tokens sampled from {model}, {again:,} draws repeated; SHA-256 {digest}\n"
        f"next: bench run --methods ft --datasets {dataset} --models MODEL --set {dataset}.edits_path={file} "
        f"{' '.join(f'--set {text}' for text in sets)}\n"
    )


def made_dataset(name: str, sets: Sequence[str], kind: ModelKind) -> Dataset[Any]:
    """Make a dataset with the fields that `NAME.FIELD=VALUE` gives it."""
    cls = registry.load("datasets", name)
    values: dict[str, str] = {}
    for text in sets:
        field, equals, value = text.removeprefix(f"{name}.").partition("=")
        if not (text.startswith(f"{name}.") and equals and field):
            raise ConfigError(f"--set {text!r} is not of the form {name}.FIELD=VALUE.")
        values[field.strip()] = value.strip()
    made: Dataset[Any] = cls(build_config(cls.Config, values, owner=name), kind)
    return made


def _counted(dataset: Dataset[Any], split: Split) -> dict[str, int]:
    """Count a split's cases, and their probes by kind."""
    counts = {"cases": 0}
    for case in dataset.cases(split):
        counts["cases"] += 1
        for probe in case.probes:
            counts[str(probe.kind)] = counts.get(str(probe.kind), 0) + 1
    return counts
