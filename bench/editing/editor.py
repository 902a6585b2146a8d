"""The contract of an editor plug-in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import torch

from bench.editing.edit import Edit, State, WeightEdit
from bench.editing.request import EditCase, EditRequest
from bench.models.architecture import Architecture
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel

__all__ = ["ALL_KINDS", "Editor", "FitProgress", "PreparationData"]

ALL_KINDS = (ModelKind.CAUSAL, ModelKind.SEQ2SEQ, ModelKind.CLASSIFIER)
ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitProgress:
    """How far a preparation has come.

    Args:
        step, steps: taken, and planned.
        loss: of the last step; NaN if there is none.
        seconds_left: if the rest goes as fast; None: too little is done to tell.
        success: on the tune split when it was last looked at, or None.
        skipped: micro-batches that were left out because they were not finite.
    """

    step: int
    steps: int
    loss: float
    seconds_left: float | None
    success: float | None = None
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationData:
    """What an editor may learn from before it edits; nothing of the test split.

    Args:
        cases: cases of the fit split.
        tune: cases of the tune split, for early stopping only.
        texts: running text of the fit split.
        seed: fixes every random choice of the preparation.
        log: rows of the fit log, appended to as the fit goes on.
        on_progress: called now and then.
        resume: a checkpoint of the same preparation to go on from, or None.
        keep: called wherever the preparation could be gone on from, with what makes the checkpoint; it is called
            back if one is due, and the tensors that it gives are read before `keep` returns.
    """

    cases: Sequence[EditCase]
    tune: Sequence[EditCase]
    texts: Sequence[str]
    seed: int
    log: list[dict[str, float]] = field(default_factory=list)
    on_progress: Callable[[FitProgress], None] = lambda progress: None
    resume: State | None = None
    keep: Callable[[Callable[[], State]], None] = lambda make: None

    def generator(self) -> torch.Generator:
        """Give a fresh generator on the CPU, seeded."""
        return torch.Generator().manual_seed(self.seed)


class Editor(ABC, Generic[ConfigT]):
    """Computes changes of a model; it never touches the model itself.

    A plug-in is a module of the editor's name with exactly one concrete subclass. `name`, `version`, `source` and
    `kinds` must be literals: they are read without importing.

    Attributes:
        version: raised whenever the editor's numbers change.
        source: the paper or code that it follows.
        kinds: the kinds of model that it edits.
        max_batch: the most requests that one `edit` takes; None: any number.
        is_control: it does not try to install its requests.
        presets: named configurations, chosen by `--set NAME.preset=…`.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    source: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    max_batch: ClassVar[int | None] = None
    is_control: ClassVar[bool] = False
    Config: ClassVar[type]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init__(self, lm: LanguageModel, config: ConfigT, state: State) -> None:
        """Make an editor for one model; `state` is what `prepare` returned."""
        self.lm = lm
        self.config = config

    @classmethod
    def prepare(cls, lm: LanguageModel, config: ConfigT, data: PreparationData) -> State:
        """Fit a network, collect statistics, choose demonstrations: all that is done once per model.

        The harness keeps, times and shares what this returns. By default there is nothing to prepare.
        """
        return State()

    @abstractmethod
    def edit(self, requests: Sequence[EditRequest], *, memory: State | None, generator: torch.Generator) -> Edit:
        """Give one change that installs all the requests.

        In a sequence the model has in its weights what all earlier edits changed there; edits of other kinds are not
        in force, but remembered.

        Args:
            requests: at least one, at most `max_batch`.
            memory: what the previous edit of a sequence remembered, None at its start.
            generator: the source of all random choices.

        Raises:
            EditError: a request can not be installed.
            DataError: a request does not fit into the model.
        """

    def edit_each(
        self, groups: Sequence[Sequence[EditRequest]], *, generators: Sequence[torch.Generator]
    ) -> list[Edit]:
        """Give one independent change a group, each equal to what `edit` gives for it alone.

        Editors that can compute many at once override this; it is what makes them fast.
        """
        pairs = zip(groups, generators, strict=True)
        return [self.edit(group, memory=None, generator=generator) for group, generator in pairs]

    @classmethod
    def unsupported(cls, architecture: Architecture, config: ConfigT, *, at_once: int) -> str | None:
        """Give the reason why this editor can not edit such a model, or None if it can.

        Args:
            architecture: of the model, whose weights need not be loaded.
            config: the editor's configuration.
            at_once: how many requests one edit must install.
        """
        return cls.refuses(architecture.kind, at_once=at_once)

    @classmethod
    def refuses(cls, kind: ModelKind, *, at_once: int) -> str | None:
        """Give the reason why this editor edits no model of a kind, or not so many requests at once.

        It needs no model, so that a sweep knows it beforehand.
        """
        if kind not in cls.kinds:
            return f"{cls.name} does not edit {kind} models"
        if cls.max_batch is not None and at_once > cls.max_batch:
            most = "1 request" if cls.max_batch == 1 else f"{cls.max_batch} requests"
            return f"{cls.name} installs at most {most} at once, not {at_once}"
        return None

    def base_change(self) -> WeightEdit | None:
        """Give what the preparation did to the model itself, or None.

        It is written into the model before `edit` is called, and scored as a phase of its own.
        """
        return None
