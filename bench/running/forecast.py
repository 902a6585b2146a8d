"""What cells will take, judged by cells that there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from bench.records.card import Card
from bench.records.cell import Cell
from bench.records.status import Status

__all__ = ["Estimate", "Forecast"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a cell will take; None where nothing is known that it could be judged by.

    Args:
        fit_seconds: of its fit alone; 0 if it needs none.
        seconds: of all but the fit.
        memory_bytes: highest peak of its worker, above what the worker had before the model was loaded.
        is_scaled: judged by another model, in proportion to the parameters.
    """

    fit_seconds: float | None = None
    seconds: float | None = None
    memory_bytes: float | None = None
    is_scaled: bool = False


class Forecast:
    """Judges cells by those that are done: the same method on the same model and dataset if there is such a cell.

    Otherwise one of the same method on another model, in proportion to the parameters. Time grows with the edits.

    Args:
        cards: of cells of any run.
    """

    def __init__(self, cards: Iterable[Card]) -> None:
        self._past: dict[tuple[str, str], list[Card]] = defaultdict(list)
        self._parameters: dict[str, int] = {}
        for card in cards:
            if card.status == Status.DONE and card.seconds >= 0:
                self._past[card.cell.method, card.cell.device].append(card)
                if card.parameters:
                    self._parameters[card.cell.model_digest] = card.parameters

    def estimate(self, cell: Cell, parameters: int | None = None) -> Estimate:
        """Judge a cell.

        Args:
            cell: which.
            parameters: of its model, if they are known.
        """
        past = self._past.get((cell.method, cell.device), [])
        near = [card for card in past if _place(card.cell) == _place(cell)]
        if near:
            return _like(near, cell, 1.0, is_scaled=False)
        parameters = self._parameters.get(cell.model_digest, parameters)
        sized = [card for card in past if card.parameters]
        if not parameters or not sized:
            return Estimate()
        closest = max(sized, key=lambda card: (_closeness(card.cell, cell), -_distance(card, parameters)))
        same = [card for card in sized if _place(card.cell) == _place(closest.cell)]
        return _like(same, cell, parameters / (closest.parameters or 1), is_scaled=True)


def _like(cards: list[Card], cell: Cell, factor: float, *, is_scaled: bool) -> Estimate:
    """Judge by the most similar of some cells, the latest of these; by their highest peak, as workers keep models."""
    best = max(cards, key=lambda card: (_closeness(card.cell, cell), card.ended))
    alike = [card for card in cards if _closeness(card.cell, cell) == _closeness(best.cell, cell)]
    peaks = [load + work for card in alike for load, work in [_peaks(card)] if work]
    own_fit = best.spent.get("own_fit_seconds", 0.0)
    work = max(best.seconds - own_fit, 0.0) * cell.edits / best.cell.edits
    return Estimate(
        fit_seconds=best.spent.get("fit_seconds", 0.0) * factor if best.spent else None,
        seconds=work * factor if best.spent else None,
        memory_bytes=max(peaks) * factor if peaks else None,
        is_scaled=is_scaled,
    )


def _peaks(card: Card) -> tuple[float, float]:
    return card.spent.get("load_memory_bytes", 0.0), card.spent.get("work_memory_bytes", 0.0)


def _place(cell: Cell) -> tuple[str, str]:
    return cell.model_digest, cell.dataset


def _closeness(past: Cell, cell: Cell) -> tuple[bool, ...]:
    """Say how similar two cells of one method are; the first that differs decides."""
    names = ("dataset", "config", "mode", "dtype", "application", "threads")
    return tuple(getattr(past, name) == getattr(cell, name) for name in names)


def _distance(card: Card, parameters: int) -> float:
    known = card.parameters or 1
    return max(known / parameters, parameters / known)
