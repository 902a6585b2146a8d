"""Holds the edits of a sequence in force: changes of weights in the model itself, anything else beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from bench.editing.edit import Change, Edit, Replacement, WeightEdit
from bench.editing.written import check_shape, dense_change, find_parameter
from bench.errors import EditError
from bench.models.language_model import LanguageModel

__all__ = ["Installed"]

_NOTHING = WeightEdit(changes={})


class Installed:
    """What the edits of a sequence, so far, have made of a model; the end of a `with` block undoes it.

    Changes of weights add up in float32, one running change a parameter: their rank does not grow, and the sum is
    rounded to the parameter's dtype, not every summand. An edit of another kind takes the place of the one before it:
    what it is to keep of earlier edits travels in its memory.

    Args:
        lm: the model; the tensors that it holds now are kept, and put back at the end, bit for bit.
    """

    def __init__(self, lm: LanguageModel) -> None:
        self._lm = lm
        self._held: dict[int, _Held] = {}  # by the parameter: two names can share one
        self._beside: Edit | None = None
        self.forgotten = 0  # edits whose place was taken by one that has no memory

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                for one in self._held.values():
                    one.check()
        finally:
            for one in self._held.values():
                one.parameter.data = one.origin
            self._held.clear()

    @property
    def beside(self) -> Edit:
        """The edit that is not in the weights; one that changes nothing if there is none."""
        return self._beside or _NOTHING

    @property
    def touches(self) -> tuple[str, ...]:
        """The parameters that were changed."""
        return tuple(one.name for one in self._held.values())

    @torch.no_grad()
    def add(self, edit: Edit) -> None:
        """Put one more edit in force.

        Raises:
            EditError: it does not fit the model, or something else has written into the weights since the last one.
        """
        if not isinstance(edit, WeightEdit):
            self.forgotten += self._beside is not None and edit.memory is None
            self._beside = edit
            return
        for name, change in edit.changes.items():
            parameter = find_parameter(self._lm, name)
            held = self._held.setdefault(id(parameter), _Held(name, parameter))
            held.check()
            held.add(self._lm, name, change)

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Put the kept weights back for the length of a `with` block: the model is as it was before the first edit."""
        try:
            for one in self._held.values():
                one.parameter.data = one.origin
            yield
        finally:
            for one in self._held.values():
                one.parameter.data = one.value

    @torch.no_grad()
    def weight_change(self) -> float | None:
        """Give ‖ΔW‖ / ‖W‖ over all changed parameters together (Frobenius); None if none was changed."""
        before = sum(float(one.origin.float().norm()) ** 2 for one in self._held.values())
        change = sum(float((one.value.float() - one.origin.float()).norm()) ** 2 for one in self._held.values())
        return math.sqrt(change / before) if before else None


class _Held:
    """One changed parameter.

    Args:
        name: of the parameter.
        parameter: of the model.
    """

    def __init__(self, name: str, parameter: nn.Parameter) -> None:
        self.name = name
        self.parameter = parameter
        # Kept, not recomputed: adding a change and subtracting it is exact in no float format.
        self.origin = self.value = parameter.data
        self._start = self.origin  # what the running change is added to: another value once that was replaced
        self._change: Tensor | None = None

    def add(self, lm: LanguageModel, name: str, change: Change) -> None:
        """Add one change; a new value takes the place of all before it."""
        if isinstance(change, Replacement):
            check_shape(name, self.parameter, change.value)
            self._start, self._change = change.value.to(self.origin.device, copy=True), None
        else:
            delta = dense_change(lm, name, change)
            if self._change is None:
                self._change = torch.zeros_like(self.origin, dtype=torch.float32)
            self._change += delta
        self.value = self._sum()
        self.parameter.data = self.value

    def check(self) -> None:
        """Check that nothing else wrote into the parameter; a value that is not finite can not be compared."""
        expected = self._sum()
        is_ours = self.parameter.data_ptr() == self.value.data_ptr()
        if not is_ours or (not torch.equal(self.value, expected) and bool(expected.isfinite().all())):
            raise EditError(
                f"{self.name!r} was written to while the edits of a sequence were in force; an editor must return its "
                "change instead."
            )

    def _sum(self) -> Tensor:
        if self._change is None:
            return self._start.to(self.origin.dtype)
        return (self._start.float() + self._change).to(self.origin.dtype).contiguous()
