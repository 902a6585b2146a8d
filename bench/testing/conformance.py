"""The contract of editors as checks that run on any of them, over a tiny model.

Each check is a function whose docstring says what it expects. It raises AssertionError where that is not so, and
gives a reason where it does not apply.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bench.editing.config import build_config
from bench.editing.edit import Edit, Replacement, State, WeightEdit
from bench.editing.editor import Editor, PreparationData
from bench.editing.fit import FitConfig
from bench.editing.request import EditCase, EditRequest, ProbeKind
from bench.editing.rowwise import Rowwise
from bench.editing.written import written
from bench.errors import BenchError
from bench.models.answers import Answers
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.testing.resuming import preparation_can_be_gone_on_with, stored
from bench.testing.tiny import LABELS, tiny_cases
from bench.testing.traces import untouched

__all__ = ["CHECKS", "MODEL_CHECKS", "Subject", "Verdict", "check_editor"]

_TOLERANCE = 1e-5  # relative, in float32: two orders of the same sums
_SMALL_FIT = {
    "steps": 50,
    "edits_per_step": 8,
    "validate_every": 25,
    "validation_edits": 8,
    "decay_to": 1.0,
    "c_edit": 1.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one check found.

    Args:
        check: the check's name.
        expects: what it expects, one sentence.
        problem: what was found instead, or None.
        skipped: why the check does not apply, or None.
    """

    check: str
    expects: str
    problem: str | None = None
    skipped: str | None = None


class Subject:
    """One editor on one model, prepared when it is first needed.

    Args:
        cls: the editor's class.
        lm: a tiny model.
        config: the editor's configuration, or the fields that differ from its defaults with a fit of 50 small steps.
    """

    def __init__(self, cls: type[Editor[Any]], lm: LanguageModel, config: Any = None) -> None:
        self.cls = cls
        self.lm = lm
        if config is None or isinstance(config, Mapping):
            fields = {**_small_fit(cls), **(config or {})}
            config = build_config(cls.Config, fields, owner=cls.name, presets=cls.presets)
        self.config = config
        self.fitted = tiny_cases(lm.kind, 24)
        self.held_out = tiny_cases(lm.kind, 4, start=100)

    @cached_property
    def state(self) -> State:
        """What the editor's preparation gives."""
        return self.cls.prepare(self.lm, self.config, self.preparation_data())

    def preparation_data(self) -> PreparationData:
        """Give what the editor is prepared with."""
        return PreparationData(
            cases=self.fitted,
            tune=tiny_cases(self.lm.kind, 8, start=50),
            texts=[f"{case.request.prompt} {case.request.target}" for case in self.fitted],
            seed=0,
        )

    @cached_property
    def editor(self) -> Editor[Any]:
        """The prepared editor."""
        return self.new_editor(self.state)

    def new_editor(self, state: State) -> Editor[Any]:
        """Make another editor from a state."""
        return self.cls(self.lm, self.config, state)

    def base(self, editor: Editor[Any] | None = None) -> AbstractContextManager[None]:
        """Hold what the preparation did to the model itself in it, as the runner does around `edit`."""
        change = (editor or self.editor).base_change()
        return nullcontext() if change is None else written(self.lm, change)

    def edit(self, requests: Sequence[EditRequest], *, seed: int = 0, memory: State | None = None) -> Edit:
        """Let the editor edit the base."""
        return self.editor.edit(requests, memory=memory, generator=torch.Generator().manual_seed(seed))


Check = Callable[[Subject], str | None]


def check_editor(
    cls: type[Editor[Any]], lm: LanguageModel, config: Any = None, *, checks: Iterable[Check] | None = None
) -> list[Verdict]:
    """Run every check on one editor and one model.

    Args:
        cls: the editor's class.
        lm: a tiny model of a kind that the editor takes; see `tiny_model`.
        config: the editor's configuration, or the fields that differ from its defaults with a fit of 50 small steps.
        checks: some of `CHECKS`, such as `MODEL_CHECKS`; None: all.

    Returns:
        One verdict a check. An error that the editor raises is that check's problem.
    """
    subject = Subject(cls, lm, config)
    return [_verdict(check, subject) for check in (CHECKS if checks is None else checks)]


