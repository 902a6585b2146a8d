"""A sweep as the user asks for it, and the cells that it consists of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import registry
from bench.editing.config import build_config, config_values
from bench.errors import ConfigError, nearest
from bench.models.catalogue import ModelEntry
from bench.models.loading import DTYPES, identify_model
from bench.records.cell import Cell
from bench.running.scoring import APPLICATIONS
from bench.running.specs import MethodSpec, parse_spec

__all__ = ["PlannedCell", "Sweep", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What to run: every method on every model and dataset, for every seed.

    Args:
        methods: names, each perhaps with fields in brackets; see `bench.running.specs`.
        models, datasets: names.
        edits: test edits a cell.
        seeds: how many fits of each method, with the seeds 0, 1, …
        sets: `NAME.FIELD=VALUE` for a dataset, or for a method wherever its brackets do not say otherwise.
        device: `cpu` or `cuda`.
        dtype: `fp32`, `bf16` or `fp16`.
        application: `factored` or `written`.
        split: `test`, or `tune` while hyper-parameters are searched.
        threads: CPU threads of each worker.
        plugins: files with further methods or datasets.
    """

    methods: tuple[str, ...]
    models: tuple[str, ...]
    datasets: tuple[str, ...]
    edits: int
    seeds: int
    sets: tuple[str, ...] = ()
    device: str = "cpu"
    dtype: str = "fp32"
    application: str = "factored"
    split: str = "test"
    threads: int = 1
    plugins: tuple[Path, ...] = ()

    def to_toml(self) -> dict[str, object]:
        """Give the sweep as values that TOML can hold."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return values | {"plugins": [str(path) for path in self.plugins]}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCell:
    """A cell, and the reason why it need not be tried, if there is one."""

    cell: Cell
    reason: str | None = None


def plan(sweep: Sweep) -> list[PlannedCell]:
    """Resolve a sweep into cells, the model outermost, so that each is loaded once.

    Raises:
        UnknownPlugin: no method or dataset has a name that was asked for.
        PluginError: one of them can not be used.
        ModelError: a model can not be found.
        ConfigError: an option, a field in brackets or a `--set` field is wrong.
    """
    _check_options(sweep)
    for path in sweep.plugins:
        registry.add_file(path)
    specs = [parse_spec(text) for text in sweep.methods]
    settings = _settings(sweep, [*(spec.name for spec in specs), *sweep.datasets])
    methods = [_Configured("methods", spec.name, {**settings.get(spec.name, {}), **spec.values}) for spec in specs]
    _check_distinct(specs, methods)
    datasets = [_Configured("datasets", name, settings.get(name, {})) for name in sweep.datasets]
    return [cell for model in sweep.models for cell in _cells(sweep, identify_model(model), methods, datasets)]


class _Configured:
    """A plug-in with its configuration resolved."""

    def __init__(self, kind: registry.PluginKind, name: str, values: Mapping[str, str]) -> None:
        self.name = name
        self.plugin = registry.find(kind, name)
        self.cls = registry.load(kind, name)
        presets = getattr(self.cls, "presets", None)
        self.config = build_config(self.cls.Config, values, owner=name, presets=presets)
        self.values = config_values(self.config)
        self.preset = None if "preset" in self.values else values.get("preset")
        usual = build_config(
            self.cls.Config, {"preset": self.preset} if self.preset else {}, owner=name, presets=presets
        )
        defaults = config_values(usual)
        self.overrides = tuple(field for field, value in self.values.items() if value != defaults[field])


def _cells(
    sweep: Sweep, model: ModelEntry, methods: Sequence[_Configured], datasets: Sequence[_Configured]
) -> Iterator[PlannedCell]:
    for dataset in datasets:
        fits_dataset = model.kind in dataset.cls.kinds
        digest = dataset.cls(dataset.config, model.kind).digest() if fits_dataset else ""
        for method in methods:
            reason = None
            if not fits_dataset:
                reason = f"{dataset.name} has no cases for {model.kind} models"
            elif model.kind not in method.cls.kinds:
                reason = f"{method.name} does not edit {model.kind} models"
            for seed in range(sweep.seeds):
                cell = Cell(
                    method=method.name,
                    method_version=method.cls.version,
                    config=method.values,
                    plugin_digest=method.plugin.digest,
                    model=model.name,
                    model_digest=model.identity,
                    model_kind=str(model.kind),
                    dataset=dataset.name,
                    dataset_digest=digest,
                    dataset_config=dataset.values,
                    split=sweep.split,
                    edits=sweep.edits,
                    mode="single",
                    dtype=sweep.dtype,
                    application=sweep.application,
                    device=sweep.device,
                    threads=sweep.threads,
                    seed=seed,
                    overrides=method.overrides,
                    preset=method.preset,
                )
                yield PlannedCell(cell=cell, reason=reason)


def _check_options(sweep: Sweep) -> None:
    _check_choice("--dtype", sweep.dtype, DTYPES)
    _check_choice("--application", sweep.application, APPLICATIONS)
    _check_choice("--split", sweep.split, ("test", "tune"))
    for option, names in (("--methods", sweep.methods), ("--models", sweep.models), ("--datasets", sweep.datasets)):
        if not names:
            raise ConfigError(f"{option} names nothing. Give one name or several, separated by commas.")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"{option} names {twice!r} twice.")
    for option, number in (("--edits", sweep.edits), ("--seeds", sweep.seeds), ("--threads", sweep.threads)):
        if number < 1:
            raise ConfigError(f"{option} is {number}; it must be at least 1.")


def _check_choice(option: str, value: str, known: Sequence[str] | Mapping[str, Any]) -> None:
    if value not in known:
        raise ConfigError(f"{option} is {value!r}; it can be {', '.join(known)}.{nearest(value, known)}")


def _check_distinct(specs: Sequence[MethodSpec], methods: Sequence[_Configured]) -> None:
    seen: dict[tuple[object, ...], MethodSpec] = {}
    for spec, method in zip(specs, methods, strict=True):
        first = seen.setdefault((method.name, *method.values.values()), spec)
        if first is not spec:
            raise ConfigError(f"--methods: {first.text!r} and {spec.text!r} are the same configuration. Leave one out.")


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
