"""What a kind of plot is: its name, what it draws, which options it takes, and from what it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pandas as pd

from bench.errors import ConfigError
from bench.records.card import Card
from bench.records.metrics import Metric, choose
from bench.reporting.plots.wording import label_of
from bench.reporting.style import WHOLE, Look, looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Drawing", "Kind", "Material", "Tables"]

_LIKE = ("method", "config", "like")


class Tables(Protocol):
    """The tables of a run, as bench.records.run_data.RunData has them."""

    @property
    def cards(self) -> Mapping[str, Card]: ...
    @property
    def cells(self) -> pd.DataFrame: ...
    @property
    def summary(self) -> pd.DataFrame: ...
    @property
    def scores(self) -> pd.DataFrame: ...
    @property
    def costs(self) -> pd.DataFrame: ...


class Drawing(NamedTuple):
    """A figure, and the numbers in it."""

    figure: Figure
    numbers: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a figure is drawn from.

    Args:
        tables: of the run.
        metrics: which ones, in order; what each is for is the kind's.
        methods: all methods that there are, so that each has the same look in every figure.
        published: rows of `plots.published.COLUMNS` to be shown as open markers; see `beside`.
    """

    tables: Tables
    metrics: tuple[Metric, ...]
    methods: Sequence[str] = ()
    published: pd.DataFrame = field(default_factory=pd.DataFrame)

    @cached_property
    def looks(self) -> Mapping[tuple[str, str], Look]:
        """How each method and configuration of the run is drawn; what was published as that which it is like."""
        found = dict(looks(self._series, self.methods))
        for method, config, like in self.beside[["method", "config", "like"]].itertuples(index=False):
            found.setdefault((method, config), found[method, like])
        return found

    @cached_property
    def labels(self) -> Mapping[tuple[str, str], str]:
        """The name of each series of the run in a few short lines, without the settings that its method always has."""
        found = {(method, WHOLE): label_of(method, "") for method, _ in self._series}
        for method, config in dict.fromkeys(self._series):
            own = [field for field in config.split(",") if field not in self._always[method]]
            found[method, config] = label_of(method, ",".join(own))
        for method, config, like in self.beside[["method", "config", "like"]].itertuples(index=False):
            found.setdefault((method, config), found[method, like])
        return found

    @property
    def settings(self) -> str:
        """Say which settings each method has throughout, and `labels` therefore leave out; empty if none has any."""
        methods: dict[tuple[str, ...], list[str]] = {}
        for method, fields in self._always.items():
            if fields:
                methods.setdefault(tuple(fields), []).append(method)
        told = [f"{', '.join(own)}: {', '.join(fields)}" for fields, own in methods.items()]
        return f"settings: {'; '.join(told)}" if told else ""

    @cached_property
    def beside(self) -> pd.DataFrame:
        """What was published of methods and kinds of model that the run has, without ablations that it has not.

        The column `like` is the configuration of the run that the published one is: the same, or with more fields
        set, or `WHOLE` for a method's default.
        """
        kinds = set(self.tables.cells["model_kind"]) if "model_kind" in self.tables.cells else set()
        if not len(self.published):
            return pd.DataFrame(columns=["kind", *_LIKE])
        pairs = zip(self.published["method"], self.published["config"], strict=True)
        like = pd.Series([self._like(*pair) for pair in pairs], self.published.index, dtype="object")
        rows = self.published.assign(like=like)
        return rows[rows["like"].notna() & rows["kind"].isin(kinds)]

    @cached_property
    def _series(self) -> list[tuple[str, str]]:
        frames = (self.tables.cells, self.tables.summary)
        return [pair for frame in frames if len(frame) for pair in zip(frame["method"], frame["config"], strict=True)]

    @cached_property
    def _always(self) -> Mapping[str, list[str]]:
        """By method: fields that all its configurations set, to the same value."""
        configs: dict[str, list[list[str]]] = {}
        for method, config in self._series:
            configs.setdefault(method, []).append([] if config == "default" else config.split(","))
        return {
            method: [field for field in own[0] if all(field in fields for fields in own)]
            for method, own in configs.items()
        }

    def _like(self, method: str, config: str) -> str | None:
        own = [found for name, found in self._series if name == method]
        fields = set(config.split(","))
        more = (found for found in own if fields <= set(found.split(",")))
        return next(more, WHOLE if own and config == "default" else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of plot.

    Args:
        name: what users ask for.
        says: what it shows, one sentence.
        draw: from the material to the figure.
        metrics: those drawn where no others are asked for.
        options: which of `x`, `y` and `metrics` choose others: `x` the first, `y` the second, `metrics` all.
    """

    name: str
    says: str
    draw: Callable[[Material], Drawing]
    metrics: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def chosen(self, asked: Mapping[str, Sequence[str]]) -> tuple[Metric, ...]:
        """Give the metrics to draw.

        Args:
            asked: names of metrics by the option that named them; empty ones were not given.

        Raises:
            ConfigError: this kind does not take such an option, or an axis was given several.
            UnknownPlugin: there is no metric of one of these names.
        """
        given = {option: names for option, names in asked.items() if names}
        for option in given:
            if option not in self.options:
                takes = " and ".join(f"--{name}" for name in self.options) or "no metrics"
                raise ConfigError(f"plot {self.name!r} takes {takes}, not --{option}.")
        names = list(dict.fromkeys(given.get("metrics", self.metrics)))
        for place, option in enumerate(("x", "y")):
            if option in given:
                if len(given[option]) > 1:
                    raise ConfigError(f"--{option} is {','.join(given[option])!r}; an axis shows one metric.")
                names[place] = given[option][0]
        return choose(names)
