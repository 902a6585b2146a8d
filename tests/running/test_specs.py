"""How `--methods` is read: what splits, what does not, and what is refused with a sentence."""

from __future__ import annotations

import pytest

from bench.errors import ConfigError
from bench.running.specs import parse_spec, split_specs


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("mend", ("mend",)),
        ("mend,ft", ("mend", "ft")),
        (" mend , ,ft,", ("mend", "ft")),
        ("mend[rank=64,steps=300],ft[kl=true],ke", ("mend[rank=64,steps=300]", "ft[kl=true]", "ke")),
        ("ft[layers=*.h.[12].mlp.*,lr=1],mend", ("ft[layers=*.h.[12].mlp.*,lr=1]", "mend")),
        (",", ()),
        ("", ()),
    ],
)
def test_commas_inside_of_brackets_do_not_split(text: str, specs: tuple[str, ...]) -> None:
    assert split_specs(text) == specs


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("mend", "mend", {}),
        ("mend[no_norm=true]", "mend", {"no_norm": "true"}),
        (" mend [ rank = 64 , steps=300 ] ", "mend", {"rank": "64", "steps": "300"}),
        ("mend[preset=paper,rank=8]", "mend", {"preset": "paper", "rank": "8"}),
        ("ft[layers=last:1,lr=1e-4]", "ft", {"layers": "last:1", "lr": "1e-4"}),
        ("ft[layers=*.h.[1,2].mlp.* *.h.0.*]", "ft", {"layers": "*.h.[1,2].mlp.* *.h.0.*"}),
        ("ft[layers=a=b]", "ft", {"layers": "a=b"}),
    ],
)
def test_a_spec_is_a_name_with_fields(text: str, name: str, values: dict[str, str]) -> None:
    spec = parse_spec(text)

    assert (spec.name, dict(spec.values), spec.text) == (name, values, text.strip())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mend[rank=64", "opens a bracket and never closes it"),
        ("mend[rank=64,ft", "opens a bracket and never closes it"),
        ("mend[[rank=64]", "opens a bracket and never closes it"),
        ("mend]", "closes a bracket that was never opened"),
        ("mend]rank=64[", "closes a bracket that was never opened"),
        ("mend[a=1][b=2]", "closes a bracket that was never opened"),
        ("mend[a=1]b", "has something behind its bracket"),
        ("[rank=64]", "names no method before the bracket"),
        ("mend[]", "has empty brackets"),
        ("mend[ ]", "has empty brackets"),
        ("mend[rank=64,]", "has an empty field"),
        ("mend[,rank=64]", "has an empty field"),
        ("mend[rank]", "holds 'rank', which is not FIELD=VALUE"),
        ("mend[rank=]", "holds 'rank=', which is not FIELD=VALUE"),
        ("mend[=64]", "holds '=64', which is not FIELD=VALUE"),
    ],
)
def test_another_form_is_refused_with_what_was_found_and_the_right_one(text: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_spec(text)

    assert str(caught.value).startswith(f"--methods {text!r} {found}. ")
    assert "NAME[FIELD=VALUE,…], as in 'mend[rank=64,steps=300]'." in str(caught.value)


def test_a_field_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="gives the field 'rank' twice"):
        parse_spec("mend[rank=64,steps=3,rank=8]")


@pytest.mark.parametrize("text", ["mend[rank=64,ft", "mend],ft[kl=true]"])
def test_a_list_with_unbalanced_brackets_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="bracket"):
        split_specs(text)
