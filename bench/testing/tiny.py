"""Tiny random models of every family with a tokenizer made in memory, and cases to edit them with.

Nothing is read from a disk or a network, and the same call gives the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    RobertaConfig,
    RobertaForSequenceClassification,
    SmolLM3Config,
    SmolLM3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from bench.editing.request import EditCase, EditRequest, Probe, ProbeKind
from bench.errors import ModelError, nearest
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.models.loading import wrap_model

__all__ = ["FAMILIES", "LABELS", "tiny_cases", "tiny_model", "tiny_tokenizer"]

LABELS = ("false", "true")  # of the tiny classifier, by index
_PAD, _START, _END = "<pad>", "<s>", "</s>"
_WIDTH, _INNER, _HEADS, _POSITIONS = 16, 32, 2, 64
_SPREAD = 0.2  # standard deviation of the random weights; the usual 0.02 makes all answers of so narrow a model alike


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """How to make one family's tiny model.

    Args:
        kind: the kind of its models.
        build: given the size of the vocabulary and settings that override ours, gives a model.
        around: what its tokenizer puts before and behind a text.
    """

    kind: ModelKind
    build: Callable[[int, dict[str, Any]], PreTrainedModel]
    around: tuple[str, str]


def tiny_tokenizer(before: str = "", after: str = "") -> PreTrainedTokenizerBase:
    """Make a byte-level tokenizer of some 400 tokens, with `<pad>`, `<s>` and `</s>`.

    Args:
        before: special tokens that it puts before each text.
        after: special tokens that it puts behind each text.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[_PAD, _START, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [text for case in tiny_cases("causal", 12) for text in (case.request.prompt, case.request.target)]
    tokenizer.train_from_iterator([f" {text}" for text in texts], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{before} $A {after}".strip(),
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (_PAD, _START, _END)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_PAD,
        bos_token=_START,
        eos_token=_END,
        clean_up_tokenization_spaces=False,
    )


def tiny_model(
    kind: ModelKind | str,
    *,
    dtype: torch.dtype = torch.float32,
    tokenizer: PreTrainedTokenizerBase | None = None,
    seed: int = 0,
    **settings: Any,
) -> LanguageModel:
    """Make a tiny random model of some 10,000 parameters.

    Args:
        kind: `causal`, `seq2seq` or `classifier`, or a family in `FAMILIES`.
        dtype: of its parameters.
        tokenizer: one in place of the family's own.
        seed: of its weights; the global random state is left as it was.
        settings: fields of its configuration that override the tiny ones.

    Raises:
        ModelError: there is no such kind or family.
    """
    name = {"causal": "gpt2", "seq2seq": "t5", "classifier": "bert"}.get(str(kind), str(kind))
    if name not in FAMILIES:
        raise ModelError(f"no tiny model called {name!r}; there are {', '.join(FAMILIES)}.{nearest(name, FAMILIES)}")
    family = FAMILIES[name]
    tokenizer = tokenizer or tiny_tokenizer(*family.around)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = family.build(len(tokenizer), settings)
    model.to(dtype=dtype)  # type: ignore[call-arg]  # transformers wraps it without types
    return wrap_model(model, tokenizer, family.kind, name=f"tiny-{name}", identity=f"tiny-{name}-{seed}")


def tiny_cases(kind: ModelKind | str, n: int, *, start: int = 0) -> list[EditCase]:
    """Make cases about invented places, each with the request, two rephrases and two locality probes.

    Args:
        kind: the kind of model that they are for.
        n: how many.
        start: the number of the first; cases of different numbers share no subject.
    """
    return [_case(ModelKind(kind), number) for number in range(start, start + n)]


def _case(kind: ModelKind, number: int) -> EditCase:
    place, near, new, old = (_word(4 * number + i) for i in range(4))
    subjects = [place, place, place, near, near]
    frames = [
        "The capital of {} is",
        "{} has its capital at",
        "The seat of {} is",
        "The capital of {} is",
        "The largest river of {} is",
    ]
    prompts = [frame.format(subject) for frame, subject in zip(frames, subjects, strict=True)]
    target: str
    before: str
    if kind is ModelKind.CLASSIFIER:
        prompts = [f"{prompt} {new}." for prompt in prompts]
        target, before = LABELS[number % 2], LABELS[1 - number % 2]
        answers = [target, target, target, before, LABELS[number // 2 % 2]]
    else:
        target, before = new, old
        answers = [new, new, new, old, new]
    kinds = [ProbeKind.REQUEST, *[ProbeKind.REPHRASE] * 2, *[ProbeKind.LOCALITY] * 2]
    probes = tuple(
        Probe(
            id=f"{what}/{i}",
            kind=what,
            prompt=prompt,
            answer=answer,
            scope="relation" if what is ProbeKind.LOCALITY else None,
            alternative=None if what is ProbeKind.LOCALITY else before,
        )
        for i, (what, prompt, answer) in enumerate(zip(kinds, prompts, answers, strict=True))
    )
    request = EditRequest(id=f"tiny/{number:04d}", prompt=prompts[0], target=target, subject=place, old_target=before)
    return EditCase(request=request, probes=probes)


def _word(number: int) -> str:
    """Give the invented name of a number; no two numbers below 10,000 share one."""
    syllables = ("ba", "do", "fi", "gu", "ka", "lo", "mi", "nu", "sa", "te")
    digits = f"{number:03d}"
    return "".join(syllables[int(digit)] for digit in digits).capitalize()


def _gpt2(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    ours = dict(n_embd=_WIDTH, n_layer=4, n_head=_HEADS, n_positions=_POSITIONS, initializer_range=_SPREAD)
    return GPT2LMHeadModel(GPT2Config(**_tokens(size) | ours | settings))


def _gpt_neo(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    ours = _shape(4) | dict(num_layers=4, num_heads=_HEADS, attention_types=[[["global", "local"], 2]], window_size=8)
    return GPTNeoForCausalLM(GPTNeoConfig(**_tokens(size) | ours | settings))


def _gptj(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    ours = dict(n_embd=_WIDTH, n_layer=4, n_head=_HEADS, n_positions=_POSITIONS, rotary_dim=4)
    return GPTJForCausalLM(GPTJConfig(**_tokens(size) | ours | dict(initializer_range=_SPREAD) | settings))


def _gpt_neox(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    return GPTNeoXForCausalLM(GPTNeoXConfig(**_tokens(size) | _shape(4) | settings))


def _llama(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**_gated(size) | settings))


def _mistral(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    return MistralForCausalLM(MistralConfig(**_gated(size) | dict(sliding_window=16) | settings))


def _qwen2(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    return Qwen2ForCausalLM(Qwen2Config(**_gated(size) | dict(tie_word_embeddings=True) | settings))


def _qwen3(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    return Qwen3ForCausalLM(Qwen3Config(**_gated(size) | dict(head_dim=12) | settings))


def _smollm3(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    ours = dict(tie_word_embeddings=True, no_rope_layer_interval=2)
    return SmolLM3ForCausalLM(SmolLM3Config(**_gated(size) | ours | settings))


def _t5(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    ours = dict(d_model=_WIDTH, d_kv=8, d_ff=_INNER, num_layers=3, num_decoder_layers=3, num_heads=_HEADS)
    start = dict(decoder_start_token_id=0, initializer_factor=1.0)
    return T5ForConditionalGeneration(T5Config(**_tokens(size) | ours | start | settings))


def _t5_gated(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    return _t5(size, dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False) | settings)


def _bart(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    sides = {f"{side}_{name}": value for side in ("encoder", "decoder")
             for name, value in dict(layers=3, ffn_dim=_INNER, attention_heads=_HEADS).items()}  # fmt: skip
    ours = dict(d_model=_WIDTH, max_position_embeddings=_POSITIONS, init_std=_SPREAD, decoder_start_token_id=2)
    return BartForConditionalGeneration(
        BartConfig(**_tokens(size) | sides | ours | dict(forced_eos_token_id=None) | settings)
    )


def _bert(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    return BertForSequenceClassification(BertConfig(**_tokens(size) | _shape(4) | _labels() | settings))


def _roberta(size: int, settings: dict[str, Any]) -> PreTrainedModel:
    # It counts positions from the one behind the padding's, so one more is needed for as many tokens.
    ours = _shape(4) | _labels() | dict(max_position_embeddings=_POSITIONS + 1)
    return RobertaForSequenceClassification(RobertaConfig(**_tokens(size) | ours | settings))


def _labels() -> dict[str, Any]:
    return dict(id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)})


def _gated(size: int) -> dict[str, Any]:
    """Give what the families of Llama's make agree on."""
    return _tokens(size) | _shape(4) | dict(num_key_value_heads=1)


def _tokens(size: int) -> dict[str, Any]:
    return dict(vocab_size=size, pad_token_id=0, bos_token_id=1, eos_token_id=2)


def _shape(layers: int) -> dict[str, Any]:
    """Give the names that most families agree on."""
    return dict(
        hidden_size=_WIDTH,
        intermediate_size=_INNER,
        num_hidden_layers=layers,
        num_attention_heads=_HEADS,
        max_position_embeddings=_POSITIONS,
        initializer_range=_SPREAD,
    )


FAMILIES: Mapping[str, _Family] = {
    "gpt2": _Family(kind=ModelKind.CAUSAL, build=_gpt2, around=("", "")),
    "gpt_neo": _Family(kind=ModelKind.CAUSAL, build=_gpt_neo, around=("", "")),
    "gptj": _Family(kind=ModelKind.CAUSAL, build=_gptj, around=("", "")),
    "gpt_neox": _Family(kind=ModelKind.CAUSAL, build=_gpt_neox, around=("", "")),
    "llama": _Family(kind=ModelKind.CAUSAL, build=_llama, around=(_START, "")),
    "mistral": _Family(kind=ModelKind.CAUSAL, build=_mistral, around=(_START, "")),
    "qwen2": _Family(kind=ModelKind.CAUSAL, build=_qwen2, around=("", "")),
    "qwen3": _Family(kind=ModelKind.CAUSAL, build=_qwen3, around=("", "")),
    "smollm3": _Family(kind=ModelKind.CAUSAL, build=_smollm3, around=("", "")),
    "t5": _Family(kind=ModelKind.SEQ2SEQ, build=_t5, around=("", _END)),
    "t5_gated": _Family(kind=ModelKind.SEQ2SEQ, build=_t5_gated, around=("", _END)),
    "bart": _Family(kind=ModelKind.SEQ2SEQ, build=_bart, around=(_START, _END)),
    "bert": _Family(kind=ModelKind.CLASSIFIER, build=_bert, around=(_START, _END)),
    "roberta": _Family(kind=ModelKind.CLASSIFIER, build=_roberta, around=(_START, _END)),
}
