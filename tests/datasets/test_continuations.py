"""The continuations: passages, how they are cut, their sampled targets, and what makes them wrong."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from bench.building.continuations import sample
from bench.datasets import continuations
from bench.datasets._continuation_prompts import prompts
from bench.datasets._continuation_targets import load_targets
from bench.datasets._prose import passages
from bench.datasets.continuations import Continuations, ContinuationsConfig
from bench.datasets.facts import Facts, FactsConfig
from bench.editing.dataset import Split, check_splits
from bench.editing.request import EditCase, Probe, ProbeKind, contradicted
from bench.errors import ConfigError, DataError
from bench.models.catalogue import embedded_models, find_model
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel
from bench.models.loading import load_model
from bench.models.vocabulary import vocabulary_digest
from bench.testing import tiny_model

DATA = Path(continuations.__file__).parent / "continuations_data"
START, SPECIAL = 1, range(5)  # <s>; <pad> <s> </s> <unk> <mask>

Cases = Callable[[Split], tuple[EditCase, ...]]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Give the vocabulary of an embedded model."""
    return Tokenizer.from_file(str(find_model("facts-gpt2-3m").folder / "tokenizer.json"))  # type: ignore[operator]


@pytest.fixture(scope="module")
def cases() -> Cases:
    """Give the cases of a split, made once."""
    dataset = Continuations(ContinuationsConfig(), ModelKind.CAUSAL)
    return cache(lambda split: tuple(dataset.cases(split)))


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[str, str, str], Path]:
    """Copy the data files with one piece of one of them replaced."""

    def make(name: str, old: str, new: str) -> Path:
        for file in ("targets.csv", "source.toml"):
            text = (DATA / file).read_text(encoding="utf-8")
            assert file != name or old in text
            (tmp_path / file).write_text(text.replace(old, new, 1) if file == name else text, encoding="utf-8")
        return tmp_path

    return make


def probes(case: EditCase, kind: ProbeKind) -> list[Probe]:
    return [probe for probe in case.probes if probe.kind is kind]


def made(**config: int) -> Continuations:
    return Continuations(ContinuationsConfig(**config), ModelKind.CAUSAL)


def first(config: dict[str, int]) -> EditCase:
    return next(made(**config).cases(Split.TUNE))


def test_there_are_cases_enough_to_fit_choose_and_test(cases: Cases) -> None:
    assert {split: len(cases(split)) for split in Split} == {Split.FIT: 3000, Split.TUNE: 200, Split.TEST: 400}


def test_no_id_and_no_beginning_of_a_passage_is_in_two_cases(cases: Cases) -> None:
    requests = [case.request for split in Split for case in cases(split)]
    shortest = min(len(request.prompt) for request in requests)

    assert len({request.id for request in requests}) == len(requests)
    assert len({request.prompt for request in requests}) == len(requests)
    assert len({request.prompt[:shortest] for request in requests}) > 0.999 * len(requests)
    check_splits(made())


def test_no_passage_is_used_in_another_split_or_known_to_a_model() -> None:
    facts = Facts(FactsConfig(), ModelKind.CAUSAL)
    known = {*facts.training_texts(), *(text for split in Split for text in facts.texts(split))}
    used = [passages(seed, count) for seed, count in ((5, 3600), (6, 300), (7, 600))]

    together = {text for texts in used for text in texts}

    assert len(together) == 4500
    assert together & known == set()


def test_a_prompt_is_the_beginning_of_a_passage_in_24_to_48_tokens(cases: Cases, tokenizer: Tokenizer) -> None:
    texts = passages(7, 400)

    found = [case.request.prompt for case in cases(Split.TEST)]

    assert [tokenizer.encode(text).ids[: len(ids)] for text, ids in zip(texts, found, strict=True)] == [
        list(ids) for ids in found
    ]
    assert {len(ids) - 1 for ids in found} == set(range(24, 49))
    assert all(ids[0] == START for ids in found)


