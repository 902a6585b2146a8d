"""A sweep as the user asks for it, and the cells that it consists of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench import registry
from bench.editing.config import build_config, config_values
from bench.editing.dataset import Dataset, check_splits
from bench.errors import ConfigError, nearest
from bench.models.catalogue import ModelEntry
from bench.models.kind import ModelKind
from bench.models.loading import DTYPES, identify_model
from bench.models.options import PLAIN, LoadOptions
from bench.records.canonical import key_of
from bench.records.cell import Cell
from bench.records.mode import SINGLE, parse_mode
from bench.running.fitting import prepares
from bench.running.scoring import APPLICATIONS
from bench.running.specs import MethodSpec, parse_spec
from bench.running.task import fit_identity

__all__ = ["AUTO", "FILE_NAMES", "PlannedCell", "Sweep", "plan"]

AUTO = "auto"  # --dtype: as the weights are stored; --application: as the mode has it
# What a sweep file calls the fields that hold several values: as the options that may be repeated or hold a list.
FILE_NAMES = {"modes": "mode", "dtypes": "dtype", "sets": "set", "plugins": "plugin"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What to run: every method on every model and dataset, in every mode and for every seed.

    Args:
        methods: names, each perhaps with fields in brackets; see `bench.running.specs`.
        models, datasets: names.
        edits: test edits a cell; a multiple of the size of a group or sequence.
        seeds: how many fits of each method, with the seeds 0, 1, …
        sets: `NAME.FIELD=VALUE` for a dataset, or for a method wherever its brackets do not say otherwise.
        device: `cpu`, `cuda` or `mps`.
        dtypes: `fp32`, `bf16`, `fp16`, or `auto`: as each model's weights are stored.
        application: `factored`, `written`, or `auto`: written in sequential mode, factored in the others.
        split: `test`, or `tune` while hyper-parameters are searched.
        threads: CPU threads of each worker.
        plugins: files with further methods or datasets.
        modes: `single`, `batch:n`, `sequential:n`, `sequential:n:every k`.
        checkpoint_minutes: between two checkpoints of a fit, 0: after every step; changes no number.
        known_only: only cases that the unedited model gets right are edited; the fit takes all of its own.
        loading: how models are loaded, beyond their names.
    """

    methods: tuple[str, ...]
    models: tuple[str, ...]
    datasets: tuple[str, ...]
    edits: int
    seeds: int
    sets: tuple[str, ...] = ()
    device: str = "cpu"
    dtypes: tuple[str, ...] = ("fp32",)
    application: str = AUTO
    split: str = "test"
    threads: int = 1
    plugins: tuple[Path, ...] = ()
    modes: tuple[str, ...] = (SINGLE,)
    checkpoint_minutes: float = 5.0
    known_only: bool = False
    loading: LoadOptions = PLAIN

    def to_toml(self) -> dict[str, object]:
        """Give the sweep as a sweep file holds it: by the names of the options, files by their whole path."""
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        del values["loading"]
        for name, option in FILE_NAMES.items():
            values[option] = values.pop(name)
        values["plugin"] = [str(path.expanduser().resolve()) for path in self.plugins]
        if self.split == "test":  # there is no option for another
            del values["split"]
        return values | {
            "chat": self.loading.is_chat,
            "gpus_per_cell": self.loading.gpus,
            "trust_remote_code": self.loading.runs_remote_code,
            "allow_pickle": self.loading.reads_pickle,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCell:
    """A cell that was asked for.

    Args:
        cell: which.
        reason: why it need not be tried, if there is a reason.
        parameters: how many the model has, if that is known without loading it.
        fit: the key of the fit that it shares with others; empty if its editor prepares nothing.
    """

    cell: Cell
    reason: str | None = None
    parameters: int | None = None
    fit: str = ""


def plan(sweep: Sweep) -> list[PlannedCell]:
    """Resolve a sweep into cells: the model outermost, so that each is loaded once a dtype; modes innermost.

    Cells that share a fit are neighbours, and each cell comes once.

    Raises:
        UnknownPlugin: no method or dataset has a name that was asked for.
        PluginError: one of them can not be used.
        ModelError: a model can not be found.
        ConfigError: an option, a field in brackets or a `--set` field is wrong.
        DataError: a dataset can not be read, or a case or subject is in two of its splits.
    """
    _check_options(sweep)
    for path in sweep.plugins:
        registry.add_file(path)
    specs = [parse_spec(text) for text in sweep.methods]
    settings = _settings(sweep, [*(spec.name for spec in specs), *sweep.datasets])
    methods = [[_method(spec, mode, settings.get(spec.name, {})) for mode in sweep.modes] for spec in specs]
    _check_distinct([method for modes in methods for method in modes])
    datasets = [_Configured("datasets", name, settings.get(name, {})) for name in sweep.datasets]
    models = [identify_model(name, options=sweep.loading) for name in sweep.models]
    digests: dict[tuple[str, ModelKind | None], str] = {}
    planned: dict[str, PlannedCell] = {}
    for model in models:
        for dtype in dict.fromkeys(model.dtype if dtype == AUTO else dtype for dtype in sweep.dtypes):
            for dataset in datasets:
                if model.kind in dataset.cls.kinds and (dataset.name, model.kind) not in digests:
                    digests[dataset.name, model.kind] = _digest(dataset, model)
                place = _Place(model, dtype, dataset, digests.get((dataset.name, model.kind), ""))
                for found in _cells(sweep, place, methods):
                    planned.setdefault(found.cell.key, found)
    return list(planned.values())


class _Configured:
    """A plug-in with its configuration resolved."""

    def __init__(self, kind: registry.PluginKind, name: str, values: Mapping[str, str], *, at_once: int = 1) -> None:
        self.name = name
        self.plugin = registry.find(kind, name)
        self.cls = registry.load(kind, name)
        presets = getattr(self.cls, "presets", None)

        def build(given: Mapping[str, str]) -> Any:
            return build_config(self.cls.Config, given, owner=name, presets=presets, at_once=at_once)

        self.config = build(values)
        self.values = config_values(self.config)
        self.preset = None if "preset" in self.values else values.get("preset")
        usual = config_values(build({"preset": self.preset} if self.preset else {}))
        self.overrides = tuple(field for field, value in self.values.items() if value != usual[field])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    """A method in one configuration and one mode."""

    spec: MethodSpec
    mode: str
    setup: _Configured


def _method(spec: MethodSpec, mode: str, settings: Mapping[str, str]) -> _Method:
    parsed = parse_mode(mode)
    setup = _Configured("methods", spec.name, {**settings, **spec.values}, at_once=parsed.at_once)
    return _Method(spec=spec, mode=parsed.name, setup=setup)


class _Place(NamedTuple):
    """Where methods are run; the digest is empty if the dataset has no cases for the model."""

    model: ModelEntry
    dtype: str
    dataset: _Configured
    digest: str


def _cells(sweep: Sweep, place: _Place, methods: Sequence[Sequence[_Method]]) -> Iterator[PlannedCell]:
    for modes in methods:
        for seed in range(sweep.seeds):
            for method in modes:
                cell = _cell(sweep, place, method, seed)
                yield PlannedCell(
                    cell=cell,
                    reason=_reason(sweep, place, method),
                    parameters=place.model.parameters,
                    fit=key_of(fit_identity(cell)) if prepares(method.setup.cls) else "",
                )


def _reason(sweep: Sweep, place: _Place, method: _Method) -> str | None:
    """Give the reason why a method is not to be tried here."""
    kind = place.model.kind
    if kind not in place.dataset.cls.kinds:
        return f"{place.dataset.name} has no cases for {kind} models"
    refused: str | None = method.setup.cls.refuses(kind, at_once=parse_mode(method.mode).at_once)
    return refused or _unsuitable(sweep, place.model)


def _cell(sweep: Sweep, place: _Place, method: _Method, seed: int) -> Cell:
    model, dataset, setup = place.model, place.dataset, method.setup
    return Cell(
        method=setup.name,
        method_version=setup.cls.version,
        config=setup.values,
        plugin_digest=setup.plugin.digest,
        model=model.name,
        model_digest=model.identity,
        model_kind=str(model.kind),
        dataset=dataset.name,
        dataset_digest=place.digest,
        dataset_config=dataset.values,
        split=sweep.split,
        edits=sweep.edits,
        mode=method.mode,
        dtype=place.dtype,
        application=parse_mode(method.mode).application if sweep.application == AUTO else sweep.application,
        device=sweep.device,
        threads=sweep.threads,
        seed=seed,
        overrides=setup.overrides,
        preset=setup.preset,
        model_revision=model.revision,
        weights="trained" if model.shape is None else "random",
        chat=sweep.loading.is_chat,
        known_only=sweep.known_only,
        gpus=sweep.loading.gpus,
        remote_code=model.has_code,
        pickle=sweep.loading.reads_pickle and (model.is_pickled or bool(model.hub_id)),
    )


def _unsuitable(sweep: Sweep, model: ModelEntry) -> str | None:
    """Give the reason why an option can not hold for a model."""
    if sweep.loading.is_chat and model.kind is not ModelKind.CAUSAL:
        return f"--chat is for causal models, and this is a {model.kind} model"
    if sweep.known_only and model.shape is not None:
        return "--known-only: random weights know nothing"
    if sweep.loading.gpus > 1 and model.shape is not None:
        return "--gpus-per-cell: random weights are drawn on one device only"
    return None


def _digest(dataset: _Configured, model: ModelEntry) -> str:
    """Give a dataset's checksum; refuse it if its splits are not apart."""
    made: Dataset[Any] = dataset.cls(dataset.config, model.kind)
    check_splits(made)
    return made.digest()


def _check_options(sweep: Sweep) -> None:
    for dtype in sweep.dtypes:
        _check_choice("--dtype", dtype, (*DTYPES, AUTO))
    _check_choice("--application", sweep.application, (AUTO, *APPLICATIONS))
    _check_choice("--split", sweep.split, ("test", "tune"))
    lists = {
        "--methods": sweep.methods,
        "--models": sweep.models,
        "--datasets": sweep.datasets,
        "--mode": sweep.modes,
        "--dtype": sweep.dtypes,
    }
    for option, names in lists.items():
        if not names:
            raise ConfigError(f"{option} names nothing. Give one name or several, separated by commas.")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"{option} names {twice!r} twice.")
    _check_modes(sweep)
    for option, number in (
        ("--edits", sweep.edits),
        ("--seeds", sweep.seeds),
        ("--threads", sweep.threads),
        ("--gpus-per-cell", sweep.loading.gpus),
    ):
        if number < 1:
            raise ConfigError(f"{option} is {number}; it must be at least 1.")


