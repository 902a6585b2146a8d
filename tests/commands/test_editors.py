"""Fitted editors are listed and handed on as files, so that nobody fits twice."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

Bench = Callable[..., Any]
_FIT = "steps=2,edits_per_step=4,validate_every=1,validation_edits=2,rank=4"


@pytest.fixture
def words(options: list[object]) -> list[object]:
    """The small run, with an editor that is fitted."""
    return [f"mend[{_FIT}]" if word == "none" else word for word in options] + ["--threads", 1]


@pytest.fixture
def fitted(bench: Bench, words: list[object]) -> Path:
    """Give the folder of the editor that this run has fitted below `out`."""
    assert bench(*words).code == 0
    (folder,) = Path("out/editors").iterdir()
    return folder


@pytest.fixture
def exported(bench: Bench, fitted: Path) -> Path:
    assert bench("editors", "export", "r", "mend.safetensors", "--results", "out").code == 0
    return Path("mend.safetensors")


def fit_costs(cell: Path) -> pd.DataFrame:
    return pd.read_parquet(cell / "costs.parquet").query("phase == 'fit'").set_index("measure")


def test_a_list_names_each_editor_with_its_price(bench: Bench, fitted: Path) -> None:
    text = bench("editors", "list", "--results", "out").out
    (row,) = json.loads(bench("editors", "list", "--results", "out", "--json").out)

    assert re.fullmatch(rf"{fitted.name}  fitted  +\S+ \w+  +\S+ \w*B  mend\[.*\]  \S+  toy  seed 0\n", text)
    assert (row["key"], row["status"], row["dataset"], row["seed"]) == (fitted.name, "fitted", "toy", 0)
    assert row["fit_seconds"] > 0
    assert row["bytes"] == sum(path.stat().st_size for path in fitted.iterdir() if path.name != "card.json")


def test_a_list_of_nothing_says_so(bench: Bench) -> None:
    assert bench("editors", "list", "--results", "out").out == ("no fitted editor in 'out'; `bench run` makes them.\n")


def test_a_list_shows_fits_that_were_interrupted(bench: Bench, fitted: Path) -> None:
    begun = fitted.with_name(f"{fitted.name}.checkpoint")
    shutil.copytree(fitted, begun)
    card = json.loads((begun / "card.json").read_text())
    card["details"] |= {"step": 120, "steps": 300}
    (begun / "card.json").write_text(json.dumps(card))

    rows = json.loads(bench("editors", "list", "--results", "out", "--json").out)

    assert [row["status"] for row in rows] == ["fitted", "begun 120/300"]


def test_after_an_import_the_same_run_fits_nothing_and_gives_the_same(
    bench: Bench, words: list[object], fitted: Path, exported: Path
) -> None:
    said = bench("editors", "import", exported, "--results", "elsewhere")
    again = bench(*[*words, "--results", "elsewhere"])

    assert (said.code, again.code) == (0, 0)
    (folder,) = Path("elsewhere/editors").iterdir()
    assert folder.name == fitted.name
    for name in ("state.safetensors", "fit.parquet"):
        assert (folder / name).read_bytes() == (fitted / name).read_bytes()
    (cell,) = Path("elsewhere/r/cells").iterdir()
    (first,) = Path("out/r/cells").iterdir()
    costs, price = fit_costs(cell), fit_costs(first)
    assert costs["cached"].all()
    assert costs["value"].to_dict() == price["value"].to_dict()
    assert (cell / "answers.parquet").read_bytes() == (first / "answers.parquet").read_bytes()


def test_an_import_prints_a_run_that_finds_the_editor(bench: Bench, exported: Path, toy: Path) -> None:
    line = bench("editors", "import", exported, "--results", "elsewhere").out.splitlines()[-1]

    label, _, command = line.partition(": ")
    assert label == "a run that finds it"
    more = ["--plugin", toy, "--results", "elsewhere", "--run", "r", "--edits", 3, "--in-process"]
    assert bench(*shlex.split(command)[1:], *more).code == 0
    (cell,) = Path("elsewhere/r/cells").iterdir()
    assert fit_costs(cell)["cached"].all()


def test_an_import_says_if_the_method_here_is_another(bench: Bench, exported: Path) -> None:
    _rewritten(exported, lambda card: card["identity"].update(plugin_digest="0" * 16))

    said = bench("editors", "import", exported, "--results", "elsewhere")

    assert "'mend' here is of another version than the one that was fitted" in said.out


def test_an_editor_that_is_there_is_left_alone(bench: Bench, fitted: Path, exported: Path) -> None:
    before = (fitted / "card.json").stat().st_mtime_ns

    said = bench("editors", "import", exported, "--results", "out")

    assert said.code == 0
    assert "this editor is there already" in said.out
    assert (fitted / "card.json").stat().st_mtime_ns == before


def test_an_editor_can_be_named_by_its_key(bench: Bench, fitted: Path) -> None:
    said = bench("editors", "export", fitted.name, "one.safetensors", "--results", "out")

    assert said.code == 0
    assert said.out.splitlines()[-1] == "elsewhere: bench editors import one.safetensors"


def test_a_run_with_several_editors_asks_for_a_key(bench: Bench, words: list[object]) -> None:
    bench(*words, "--seeds", 2)

    said = bench("editors", "export", "r", "x.safetensors", "--results", "out")

    assert said.code == 2
    assert said.err.startswith("bench: run 'r' has 2 fitted editors. Name one by its key: ")
    assert all(path.name in said.err for path in Path("out/editors").iterdir())
    assert not Path("x.safetensors").exists()


def test_the_rest_of_a_fit_that_diverged_is_not_exported(bench: Bench, fitted: Path) -> None:
    card = json.loads((fitted / "card.json").read_text())
    card["details"]["problem"] = "4 of 4 micro-batches"
    (fitted / "card.json").write_text(json.dumps(card))

    said = bench("editors", "export", fitted.name, "x.safetensors", "--results", "out")

    assert json.loads(bench("editors", "list", "--results", "out", "--json").out)[0]["status"] == "nan"
    assert said.code == 2
    assert "came to no end" in said.err


def _rewritten(path: Path, change: Callable[[Any], None], **metadata: str) -> None:
    """Change the card of an exported editor, as someone would who also knows the digest."""
    from bench.records.canonical import canonical_json
    from bench.running.editor_file import _digest

    with safe_open(path, "pt") as file:
        old = file.metadata()
    tensors, card = load_file(path), json.loads(old["card"])
    change(card)
    text = canonical_json(card)
    save_file(tensors, path, old | {"card": text, "sha256": _digest(text, tensors)} | metadata)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def _byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def _text(path: Path) -> None:
    path.write_text("no editor")


def _other_file(path: Path) -> None:
    save_file(load_file(path), path)


def _newer(path: Path) -> None:
    _rewritten(path, lambda card: None, schema="2")


def _other_card(path: Path) -> None:
    with safe_open(path, "pt") as file:
        old = file.metadata()
    save_file(load_file(path), path, old | {"card": old["card"].replace('"seed":0', '"seed":1')})


def _no_identity(path: Path) -> None:
    _rewritten(path, lambda card: card["identity"].pop("seed"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "'mend.safetensors' is cut off, or no exported editor: "),
        (_byte, "'mend.safetensors' is damaged: its content has the digest "),
        (_text, "'mend.safetensors' is cut off, or no exported editor: "),
        (_other_file, "'mend.safetensors' is no exported editor. `bench editors export` writes one."),
        (_newer, "'mend.safetensors' is of schema '2', and this version reads '1'."),
        (_other_card, "'mend.safetensors' is damaged: its content has the digest "),
        (_no_identity, "FitCard field 'identity.seed' can not be read: "),
        (Path.unlink, "there is no file 'mend.safetensors'."),
    ],
)
def test_a_file_that_is_no_whole_editor_is_refused_in_one_sentence(
    bench: Bench, exported: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(exported)

    said = bench("editors", "import", exported, "--results", "elsewhere")

    assert said.code == 2
    assert said.err.startswith(f"bench: {message}"), said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not Path("elsewhere").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope", "x.safetensors"], "neither an editor nor a run 'nope'"),
        (["r", "r.safetensors"], "run 'r' has no fitted editor"),
    ],
)
def test_what_can_not_be_exported(bench: Bench, finished: Any, words: list[str], message: str) -> None:
    said = bench("editors", "export", *words, "--results", "out")

    assert said.code == 2
    assert message in said.err


def test_a_file_that_is_there_is_not_written_over(bench: Bench, fitted: Path) -> None:
    Path("x.safetensors").write_text("mine")

    said = bench("editors", "export", fitted.name, "x.safetensors", "--results", "out")

    assert said.code == 2
    assert "is there already" in said.err
    assert Path("x.safetensors").read_text() == "mine"


def test_a_broken_editor_is_not_exported(bench: Bench, fitted: Path) -> None:
    state = fitted / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1] + b"x")

    said = bench("editors", "export", fitted.name, "x.safetensors", "--results", "out")

    assert said.code == 2
    assert "is broken" in said.err
    assert not Path("x.safetensors").exists()