def test_a_target_is_ten_tokens_none_of_them_special_and_not_how_the_passage_goes_on(
    cases: Cases, tokenizer: Tokenizer
) -> None:
    goes_on = 0
    for case, text in zip(cases(Split.TEST), passages(7, 400), strict=True):
        length = len(case.request.prompt)
        goes_on += tuple(tokenizer.encode(text).ids[length : length + 10]) == case.request.target

    targets = [case.request.target for split in Split for case in cases(split)]
    assert {len(target) for target in targets} == {10}
    assert {int(token) for target in targets for token in target}.isdisjoint(SPECIAL)
    assert max(int(token) for target in targets for token in target) < 4096
    assert goes_on < 0.02 * 400


def test_a_rephrase_is_the_prompt_without_up_to_half_of_its_first_tokens(cases: Cases) -> None:
    for case in cases(Split.TEST):
        whole = case.request.prompt
        dropped = [len(whole) - len(probe.prompt) for probe in probes(case, ProbeKind.REPHRASE)]

        assert len(dropped) == len(set(dropped)) == 2
        assert all(0 <= r <= (len(whole) - 1) // 2 for r in dropped)
        assert [p.prompt for p in probes(case, ProbeKind.REPHRASE)] == [(START, *whole[1 + r :]) for r in dropped]
        assert {p.answer for p in probes(case, ProbeKind.REPHRASE)} == {case.request.target}


def test_the_number_of_dropped_tokens_is_uniform(cases: Cases) -> None:
    counts: Counter[int] = Counter()
    for case in cases(Split.FIT):
        if len(case.request.prompt) in (1 + 24, 1 + 25):  # half of both is 12: thirteen numbers
            counts.update(len(case.request.prompt) - len(p.prompt) for p in probes(case, ProbeKind.REPHRASE))

    expected = counts.total() / 13
    assert set(counts) == set(range(13))
    # With 12 degrees of freedom 26.2 is exceeded once in a hundred; draws without repetition vary a little less.
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 26.2


def test_a_drawn_rephrase_does_not_depend_on_how_many_there_are() -> None:
    three, one = first({"rephrases": 3}), first({"rephrases": 1})

    assert probes(one, ProbeKind.REPHRASE) == probes(three, ProbeKind.REPHRASE)[:1]


def test_a_locality_probe_asks_how_a_passage_goes_on_that_is_never_edited(cases: Cases, tokenizer: Tokenizer) -> None:
    others = [tuple(tokenizer.encode(text).ids) for text in passages(7, 600)[400:]]
    begun = {ids[:17] for ids in others}  # the start token and the fewest tokens before a place
    edited = {case.request.prompt[:17] for case in cases(Split.TEST)}

    for case in cases(Split.TEST):
        found = probes(case, ProbeKind.LOCALITY)
        assert len({probe.id for probe in found}) == 8
        assert {len(probe.answer) for probe in found} == {3}
        assert {probe.prompt[:17] for probe in found} <= begun - edited
        for probe in found[:1]:
            whole = (*probe.prompt, *probe.answer)
            assert any(ids[: len(whole)] == whole for ids in others)


def test_a_locality_probe_is_the_same_in_every_case_and_whatever_the_length_of_its_answer(cases: Cases) -> None:
    of_id = {probe.id: probe for case in cases(Split.TEST) for probe in probes(case, ProbeKind.LOCALITY)}

    assert all(of_id[p.id] == p for case in cases(Split.TEST) for p in probes(case, ProbeKind.LOCALITY))
    assert len(of_id) > 700  # of the 800 places
    one, ten = first({"locality_tokens": 1}), first({"locality_tokens": 10})
    for short, long in zip(probes(one, ProbeKind.LOCALITY), probes(ten, ProbeKind.LOCALITY), strict=True):
        assert (short.id, short.prompt, short.answer) == (long.id, long.prompt, long.answer[:1])
        assert len(long.answer) == 10


def test_no_locality_probe_asks_what_another_case_changes(cases: Cases) -> None:
    assert contradicted(cases(Split.TEST)) == set()


def test_text_probes_go_through_the_other_passages(cases: Cases) -> None:
    asked = [p.answer for case in cases(Split.TEST) for p in probes(case, ProbeKind.TEXT)]

    assert asked[:200] == passages(7, 600)[400:] == list(made().texts(Split.TEST))
    assert len(asked) == 800
    assert {p.prompt for case in cases(Split.TEST) for p in probes(case, ProbeKind.TEXT)} == {""}


def test_everything_fits_into_the_128_positions_with_room_to_speak(cases: Cases, tokenizer: Tokenizer) -> None:
    for split in Split:
        for case in cases(split):
            assert max(len(p.prompt) + len(p.answer) for p in case.probes if p.kind is not ProbeKind.TEXT) <= 118
        assert max(len(tokenizer.encode(text).ids) for text in made().texts(split)) <= 128


def test_the_number_of_probes_is_what_is_asked_for() -> None:
    case = first({"rephrases": 13, "locality": 0, "locality_tokens": 1, "texts": 5})

    assert Counter(probe.kind for probe in case.probes) == {
        ProbeKind.REQUEST: 1,
        ProbeKind.REPHRASE: 13,
        ProbeKind.TEXT: 5,
    }


@pytest.mark.parametrize(
    ("name", "number"),
    [("rephrases", 14), ("rephrases", -1), ("locality", 401), ("locality_tokens", 0), ("texts", 101)],
)
def test_a_number_that_can_not_be_had_is_refused(name: str, number: int) -> None:
    with pytest.raises(ConfigError, match=rf"continuations.{name} is {number}. Give a whole number from"):
        made(**{name: number})


@pytest.mark.parametrize("kind", [ModelKind.SEQ2SEQ, ModelKind.CLASSIFIER])
def test_models_that_do_not_continue_text_have_no_cases(kind: ModelKind) -> None:
    with pytest.raises(DataError, match=f"no cases for a {kind} model, only for causal"):
        Continuations(ContinuationsConfig(), kind)


def test_the_digest_is_another_for_another_config() -> None:
    assert made().digest() == made().digest() != made(texts=1).digest()


def test_all_embedded_models_that_continue_text_share_the_vocabulary() -> None:
    entries = [entry for entry in embedded_models().values() if entry.kind is ModelKind.CAUSAL]

    found = {
        vocabulary_digest(Tokenizer.from_file(str(entry.folder / "tokenizer.json")).get_vocab())
        for entry in entries
        if entry.folder
    }

    assert len(entries) >= 2
    assert found == {made().vocabulary}


def test_the_targets_were_made_for_these_prompts(tokenizer: Tokenizer) -> None:
    """A change of the prose or of the tokenizer puts the targets behind other prompts: make them again."""
    found = [prompts(tokenizer, split) for split in Split]

    digest = hashlib.sha256(repr(found).encode()).hexdigest()
    assert f'prompts = "{digest}"' in (DATA / "source.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("targets.csv", "split,number,target", "split,target", "line 1: the header is not 'split,number,target'"),
        ("targets.csv", "fit,1,", "fit,2,", "line 3: number 2 stands where 1 should"),
        ("targets.csv", "fit,0,", "fitt,0,", "line 2: 'fitt' is not a valid Split"),
        ("targets.csv", "fit,0,", "fit,0,7 ", "line 2: a target has 10 token ids below 4096"),
        ("targets.csv", "fit,0,", "fit,0,x", "line 2: invalid literal"),
        ("targets.csv", "\ntune,199,", "\nfit,3000,", "fit has 3001 targets, not 3000"),
        ("source.toml", "vocabulary", "words", "'vocabulary' is missing or wrong"),
        ("source.toml", 'vocabulary = "', 'vocabulary = "0', "another vocabulary than that of 'facts-gpt2-1m' now"),
        ("source.toml", 'model = "', 'model = "./none/', "tokenizer of the continuations can not be read"),
    ],
)
def test_a_wrong_file_is_named(
    damaged: Callable[[str, str, str], Path], name: str, old: str, new: str, message: str
) -> None:
    with pytest.raises(DataError) as raised:
        load_targets(damaged(name, old, new))

    assert message in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"targets\.csv' can not be read"):
        load_targets(tmp_path)


