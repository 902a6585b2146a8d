"""What a sweep consists of, and which options it refuses."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError, ConfigError, ModelError, PluginError, UnknownPlugin
from bench.models.options import LoadOptions
from bench.records.canonical import key_of
from bench.records.toml import dumps
from bench.running.sweep import Sweep, plan
from bench.running.task import fit_identity

SweepMaker = Callable[..., Sweep]


def key(sweep: Sweep) -> str:
    (planned,) = plan(sweep)
    return planned.cell.key


def test_cells_come_model_by_model_then_dataset_method_and_seed(
    sweep: SweepMaker, model_folder: Callable[[str], Path]
) -> None:
    models = (str(model_folder("causal")), str(model_folder("seq2seq")))

    planned = plan(sweep(methods=("ft", "none"), models=models, seeds=2))

    found = [(p.cell.model, p.cell.method, p.cell.seed) for p in planned]
    assert found == [(model, method, seed) for model in models for method in ("ft", "none") for seed in (0, 1)]


def test_a_cell_holds_the_whole_configuration_and_labels_what_was_overridden(sweep: SweepMaker) -> None:
    (planned,) = plan(sweep(methods=("ft",), sets=("ft.lr=0.5", "ft.steps=7")))

    assert planned.cell.config["lr"] == 0.5
    assert planned.cell.config["clip"] == 100.0
    assert planned.cell.label == "ft[lr=0.5,steps=7]"


def test_an_override_that_equals_the_default_is_no_override(sweep: SweepMaker) -> None:
    (planned,) = plan(sweep(methods=("ft",), sets=("ft.steps=100",)))

    assert planned.cell.label == "ft"


def test_a_preset_is_resolved_and_single_fields_override_it(sweep: SweepMaker) -> None:
    (planned,) = plan(sweep(methods=("mend",), sets=("mend.rank=8", "mend.preset=paper")))

    assert planned.cell.config["steps"] == 50_000
    assert planned.cell.config["rank"] == 8


def test_a_method_runs_in_several_configurations_side_by_side(sweep: SweepMaker) -> None:
    planned = plan(sweep(methods=("ft[kl=true]", "ft", "ft[lr=0.5,steps=7]")))

    assert [p.cell.label for p in planned] == ["ft[kl=true]", "ft", "ft[lr=0.5,steps=7]"]
    assert [(p.cell.config["kl"], p.cell.config["steps"]) for p in planned] == [(True, 100), (False, 100), (False, 7)]
    assert len({p.cell.key for p in planned}) == 3


def test_brackets_and_set_give_the_same_cell(sweep: SweepMaker) -> None:
    assert key(sweep(methods=("ft[steps=7]",))) == key(sweep(methods=("ft",), sets=("ft.steps=7",)))


def test_a_setting_holds_for_every_configuration_that_does_not_say_otherwise(sweep: SweepMaker) -> None:
    planned = plan(sweep(methods=("ft[kl=true]", "ft[steps=9]", "none"), sets=("ft.steps=7",)))

    assert [p.cell.label for p in planned] == ["ft[steps=7,kl=true]", "ft[steps=9]", "none"]


def test_a_preset_in_brackets_names_the_cell_with_what_differs_from_it(sweep: SweepMaker) -> None:
    planned = plan(sweep(methods=("mend[preset=paper]", "mend[preset=paper,rank=8]", "mend"), sets=("mend.lr=0.5",)))

    assert [p.cell.config["steps"] for p in planned[:2]] == [50_000, 50_000]
    labels = ["mend[preset=paper,lr=0.5]", "mend[preset=paper,rank=8,lr=0.5]", "mend[lr=0.5]"]
    assert [p.cell.label for p in planned] == labels


def test_modes_come_seed_by_seed_so_that_those_with_one_fit_are_neighbours(
    sweep: SweepMaker, fitted_editor: Path
) -> None:
    methods = ("fitted[group_size=2]", "none")

    planned = plan(sweep(methods=methods, modes=("single", "batch:2"), seeds=2, plugins=(fitted_editor,)))

    found = [(p.cell.method, p.cell.seed, p.cell.mode) for p in planned]
    assert found == [(m, s, mode) for m in ("fitted", "none") for s in (0, 1) for mode in ("single", "batch:2")]
    assert len({p.cell.key for p in planned}) == 8
    fits = [p.fit for p in planned]
    assert fits[0] == fits[1] != fits[2] == fits[3]
    assert fits[4:] == [""] * 4  # the control prepares nothing


def test_each_model_is_loaded_once_a_dtype(sweep: SweepMaker, model_folder: Callable[[str], Path]) -> None:
    models = (str(model_folder("causal")), str(model_folder("seq2seq")))

    planned = plan(sweep(models=models, dtypes=("fp32", "bf16"), methods=("ft", "none")))

    found = [(p.cell.model, p.cell.dtype, p.cell.method) for p in planned]
    assert found == [(model, dtype, m) for model in models for dtype in ("fp32", "bf16") for m in ("ft", "none")]


def test_a_dtype_that_auto_gives_anyway_is_one_cell(sweep: SweepMaker) -> None:
    assert [p.cell.dtype for p in plan(sweep(dtypes=("fp32", "auto", "bf16")))] == ["fp32", "bf16"]


def test_a_method_that_takes_fewer_requests_at_once_is_skipped_before_anything_is_loaded(
    sweep: SweepMaker, editor_file: Callable[[str, str], Path]
) -> None:
    path = editor_file("shy", "max_batch = 1\ndef edit(self, requests, *, memory, generator): ...")

    planned = plan(sweep(methods=("shy",), modes=("single", "batch:2"), plugins=(path,)))

    assert [p.reason for p in planned] == [None, "shy installs at most 1 request at once, not 2"]


_FITTED = """
@classmethod
def prepare(cls, lm, config, data): return State(values={"group": config.group_size})
def edit(self, requests, *, memory, generator): return WeightEdit(changes={})
"""


@pytest.fixture
def fitted_editor(editor_file: Callable[[str, str], Path]) -> Path:
    """An editor that is fitted with as many requests together as the mode edits."""
    path = editor_file("fitted", _FITTED)
    text = path.read_text().replace("import config\n", "import config, follows_mode\n")
    path.write_text(text.replace("size: float = 1.0", "size: float = 1.0\n    group_size: int = follows_mode(1)"))
    return path


def test_an_editor_is_fitted_with_groups_of_the_modes_size_unless_it_is_told_otherwise(
    sweep: SweepMaker, fitted_editor: Path
) -> None:
    methods = ("fitted", "fitted[group_size=4]")

    planned = plan(sweep(methods=methods, modes=("single", "batch:2"), plugins=(fitted_editor,)))

    assert [p.cell.config["group_size"] for p in planned] == [1, 2, 4, 4]
    assert [p.cell.label for p in planned] == ["fitted", "fitted", "fitted[group_size=4]", "fitted[group_size=4]"]


def test_modes_share_a_fit_only_with_the_same_groups(sweep: SweepMaker, fitted_editor: Path) -> None:
    methods = ("fitted", "fitted[group_size=4]")
    planned = plan(sweep(methods=methods, modes=("single", "batch:2"), plugins=(fitted_editor,)))

    single, batch, told_single, told_batch = (key_of(fit_identity(p.cell)) for p in planned)

    assert single != batch
    assert told_single == told_batch


def test_a_configuration_that_the_mode_gives_anyway_is_the_same(sweep: SweepMaker, fitted_editor: Path) -> None:
    methods = ("fitted", "fitted[group_size=2]")

    with pytest.raises(ConfigError, match=r"'fitted' and 'fitted\[group_size=2\]' are the same .* in mode batch:2"):
        plan(sweep(methods=methods, modes=("single", "batch:2"), plugins=(fitted_editor,)))


def test_the_fields_of_a_dataset_can_be_set(sweep: SweepMaker) -> None:
    (planned,) = plan(sweep(sets=("toy.size=9",)))

    assert planned.cell.dataset_config["size"] == 9


def test_a_kind_that_a_method_does_not_edit_is_skipped_with_a_reason(
    sweep: SweepMaker, editor_file: Callable[[str, str], Path], model_folder: Callable[[str], Path]
) -> None:
    path = editor_file("picky", "def edit(self, requests, *, memory, generator): return WeightEdit(changes={})")
    path.write_text(path.read_text().replace('("causal", "seq2seq", "classifier")', '("causal",)'))
    models = (str(model_folder("causal")), str(model_folder("classifier")))

    planned = plan(sweep(methods=("picky",), models=models, plugins=(path,)))

    assert [p.reason for p in planned] == [None, "picky does not edit classifier models"]


def test_a_kind_that_a_dataset_has_no_cases_for_is_skipped_with_a_reason(sweep: SweepMaker, toy: Path) -> None:
    toy.write_text(toy.read_text().replace('("causal", "seq2seq", "classifier")', '("seq2seq",)'))

    (planned,) = plan(sweep())

    assert planned.reason == "toy has no cases for causal models"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"methods": ("mned",)}, UnknownPlugin, ("'mned'", "enn", "Did you mean 'mend'?", "bench list methods")),
        ({"datasets": ("toyy",)}, UnknownPlugin, ("'toyy'", "facts", "Did you mean 'toy'?", "bench list datasets")),
        ({"models": ("./nowhere",)}, ModelError, ("'./nowhere'", "no such folder", "bench list models")),
        ({"methods": ()}, ConfigError, ("--methods names nothing",)),
        ({"models": ()}, ConfigError, ("--models names nothing",)),
        ({"datasets": ()}, ConfigError, ("--datasets names nothing",)),
        ({"methods": ("ft", "none", "ft")}, ConfigError, ("--methods", "'ft' twice")),
        ({"methods": ("ft", "ft[steps=100]")}, ConfigError, ("'ft' and 'ft[steps=100]' are the same configuration",)),
        ({"methods": ("ft[steps=9]", "ft[ steps = 9 ]")}, ConfigError, ("are the same configuration",)),
        ({"methods": ("mned[rank=2]",)}, UnknownPlugin, ("'mned'", "Did you mean 'mend'?")),
        ({"methods": ("ft[step=9]",)}, ConfigError, ("ft has no field 'step'", "Did you mean 'steps'?")),
        ({"methods": ("ft[steps=many]",)}, ConfigError, ("ft.steps='many'", "integer")),
        ({"methods": ("ft[preset=papper]",)}, ConfigError, ("no preset 'papper'", "Did you mean 'paper'?")),
        ({"dtypes": ("bf16", "bf16")}, ConfigError, ("--dtype", "'bf16' twice")),
        ({"modes": ()}, ConfigError, ("--mode names nothing",)),
        ({"modes": ("single", "single")}, ConfigError, ("--mode", "'single' twice")),
        ({"modes": ("bacth:2",)}, ConfigError, ("--mode is 'bacth:2'", "batch:5", "Did you mean 'batch:n'?")),
        ({"modes": ("batch:3",)}, ConfigError, ("--edits 4", "groups of 3", "--mode batch:3", "Ask for 3 or 6")),
        ({"modes": ("batch:5",)}, ConfigError, ("groups of 5", "Ask for 5 with --edits")),
        ({"modes": ("batch:2", "batch:3"), "edits": 14}, ConfigError, ("groups of 3", "Ask for 12 or 18")),
        ({"modes": ("sequental:2",)}, ConfigError, ("--mode is 'sequental:2'", "Did you mean 'sequential:n'?")),
        ({"modes": ("sequential:2:every 3",)}, ConfigError, ("every 3 edits never comes in a sequence of 2",)),
        ({"modes": ("sequential:3",)}, ConfigError, ("--edits 4", "sequences of 3", "Ask for 3 or 6")),
        ({"modes": ("sequential:2",), "application": "factored"}, ConfigError, ("--application factored",)),
        ({"edits": 0}, ConfigError, ("--edits is 0", "at least 1")),
        ({"seeds": -1}, ConfigError, ("--seeds is -1", "at least 1")),
        ({"threads": 0}, ConfigError, ("--threads is 0",)),
        ({"loading": LoadOptions(gpus=0)}, ConfigError, ("--gpus-per-cell is 0", "at least 1")),
        ({"models": ("random:gpt3",)}, ModelError, ("'random:gpt3'", "no such shape", "Did you mean 'gpt2'?")),
        ({"dtypes": ("float32",)}, ConfigError, ("--dtype is 'float32'", "fp32, bf16, fp16, auto")),
        ({"dtypes": ("bf61",)}, ConfigError, ("fp32, bf16, fp16", "Did you mean 'bf16'?")),
        ({"application": "writen"}, ConfigError, ("factored, written", "Did you mean 'written'?")),
        ({"split": "tset"}, ConfigError, ("test, tune", "Did you mean 'test'?")),
    ],
)
def test_a_wrong_option_is_refused_with_what_exists(
    sweep: SweepMaker, changes: dict[str, Any], error: type[BenchError], words: tuple[str, ...]
) -> None:
    with pytest.raises(error) as caught:
        plan(sweep(**changes))

    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("ft.rate=1", ("ft has no field 'rate'", "lr", "steps")),
        ("ft.step=1", ("Did you mean 'steps'?",)),
        ("ft.steps=many", ("ft.steps='many'", "integer")),
        ("ft.preset=papper", ("ft has no preset 'papper'", "Did you mean 'paper'?")),
        ("none.preset=paper", ("none has no preset 'paper'; it has none",)),
        ("fft.lr=1", ("no method or dataset 'fft'", "ft, none, toy", "Did you mean 'ft'?")),
        ("lr=1", ("NAME.FIELD=VALUE",)),
        ("ft.lr", ("NAME.FIELD=VALUE",)),
        ("ft.=1", ("NAME.FIELD=VALUE",)),
        ("toy.sise=1", ("toy has no field 'sise'", "Did you mean 'size'?")),
    ],
)
def test_a_wrong_setting_is_refused_with_what_exists(sweep: SweepMaker, setting: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(sweep(methods=("ft", "none"), sets=(setting,)))

    assert [word for word in words if word not in str(caught.value)] == []


def test_a_plugin_that_fails_to_import_is_named_with_its_reason(
    sweep: SweepMaker, editor_file: Callable[[str, str], Path]
) -> None:
    path = editor_file("broken", "def edit(self, requests, *, memory, generator): return 1")
    path.write_text(path.read_text().replace("import torch\n", "import torch\nimport no_such_module\n"))

    with pytest.raises(PluginError, match="method 'broken' fails to import.*no_such_module"):
        plan(sweep(methods=("broken",), plugins=(path,)))


def test_a_random_shape_is_marked_as_such_and_loads_nothing_to_be_planned(sweep: SweepMaker) -> None:
    (planned,) = plan(sweep(models=("random:llama-13b",)))

    assert (planned.cell.weights, planned.cell.model_kind, planned.reason) == ("random", "causal", None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "classifier", "loading": LoadOptions(is_chat=True)}, "--chat is for causal models"),
        ({"models": ("random:gpt2",), "known_only": True}, "random weights know nothing"),
        ({"models": ("random:gpt2",), "loading": LoadOptions(gpus=2)}, "drawn on one device only"),
    ],
)
def test_an_option_that_can_not_hold_for_a_model_skips_its_cells(
    sweep: SweepMaker, changes: dict[str, Any], reason: str
) -> None:
    (planned,) = plan(sweep(**changes))

    assert reason in (planned.reason or "")


def test_the_resolved_sweep_can_be_held_by_toml(sweep: SweepMaker, toy: Path) -> None:
    text = dumps(sweep(sets=("toy.size=9",), loading=LoadOptions(is_chat=True)).to_toml())

    values = tomllib.loads(text)
    assert (values["set"], values["plugin"]) == (["toy.size=9"], [str(toy)])
    assert (values["chat"], values["gpus_per_cell"], values["mode"]) == (True, 1, ["single"])
