"""`bench models import`, and runs of models that need more than a name."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.models import catalogue
from bench.models.shapes import SHAPES
from bench.records.metrics import METRICS
from bench.testing import tiny_model

Bench = Callable[..., Any]

_LIKE_SMOLLM2 = (
    "{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


def notes(folder: str) -> list[str]:
    return [note for path in Path(folder).glob("cells/*/card.json") for note in json.loads(path.read_text())["notes"]]


def test_an_imported_model_is_listed_and_run_by_its_short_name(
    bench: Bench, options: list[object], model_folder: Callable[[str], Path], store: Path
) -> None:
    said = bench("models", "import", model_folder("causal"), "--name", "mine")

    assert said.out.splitlines()[0].split()[:2] == ["mine", "causal"]
    assert said.out.splitlines()[0].endswith(str(store / "mine"))
    assert said.out.splitlines()[1] == "use it with --models mine"
    (row,) = [row for row in json.loads(bench("list", "models", "--json").out) if row["name"] == "mine"]
    assert row["editable matrices"] == ["transformer.h.0-3.mlp.{c_fc,c_proj}"]
    assert row["editable"] == "8: c_fc c_proj"
    assert bench(*options, "--models", "mine").code == 0


def test_an_import_that_fails_is_one_sentence(bench: Bench) -> None:
    said = bench("models", "import", "nowhere.gguf")

    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("bench: there is no file or folder 'nowhere.gguf'.")


def test_every_model_that_is_listed_says_what_can_be_edited(bench: Bench) -> None:
    rows = json.loads(bench("list", "models", "--json").out)

    assert {row["kind"] for row in rows} == {"causal", "seq2seq", "classifier"}
    assert [row["name"] for row in rows if not (row["parameters"] and row["editable"])] == []
    assert [row["name"] for row in rows if row["weights"] == "random"] == [f"random:{name}" for name in SHAPES]


@pytest.mark.parametrize("kind", ["gpt2", "t5-small", "bert-base"])
def test_random_weights_are_edited_for_their_costs_only(
    bench: Bench, toy: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {
        "gpt2": {"n_embd": 16, "n_layer": 3, "n_head": 2},
        "t5-small": {"d_model": 16, "d_ff": 32, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2},
        "bert-base": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
        },
    }[kind]
    shape = replace(SHAPES[kind], settings=dict(SHAPES[kind].settings) | small)
    monkeypatch.setattr(catalogue, "SHAPES", {"tiny": shape})
    where = ["--models", "random:tiny", "--datasets", "toy", "--plugin", toy, "--results", "out", "--run", "r"]

    said = bench("run", "--methods", "ft[steps=2]", "--edits", 2, *where, "--in-process", "--json")

    answer = json.loads(said.out)
    assert said.code == 0
    metrics = {row["metric"] for row in answer["summary"]}
    assert {"edit_seconds", "edit_seconds_amortised", "peak_memory_bytes"} <= metrics
    assert {METRICS[name].unit for name in metrics} == {"seconds", "bytes"}
    assert notes("out/r") == ["the weights are random: costs only, no quality"]
    assert len(answer["plots"]) > 0


def test_known_cases_only_are_edited_and_the_others_counted(
    bench: Bench, options: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.running import choice

    monkeypatch.setattr(choice, "_known", lambda cases, asking: [int(case.request.id[-1]) % 2 == 0 for case in cases])

    said = bench(*options, "--known-only")

    assert said.code == 0
    answers = json.loads(bench("table", "out/r", "--format", "json").out)
    assert {row["n"] for row in answers if row["metric"] == "success"} == {4}
    assert notes("out/r") == ["known cases only: 3 of 7 were left out, which the unedited model gets wrong"]
    words = shlex.split(said.out.splitlines()[-1].removeprefix("next: bench "), comments=True)
    assert "--known-only" in words


def test_too_few_known_cases_fail_the_cell_and_say_how_many_there_are(bench: Bench, options: list[object]) -> None:
    said = bench(*options, "--known-only")

    assert said.code == 1
    assert "4 edits were asked for and the split has 0 that fit into" in said.out
    assert "and that it gets right (12 it gets wrong)" in said.out


def test_chats_are_scored_with_the_models_template_and_said_to_be(
    bench: Bench, options: list[object], tmp_path: Path
) -> None:
    lm = tiny_model("causal")
    lm.tokenizer.chat_template = _LIKE_SMOLLM2
    lm.model.save_pretrained(tmp_path / "instruct")
    lm.tokenizer.save_pretrained(tmp_path / "instruct")

    plain = bench(*options, "--models", tmp_path / "instruct", "--run", "plain")
    chat = bench(*options, "--models", tmp_path / "instruct", "--chat", "--run", "chat")

    assert (plain.code, chat.code) == (0, 0)
    assert notes("out/plain") == []
    assert notes("out/chat") == ["prompts were put into the model's chat template"]


def test_a_model_without_a_chat_template_fails_with_the_reason(bench: Bench, options: list[object]) -> None:
    said = bench(*options, "--chat")

    assert said.code == 1
    assert "the model's tokenizer has no chat template. Leave the option out." in said.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--device", "mps"), "--device is 'mps' and torch finds no Apple GPU here"),
        (("--device", "gpu"), "--device is 'gpu'; it can be auto, cpu, cuda, mps."),
        (("--gpus-per-cell", "99"), "--gpus-per-cell is 99; torch finds no GPU here"),
        (("--dtype", "int8"), "--dtype is 'int8'; it can be fp32, bf16, fp16, auto."),
    ],
)
def test_what_this_machine_can_not_do_is_refused_before_anything_is_written(
    bench: Bench, options: list[object], words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)

    said = bench(*options, *words)

    assert said.code == 2
    assert message in said.err
    assert not Path("out").exists()
