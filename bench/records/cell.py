"""The identity of one experiment: everything that can change a number, and its key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

from bench.errors import ConfigError
from bench.records.canonical import JsonScalar, key_of, parse_record

__all__ = ["PROTOCOL_VERSION", "Cell"]

# How cases are chosen, prompts built, answers scored and edits applied. Raise it when the same
# cell would give other answers than before; cells of different versions never share a key.
PROTOCOL_VERSION = 2

# Fields that came later: they are in the key only where they are not at their default, so that old keys stay.
_LATER = ("model_revision", "weights", "chat", "known_only", "gpus", "remote_code", "pickle")
_LONGEST_FOLDER = 120  # characters; leaves room for a prefix below the 255 of common file systems


@dataclass(frozen=True, kw_only=True)  # not slotted, so that the key is computed once
class Cell:
    """One method on one model, dataset and seed, in one mode.

    All fields but `overrides` and `preset` make the key; those behind these two only where they differ from their
    default. Versions of torch and transformers do not: they are
    in the card's environment.

    Args:
        method: name of the editor.
        method_version: its declared version.
        config: its configuration, resolved, with all fields.
        plugin_digest: digest of the source file of the method.
        model: embedded name, hub id or path.
        model_digest: digest of the weights.
        model_kind: `causal`, `seq2seq` or `classifier`.
        dataset: name of the dataset.
        dataset_digest: digest of all that its cases depend on.
        dataset_config: its configuration, resolved, with all fields.
        split: `test` or `tune`.
        edits: how many edits are asked for.
        mode: `single`, `batch:n` or `sequential:n[:every k]`; see `bench.records.mode`.
        dtype: of the weights: `fp32`, `bf16` or `fp16`.
        application: `factored` or `written`.
        device: `cpu`, `cuda` or `mps`.
        threads: CPU threads of the worker.
        seed: seed of the fit and of every edit.
        protocol_version: see PROTOCOL_VERSION.
        overrides: names of the config fields that differ from the defaults, or from the preset; display only.
        preset: name of the preset that the configuration starts from, if one was asked for; display only.
        model_revision: commit of a model from the hub; empty for others.
        weights: `trained`, or `random`: only costs are measured then.
        chat: prompts were put into the model's chat template.
        known_only: only cases that the unedited model gets right.
        gpus: how many held the model together.
        remote_code: code that came with the model could be run.
        pickle: weights could be read from a pickle.
    """

    method: str
    method_version: int
    config: Mapping[str, JsonScalar]
    plugin_digest: str
    model: str
    model_digest: str
    model_kind: str
    dataset: str
    dataset_digest: str
    dataset_config: Mapping[str, JsonScalar]
    split: str
    edits: int
    mode: str
    dtype: str
    application: str
    device: str
    threads: int
    seed: int
    protocol_version: int = PROTOCOL_VERSION
    overrides: tuple[str, ...] = ()
    preset: str | None = None
    model_revision: str = ""
    weights: str = "trained"
    chat: bool = False
    known_only: bool = False
    gpus: int = 1
    remote_code: bool = False
    pickle: bool = False

    def __post_init__(self) -> None:
        """Check that overrides name fields of the configuration."""
        unknown = sorted(set(self.overrides) - set(self.config))
        if unknown:
            raise ConfigError(f"override {unknown[0]!r} is no config field of method {self.method!r}.")

    def __hash__(self) -> int:
        """Hash by key: the mappings can not be hashed."""
        return hash(self.key)

    @cached_property
    def key(self) -> str:
        """16 hex digits that differ whenever a number could."""
        return key_of(self._identity())

    @property
    def group(self) -> str:
        """The key without the seed: cells that share it are pooled in tables."""
        return key_of({name: value for name, value in self._identity().items() if name != "seed"})

    @property
    def folder(self) -> str:
        """The name of the cell's folder: safe on every file system, at most 120 characters."""
        tail = f"-s{self.seed}-{self.key}"
        head = "-".join(_safe(name) for name in (self.method, self.model, self.dataset, self.mode))
        return head[: _LONGEST_FOLDER - len(tail)] + tail

    @property
    def config_label(self) -> str:
        """The non-default configuration, as `edit_lr=0.0001,layers=all`; `default` without one."""
        preset = [] if self.preset is None else [f"preset={self.preset}"]
        return ",".join([*preset, *(f"{name}={_shown(self.config[name])}" for name in self.overrides)]) or "default"

    @property
    def label(self) -> str:
        """The method with its non-default configuration, as `mend[edit_lr=0.0001]`."""
        label = self.config_label
        return self.method if label == "default" else f"{self.method}[{label}]"

    @property
    def later(self) -> dict[str, str | int | bool]:
        """The fields that came later, at their default or not."""
        return {name: getattr(self, name) for name in _LATER}

    @property
    def has_quality(self) -> bool:
        """Say whether its answers mean anything: those of random weights do not."""
        return self.weights == "trained"

    def to_json(self) -> dict[str, object]:
        """Give all fields as JSON values; those that came later only where they are not at their default."""
        values = self._identity()
        return values | {"overrides": list(self.overrides), "preset": self.preset}

    @classmethod
    def from_json(cls, data: object) -> Cell:
        """Build a cell from `to_json`; raises StoreError if a field is missing or wrong."""
        return parse_record(cls, data)

    def _identity(self) -> dict[str, object]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        del values["overrides"], values["preset"]
        for field in fields(self):
            if field.name in _LATER and values[field.name] == field.default:
                del values[field.name]
        values["config"] = dict(self.config)
        values["dataset_config"] = dict(self.dataset_config)
        return values


def _shown(value: JsonScalar) -> str:
    """Spell a value as it is given on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _safe(name: str) -> str:
    """Make one name part of a folder's name: no separators, no '..', no leading dot or dash."""
    name = name.replace("/", "--").replace("\\", "--").replace(":", "-")
    name = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return re.sub(r"\.{2,}", "_", name).lstrip(".-") or "_"