def _sample(
    lm: LanguageModel, asked: Sequence[tuple[int, ...]], names: Sequence[str], seed: int
) -> tuple[list[tuple[int, ...]], int]:
    """Sample as tools/make_continuations.py does."""
    return sample(lm, asked, names, seed, tokens=10, fewest_unlikely=2)


def _prompts(lm: LanguageModel, count: int) -> list[tuple[int, ...]]:
    """Prompts of two lengths, so that they are not sampled in one batch."""
    return [
        lm.encoder.prompt_ids("The capital of" if number % 2 else "The capital of Baba is") for number in range(count)
    ]


def test_a_sampled_target_depends_on_its_name_and_the_seed_alone() -> None:
    lm = tiny_model("causal")
    asked, names = _prompts(lm, 9), [f"case/{number}" for number in range(9)]

    together, _ = _sample(lm, asked, names, 0)

    assert [_sample(lm, [a], [n], 0)[0][0] for a, n in zip(asked, names, strict=True)] == together
    assert len(set(together)) == 9
    assert set(_sample(lm, asked, names, 1)[0]).isdisjoint(together)


def test_a_sampled_target_has_two_tokens_that_are_not_the_first_choice_and_no_special_one() -> None:
    lm = tiny_model("causal")
    # Its embeddings are its output weights: this makes the model sure of its first choice, and so repeat many draws.
    lm.input_embeddings.mul_(6)
    asked = _prompts(lm, 40)

    found, drawn_again = _sample(lm, asked, [str(number) for number in range(40)], 0)

    answers = lm.answers(lm.batch(list(zip(asked, found, strict=True))))
    logits = answers.logits.index_fill(1, torch.tensor(lm.tokenizer.all_special_ids), -torch.inf)
    unlikely = answers.sum_rows((logits.argmax(1) != answers.labels).float())
    assert unlikely.min() >= 2
    assert drawn_again > 0
    assert {token for target in found for token in target}.isdisjoint(lm.tokenizer.all_special_ids)
    assert {len(target) for target in found} == {10}


def test_tokens_are_sampled_at_temperature_1() -> None:
    lm = tiny_model("causal")
    lm.input_embeddings.mul_(2)  # sure enough of a token to count it, and not so sure that draws are repeated
    prompt = _prompts(lm, 1)[0]
    logits = lm.model(input_ids=torch.tensor([prompt])).logits[0, -1]
    logits[lm.tokenizer.all_special_ids] = -torch.inf
    share, token = logits.softmax(0).max(0)

    found, drawn_again = _sample(lm, [prompt] * 1500, [str(number) for number in range(1500)], 0)

    deviation = float(share * (1 - share) / 1500) ** 0.5
    assert drawn_again == 0
    assert sum(t[0] == int(token) for t in found) / 1500 == pytest.approx(float(share), abs=4 * deviation)
    assert share - (logits / 1.3).softmax(0).max() > 4 * deviation  # another temperature would show


@pytest.mark.slow
def test_an_unedited_model_says_fewer_than_one_target_in_a_hundred(cases: Cases) -> None:
    lm = load_model("facts-gpt2-3m")
    requests = [case.request for case in cases(Split.TEST)]

    batches = [lm.batch([(r.prompt, r.target) for r in requests[i : i + 50]]) for i in range(0, 400, 50)]

    answers = [lm.answers(batch) for batch in batches]
    right = torch.cat([a.sum_rows(a.is_right().float()) for a in answers])
    assert (right == 10).float().mean() < 0.01
    assert 0.5 < right.mean() / 10 < 0.8


@pytest.mark.slow
def test_the_tool_makes_the_targets_that_are_there(cases: Cases) -> None:
    lm = load_model("facts-gpt2-1m")
    if lm.identity not in (DATA / "source.toml").read_text(encoding="utf-8"):
        pytest.skip("the targets were sampled from an earlier build of this model")
    requests = [case.request for case in cases(Split.TUNE)]

    found, _ = _sample(lm, [r.prompt for r in requests], [r.id for r in requests], 0)

    # One rounding in ten thousand draws may fall to the other side on another processor.
    assert sum(a != r.target for a, r in zip(found, requests, strict=True)) <= 1
