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
from bench.reporting.style import Look, looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Drawing", "Kind", "Material", "Tables"]


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
        published: rows of `plots.published.COLUMNS` to be shown as open markers.
    """

    tables: Tables
    metrics: tuple[Metric, ...]
    methods: Sequence[str] = ()
    published: pd.DataFrame = field(default_factory=pd.DataFrame)

    @cached_property
    def looks(self) -> Mapping[tuple[str, str], Look]:
        """How each method and configuration of the run is drawn."""
        frames = [self.tables.cells, self.tables.summary, self.published]
        pairs = [pair for frame in frames if len(frame) for pair in zip(frame["method"], frame["config"], strict=True)]
        return looks(pairs, self.methods)


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
