"""One byte-level vocabulary for all embedded models, and the tokenizer of each kind around it."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from bench.models.kind import ModelKind

__all__ = ["POSITIONS", "VOCABULARY", "learn_vocabulary", "tokenizer_for"]

VOCABULARY = 4096  # a quarter of the weights of the 3M model; 50,000 would be three times all others
POSITIONS = 128  # a fact takes 10 to 30 tokens; passages are cut into pieces of this length

_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<mask>")  # ids 0 to 4, the same in every model
_PATTERN = {  # what stands around one text, and around a pair of texts
    ModelKind.CAUSAL: ("<s> $A", "<s> $A $B"),
    ModelKind.SEQ2SEQ: ("$A </s>", "$A $B </s>"),
    ModelKind.CLASSIFIER: ("<s> $A </s>", "<s> $A </s> $B </s>"),
}


def learn_vocabulary(texts: Iterable[str], *, size: int = VOCABULARY) -> Tokenizer:
    """Learn a byte-level BPE vocabulary; every text can be encoded and decoded exactly."""
    bpe = Tokenizer(BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = ByteLevel(add_prefix_space=False)
    bpe.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return bpe


def tokenizer_for(kind: ModelKind, vocabulary: Tokenizer) -> PreTrainedTokenizerFast:
    """Wrap the vocabulary for models of one kind.

    A causal model's text begins with <s>, an encoder-decoder's ends with </s>, a classifier's
    has both.
    """
    single, pair = _PATTERN[kind]
    bpe = Tokenizer.from_str(vocabulary.to_str())
    special_ids = [(token, bpe.token_to_id(token)) for token in ("<s>", "</s>")]
    bpe.post_processor = TemplateProcessing(single=single, pair=pair, special_tokens=special_ids)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        padding_side="right",
        model_max_length=POSITIONS,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )
