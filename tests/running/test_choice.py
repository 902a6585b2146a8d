"""Cases that do not fit or are not known are left out, counted, and replaced by the next ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bench.editing.request import EditCase
from bench.errors import DataError
from bench.models.language_model import LanguageModel
from bench.running import choice
from bench.running.choice import choose, fitting, kept_from_fit
from bench.running.measure import Measure
from bench.running.questions import Question
from bench.running.scoring import measure_unedited
from bench.testing import tiny_cases, tiny_model

LONG = "Babado " * 200


def with_long_prompt(case: EditCase) -> EditCase:
    return replace(case, request=replace(case.request, prompt=LONG))


def ids(cases: Sequence[EditCase]) -> list[str]:
    return [case.request.id for case in cases]


class Oracle:
    """Knows the old targets that it is told; counts how often it is asked."""

    def __init__(self, *known: object) -> None:
        self.known = known
        self.asked = 0

    def __call__(self, questions: Sequence[Question]) -> list[Measure]:
        self.asked += len(questions)
        return [Measure(tokens=2, tokens_correct=1 + (q.answer in self.known), log_prob=-1.0) for q in questions]


@pytest.fixture
def lm() -> LanguageModel:
    return tiny_model("causal")


def test_cases_that_do_not_fit_are_left_out_with_the_reason_and_the_next_take_their_place(lm: LanguageModel) -> None:
    cases = tiny_cases("causal", 4)
    cases[1] = replace(cases[1], probes=(*cases[1].probes, replace(cases[1].probes[3], prompt=LONG)))

    chosen = choose(lm, cases, 3)

    assert ids(chosen.cases) == ["tiny/0000", "tiny/0002", "tiny/0003"]
    assert chosen.notes[0] == "cases left out because they do not fit into the model: 1"
    assert "'tiny/0001' was left out" in chosen.notes[1]
    assert "at most 64" in chosen.notes[1]


def test_a_text_of_one_token_can_not_be_scored_and_is_left_out(lm: LanguageModel) -> None:
    cases = tiny_cases("causal", 3)
    cases[0] = replace(cases[0], probes=(replace(cases[0].probes[0], id="text", prompt="", answer="a"),))

    assert ids(choose(lm, cases, 2).cases) == ids(cases[1:])
    assert fitting(lm, cases)[1] == ["tiny/0000"]


def test_no_more_cases_are_read_than_are_wanted(lm: LanguageModel) -> None:
    cases = iter(tiny_cases("causal", 4))

    choose(lm, cases, 2)

    assert len(list(cases)) == 2


def test_too_few_cases_are_an_error_that_says_how_many_there_are(lm: LanguageModel) -> None:
    cases = tiny_cases("causal", 3)
    cases[1] = with_long_prompt(cases[1])

    with pytest.raises(DataError, match=r"5 edits .* has 2 that fit .*\(1 do not fit\).* at most 2 with --edits"):
        choose(lm, cases, 5)


def test_where_nothing_fits_the_first_reason_is_given(lm: LanguageModel) -> None:
    with pytest.raises(DataError, match=r"the split has 0 .*The first that does not: case 'tiny/0000'.*at most 64"):
        choose(lm, [with_long_prompt(case) for case in tiny_cases("causal", 2)], 1)


def test_only_known_cases_are_kept_and_the_others_counted(lm: LanguageModel) -> None:
    cases = tiny_cases("causal", 6)
    oracle = Oracle(*(cases[place].request.old_target for place in (1, 3, 4)))

    chosen = choose(lm, cases, 2, asking=oracle)

    assert ids(chosen.cases) == ["tiny/0001", "tiny/0003"]
    assert chosen.unknown == 2  # those behind the last one that was wanted do not count
    assert chosen.notes == ("known cases only: 2 of 4 were left out, which the unedited model gets wrong",)


def test_what_does_not_fit_behind_the_last_known_case_is_not_noted(lm: LanguageModel) -> None:
    cases = tiny_cases("causal", 6)
    cases[0], cases[2], cases[4] = (with_long_prompt(cases[place]) for place in (0, 2, 4))
    oracle = Oracle(*(case.request.old_target for case in cases[3:]))

    chosen = choose(lm, cases, 1, asking=oracle)  # all six are read at once

    assert ids(chosen.cases) == ["tiny/0003"]
    assert [problem.split("'")[1] for problem in chosen.problems] == ["tiny/0000", "tiny/0002"]


def test_a_card_names_twenty_cases_that_do_not_fit_and_counts_all(lm: LanguageModel) -> None:
    cases = tiny_cases("causal", 26)
    cases[:25] = map(with_long_prompt, cases[:25])

    count, *named, rest = choose(lm, cases, 1).notes

    assert count.endswith("do not fit into the model: 25")
    assert [note.split("'")[1] for note in named] == ids(cases[:20])
    assert rest == "5 more cases that do not fit are not named here"


def test_cases_kept_from_a_fit_are_counted_and_the_first_twenty_named() -> None:
    assert kept_from_fit([], []) == []

    (few,), (many,) = kept_from_fit(["a"], ["b", "c"]), kept_from_fit([f"f{i}" for i in range(21)], ["t"])

    assert few.endswith(": 1 of the fit split, 2 of the tune split ('a', 'b', 'c')")
    assert ": 21 of the fit split, 1 of the tune split ('f0', " in many
    assert many.endswith(", 'f19', …)")


def test_known_cases_are_looked_for_some_at_a_time(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_AT_ONCE", 2)
    cases = tiny_cases("causal", 8)
    oracle = Oracle(*(case.request.old_target for case in cases[2:]))

    chosen = choose(lm, cases, 2, asking=oracle)

    assert ids(chosen.cases) == ["tiny/0002", "tiny/0003"]
    assert oracle.asked == 4


def test_a_case_without_an_old_target_is_not_known(lm: LanguageModel) -> None:
    first, second = tiny_cases("causal", 2)
    first = replace(first, request=replace(first.request, old_target=None))

    chosen = choose(lm, [first, second], 1, asking=Oracle(second.request.old_target))

    assert ids(chosen.cases) == ["tiny/0001"]
    assert chosen.unknown == 1


def test_too_few_known_cases_are_an_error_that_says_why(lm: LanguageModel) -> None:
    cases = tiny_cases("causal", 3)

    with pytest.raises(DataError, match=r"has 1 that fit into 'tiny-gpt2' and that it gets right \(2 it gets wrong\)"):
        choose(lm, cases, 2, asking=Oracle(cases[0].request.old_target))


@pytest.mark.parametrize("kind", ["causal", "seq2seq", "classifier"])
def test_a_model_knows_what_it_says_itself(kind: str) -> None:
    lm = tiny_model(kind)
    cases = tiny_cases(kind, 40)

    def asking(questions: Sequence[Question]) -> list[Measure]:
        return measure_unedited(lm, questions)

    right = []
    for case in cases:  # one at a time, by the definition
        request = case.request
        assert request.old_target is not None
        right += (
            [request.id] if bool(lm.answers(lm.batch([(request.prompt, request.old_target)])).is_right().all()) else []
        )
    try:
        chosen = ids(choose(lm, cases, max(1, len(right)), asking=asking).cases)
    except DataError:
        chosen = []

    assert chosen == right
    assert kind != "classifier" or 0 < len(right) < 40


def test_a_fit_draws_from_what_fits(lm: LanguageModel) -> None:
    cases = tiny_cases("causal", 4)
    cases[2] = with_long_prompt(cases[2])

    kept, left_out = fitting(lm, cases)

    assert ids(kept) == ["tiny/0000", "tiny/0001", "tiny/0003"]
    assert left_out == ["tiny/0002"]


def test_what_is_surely_short_is_not_tokenised_for_a_fit(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = tiny_cases("causal", 3)
    short = lm.encoder.max_length
    assert short == 64
    cases[1] = replace(cases[1], request=replace(cases[1].request, prompt="Łódź is in"))  # bytes, not characters, count
    encoded: list[object] = []
    original = type(lm.encoder).encode

    def counting(self: object, prompt: object, answer: object) -> object:
        encoded.append(prompt)
        return original(self, prompt, answer)  # type: ignore[arg-type]

    monkeypatch.setattr(type(lm.encoder), "encode", counting)

    assert fitting(lm, cases) == (cases, [])
    assert encoded[0] == "Łódź is in"
    assert cases[0].request.prompt not in encoded