def _verdict(check: Check, subject: Subject) -> Verdict:
    problem = skipped = None
    try:
        skipped = check(subject)
    except AssertionError as error:
        problem = str(error) or "the check failed"
    except Exception as error:  # a plug-in is foreign code: whatever it raises is what the check found
        problem = f"{type(error).__name__}: {error}"
    expects = " ".join((inspect.getdoc(check) or "").split())
    return Verdict(check=check.__name__, expects=expects, problem=problem, skipped=skipped)


def model_is_supported(subject: Subject) -> str | None:
    """An editor supports a plain model of each kind that it names, and says no reason against it."""
    reason = subject.cls.unsupported(subject.lm.architecture, subject.config, at_once=1)
    assert reason is None, f"it says: {reason}"
    return None


def editing_leaves_nothing_behind(subject: Subject) -> str | None:
    """Preparing and editing leave weights, buffers, grads, flags, hooks, modes and random states as they were."""
    with untouched(subject.lm, "prepare"):
        _ = subject.editor
    with subject.base(), untouched(subject.lm, "edit"):
        subject.edit([subject.held_out[0].request])
    with subject.base(), untouched(subject.lm, "edit_each"):
        _edit_each(subject, [[case.request] for case in subject.held_out])
    return None


def rowwise_equals_written(subject: Subject) -> str | None:
    """An edit applied to rows gives the answers of the edit written into the weights, to 1e-5 in float32."""
    with subject.base():
        edits = _edit_each(subject, [[case.request] for case in subject.held_out[:3]])
        weight_edits = [edit for edit in edits if isinstance(edit, WeightEdit)]
        if len(weight_edits) < len(edits):
            return "it does not change weights"
        if any(isinstance(change, Replacement) for edit in weight_edits for change in edit.changes.values()):
            return "it replaces parameters, and a replacement can only be written"
        for index, edit in enumerate(weight_edits):
            rowwise = _scored(subject.lm, weight_edits, index, subject.held_out)
            with written(subject.lm, edit):
                in_place = _scored(subject.lm, [], -1, subject.held_out)
            _assert_close(rowwise.logits, in_place.logits, "rowwise and written answers")
    return None


def edit_each_equals_edit(subject: Subject) -> str | None:
    """Several independent edits made at once equal those made one at a time, to 1e-5 in float32."""
    pair = [case.request for case in subject.held_out[2:4]]
    groups = [[case.request] for case in subject.held_out[:3]]
    if _takes(subject, 2):
        groups.append(pair)
    with subject.base():
        for index, edit in enumerate(_edit_each(subject, groups)):
            alone = subject.edit(groups[index], seed=index)
            _assert_same_effect(subject, edit, alone, f"edit_each()[{index}] and edit()")
    return None


def same_seed_gives_the_same_edit(subject: Subject) -> str | None:
    """The same requests and seed give the same edit, bit for bit."""
    request = subject.held_out[0].request
    with subject.base():
        _assert_identical(subject.edit([request], seed=3), subject.edit([request], seed=3), "two edits of one seed")
    return None


def editing_raises_the_target(subject: Subject) -> str | None:
    """After a short fit an edit raises the log-probability of its target, on average over the fitted cases."""
    if subject.cls.is_control:
        return "it declares itself a control"
    pairs = [(case.request.prompt, case.request.target) for case in subject.fitted]
    with subject.base():
        edits = _edit_each(subject, [[case.request] for case in subject.fitted])
        pairs = [(edit.rewrite(prompt), answer) for edit, (prompt, answer) in zip(edits, pairs, strict=True)]
        batch = subject.lm.batch(pairs)
        owner = torch.arange(len(edits), device=subject.lm.device)
        with torch.no_grad():
            before = -subject.lm.answers(batch).row_loss().mean()
            after = -Rowwise(subject.lm, edits).answers(batch, owner).row_loss().mean()
    assert after > before, f"the mean log-probability went from {float(before):.4f} to {float(after):.4f}"
    return None


