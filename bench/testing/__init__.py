"""What a plug-in author tests with: tiny models, cases for them, and the checks that every editor must pass.

from bench.testing import check_editor, tiny_model

def test_my_editor_keeps_the_contract():
    assert [v for v in check_editor(MyEditor, tiny_model("causal")) if v.problem] == []
"""

from __future__ import annotations

from bench.testing.conformance import CHECKS, MODEL_CHECKS, Subject, Verdict, check_editor
from bench.testing.tiny import FAMILIES, tiny_cases, tiny_model, tiny_tokenizer

__all__ = [
    "CHECKS",
    "FAMILIES",
    "MODEL_CHECKS",
    "Subject",
    "Verdict",
    "check_editor",
    "tiny_cases",
    "tiny_model",
    "tiny_tokenizer",
]
