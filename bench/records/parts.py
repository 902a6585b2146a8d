"""From stored answers and costs to score rows: one row an edit and metric part.

`value / weight` is the edit's own result. Most parts are a share with weight 1; token and
perplexity parts keep the sums, so that pooling is exact. A look at the model in the middle of a sequence is
the answer of an edit with the sequence's name; it has parts of its own.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from bench.records.metrics import COLLAPSE
from bench.records.schema import SCORES, CostPhase, Phase, empty

__all__ = ["LOOKS", "PARTS", "cost_parts", "normalised", "score"]

_UNIT = ["edit_id", "step"]
_COLUMNS: list[str] = SCORES.names
_TARGETS = ("request", "rephrase")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phases:
    """The answers of one cell by model; `hit` marks an exact match."""

    original: pd.DataFrame
    base: pd.DataFrame
    edited: pd.DataFrame


_Part = Callable[[_Phases], pd.DataFrame]


def score(cell: str, answers: pd.DataFrame) -> pd.DataFrame:
    """Compute every part of every metric from the answers of one cell.

    Args:
        cell: the cell's key.
        answers: columns of schema.ANSWERS, each (edit, step, probe, phase) once.

    Returns:
        Columns of schema.SCORES. A part without an applicable probe has no row.
    """
    is_look = answers["edit_id"] == answers["edit_group"]
    tables = [*_tables(PARTS, answers[~is_look]), *_tables(LOOKS, answers[is_look])]
    if not tables:
        return empty("scores")
    scores = pd.concat(tables, ignore_index=True).assign(cell=cell)
    group_of = answers.drop_duplicates("edit_id").set_index("edit_id")["edit_group"]
    scores = scores.assign(edit_group=scores["edit_id"].map(group_of))[_COLUMNS]
    return scores.astype({"step": "int32", "value": "float64", "weight": "float64", "probes": "int32"})


def cost_parts(costs: pd.DataFrame) -> pd.DataFrame:
    """Turn costs into rows like `score`'s for the metrics of cost, over any number of cells.

    The unit of a latency is the edit, in batch mode that of a whole group; that of a fit and of a peak is the cell,
    that is the seed.
    """
    measured, phase = costs["measure"], costs["phase"]
    is_edit = phase == CostPhase.EDIT
    alone = costs[is_edit & (measured == "seconds") & costs["edit_id"].notna()]
    together = costs[is_edit & (measured == "edit_seconds_amortised")]
    fitted = costs[(phase == CostPhase.FIT) & (measured == "seconds")].groupby("cell", sort=False)["value"].sum()
    peak = costs[measured == "peak_memory_bytes"].groupby("cell", sort=False)["value"].max()
    tables = [
        _cost_rows("edit_seconds", alone["cell"], alone["edit_id"], alone["value"]),
        _cost_rows("edit_seconds_amortised", together["cell"], _row_names(together), together["value"]),
        _cost_rows("fit_seconds", fitted.index, fitted.index, fitted),
        _cost_rows("peak_memory_bytes", peak.index, peak.index, peak),
    ]
    return pd.concat([table for table in tables if len(table)] or [empty("scores")], ignore_index=True)


def normalised(text: str) -> str:
    """Casefold, cut punctuation and space around the text, and collapse spaces inside.

    A text of nothing else is only stripped of its spaces, so that '?' does not equal '!'.
    """
    words = " ".join(text.split()).casefold()
    start, end = 0, len(words)
    while start < end and _is_edge(words[start]):
        start += 1
    while end > start and _is_edge(words[end - 1]):
        end -= 1
    return words[start:end] or words


def _is_edge(character: str) -> bool:
    # Symbols (+, $, °) stay: they are part of answers such as '+49'.
    return character.isspace() or unicodedata.category(character).startswith("P")


def _tables(parts: Mapping[str, _Part], answers: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Give the rows of each part that has any."""
    if not len(answers):
        return
    phases = _split(answers)
    for name, part in parts.items():
        rows = part(phases)
        rows = rows[rows["weight"] > 0]
        if len(rows):
            yield rows.assign(metric=name)


def _split(answers: pd.DataFrame) -> _Phases:
    hit = (answers["tokens_correct"] == answers["tokens"]) & (answers["tokens"] > 0)
    answers = answers.assign(hit=hit)
    original = answers[answers["phase"] == Phase.ORIGINAL]
    base = answers[answers["phase"] == Phase.BASE]
    # An editor that leaves the model as it is has no base rows: its base is the original.
    return _Phases(
        original=original,
        base=base if len(base) else original,
        edited=answers[answers["phase"] == Phase.EDITED],
    )