def state_survives_a_round_trip(subject: Subject) -> str | None:
    """A state that was stored as safetensors and JSON gives the same edit as the one that was not."""
    requests = [subject.held_out[0].request]
    again = subject.new_editor(stored(subject.state))
    with subject.base():
        first = subject.edit(requests)
    with subject.base(again):
        second = again.edit(requests, memory=None, generator=torch.Generator().manual_seed(0))
    _assert_identical(first, second, "the edits before and after storing the state")
    return None


def memory_travels_in_the_edit(subject: Subject) -> str | None:
    """The next edit of a sequence depends on stored memory only: a new editor that is given it makes the same."""
    first, second = ([case.request] for case in subject.held_out[:2])
    with subject.base():
        memory = subject.edit(first).memory
        following = subject.edit(second, memory=memory, seed=1)
        again = subject.new_editor(subject.state)
        kept = None if memory is None else stored(memory)
        resumed = again.edit(second, memory=kept, generator=torch.Generator().manual_seed(1))
    _assert_identical(following, resumed, "the second edits with and without a reload")
    return None


def unusual_requests_work_or_are_refused(subject: Subject) -> str | None:
    """No request, the same one twice, over-long and unicode ones work, or raise a BenchError that says why not."""
    usual = subject.held_out[0].request
    is_classifier = subject.lm.kind is ModelKind.CLASSIFIER
    unicode = replace(usual, prompt="Łódź → 東京 🗼 naïve\u200b", target=LABELS[1] if is_classifier else "ßü 漢字")
    unusual = {
        "no request": [],
        "an over-long request": [replace(usual, prompt="Babado " * 40)],
        "an empty prompt": [replace(usual, prompt="")],
        "an empty target": [replace(usual, target="")],
        "a unicode request": [unicode],
        "token ids": [replace(usual, prompt=(5, 6, 7), target=usual.target if is_classifier else (8, 9), subject=None)],
        "no subject and no old target": [replace(usual, subject=None, old_target=None)],
    }
    if _takes(subject, 2):
        unusual["a request twice"] = [usual, usual]
    with subject.base():
        for what, requests in unusual.items():
            with _refusable(what):
                assert subject.edit(requests).is_finite, f"{what}: the edit is not finite"
        with _refusable("no group"):
            assert _edit_each(subject, []) == [], "no group: edit_each gives an edit"
    return None


def probes_stay_out_of_reach(subject: Subject) -> str | None:
    """The editor reads nothing that only a probe of the edited cases holds."""
    read: list[str] = []
    tokenizer = _Recorder(subject.lm.tokenizer, read)
    spied = replace(subject.lm, encoder=replace(subject.lm.encoder, tokenizer=tokenizer))  # type: ignore[arg-type]
    editor = subject.cls(spied, subject.config, subject.state)
    requests = [case.request for case in subject.held_out]
    secret = {
        probe.prompt
        for case in subject.held_out
        for probe in case.probes
        if probe.kind is not ProbeKind.REQUEST and isinstance(probe.prompt, str)
    }
    generators = [torch.Generator().manual_seed(i) for i in range(len(requests))]
    with subject.base():
        editor.edit_each([[request] for request in requests], generators=generators)
    seen = sorted(prompt for prompt in secret if any(prompt in text for text in read))
    assert not seen, f"it read the probe {seen[0]!r}"
    return None


