"""Writes a prompt, or a prompt with its answer, as a model's chat template does."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from bench.errors import DataError

__all__ = ["conversation", "opening"]


def opening(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """Give the text of a conversation in which the user has said the prompt and the model is to speak.

    Raises:
        DataError: the template refuses it.
    """
    return _rendered(tokenizer, [{"role": "user", "content": prompt}], is_open=True)


def conversation(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> tuple[str, int]:
    """Give the text of a conversation up to the end of the answer, and where what the model says begins.

    What the template puts between the opening and an answer (Llama 2 has a space there) is part of what the model says.

    Raises:
        DataError: the template refuses it.
    """
    start, said = opening(tokenizer, prompt), answer.strip()
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": said}]
    whole = _rendered(tokenizer, turns, is_open=False)
    place = whole.find(said, len(start)) if whole.startswith(start) else -1
    between = whole[len(start) : place] if place >= 0 else ""
    # anything but space there is no part of an answer: a block for thoughts that only a finished turn has
    return start + (between if between.isspace() else "") + said, len(start)


def _rendered(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], *, is_open: bool) -> str:
    from jinja2.exceptions import TemplateError

    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=is_open)
    except (TemplateError, ValueError) as error:
        raise DataError(f"the model's chat template refuses a prompt: {error}.") from error
    assert isinstance(text, str)  # it gives token ids only if asked to
    return text