def _share(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean of a column over the probes of each edit, with weight 1."""
    grouped = rows.astype({column: "float64"}).groupby(_UNIT, sort=False)[column]
    table = grouped.agg(value="mean", probes="size").reset_index()
    return table.assign(weight=1.0)


def _sums(rows: pd.DataFrame, value: pd.Series, weight: pd.Series) -> pd.DataFrame:
    grouped = rows[_UNIT].assign(value=value, weight=weight).groupby(_UNIT, sort=False)
    return grouped.agg(value=("value", "sum"), weight=("weight", "sum"), probes=("value", "size")).reset_index()


def _exact(*kinds: str) -> _Part:
    def part(phases: _Phases) -> pd.DataFrame:
        return _share(phases.edited[phases.edited["kind"].isin(kinds)], "hit")

    return part


def _generated(phases: _Phases) -> pd.DataFrame:
    rows = phases.edited
    rows = rows[rows["kind"].isin(_TARGETS) & rows["output"].notna()]
    texts = {text: normalised(text) for text in {*rows["output"], *rows["answer"]}}
    return _share(rows.assign(same=rows["output"].map(texts) == rows["answer"].map(texts)), "same")


def _token_accuracy(phases: _Phases) -> pd.DataFrame:
    rows = phases.edited[phases.edited["kind"].isin(_TARGETS)]
    return _sums(rows, rows["tokens_correct"], rows["tokens"])


def _prefers_new(phases: _Phases) -> pd.DataFrame:
    rows = phases.edited
    rows = rows[rows["kind"].isin(_TARGETS) & rows["alternative_log_prob"].notna()]
    return _share(rows.assign(prefers=rows["log_prob"] > rows["alternative_log_prob"]), "prefers")


def _paired(before: pd.DataFrame, after: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The probes of a kind answered by both models; columns of `before` end in `_before`."""
    columns = ["edit_id", "probe_id", "hit", "tokens", "log_prob"]
    return after[after["kind"] == kind].merge(
        before.loc[before["kind"] == kind, columns],
        on=["edit_id", "probe_id"],
        suffixes=("", "_before"),
        validate="many_to_one",
    )


def _drawdown(scope: str | None = None) -> _Part:
    def part(phases: _Phases) -> pd.DataFrame:
        pairs = _paired(phases.base, phases.edited, "locality")
        return _lost(pairs if scope is None else pairs[pairs["scope"] == scope])

    return part


def _base_drawdown(phases: _Phases) -> pd.DataFrame:
    return _lost(_paired(phases.original, phases.base, "locality"))


def _lost(pairs: pd.DataFrame) -> pd.DataFrame:
    lost = pairs["hit_before"].astype("float64") - pairs["hit"].astype("float64")
    return _share(pairs.assign(lost=lost), "lost")


def _text_nll_edited(phases: _Phases) -> pd.DataFrame:
    rows = phases.edited[phases.edited["kind"] == "text"]
    return _sums(rows, -rows["log_prob"], rows["tokens"])


def _text_nll_base(phases: _Phases) -> pd.DataFrame:
    pairs = _paired(phases.base, phases.edited, "text")
    return _sums(pairs, -pairs["log_prob_before"], pairs["tokens_before"])


def _text_nll_original(phases: _Phases) -> pd.DataFrame:
    pairs = _paired(phases.original, phases.edited, "text")
    return _sums(pairs, -pairs["log_prob_before"], pairs["tokens_before"])


def _collapses(phases: _Phases) -> pd.DataFrame:
    """Say at each checkpoint whether the perplexity has left that of the original far behind."""
    after, before = (part(phases).set_index(_UNIT) for part in (_text_nll_edited, _text_nll_original))
    further = after["value"] / after["weight"] - before["value"] / before["weight"]
    collapsed = (further > math.log(COLLAPSE)).astype("float64")
    return pd.DataFrame({"value": collapsed, "probes": after["probes"]}).reset_index().assign(weight=1.0)


def _collapsed(phases: _Phases) -> pd.DataFrame:
    rows = _collapses(phases)
    last = rows.groupby("edit_id", sort=False)["step"].transform("max") == rows["step"]
    ever = rows.groupby("edit_id", sort=False)["value"].transform("max")
    return rows.assign(value=ever)[last]


def _edits_until_collapse(phases: _Phases) -> pd.DataFrame:
    rows = _collapses(phases)
    rows = rows[rows["value"] > 0]
    first = rows[rows.groupby("edit_id", sort=False)["step"].transform("min") == rows["step"]]
    return first.assign(value=first["step"].astype("float64"))


def _weight_change(phases: _Phases) -> pd.DataFrame:
    return _share(phases.edited[phases.edited["weight_change"].notna()], "weight_change")


def _locality_kl(phases: _Phases) -> pd.DataFrame:
    rows = phases.edited
    return _share(rows[(rows["kind"] == "locality") & rows["kl"].notna()], "kl")


def _cost_rows(name: str, cell: pd.Index | pd.Series, unit: pd.Index | pd.Series, value: pd.Series) -> pd.DataFrame:
    table = pd.DataFrame({"cell": cell.to_numpy(), "edit_id": unit.to_numpy(), "value": value.to_numpy()})
    return table.assign(edit_group=None, step=0, metric=name, weight=1.0, probes=0)[_COLUMNS]


def _row_names(rows: pd.DataFrame) -> pd.Series:
    """Edit ids, or the place within its cell for a cost of several edits together."""
    place = "#" + rows.groupby("cell", sort=False).cumcount().astype("str")
    return rows["edit_id"].where(rows["edit_id"].notna(), place)


PARTS: Mapping[str, _Part] = MappingProxyType(
    {
        "success": _exact(*_TARGETS),
        "success_request": _exact("request"),
        "success_rephrase": _exact("rephrase"),
        "success_generated": _generated,
        "token_accuracy": _token_accuracy,
        "prefers_new": _prefers_new,
        "drawdown": _drawdown(),
        "drawdown_relation": _drawdown("relation"),
        "drawdown_subject": _drawdown("subject"),
        "drawdown_distant": _drawdown("distant"),
        "text_nll_edited": _text_nll_edited,
        "text_nll_base": _text_nll_base,
        "text_nll_original": _text_nll_original,
        "base_drawdown": _base_drawdown,
        "locality_kl": _locality_kl,
        "locality_accuracy": _exact("locality"),
        "portability": _exact("portability"),
    }
)

# Of the fixed questions that a sequence is judged by, a row a checkpoint: `step` is how many edits were made by then.
LOOKS: Mapping[str, _Part] = MappingProxyType(
    {
        "drawdown_fixed": _drawdown(),
        "text_nll_edited": _text_nll_edited,
        "text_nll_base": _text_nll_base,
        "text_nll_original": _text_nll_original,
        "weight_change": _weight_change,
        "collapsed": _collapsed,
        "edits_until_collapse": _edits_until_collapse,
    }
)
