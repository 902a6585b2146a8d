"""How an editor follows its paper, or its reference code where the two disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["Fidelity", "resolved"]

Fidelity = Literal["paper", "reference"]
T = TypeVar("T", bound="DataclassInstance")


class HasFidelity(Protocol):
    """A configuration that chooses between paper and reference."""

    @property
    def fidelity(self) -> Fidelity: ...


def resolved(config: HasFidelity, choices: Mapping[Fidelity, T]) -> T:
    """Give an editor's switches: each as the configuration sets it, or, where that is None, as its fidelity says.

    Args:
        config: has `fidelity`, and a field of the same name for each switch.
        choices: the switches of each fidelity.
    """
    chosen = choices[config.fidelity]
    own = {field.name: getattr(config, field.name) for field in fields(chosen)}
    return replace(chosen, **{name: value for name, value in own.items() if value is not None})
