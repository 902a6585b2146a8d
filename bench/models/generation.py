"""Greedy free generation: what a model says when nobody gives it the answer's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from bench.errors import DataError
from bench.models.encoding import Text
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel

__all__ = ["MAX_NEW_TOKENS", "generate"]

MAX_NEW_TOKENS = 16  # longest answer of the embedded facts is well below it; recorded with each run


@torch.no_grad()
def generate(lm: LanguageModel, prompts: Sequence[Text], *, max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
    """Continue prompts greedily, up to the end-of-text token, a line break or the limit of tokens.

    A classifier "generates" the name of its most probable label.

    Returns:
        The text that follows each prompt, without special tokens.

    Raises:
        DataError: a prompt leaves no room for the answer.
    """
    if not prompts:
        return []
    if lm.kind is ModelKind.CLASSIFIER:
        return _labels(lm, prompts)
    ids = [lm.encoder.prompt_ids(prompt) for prompt in prompts]
    if lm.kind is ModelKind.CAUSAL:
        ids = [_without_end(lm, row) for row in ids]
    _check_room(lm, ids, max_new_tokens)
    pad = next((i for i in (lm.tokenizer.pad_token_id, lm.tokenizer.eos_token_id) if isinstance(i, int)), 0)
    input_ids, mask = _padded(ids, pad, is_left=lm.kind is ModelKind.CAUSAL, device=lm.device)
    output: Tensor = cast(Any, lm.model).generate(
        input_ids=input_ids,
        attention_mask=mask,
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
        eos_token_id=lm.tokenizer.eos_token_id,
    )
    start = input_ids.shape[1] if lm.kind is ModelKind.CAUSAL else 1
    texts = lm.tokenizer.batch_decode(output[:, start:], skip_special_tokens=True)
    return [text.strip().split("\n")[0] for text in texts]


def _check_room(lm: LanguageModel, ids: Sequence[tuple[int, ...]], max_new_tokens: int) -> None:
    limit = lm.encoder.max_length
    longest = max(map(len, ids))
    needed = longest + max_new_tokens if lm.kind is ModelKind.CAUSAL else max(longest, max_new_tokens + 1)
    if limit is not None and needed > limit:
        raise DataError(
            f"a prompt of {longest} tokens with {max_new_tokens} new ones needs {needed} positions and the model has "
            f"at most {limit}. Leave the case out or shorten it."
        )
    if not all(ids):
        raise DataError("a prompt to continue holds no token.")


def _padded(ids: Sequence[tuple[int, ...]], pad: int, *, is_left: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pad on the left where a row goes on at its last position; an encoder counts positions from the left."""
    longest = max(map(len, ids))
    rows, masks = [], []
    for row in ids:
        gap = longest - len(row)
        rows.append([pad] * gap + [*row] if is_left else [*row] + [pad] * gap)
        masks.append([0] * gap + [1] * len(row) if is_left else [1] * len(row) + [0] * gap)
    return torch.tensor(rows, device=device), torch.tensor(masks, device=device)


def _without_end(lm: LanguageModel, ids: tuple[int, ...]) -> tuple[int, ...]:
    """Drop an end-of-text token that the tokenizer put behind the prompt."""
    return ids[:-1] if len(ids) > 1 and ids[-1] == lm.tokenizer.eos_token_id else ids


def _labels(lm: LanguageModel, prompts: Sequence[Text]) -> list[str]:
    names = {index: name for name, index in lm.encoder.label_ids.items()}
    anything = next(iter(lm.encoder.label_ids))
    answers = lm.answers(lm.batch([(prompt, anything) for prompt in prompts]))
    return [names[int(index)] for index in answers.logits.argmax(dim=1)]