def _check_choice(option: str, value: str, known: Sequence[str] | Mapping[str, Any]) -> None:
    if value not in known:
        raise ConfigError(f"{option} is {value!r}; it can be {', '.join(known)}.{nearest(value, known)}")


def _check_modes(sweep: Sweep) -> None:
    """Check that each mode exists and that the edits fill its groups: edits in a smaller group would have it easier."""
    modes = [parse_mode(text) for text in sweep.modes]
    whole = math.lcm(*(mode.group_size for mode in modes))
    for text, mode in zip(sweep.modes, modes, strict=True):
        if mode.is_sequential and sweep.application == "factored":
            raise ConfigError(
                f"--application factored can not be had in --mode {text}: the edits of a sequence are written into the "
                "weights. Leave it out."
            )
        if sweep.edits % mode.group_size:
            groups = "sequences" if mode.is_sequential else "groups"
            fewer, more = sweep.edits // whole * whole, (sweep.edits // whole + 1) * whole
            raise ConfigError(
                f"--edits {sweep.edits} can not be put into whole {groups} of {mode.group_size}, as --mode {text} "
                f"asks. Ask for {f'{fewer} or {more}' if fewer else more} with --edits."
            )


def _check_distinct(methods: Sequence[_Method]) -> None:
    seen: dict[tuple[object, ...], MethodSpec] = {}
    for method in methods:
        first = seen.setdefault((method.setup.name, method.mode, *method.setup.values.values()), method.spec)
        if first is not method.spec:
            raise ConfigError(
                f"--methods: {first.text!r} and {method.spec.text!r} are the same configuration in mode "
                f"{method.mode}. Leave one out."
            )


def _settings(sweep: Sweep, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Sort `NAME.FIELD=VALUE` by name."""
    known = list(dict.fromkeys(names))
    settings: dict[str, dict[str, str]] = {}
    for text in sweep.sets:
        name, dot, rest = text.partition(".")
        field, equals, value = rest.partition("=")
        if not (dot and equals and field):
            raise ConfigError(f"--set {text!r} is not of the form NAME.FIELD=VALUE, as in --set mend.edit_lr=1e-4.")
        if name not in known:
            raise ConfigError(
                f"--set {text!r}: this run has no method or dataset {name!r}, it has {', '.join(known)}."
                f"{nearest(name, known)}"
            )
        settings.setdefault(name, {})[field.strip()] = value.strip()
    return settings
