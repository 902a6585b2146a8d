"""Prompts and answers under the tokenizers that there are: where the answer is found, with its leading space.

The tokenizers are trained here on a few words, each with the pipeline of its family: what cuts texts into words, what
happens to spaces, which special tokens are put around. The real ones are tried where BENCH_DATA names their folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, GPT2TokenizerFast, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from bench.errors import DataError, ModelError
from bench.models.encoding import Encoded, Encoder
from bench.models.kind import ModelKind

PROMPT, ANSWER = "The capital of France is", "Paris"
TEXTS = [f"{PROMPT} {ANSWER}", "The capital of Poland is Warsaw", "the river of Paris is the Seine , says Rome ."]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]


def trained(model: Any, trainer: Any, around: tuple[str, str], **parts: Any) -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(model)
    for name, part in parts.items():
        if part is not None:
            setattr(tokenizer, name, part)
    if trainer is None:
        tokenizer.add_special_tokens(SPECIAL)
    else:
        tokenizer.train_from_iterator(TEXTS, trainer)
    before, after = around
    if before or after:
        template = processors.TemplateProcessing(
            single=f"{before} $A {after}".strip(),
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in (before, after) if token],
        )
        own = parts.get("post_processor")
        tokenizer.post_processor = processors.Sequence([own, template]) if own else template
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def byte_level(before: str = "", after: str = "", *, trims: bool = False) -> PreTrainedTokenizerBase:
    """GPT-2 and all that came after it: a space belongs to the word behind it."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    return trained(
        models.BPE(),
        trainer,
        (before, after),
        pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoder=decoders.ByteLevel(),
        post_processor=processors.ByteLevel(trim_offsets=trims),
    )


def metaspace(before: str = "", after: str = "") -> PreTrainedTokenizerBase:
    """T5, and Llama's newer files: spaces become a sign, and one is put before the first word."""
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    sign = pre_tokenizers.Metaspace(prepend_scheme="first")
    return trained(models.Unigram(), trainer, (before, after), pre_tokenizer=sign, decoder=decoders.Metaspace())


def sentencepiece(before: str = "<s>") -> PreTrainedTokenizerBase:
    """Llama 2's older files: the sign is put in by a normalizer, and unknown characters fall into bytes."""
    words = [f"▁{word}" for text in TEXTS for word in text.split()]
    first = Tokenizer(models.BPE())
    first.train_from_iterator(words, trainers.BpeTrainer(special_tokens=SPECIAL, show_progress=False))
    learned = json.loads(first.to_str())["model"]
    names = [*sorted(learned["vocab"], key=learned["vocab"].get), *(f"<0x{number:02X}>" for number in range(256))]
    vocabulary = {name: number for number, name in enumerate(names)}
    merges = [tuple(merge) for merge in learned["merges"]]
    return trained(
        models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True),
        None,
        (before, ""),
        normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        decoder=decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        ),
    )


def wordpiece() -> PreTrainedTokenizerBase:
    """BERT: lower case, and the space is dropped."""
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    return trained(
        models.WordPiece(unk_token="<unk>"),
        trainer,
        ("<s>", "</s>"),
        normalizer=normalizers.BertNormalizer(lowercase=True),
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
        decoder=decoders.WordPiece(),
    )


CAUSAL: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "gpt2": byte_level,
    "gpt2, offsets without spaces": lambda: byte_level(trims=True),
    "llama 3": lambda: byte_level("<s>"),
    "opt, with an end token": lambda: byte_level("<s>", "</s>"),
    "llama, sign by the pre-tokenizer": lambda: metaspace("<s>"),
    "llama 2, sign by the normalizer": sentencepiece,
    "mistral without a start token": lambda: sentencepiece(""),
    "wordpiece": wordpiece,
}
MADE: dict[str, PreTrainedTokenizerBase] = {}


@pytest.fixture(params=list(CAUSAL))
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    name = request.param
    if name not in MADE:
        MADE[name] = CAUSAL[name]()
    return MADE[name]


def encoder(
    tokenizer: PreTrainedTokenizerBase, kind: ModelKind = ModelKind.CAUSAL, limit: int | None = None
) -> Encoder:
    labels = {"false": 0, "true": 1} if kind is ModelKind.CLASSIFIER else {}
    return Encoder(tokenizer=tokenizer, kind=kind, max_length=limit, label_ids=labels, decoder_start=0)


def said(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Give the text of ids, with single spaces and in lower case, as BERT's decoder would have it."""
    return " ".join(str(tokenizer.decode(list(ids), skip_special_tokens=True)).split()).lower()


def check_found(tokenizer: PreTrainedTokenizerBase, encoded: Encoded, prompt: str, answer: str) -> None:
    """Check that labels and what is before them are the two texts, and that each label is predicted by its place."""
    whole = encoded.input_ids
    assert encoded.labels == whole[-len(encoded.labels) :]
    assert [whole[at + 1] for at in encoded.positions] == list(encoded.labels)
    assert said(tokenizer, encoded.labels) == answer.lower().strip()
    assert said(tokenizer, whole[: len(whole) - len(encoded.labels)]) == prompt.lower().strip()
    assert encoded.prompt_end == len(whole) - len(encoded.labels) - 1


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (PROMPT, ANSWER),
        (PROMPT, f" {ANSWER}"),
        (f"{PROMPT} ", ANSWER),
        (PROMPT, "Paris the Seine"),
        ("The capital of Poland is", "Warsaw"),
        ("The river is", "the Seine"),
    ],
)
def test_the_answer_is_found_whole_and_nothing_of_the_prompt_with_it(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str
) -> None:
    check_found(tokenizer, encoder(tokenizer).encode(prompt, answer), prompt, answer)