CHECKS: tuple[Check, ...] = (
    model_is_supported,
    editing_leaves_nothing_behind,
    rowwise_equals_written,
    edit_each_equals_edit,
    same_seed_gives_the_same_edit,
    editing_raises_the_target,
    state_survives_a_round_trip,
    preparation_can_be_gone_on_with,
    memory_travels_in_the_edit,
    unusual_requests_work_or_are_refused,
    probes_stay_out_of_reach,
)

# Those that depend on how a model is built, to be run on many families after a fit of a step or two.
MODEL_CHECKS: tuple[Check, ...] = (
    model_is_supported,
    editing_leaves_nothing_behind,
    rowwise_equals_written,
    edit_each_equals_edit,
)


class _Recorder:
    """A tokenizer that notes what it is asked to encode."""

    def __init__(self, tokenizer: Any, read: list[str]) -> None:
        self._tokenizer = tokenizer
        self._read = read

    def __call__(self, *texts: Any, **options: Any) -> Any:
        self._read.extend(str(text) for text in (*texts, *options.values()))
        return self._tokenizer(*texts, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)


def _small_fit(cls: type[Editor[Any]]) -> Mapping[str, Any]:
    return _SMALL_FIT if issubclass(cls.Config, FitConfig) else {}


def _takes(subject: Subject, at_once: int) -> bool:
    return subject.cls.unsupported(subject.lm.architecture, subject.config, at_once=at_once) is None


def _edit_each(subject: Subject, groups: Sequence[Sequence[EditRequest]]) -> list[Edit]:
    generators = [torch.Generator().manual_seed(index) for index in range(len(groups))]
    return subject.editor.edit_each(groups, generators=generators)


def _scored(lm: LanguageModel, edits: Sequence[Edit], index: int, cases: Sequence[EditCase]) -> Answers:
    """Score all probes of some cases under one of the edits, or under none with -1."""
    probes = [probe for case in cases for probe in case.probes]
    rewrite = edits[index].rewrite if edits else lambda prompt: prompt
    batch = lm.batch([(rewrite(probe.prompt), probe.answer) for probe in probes])
    with torch.no_grad():
        if not edits:
            return lm.answers(batch)
        return Rowwise(lm, edits).answers(batch, torch.full((batch.size,), index, device=lm.device))


def _assert_same_effect(subject: Subject, one: Edit, other: Edit, what: str) -> None:
    """Compare edits by their answers: the same change can have several factorisations."""
    if all(isinstance(edit, WeightEdit) and _has_replacement(edit) for edit in (one, other)):
        for a, b in zip(one.tensors, other.tensors, strict=True):
            _assert_close(a, b, what)
        return
    answers = [_scored(subject.lm, [edit], 0, subject.held_out).logits for edit in (one, other)]
    _assert_close(answers[0], answers[1], what)


def _has_replacement(edit: WeightEdit) -> bool:
    return any(isinstance(change, Replacement) for change in edit.changes.values())


def _assert_close(one: Tensor, other: Tensor, what: str) -> None:
    assert bool(torch.isfinite(one).all()), f"{what}: not finite"
    gap = float((one - other).abs().max() / other.abs().max().clamp(min=1e-30))
    assert gap <= _TOLERANCE, f"{what} differ by {gap:.1e} of the largest"


def _assert_identical(one: Edit, other: Edit, what: str) -> None:
    assert type(one) is type(other), f"{what} are of two kinds"
    assert len(one.tensors) == len(other.tensors), f"{what} have {len(one.tensors)} and {len(other.tensors)} tensors"
    assert all(map(torch.equal, one.tensors, other.tensors)), f"{what} differ"
    if isinstance(one, WeightEdit) and isinstance(other, WeightEdit):
        assert list(one.changes) == list(other.changes), f"{what} change other parameters"


@contextmanager
def _refusable(what: str) -> Iterator[None]:
    """Let a block raise a BenchError, and make any other error the check's problem."""
    try:
        yield
    except AssertionError:
        raise
    except BenchError:
        pass
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
