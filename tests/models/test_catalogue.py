"""Which models there are: one that is broken costs only those who ask for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from bench.commands.listing import listing
from bench.errors import ModelError
from bench.models.catalogue import find_model, imported_models
from bench.models.importing import import_model
from bench.testing import tiny_model


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of imported models, with one that is whole and some that are not."""
    place = tmp_path / "models"
    monkeypatch.setenv("BENCH_MODELS", str(place))
    source = tmp_path / "whole"
    lm = tiny_model("gpt2")
    lm.model.save_pretrained(source)
    lm.tokenizer.save_pretrained(source)
    import_model(str(source))
    for name, files in {
        "empty": {"card.json": "{}"},
        "torn": {"card.json": '{"parameters": 3', "config.json": "{}"},
        "odd": {"card.json": "[]", "config.json": "{}"},
        ".tmp-half-01234567": {"card.json": "{"},
    }.items():
        (place / name).mkdir()
        for file, text in files.items():
            (place / name / file).write_text(text)
    return place


def test_broken_models_are_listed_with_the_reason_and_leftovers_are_not(models: Path) -> None:
    found = imported_models()

    assert set(found) == {"whole", "empty", "torn", "odd"}
    assert found["whole"].problem == ""
    assert "config.json can not be read as JSON" in found["empty"].problem
    assert "card.json can not be read as JSON" in found["torn"].problem
    assert "holds no JSON object" in found["odd"].problem


def test_the_list_shows_which_are_broken(models: Path) -> None:
    shown = listing("models", Console(width=200))

    assert "broken: " in shown
    assert "facts-gpt2-1m" in shown
    assert "tmp-half" not in shown


def test_only_who_asks_for_a_broken_model_is_stopped(models: Path) -> None:
    assert find_model("whole").kind == "causal"
    with pytest.raises(ModelError, match="'torn'.*can not be read as JSON"):
        find_model("torn")


def test_parameters_are_counted_where_no_card_states_them(models: Path, tmp_path: Path) -> None:
    lm = tiny_model("gpt2")

    assert find_model(str(tmp_path / "whole")).parameters == sum(p.numel() for p in lm.model.parameters())


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 4, b"\xff" * 8, (9).to_bytes(8, "little") + b"{}", b"\x02" + b"\x00" * 7 + b"[]"]
)
def test_weights_without_a_header_have_no_number_of_parameters(models: Path, tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "whole"
    (folder / "model.safetensors").write_bytes(content)

    assert find_model(str(folder)).parameters is None
