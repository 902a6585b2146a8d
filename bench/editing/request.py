"""What an editor may see of an edit, and what the runner scores it by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["EditCase", "EditRequest", "Probe", "ProbeKind", "Text"]

Text = str | tuple[int, ...]


class ProbeKind(StrEnum):
    """What a probe asks of an edited model."""

    REQUEST = "request"  # the edited prompt itself
    REPHRASE = "rephrase"  # the same question in other words; the answer is the target
    LOCALITY = "locality"  # a question that the edit must not touch
    PORTABILITY = "portability"  # a question whose answer follows from the edit
    TEXT = "text"  # running text: prompt is empty, the answer is the passage


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRequest:
    """One edit that is wanted: all that an editor is ever given.

    Args:
        id: unique within a dataset.
        prompt: the input of the model.
        target: what the model is to answer; one of its labels if it is a classifier.
        subject: the entity that the prompt is about, as it stands in the prompt.
        old_target: what the unedited model answers.
    """

    id: str
    prompt: Text
    target: Text
    subject: str | None = None
    old_target: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One question put to the model before and after an edit. Editors never see it.

    Args:
        id: unique within its case.
        kind: what the probe is for.
        prompt: the input of the model.
        answer: what counts as right: the target for request and rephrase, the true
            answer for locality, the passage for text.
        scope: how near a locality probe is to the edit: `relation` (another subject of the
            same relation), `subject` (another relation of the same subject) or `distant`.
        alternative: the answer to compare the probability with: the old target.
    """

    id: str
    kind: ProbeKind
    prompt: Text
    answer: Text
    scope: str | None = None
    alternative: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EditCase:
    """A request and the probes by which its edit is scored."""

    request: EditRequest
    probes: tuple[Probe, ...]
