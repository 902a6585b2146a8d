"""The check that a preparation can be interrupted and gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from safetensors.torch import load, save

from bench.editing.edit import State
from bench.editing.fit import FitConfig

if TYPE_CHECKING:
    from bench.testing.conformance import Subject

__all__ = ["preparation_can_be_gone_on_with", "stored"]

_AFTER = 3  # offers of a checkpoint: behind a look at the tune split, and before the next one
_SHORT_FIT: dict[str, Any] = {"steps": 5, "validate_every": 2}


def preparation_can_be_gone_on_with(subject: Subject) -> str | None:
    """A preparation that goes on from a stored checkpoint gives what one without interruption gives, bit for bit."""
    config = subject.config
    if isinstance(config, FitConfig):
        config = replace(config, **_SHORT_FIT)
    checkpoints: list[State] = []
    whole = _prepared(subject, config, keep=_keep(checkpoints))
    if not checkpoints:
        return "its preparation offers no checkpoint"
    resumed = _prepared(subject, config, resume=checkpoints[0])
    assert set(resumed.tensors) == set(whole.tensors), "the two states have other tensors"
    for name, tensor in whole.tensors.items():
        assert resumed.tensors[name].equal(tensor), f"{name!r} differs"
    assert resumed.values == whole.values, "the two states have other values"
    return None


def stored(state: State) -> State:
    """Store a state as safetensors and JSON, and read it again."""
    tensors = load(save({name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}))
    return State(tensors=tensors, values=json.loads(json.dumps(dict(state.values), allow_nan=False)))


def _prepared(subject: Subject, config: Any, **hooks: Any) -> State:
    return subject.cls.prepare(subject.lm, config, replace(subject.preparation_data(), **hooks))


def _keep(checkpoints: list[State]) -> Callable[[Callable[[], State]], None]:
    """Give a `keep` that takes one of the checkpoints that it is offered."""
    offers = 0

    def keep(make: Callable[[], State]) -> None:
        nonlocal offers
        offers += 1
        if offers == _AFTER:
            checkpoints.append(stored(make()))

    return keep
