"""Samples what a causal model might go on with behind the beginnings of passages: the edits of a generation task.

Each beginning has random numbers of its own, made from the seed and its name, so that what is drawn for it depends
neither on batches nor on the others. Tokens are drawn at temperature 1 among all but the special ones.

Source: Mitchell et al. 2022 (arXiv:2110.11309), section 5: 10 tokens sampled from distilGPT-2.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random

import torch

from bench.errors import DataError
from bench.models.language_model import LanguageModel

__all__ = ["Tokens", "sample"]

Tokens = tuple[int, ...]

_ROWS = 64  # sampled together; the result does not depend on it
_MOST_ATTEMPTS = 1000  # a model that is sure of its first choice would else be asked for ever


def sample(
    lm: LanguageModel, asked: Sequence[Tokens], names: Sequence[str], seed: int, *, tokens: int, fewest_unlikely: int
) -> tuple[list[Tokens], int]:
    """Sample a continuation for each beginning, and say how many draws were repeated.

    Args:
        lm: the causal model to sample from.
        asked: the beginnings, as token ids with all that the model wants to read first.
        names: one for each; with the seed it fixes what is drawn.
        seed: of all draws.
        tokens: of a continuation.
        fewest_unlikely: of these, how many must not be the model's first choice; a draw with fewer is repeated.

    Raises:
        DataError: a beginning gives no such continuation in a thousand draws.
    """
    found: dict[int, Tokens] = {}
    attempt = again = 0
    while left := [place for place in range(len(asked)) if place not in found]:
        if attempt == _MOST_ATTEMPTS:
            raise DataError(
                f"{lm.name!r} gave nothing but its first choices in {attempt} draws behind {names[left[0]]!r}. Ask for "
                f"fewer than {fewest_unlikely} unlikely tokens."
            )
        by_length: dict[int, list[int]] = defaultdict(list)
        for place in left:
            by_length[len(asked[place])].append(place)
        for places in by_length.values():
            for start in range(0, len(places), _ROWS):
                chunk = places[start : start + _ROWS]
                randoms = [Random(f"{seed}/{names[place]}/{attempt}") for place in chunk]
                drawn = _draw(lm, [asked[place] for place in chunk], randoms, tokens, fewest_unlikely)
                found |= {place: target for place, target in zip(chunk, drawn, strict=True) if target is not None}
        again += sum(place not in found for place in left)
        attempt += 1
    return [found[place] for place in range(len(asked))], again


@torch.inference_mode()
def _draw(
    lm: LanguageModel, asked: Sequence[Tokens], randoms: Sequence[Random], tokens: int, fewest_unlikely: int
) -> list[Tokens | None]:
    """Sample once behind beginnings of one length; None where too many tokens are the most probable ones."""
    ids = torch.tensor(asked, device=lm.device)
    length = ids.shape[1]
    unlikely = torch.zeros(len(asked), dtype=torch.long, device=lm.device)
    for _ in range(tokens):
        logits = lm.model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1].double()
        logits[:, lm.tokenizer.all_special_ids] = -torch.inf
        shares = logits.softmax(1).cumsum(1)
        at = torch.tensor([[random.random()] for random in randoms], dtype=torch.float64, device=lm.device)
        drawn = torch.searchsorted(shares, at * shares[:, -1:], right=True)
        unlikely += drawn[:, 0] != logits.argmax(1)
        ids = torch.cat([ids, drawn], dim=1)
    targets = [tuple(row) for row in ids[:, length:].tolist()]
    is_kept = (unlikely >= fewest_unlikely).tolist()
    return [target if keeps else None for target, keeps in zip(targets, is_kept, strict=True)]