def test_a_leading_space_of_the_answer_or_one_behind_the_prompt_changes_nothing(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    plain = encoder(tokenizer).encode(PROMPT, ANSWER)

    assert encoder(tokenizer).encode(PROMPT, f" {ANSWER}") == plain
    assert encoder(tokenizer).encode(f"{PROMPT} ", ANSWER) == plain


def test_prompt_and_answer_are_what_the_whole_text_is_cut_into(tokenizer: PreTrainedTokenizerBase) -> None:
    whole = tuple(tokenizer(f"{PROMPT} {ANSWER}")["input_ids"])

    encoded = encoder(tokenizer).encode(PROMPT, ANSWER)

    ended = whole[-1] == tokenizer.eos_token_id
    assert encoded.input_ids == (whole[:-1] if ended else whole)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_side_on_which_a_tokenizer_pads_changes_nothing(tokenizer: PreTrainedTokenizerBase, side: str) -> None:
    import torch

    usual = tokenizer.padding_side
    long, short = (PROMPT, ANSWER), ("The river is", "Rome")
    made = encoder(tokenizer)
    expected = made.collate([made.encode(*long), made.encode(*short)], torch.device("cpu"))
    try:
        tokenizer.padding_side = side
        batch = made.collate([made.encode(*long), made.encode(*short)], torch.device("cpu"))
    finally:
        tokenizer.padding_side = usual

    assert torch.equal(batch.input_ids, expected.input_ids)
    assert batch.attention_mask[1].tolist() == sorted(batch.attention_mask[1].tolist(), reverse=True)
    rows = [batch.input_ids[row, at + 1] for row, at in zip(batch.rows, batch.positions, strict=True)]
    assert torch.equal(torch.stack(rows), batch.labels)


def test_a_start_token_stands_once_before_the_prompt_and_is_never_scored(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = encoder(tokenizer).encode(PROMPT, ANSWER)

    has_start = tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
    assert encoded.input_ids.count(1) == int(has_start)
    assert 1 not in encoded.labels


@pytest.mark.parametrize("name", ["gpt2", "gpt2, offsets without spaces", "llama 3", "llama 2, sign by the normalizer"])
@pytest.mark.parametrize("answer", ["Łódź", "東京", "🗼 Paris", "naïve–Seine"])
def test_characters_that_are_several_tokens_are_scored_whole(name: str, answer: str) -> None:
    tokenizer = CAUSAL[name]()

    check_found(tokenizer, encoder(tokenizer).encode(PROMPT, answer), PROMPT, answer)


def test_a_limit_in_the_tokenizers_own_file_cuts_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    backend: Any = tokenizer.backend_tokenizer
    backend.enable_truncation(4)
    backend.enable_padding(length=32)
    try:
        encoded = encoder(tokenizer).encode(PROMPT, ANSWER)
    finally:
        backend.no_truncation()
        backend.no_padding()

    assert encoded == encoder(tokenizer).encode(PROMPT, ANSWER)


def test_what_does_not_fit_is_an_error_not_a_cut(tokenizer: PreTrainedTokenizerBase) -> None:
    length = encoder(tokenizer).encode(PROMPT, ANSWER).length

    assert encoder(tokenizer, limit=length).encode(PROMPT, ANSWER).length == length
    with pytest.raises(DataError, match=f"is {length} tokens long and the model reads at most {length - 1}"):
        encoder(tokenizer, limit=length - 1).encode(PROMPT, ANSWER)


@pytest.mark.parametrize("answer", [ANSWER, f" {ANSWER}"])
@pytest.mark.parametrize("make", [lambda: metaspace("", "</s>"), lambda: byte_level("<s>", "</s>")], ids=["t5", "bart"])
def test_the_answer_of_a_sequence_to_sequence_model_is_a_text_of_its_own(
    make: Callable[[], PreTrainedTokenizerBase], answer: str
) -> None:
    tokenizer = make()

    encoded = encoder(tokenizer, ModelKind.SEQ2SEQ).encode(PROMPT, answer)

    assert encoded.labels == tuple(tokenizer(ANSWER)["input_ids"])
    assert encoded.labels[-1] == tokenizer.eos_token_id
    assert encoded.decoder_ids == (0, *encoded.labels[:-1])
    assert encoded.input_ids == tuple(tokenizer(PROMPT)["input_ids"])


def test_a_classifier_reads_its_claim_between_the_special_tokens() -> None:
    tokenizer = wordpiece()

    encoded = encoder(tokenizer, ModelKind.CLASSIFIER).encode(f"{PROMPT} {ANSWER}.", "true")

    assert (encoded.input_ids[0], encoded.input_ids[-1]) == (1, 2)
    assert said(tokenizer, encoded.input_ids) == f"{PROMPT} {ANSWER}.".lower()
    assert (encoded.labels, encoded.prompt_end) == ((1,), len(encoded.input_ids) - 1)


# ------------------------------------------------------------------------------------------------ chat

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and message.role != 'system' %}<s>system\nBe kind.</s>\n{% endif %}"
    "<s>{{ message.role }}\n{{ message.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
LLAMA2 = (
    "{% for message in messages %}{% if message.role == 'user' %}<s>[INST] {{ message.content }} [/INST]"
    "{% else %} {{ message.content }} </s>{% endif %}{% endfor %}"
)
THINKING = (
    "{% for message in messages %}<s>{{ message.role }}\n"
    "{% if message.role == 'assistant' %}<think></think>{% endif %}{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "before", "scored"),
    [
        (SMOLLM2, f"<s>system\nBe kind.</s>\n<s>user\n{PROMPT}</s>\n<s>assistant\n", "Paris"),
        (LLAMA2, f"<s>[INST] {PROMPT} [/INST]", " Paris"),
        (THINKING, f"<s>user\n{PROMPT}</s><s>assistant\n", "Paris"),
    ],
    ids=["smollm2", "llama 2", "thoughts"],
)
@pytest.mark.parametrize("answer", [ANSWER, f" {ANSWER}"])
def test_a_chat_is_written_as_the_model_was_trained_on_it(template: str, before: str, scored: str, answer: str) -> None:
    tokenizer = byte_level("<s>")
    tokenizer.chat_template = template
    chat = encoder(tokenizer).for_chat()

    encoded = chat.encode(PROMPT, answer)

    assert tokenizer.decode(list(encoded.labels)) == scored
    assert tokenizer.decode(list(encoded.input_ids)) == before + scored
    assert encoded.input_ids[: encoded.prompt_end + 1] == chat.prompt_ids(PROMPT)
    assert encoded.input_ids[:2].count(1) == 1  # the template writes the start token, the tokenizer adds none


def test_running_text_is_no_chat() -> None:
    tokenizer = byte_level("<s>")
    tokenizer.chat_template = SMOLLM2

    assert encoder(tokenizer).for_chat().encode("", "It rained in Paris.") == encoder(tokenizer).encode(
        "", "It rained in Paris."
    )


def test_token_ids_are_refused_in_a_chat() -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = SMOLLM2

    with pytest.raises(DataError, match="--chat: a prompt or answer of token ids"):
        encoder(tokenizer).for_chat().encode((5, 6), (7,))


def test_a_template_that_refuses_a_prompt_is_an_error_of_that_case() -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = "{{ raise_exception('no system, no talk') }}"

    with pytest.raises(DataError, match="chat template refuses a prompt: no system, no talk"):
        encoder(tokenizer).for_chat().encode(PROMPT, ANSWER)


@pytest.mark.parametrize("kind", [ModelKind.SEQ2SEQ, ModelKind.CLASSIFIER])
def test_only_causal_models_chat(kind: ModelKind) -> None:
    with pytest.raises(ModelError, match="--chat is for causal models"):
        encoder(byte_level(), kind).for_chat()


# ------------------------------------------------------------------------------- the real ones, if they are there


@pytest.fixture(scope="module")
def real() -> Path:
    folder = Path(os.environ.get("BENCH_DATA", "nowhere")) / "tokenizers"
    if not folder.is_dir():
        pytest.skip("BENCH_DATA names no folder with `tokenizers`")
    return folder


def test_gpt2_itself(real: Path) -> None:
    tokenizer = GPT2TokenizerFast(str(real / "gpt2" / "encoder.json"), str(real / "gpt2" / "vocab.bpe"))

    encoded = encoder(tokenizer).encode(PROMPT, ANSWER)

    assert encoded.input_ids == (464, 3139, 286, 4881, 318, 6342)  # OpenAI's own encoder
    assert encoded.labels == (6342,)  # " Paris"; without its space it would be 40313


def test_bert_itself(real: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(real / "bert_uncased"))

    encoded = encoder(tokenizer, ModelKind.CLASSIFIER).encode(f"{PROMPT} {ANSWER}", "true")

    # [CLS] the capital of france is paris [SEP], by the lines of its vocab.txt
    assert encoded.input_ids == (101, 1996, 3007, 1997, 2605, 2003, 3000, 102)


def test_smollm2_itself(real: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(real / "smollm2"))

    encoded = encoder(tokenizer).encode(PROMPT, ANSWER)
    chat = encoder(tokenizer).for_chat().encode(PROMPT, ANSWER)

    assert tokenizer.convert_ids_to_tokens(list(encoded.labels)) == ["ĠParis"]
    assert tokenizer.convert_ids_to_tokens(list(chat.labels)) == ["Paris"]
    text = tokenizer.decode(list(chat.input_ids))
    assert text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert text.endswith(f"<|im_start|>user\n{PROMPT}<|im_end|>\n<|im_start|>assistant\nParis")
