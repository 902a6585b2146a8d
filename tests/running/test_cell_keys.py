"""What tells the cells of a sweep apart, and which of them share a fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.models.options import LoadOptions
from bench.records.canonical import key_of
from bench.running.sweep import Sweep, plan
from bench.running.task import fit_identity
from bench.testing import tiny_model

SweepMaker = Callable[..., Sweep]


def key(sweep: Sweep) -> str:
    (planned,) = plan(sweep)
    return planned.cell.key


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": ("mend",)},
        {"sets": ("ft.lr=0.5",)},
        {"sets": ("toy.size=11",)},
        {"edits": 5},
        {"dtypes": ("bf16",)},
        {"application": "written"},
        {"device": "cuda"},
        {"split": "tune"},
        {"threads": 2},
        {"modes": ("batch:2",)},
        {"modes": ("sequential:2",)},
        {"kind": "seq2seq"},
        {"known_only": True},
        {"loading": LoadOptions(is_chat=True)},
        {"loading": LoadOptions(gpus=2)},
    ],
)
def test_the_key_changes_with_what_can_change_a_number(sweep: SweepMaker, changes: dict[str, Any]) -> None:
    base: dict[str, Any] = {"methods": ("ft",)}

    assert key(sweep(**base | changes)) != key(sweep(**base))


@pytest.mark.parametrize(
    ("mode", "application"), [("single", "factored"), ("batch:2", "factored"), ("sequential:2", "written")]
)
def test_the_application_is_by_default_that_of_the_mode_and_keys_know_the_result_only(
    sweep: SweepMaker, mode: str, application: str
) -> None:
    (planned,) = plan(sweep(modes=(mode,)))

    assert planned.cell.application == application
    assert planned.cell.key == key(sweep(modes=(mode,), application=application))


def test_a_mode_is_one_cell_however_it_is_spelt(sweep: SweepMaker) -> None:
    (planned,) = plan(sweep(modes=("sequential:4:every2", "sequential:4:every 2")))

    assert planned.cell.mode == "sequential:4:every 2"


@pytest.mark.parametrize(
    "loading", [LoadOptions(runs_remote_code=True), LoadOptions(reads_pickle=True)], ids=["code", "pickle"]
)
def test_trust_that_a_model_does_not_need_changes_no_key(sweep: SweepMaker, loading: LoadOptions) -> None:
    assert key(sweep(loading=loading)) == key(sweep())


def test_the_dtype_auto_is_that_of_the_weights_and_has_its_key(
    sweep: SweepMaker, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    lm = tiny_model("causal", dtype=torch.bfloat16)
    lm.model.save_pretrained(tmp_path / "half")
    lm.tokenizer.save_pretrained(tmp_path / "half")
    models = (str(tmp_path / "half"), str(model_folder("causal")))

    half, full = plan(sweep(models=models, dtypes=("auto",)))

    assert (half.cell.dtype, full.cell.dtype) == ("bf16", "fp32")
    assert half.cell.key == key(sweep(models=models[:1], dtypes=("bf16",)))


def test_known_cases_share_their_fit_with_all_cases_unless_the_tune_split_is_scored(sweep: SweepMaker) -> None:
    def fits(**changes: Any) -> list[str]:
        return [key_of(fit_identity(plan(sweep(known_only=known, **changes))[0].cell)) for known in (False, True)]

    assert len(set(fits())) == 1
    assert len(set(fits(split="tune"))) == 2


def test_a_fit_on_chats_is_another_fit(sweep: SweepMaker) -> None:
    plain, chat = (
        key_of(fit_identity(plan(sweep(loading=LoadOptions(is_chat=is_chat)))[0].cell)) for is_chat in (False, True)
    )

    assert plain != chat


def test_each_seed_has_a_key_of_its_own(sweep: SweepMaker) -> None:
    planned = plan(sweep(seeds=3))

    assert len({p.cell.key for p in planned}) == 3


def test_the_key_changes_with_the_source_of_a_plugin(
    sweep: SweepMaker, editor_file: Callable[[str, str], Path]
) -> None:
    method = "def edit(self, requests, *, memory, generator): return WeightEdit(changes={})"
    path = editor_file("changing", method)
    before = key(sweep(methods=("changing",), plugins=(path,)))

    path.write_text(path.read_text() + "\n# another version\n")

    assert key(sweep(methods=("changing",), plugins=(path,))) != before


def test_the_key_does_not_depend_on_what_else_is_run(sweep: SweepMaker) -> None:
    alone = key(sweep(methods=("none",)))
    together = plan(sweep(methods=("ft", "none"), seeds=2, sets=("ft.lr=0.5",)))

    assert alone in {p.cell.key for p in together}
