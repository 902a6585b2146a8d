"""A user's own requests and probes, one JSON object a line; docs/datasets.md has the schema with an example.

A line has `id`, `prompt` and `target`, and may have `subject`, `old_target`, `split` and `probes`. A probe has `kind`,
`prompt` and `answer`, and may have `scope`, `alternative` and `about`. Everything is text. Unknown fields are refused,
so that a misspelt one is not lost. The request's own probe is added where it is not among the probes.

Source: this project.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.datasets._entries import Entry
from bench.datasets._rows import Row, Rows, digest_of
from bench.datasets._source import find_file
from bench.editing.config import config
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase, EditRequest, Probe, ProbeKind
from bench.models.kind import ModelKind

__all__ = ["Jsonl", "JsonlConfig"]

_REQUEST_FIELDS = ("id", "prompt", "target", "subject", "old_target", "split", "probes")
_PROBE_FIELDS = ("kind", "prompt", "answer", "scope", "alternative", "about")
_SCOPES = ("relation", "subject", "distant")
_SAME_ANSWER = (ProbeKind.REQUEST, ProbeKind.REPHRASE)  # whose answer is the target


@config
class JsonlConfig:
    """Which file is read."""

    path: str = ""  # the file; a line's `split` says where it belongs, or else a hash of its subject, or of its id
    fit_path: str = ""  # a second file, with the cases to fit on; the first is then to be tested on
    seed: int = 0  # of the order of the cases


class Jsonl(Dataset[JsonlConfig]):
    """Requests and probes of your own."""

    name = "jsonl"
    version = 1
    source = "a file of yours"
    kinds = ("causal", "seq2seq", "classifier")
    Config = JsonlConfig
    task = "whatever the file asks"
    licence = "that of the file"
    citation = "whoever made the file"
    size = "that of the file"

    def __init__(self, config: JsonlConfig, kind: ModelKind) -> None:
        """Read and check the file; raises DataError if it is wrong."""
        super().__init__(config, kind)
        path = find_file(config.path, field="jsonl.path", sample="requests.jsonl")
        fit_path = find_file(config.fit_path, field="jsonl.fit_path", sample="") if config.fit_path else None
        self._rows = Rows(path, fit_path, _row, seed=config.seed)

    def cases(self, split: Split) -> Iterator[EditCase]:
        """Yield the cases of a split in an order that never changes."""
        for row in self._rows.of(split):
            request = EditRequest(
                id=row.id, prompt=row.prompt, target=row.target, subject=row.subject, old_target=row.old_target
            )
            yield EditCase(request=request, probes=row.probes)

    def left_out(self) -> Mapping[str, int]:
        return self._rows.left_out()

    def digest(self) -> str:
        """Give a SHA-256 over the files, the version, the kind and the config but for the paths."""
        return digest_of(self, self._rows.digest)


def _row(entry: Entry) -> Row:
    entry.only(_REQUEST_FIELDS)
    prompt, target, id = _filled(entry, "prompt"), _filled(entry, "target"), entry.name("id")
    subject = _filled(entry, "subject") if "subject" in entry else None
    if subject and subject not in prompt:
        raise entry.wrong(f"the subject {subject!r} does not occur in the prompt {prompt!r}")
    old_target = _filled(entry, "old_target") if "old_target" in entry else None
    return Row(
        id=id,
        where=entry.where,
        group=subject or id,
        prompt=prompt,
        target=target,
        subject=subject,
        old_target=old_target,
        probes=tuple(_probes(entry, id, prompt, target, old_target)),
        split=Split(_chosen(entry, "split", tuple(Split))) if "split" in entry else None,
        is_named=True,
    )


def _probes(entry: Entry, id: str, prompt: str, target: str, old_target: str | None) -> Iterator[Probe]:
    """Yield the probes of a line, the request's own first."""
    parts = entry.parts("probes") if "probes" in entry else []
    if not any(part.values.get("kind") == ProbeKind.REQUEST for part in parts):
        kind = ProbeKind.REQUEST
        yield Probe(id=f"{id}/{kind}", kind=kind, prompt=prompt, answer=target, alternative=old_target, about=id)
    for place, part in enumerate(parts, start=1):
        part.only(_PROBE_FIELDS)
        kind = ProbeKind(_chosen(part, "kind", tuple(ProbeKind)))
        is_target = kind in _SAME_ANSWER
        yield Probe(
            id=f"{id}/{kind}/{place}",
            kind=kind,
            prompt="" if kind is ProbeKind.TEXT else _filled(part, "prompt"),
            answer=_filled(part, "answer") if "answer" in part or not is_target else target,
            scope=_chosen(part, "scope", _SCOPES) if "scope" in part else None,
            alternative=_filled(part, "alternative") if "alternative" in part else old_target if is_target else None,
            about=_filled(part, "about") if "about" in part else id if is_target else None,
        )


def _filled(entry: Entry, field: str) -> str:
    text = entry.text(field)
    if not text.strip():
        raise entry.wrong(f"the field {field!r} is empty")
    return text


def _chosen(entry: Entry, field: str, known: tuple[str, ...]) -> str:
    value = entry.text(field)
    if value not in known:
        raise entry.wrong(f"the field {field!r} is {value!r}; it can be {', '.join(known)}")
    return value
