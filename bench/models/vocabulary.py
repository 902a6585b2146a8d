"""What token ids mean: whether two vocabularies agree, and the text of ids."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from transformers import PreTrainedTokenizerBase

__all__ = ["text_of", "vocabulary_digest"]


def vocabulary_digest(ids: Mapping[str, int]) -> str:
    """Give a checksum of a vocabulary, the id of each token, as hex digits."""
    lines = (f"{id} {token}" for id, token in sorted((id, token) for token, id in ids.items()))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def text_of(tokenizer: PreTrainedTokenizerBase, text: str | tuple[int, ...]) -> str:
    """Give a prompt or answer as text: token ids are decoded, without the special ones."""
    return text if isinstance(text, str) else str(tokenizer.decode(list(text), skip_special_tokens=True))
