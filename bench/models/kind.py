"""The three kinds of model that can be edited."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ModelKind"]


class ModelKind(StrEnum):
    """What a model reads and gives."""

    CAUSAL = "causal"  # continues a text
    SEQ2SEQ = "seq2seq"  # reads a prompt, writes an answer
    CLASSIFIER = "classifier"  # reads a claim, gives one of its labels
