"""The files with edits of WikiText: what `bench datasets sample` writes, and the paper's JSON.

The first has a line that says what the edits were sampled from, then one edit a line, as token ids. The paper's has
texts, of which the last tokens are the target; they are token ids only to the tokenizer that they were made with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tokenizers import Tokenizer

from bench.datasets._entries import Entry, read_entries, whole
from bench.datasets._rows import LeftOut, Row, content_id
from bench.errors import DataError, ModelError
from bench.models.catalogue import find_model
from bench.models.vocabulary import vocabulary_digest

__all__ = ["edit_entries", "edit_reader", "find_tokenizer", "find_vocabulary"]

_PAPER_FIELDS = ("n_tokens", "original", "completions")


def edit_entries(path: Path) -> Iterator[Entry]:
    """Yield an entry an edit: of our files the lines but for the first, of the paper's the pairs of its two lists."""
    if path.suffix != ".json":
        entries = read_entries(path)
        _check_header(next(entries))
        yield from entries
        return
    file = whole(path)
    file.only(_PAPER_FIELDS)
    originals, completions = file.texts("original"), file.texts("completions")
    if len(originals) != len(completions):
        raise file.wrong(f"there are {len(originals)} originals and {len(completions)} completions")
    if not completions:
        raise file.wrong("there is no completion")
    count = file.values["n_tokens"]
    for number, text in enumerate(completions, start=1):
        yield Entry(f"{path}, completion {number}", {"completion": text, "n_tokens": count})


def find_vocabulary(path: Path, tokenizer: Tokenizer | None) -> str:
    """Give the checksum of the vocabulary that a file's token ids belong to.

    Raises:
        DataError: the file is the paper's and there is no tokenizer.
    """
    if path.suffix != ".json":
        header = next(read_entries(path))
        _check_header(header)
        return header.text("vocabulary")
    if tokenizer is None:
        raise DataError(
            f"{path} has texts, of which the last tokens are the target: name the model whose tokenizer they were made "
            "with, as in --set wikitext.tokenizer=distilgpt2 (an embedded model, a folder, or a hub id)."
        )
    return vocabulary_digest(tokenizer.get_vocab())


def edit_reader(tokenizer: Tokenizer | None) -> Callable[[Entry], Row | LeftOut]:
    """Give what makes a row of an entry."""
    start = _start_tokens(tokenizer) if tokenizer else 0

    def read(entry: Entry) -> Row | LeftOut:
        if tokenizer is None or "completion" not in entry:
            return _sampled(entry)
        count = entry.values["n_tokens"]
        if not isinstance(count, int) or count < 1:
            raise entry.wrong(f"n_tokens must be a whole number above 0, not {count!r}")
        text = entry.text("completion")
        ids = tuple(tokenizer.encode(text).ids)
        if len(ids) <= start + count:
            return LeftOut(f"it has no token before its last {count}")
        prompt = ids[:-count]
        group = text[:60]
        return Row(
            id=content_id("wikitext", text),
            where=entry.where,
            group=group,
            prompt=prompt,
            target=ids[-count:],
            start=start,
        )

    return read


def find_tokenizer(model: str) -> Tokenizer:
    """Load the tokenizer of an embedded model, a folder or a model of the hub.

    Raises:
        DataError: there is none.
    """
    try:
        folder = find_model(model).folder
        if folder is not None and (folder / "tokenizer.json").is_file():
            return Tokenizer.from_file(str(folder / "tokenizer.json"))
        from transformers import AutoTokenizer

        backend = AutoTokenizer.from_pretrained(str(folder or model)).backend_tokenizer
    except (ModelError, OSError, ValueError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"wikitext.tokenizer is {model!r}, and its tokenizer can not be read: {reason}") from error
    if not isinstance(backend, Tokenizer):
        raise DataError(f"wikitext.tokenizer is {model!r}, which has no fast tokenizer.")
    return backend


def _sampled(entry: Entry) -> Row:
    entry.only(("id", "group", "start", "prompt", "target"))
    prompt, target = entry.numbers("prompt"), entry.numbers("target")
    start = entry.values.get("start", 0)
    if not isinstance(start, int) or not 0 <= start < len(prompt) or not target:
        raise entry.wrong("a prompt needs a token behind those it starts with, and a target a token")
    return Row(
        id=f"wikitext/{entry.name('id')}",
        where=entry.where,
        group=entry.text("group"),
        prompt=prompt,
        target=target,
        start=start,
        is_named=True,
    )


def _check_header(entry: Entry) -> None:
    if "vocabulary" not in entry:
        raise entry.wrong(
            "the first line must say what the edits were sampled from, with the field 'vocabulary'; make the file with "
            "`bench datasets sample`"
        )


def _start_tokens(tokenizer: Tokenizer) -> int:
    """Count the special tokens that a text begins with."""
    mask = tokenizer.encode("a").special_tokens_mask
    return next((place for place, is_special in enumerate(mask) if not is_special), 0)
