"""What costs are measured on: random weights in a known shape, edits of token ids drawn at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from plain import Case

from bench import registry
from bench.editing.config import build_config
from bench.editing.edit import State
from bench.editing.editor import Editor
from bench.editing.objective import FitBatch
from bench.editing.request import EditRequest, Probe, ProbeKind
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel

__all__ = ["VALUES", "batch_of", "cases", "make_editor", "precision", "single_thread"]

LENGTH, ANSWER = 64, 10  # tokens of a text, and of its answer

# Sizes as in the MEND paper, the divergence over all positions as there; one probe of each kind.
VALUES: dict[str, dict[str, Any]] = {
    "mend": {"rank": 1920, "locality_positions": "all"},
    "ke": {"preset": "paper"},
    "enn": {"locality_positions": "all"},
    "enn_second_order": {"first_order": False, "locality_positions": "all"},
    "ft": {"steps": 5, "locality_positions": "all"},
    "ft_kl": {"steps": 5, "kl": True, "locality_positions": "all"},
}


def cases(lm: LanguageModel, count: int) -> list[Case]:
    """Draw edits: texts of 64 tokens of which the last ten are the answer; an encoder reads 64 and answers ten."""
    draw = torch.Generator().manual_seed(0)
    known = min(len(lm.tokenizer), 2000)
    prompt = LENGTH if lm.kind is ModelKind.SEQ2SEQ else LENGTH - ANSWER

    def ids(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(5, known, (length,), generator=draw).tolist())

    made = []
    for index in range(count):
        target = ids(ANSWER)
        request = EditRequest(id=str(index), prompt=ids(prompt), target=target, old_target=ids(ANSWER))
        outer = Probe(id="outer", kind=ProbeKind.REPHRASE, prompt=ids(prompt), answer=target)
        locality = Probe(id="locality", kind=ProbeKind.LOCALITY, prompt=ids(prompt), answer=ids(ANSWER))
        made.append(Case(request, outer, locality))
    return made


def batch_of(drawn: Sequence[Case]) -> FitBatch:
    """Give cases as a step of a fit gets them."""
    return FitBatch(
        groups=tuple((case.request,) for case in drawn),
        outer=tuple((i, case.outer) for i, case in enumerate(drawn)),
        locality=tuple((i, case.locality) for i, case in enumerate(drawn)),
    )


def make_editor(lm: LanguageModel, name: str, drawn: Sequence[Case], **values: Any) -> Editor[Any]:
    """Make an editor as it is before its fit; `name` is one of VALUES."""
    cls: type[Any] = registry.load("methods", name.partition("_")[0])
    config = build_config(cls.Config, VALUES[name] | values, owner=cls.name, presets=cls.presets)
    if cls.name == "ft":
        probes = [(case.locality.prompt, case.locality.answer) for case in drawn]
        made: Editor[Any] = cls(lm, config, State(values={"locality": probes}))
    else:
        made = cls(lm, config, cls.initial_state(lm, config, torch.Generator().manual_seed(0)))
    return made


@contextmanager
def precision(name: str, device: str) -> Iterator[None]:
    """Compute in `fp32`, or under autocast in `bf16`."""
    with torch.autocast(device, torch.bfloat16, enabled=name == "bf16"):
        yield


@contextmanager
def single_thread() -> Iterator[None]:
    """Compute on one CPU thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
