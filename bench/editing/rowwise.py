"""Applies many edits at once: each row of a batch runs under its own edit, and nothing is written.

A linear map under edit b gives y = x Wᵀ + (x A_b) B_b, so one forward pass scores rows of many edits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from bench.editing.edit import Change, Dense, Edit, ForwardEdit, LowRank, ModuleEdit, Replacement, Rows, WeightEdit
from bench.editing.terms import Addition, Term, dense_term, is_smaller_dense, low_rank_term, stacked_term
from bench.errors import EditError
from bench.models.answers import Answers
from bench.models.encoding import Batch, Text
from bench.models.generation import MAX_NEW_TOKENS, generate
from bench.models.language_model import LanguageModel
from bench.models.replay import Kept, untouched_blocks

__all__ = ["Rowwise"]

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]
PatchHook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]


class Rowwise:
    """Some edits, ready to be applied to the rows of batches.

    Args:
        lm: the model; it is not changed.
        edits: one or more edits; a row names its edit by the index in this list, -1 for none.

    Raises:
        EditError: an edit replaces a parameter, or changes one that is neither the weight nor the bias of a
            Linear or Conv1D module; such edits can only be written.
    """

    def __init__(self, lm: LanguageModel, edits: Sequence[Edit]) -> None:
        self._lm = lm
        self._edits = tuple(edits)
        self._terms = _terms(lm, self._edits)
        self._touched = tuple(path for edit in self._edits for path in edit.touches)
        # a patch may look at any position
        self._is_sparse = not any(isinstance(edit, ModuleEdit) for edit in self._edits)

    @classmethod
    def stacked(cls, lm: LanguageModel, changes: Mapping[str, Tensor]) -> Rowwise:
        """Make edits ready whose dense changes lie side by side; they are read where they lie.

        Args:
            lm: the model.
            changes: for each weight of a Linear or Conv1D, by name, that of K edits, (K, *its shape); edit k is row k.
        """
        made = cls(lm, ())
        made._touched = tuple(changes)
        for name, values in changes.items():
            module = _linear(lm, name)
            is_stored_in_out = isinstance(module, Conv1D)
            made._terms[name.rpartition(".")[0]] = [stacked_term(values if is_stored_in_out else values.mT)]
        return made

    @property
    def depths(self) -> tuple[int, ...]:
        """How many of the lowest blocks of each stack no edit changes: what they give can be kept and replayed."""
        return untouched_blocks(self._lm.architecture, self._touched)

    def answers(
        self,
        batch: Batch,
        edit_of_row: Tensor,
        weights: Mapping[str, Tensor] | None = None,
        *,
        kept: Kept | None = None,
    ) -> Answers:
        """Score a batch, (B,) rows each under its own edit. Gradients flow to the edits' tensors.

        Args:
            batch: B rows; prompts are already rewritten.
            edit_of_row: (B,) index of each row's edit, -1 for none.
            weights: parameters by name to use in place of the model's own; gradients flow to them.
            kept: what `LanguageModel.keep` gave for this batch, down to `depths` or less.
        """
        with self._hooked(edit_of_row, batch.attention_mask, batch.prompt_end):
            answers = self._lm.answers(batch, weights, kept=kept, is_sparse=self._is_sparse)
        for index, edit in enumerate(self._edits):
            if isinstance(edit, ForwardEdit):
                answers = _wrapped(edit, batch, answers, (edit_of_row == index).nonzero().squeeze(1))
        return answers

    def generate(
        self, prompts: Sequence[Text], edit_of_row: Tensor, *, max_new_tokens: int = MAX_NEW_TOKENS
    ) -> list[str]:
        """Continue prompts greedily, each under its own edit; prompts are already rewritten.

        Raises:
            EditError: an edit wraps the scoring of given answers and can not speak for itself.
        """
        said: dict[int, str] = {}
        for index, edit in enumerate(self._edits):
            if isinstance(edit, ForwardEdit):
                said.update(_responses(edit, prompts, (edit_of_row == index).nonzero().squeeze(1).tolist()))
        silent = [row for row in range(len(prompts)) if row not in said]
        with self._hooked(edit_of_row[silent], None, None):
            texts = generate(self._lm, [prompts[row] for row in silent], max_new_tokens=max_new_tokens)
        said.update(zip(silent, texts, strict=True))
        return [said[row] for row in range(len(prompts))]

    @contextmanager
    def _hooked(self, edit_of_row: Tensor, mask: Tensor | None, prompt_end: Tensor | None) -> Iterator[None]:
        with ExitStack() as stack:
            for path, terms in self._terms.items():
                module = self._lm.model.get_submodule(path)
                handle = module.register_forward_hook(
                    _adding(path, [term(edit_of_row) for term in terms], len(edit_of_row))
                )
                stack.callback(handle.remove)
            for index, edit in enumerate(self._edits):
                if isinstance(edit, ModuleEdit):
                    rows = (edit_of_row == index).nonzero().squeeze(1)
                    for path, patch in edit.patches.items():
                        hook = _patching(patch, rows, mask, prompt_end)
                        module = self._lm.model.get_submodule(path)
                        stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
            yield


def _terms(lm: LanguageModel, edits: Sequence[Edit]) -> dict[str, list[Term]]:
    names = dict.fromkeys(name for edit in edits if isinstance(edit, WeightEdit) for name in edit.changes)
    terms: dict[str, list[Term]] = {}
    for name in names:
        path, _, part = name.rpartition(".")
        module = _linear(lm, name)
        low: dict[int, LowRank] = {}
        dense: dict[int, Tensor] = {}
        for index, edit in enumerate(edits):
            change = edit.changes.get(name) if isinstance(edit, WeightEdit) else None
            _check_shape(name, module, change)
            match change:
                case LowRank(left=left, right=right) if is_smaller_dense(change):
                    dense[index] = left @ right
                case LowRank():
                    low[index] = change
                case Dense(delta=delta):
                    is_stored_in_out = isinstance(module, Conv1D) or part == "bias"
                    dense[index] = delta if is_stored_in_out else delta.T
                case Replacement():
                    raise EditError(f"{name!r} is replaced by this edit, and a replacement can only be written.")
        group = terms.setdefault(path, [])
        if low:
            group.append(low_rank_term(low, len(edits)))
        if dense:
            group.append(dense_term(dense, len(edits), is_bias=part == "bias"))
    return terms


def _linear(lm: LanguageModel, name: str) -> nn.Linear | Conv1D:
    """Give the module of a parameter, if its change can be applied to rows."""
    path, _, part = name.rpartition(".")
    try:
        module = lm.model.get_submodule(path)
    except AttributeError as error:
        raise EditError(f"an edit changes {name!r}, which {lm.name!r} does not have.") from error
    if not isinstance(module, nn.Linear | Conv1D) or part not in {"weight", "bias"}:
        raise EditError(f"{name!r} is no Linear or Conv1D parameter, so its change can only be written.")
    if module is lm.model.get_output_embeddings():
        raise EditError(f"{name!r} sees answer positions without their rows, so its change can only be written.")
    return module


def _check_shape(name: str, module: nn.Module, change: Change | None) -> None:
    found: tuple[int, ...]
    wanted = tuple(module.get_parameter(name.rpartition(".")[2]).shape)
    match change:
        case LowRank(left=left, right=right):
            found = (left.shape[0], right.shape[-1])
            found = found if isinstance(module, Conv1D) else found[::-1]
        case Dense(delta=delta):
            found = tuple(delta.shape)
        case _:
            return
    if found != wanted:
        raise EditError(f"an edit of {name!r} has shape {found}; the parameter has {wanted}.")


def _adding(path: str, additions: Sequence[Addition], size: int) -> Hook:
    def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x, y = arguments[0], output
        if x.dim() == 2 and x.shape[0] % size == 0:  # pooled to one vector a row, or rows and tokens made one
            x, y = x.reshape(size, -1, x.shape[-1]), y.reshape(size, -1, y.shape[-1])
        if x.dim() != 3 or x.shape[0] != size:
            raise EditError(f"{path!r} gets an input of shape {tuple(x.shape)}; its rows can not be told apart.")
        for add in additions:
            y = add(x, y)
        return y.reshape(output.shape)

    return hook


def _patching(
    patch: Callable[[Tensor, Tensor, Rows], Tensor], index: Tensor, mask: Tensor | None, end: Tensor | None
) -> PatchHook:
    def hook(module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any], output: Any) -> Any:
        if len(index) == 0:
            return output
        is_tuple = isinstance(output, tuple)
        value = output[0] if is_tuple else output
        # some blocks are called with keywords only: hidden_states=…
        x: Tensor = next(v for v in (*arguments, *options.values()) if isinstance(v, Tensor))
        length, device = x.shape[1], value.device
        at, chosen = index.to(device), x[index.to(x.device)].to(device)
        ones = torch.ones((len(index), length), dtype=torch.long, device=device)
        last = torch.full((len(index),), length - 1, device=device)
        rows = Rows(
            index=at,
            attention_mask=ones if mask is None else mask[index].to(device),
            prompt_end=last if end is None else end[index].to(device),
        )
        patched = value.index_copy(0, at, patch(value[at], chosen, rows).to(value))
        return (patched, *output[1:]) if is_tuple else patched

    return hook


def _wrapped(edit: ForwardEdit, batch: Batch, answers: Answers, rows: Tensor) -> Answers:
    if len(rows) == 0:
        return answers
    chosen = torch.isin(answers.rows, rows)
    part = batch.select(rows)
    given = Answers(logits=answers.logits[chosen], labels=part.labels, rows=part.rows, size=part.size)
    wrapped = edit.wrap(part, given).logits
    logits = answers.logits.to(torch.promote_types(answers.logits.dtype, wrapped.dtype), copy=True)
    logits[chosen] = wrapped.to(logits.dtype)
    return replace(answers, logits=logits)


def _responses(edit: ForwardEdit, prompts: Sequence[Text], rows: Sequence[int]) -> dict[int, str]:
    """Give what an edit says itself, by row."""
    if edit.respond is None:
        raise EditError("this ForwardEdit wraps the scoring of given answers only; it has no free generation.")
    if not rows:
        return {}
    responses = edit.respond([prompts[row] for row in rows])
    return {row: text for row, text in zip(rows, responses, strict=True) if text is not None}
