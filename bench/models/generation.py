"""Greedy free generation: what a model says when nobody gives it the answer's tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch

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
    """
    if lm.kind is ModelKind.CLASSIFIER:
        return _labels(lm, prompts)
    ids = [lm.encoder.prompt_ids(prompt) for prompt in prompts]
    if lm.kind is ModelKind.CAUSAL:
        ids = [_without_end(lm, row) for row in ids]
    longest = max(map(len, ids))
    pad = lm.tokenizer.pad_token_id
    pad = pad if isinstance(pad, int) else 0
    # Padding on the left, so that every row goes on at its last position.
    input_ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in ids], device=lm.device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids], device=lm.device)
    output = lm.model.generate(
        input_ids=input_ids,
        attention_mask=mask,
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
        eos_token_id=lm.tokenizer.eos_token_id,
    )
    start = longest if lm.kind is ModelKind.CAUSAL else 1
    texts = lm.tokenizer.batch_decode(output[:, start:], skip_special_tokens=True)
    return [text.strip().split("\n")[0] for text in texts]


def _without_end(lm: LanguageModel, ids: tuple[int, ...]) -> tuple[int, ...]:
    """Drop an end-of-text token that the tokenizer put behind the prompt."""
    return ids[:-1] if len(ids) > 1 and ids[-1] == lm.tokenizer.eos_token_id else ids


def _labels(lm: LanguageModel, prompts: Sequence[Text]) -> list[str]:
    names = {index: name for name, index in lm.encoder.label_ids.items()}
    anything = next(iter(lm.encoder.label_ids))
    answers = lm.answers(lm.batch([(prompt, anything) for prompt in prompts]))
    return [names[int(index)] for index in answers.logits.argmax(dim=1)]
