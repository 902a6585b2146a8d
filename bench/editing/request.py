"""What an editor may see of an edit, and what the runner scores it by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["EditCase", "EditRequest", "Probe", "ProbeKind", "Text", "contradicted"]

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
        about: what names the fact that it asks for, however it asks: two probes that agree in it want one answer.
            A locality probe about a fact that is edited together with its own case is not scored.
    """

    id: str
    kind: ProbeKind
    prompt: Text
    answer: Text
    scope: str | None = None
    alternative: Text | None = None
    about: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EditCase:
    """A request and the probes by which its edit is scored."""

    request: EditRequest
    probes: tuple[Probe, ...]


def contradicted(group: Sequence[EditCase]) -> set[tuple[int, str]]:
    """Find the locality probes that ask what another request changes, of cases that are edited together.

    After such an edit the model is right to answer them in another way than before. A probe asks what a request
    changes if it has the prompt of that request or of its rephrases, or is about the same fact.

    Returns:
        Place of the case in the group, and id of the probe.
    """
    changed: dict[tuple[str, object], set[int]] = {}
    for place, case in enumerate(group):
        for probe in case.probes:
            for key in _asks(probe) if probe.kind in (ProbeKind.REQUEST, ProbeKind.REPHRASE) else ():
                changed.setdefault(key, set()).add(place)
    return {
        (place, probe.id)
        for place, case in enumerate(group)
        for probe in case.probes
        if probe.kind is ProbeKind.LOCALITY and any(changed.get(key, {place}) != {place} for key in _asks(probe))
    }


def _asks(probe: Probe) -> Iterator[tuple[str, object]]:
    yield "prompt", probe.prompt
    if probe.about is not None:
        yield "about", probe.about
