"""What rows of a batch gain at a matrix, each by the change of its own edit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from bench.editing.edit import LowRank

__all__ = ["Addition", "Term", "dense_term", "is_smaller_dense", "low_rank_term", "stacked_term"]

# A term, given the edit of each row, gives what to add to a module's output for its input.
Addition = Callable[[Tensor, Tensor], Tensor]
Term = Callable[[Tensor], Addition]

_Product = Callable[[Tensor], Tensor]

# Most numbers that are copied so that each row has its edit's change beside it: 128 MiB in float32.
_MOST_COPIED = 2**25


def is_smaller_dense(change: LowRank) -> bool:
    """Say whether two factors hold more numbers than the matrix that they make, as those of many requests do."""
    (n_in, rank), n_out = change.left.shape, change.right.shape[1]
    return rank * (n_in + n_out) > n_in * n_out


def low_rank_term(changes: Mapping[int, LowRank], count: int) -> Term:
    """Make the term of factors.

    Args:
        changes: by the index of their edit.
        count: how many edits there are.
    """
    left = _padded([c.left.T for c in changes.values()]).transpose(1, 2)
    right = _padded([c.right for c in changes.values()])

    def product(which: Tensor | int) -> _Product:
        a, b = _chosen(left, which), _chosen(right, which)
        return lambda x: x @ a.to(x) @ b.to(x)

    place = _places(changes, count, left.device)
    return _term(product, place, len(left), left[0].numel() + right[0].numel())


def dense_term(changes: Mapping[int, Tensor], count: int, *, is_bias: bool) -> Term:
    """Make the term of matrices (in, out), or of biases (out,); arguments as of `low_rank_term`."""
    stacked = torch.stack(list(changes.values()))
    return _dense(stacked, _places(changes, count, stacked.device), is_bias=is_bias)


def stacked_term(changes: Tensor) -> Term:
    """Make the term of one matrix (in, out) an edit, stacked as (edits, in, out) and used in place."""
    return _dense(changes, _places(range(len(changes)), len(changes), changes.device), is_bias=False)


def _dense(stacked: Tensor, place: Tensor, *, is_bias: bool) -> Term:
    def product(which: Tensor | int) -> _Product:
        delta = _chosen(stacked, which)
        if is_bias:
            return lambda x: delta.to(x).unsqueeze(-2).expand(*x.shape[:-1], -1)
        return lambda x: x @ delta.to(x)

    return _term(product, place, len(stacked), stacked[0].numel())


def _term(product: Callable[[Tensor | int], _Product], place: Tensor, count: int, numbers: int) -> Term:
    """Make a term that multiplies all rows at once, or those of one edit after those of another.

    Args:
        product: given the places of the rows' changes, or one place for all, gives what multiplies (K, T, in) rows.
        place: of each edit among the changes, -1 for none.
        count: how many changes there are.
        numbers: of one change. Copied for each row they may need more memory than the model itself.
    """

    def term(edit_of_row: Tensor) -> Addition:
        rows, which = _rows(place, edit_of_row)
        distinct = which.unique().tolist()
        if len(distinct) == 1:
            multiply = product(distinct[0])
        elif len(which) * numbers > _MOST_COPIED and not _is_each(which, count):
            multiply = _by_turns({at: (which == at).nonzero().squeeze(1) for at in distinct}, product)
        else:
            multiply = product(which)
        # Of a model that is spread over devices, a module's input may come from another one than its output is on.
        if rows is None:
            return lambda x, y: y + multiply(x.to(y.device)).to(y.dtype)
        return lambda x, y: y.index_add(0, rows.to(y.device), multiply(_picked(x, rows).to(y.device)).to(y.dtype))

    return term


def _by_turns(members: Mapping[int, Tensor], product: Callable[[Tensor | int], _Product]) -> _Product:
    order = torch.cat(list(members.values())).argsort()

    def multiply(x: Tensor) -> Tensor:
        return _picked(torch.cat([product(at)(_picked(x, rows)) for at, rows in members.items()]), order)

    return multiply


def _picked(x: Tensor, rows: Tensor) -> Tensor:
    return x.index_select(0, rows.to(x.device))


def _padded(parts: Sequence[Tensor]) -> Tensor:
    """Stack (R, width) parts, each filled up with zero rows, as (parts, most R, width).

    torch's `pad_sequence` gives the same, but its backward pass copies the whole gradient once a part.
    """
    counts = [len(part) for part in parts]
    if min(counts) == max(counts):
        return torch.stack(list(parts))
    device = parts[0].device
    which = torch.repeat_interleave(torch.tensor(counts, device=device))
    place = torch.cat([torch.arange(count, device=device) for count in counts])
    stacked = parts[0].new_zeros(len(parts), max(counts), parts[0].shape[1])
    return stacked.index_put((which, place), torch.cat(list(parts)))


def _chosen(stacked: Tensor, which: Tensor | int) -> Tensor:
    """Give one of some stacked tensors, or one a row: all of them as they are, where each row has its own."""
    if isinstance(which, int):
        return stacked[which]
    return stacked if _is_each(which, len(stacked)) else stacked.index_select(0, which)


def _is_each(which: Tensor, count: int) -> bool:
    """Say whether each row has a change of its own, in their order."""
    return len(which) == count and torch.equal(which, torch.arange(count, device=which.device))


def _places(changes: Iterable[int], count: int, device: torch.device) -> Tensor:
    """Give for each edit its place among the stacked changes, -1 for none; one more -1 for rows without edit."""
    place = torch.full((count + 1,), -1)
    for at, index in enumerate(changes):
        place[index] = at
    return place.to(device)


def _rows(place: Tensor, edit_of_row: Tensor) -> tuple[Tensor | None, Tensor]:
    """Give the rows that have a change (None: all) and the place of each one's change."""
    which = place[edit_of_row.to(place.device)]
    if bool((which >= 0).all()):
        return None, which
    rows = (which >= 0).nonzero().squeeze(1)
    return rows, which[rows]
