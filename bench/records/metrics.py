"""The metrics: what each means, its range, which way is better, and how it is aggregated.

An edit's result in each part comes from bench.records.parts. The mean of a share over edits is
the paper's: every edit counts the same, however many probes it has. In batch mode each request
counts as an edit for what it changed and broke; what it cost is that of its group. In sequential
mode an edit is judged at the end of its sequence, unless the metric says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from bench.errors import UnknownPlugin, nearest
from bench.records.aggregate import (
    Aggregate,
    exp_ratio,
    exp_ratio_difference,
    exp_ratio_quotient,
    median,
    percentile_95,
    ratio,
)

__all__ = ["COLLAPSE", "METRICS", "METRICS_VERSION", "Better", "Metric", "Unit", "When", "choose"]

# Raise it when a definition below, in parts.py or in statistics.py changes: stored scores and
# summaries of another version are computed again from the answers.
METRICS_VERSION = 2

COLLAPSE = 10.0  # a model has collapsed once its perplexity is above so many times that of the original

Better = Literal["higher", "lower", "none"]
Unit = Literal["fraction", "nats", "perplexity", "ratio", "edits", "seconds", "bytes"]
When = Literal["end", "once"]

_MEND = "Mitchell et al. 2022 (arXiv:2110.11309)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One column of the tables.

    Args:
        name: what users ask for.
        formula: how it is computed, in words and signs.
        unit: of its value; decides how it is printed.
        range: the smallest and largest value it can have.
        better: which way is better.
        source: where it was defined.
        parts: names of the score rows that it is made of; aggregates take them in this order.
        aggregate: from the parts of many edits to one number.
        when: which rows of an edit count, where it was scored several times: those of the last step, or those of
            step 0, when it had just been made. Where all was scored once, only the former exist.
    """

    name: str
    formula: str
    unit: Unit
    range: tuple[float, float]
    better: Better
    source: str
    parts: tuple[str, ...]
    aggregate: Aggregate = ratio
    when: When = "end"


def choose(names: Iterable[str]) -> tuple[Metric, ...]:
    """Give the metrics of these names; raises UnknownPlugin for one that does not exist."""
    chosen = []
    for name in names:
        if name not in METRICS:
            raise UnknownPlugin(f"no metric called {name!r}.{nearest(name, METRICS)} `bench list metrics` shows all.")
        chosen.append(METRICS[name])
    return tuple(chosen)


def _share(name: str, formula: str, source: str, better: Better = "higher") -> Metric:
    return Metric(
        name=name,
        formula=formula,
        unit="fraction",
        range=(0.0, 1.0),
        better=better,
        source=source,
        parts=(name,),
    )


def _loss(name: str, formula: str, source: str) -> Metric:
    return Metric(
        name=name,
        formula=formula,
        unit="fraction",
        range=(-1.0, 1.0),
        better="lower",
        source=source,
        parts=(name,),
    )


def _cost(name: str, formula: str, unit: Unit, aggregate: Aggregate = ratio) -> Metric:
    return Metric(
        name=name,
        formula=formula,
        unit=unit,
        range=(0.0, math.inf),
        better="lower",
        source="this project (docs/metrics.md)",
        parts=(name,),
        aggregate=aggregate,
    )


def _at_once(name: str, formula: str, better: Better = "higher") -> Metric:
    """Give a metric of sequences that takes the part `name` of each edit when it had just been made."""
    return Metric(
        name=f"{name}_immediate",
        formula=formula,
        unit="fraction",
        range=(0.0, 1.0) if better == "higher" else (-1.0, 1.0),
        better=better,
        source="Huang et al. 2023 (arXiv:2301.09785), success rate",
        parts=(name,),
        when="once",
    )


_EXACT = "every answer token is the argmax under teacher forcing"

_ALL: tuple[Metric, ...] = (
    _share(
        "success",
        f"mean over edits of the share of request and rephrase probes where {_EXACT}",
        f"{_MEND}, section 2 (edit success)",
    ),
    _share("success_request", f"the same, on the request alone: {_EXACT}", f"{_MEND}, code, `rephrase=false`"),
    _share("success_rephrase", f"the same, on the rephrases alone: {_EXACT}", f"{_MEND}, code, `edit_outer`"),
    _at_once("success", "success of each edit of a sequence when it has just been made"),
    _at_once("success_request", "success_request of each edit of a sequence when it has just been made"),
    _at_once("success_rephrase", "success_rephrase of each edit of a sequence when it has just been made"),
    _share(
        "success_generated",
        "mean over edits of the share of request and rephrase probes whose greedily generated text equals "
        "the answer after casefolding, cutting punctuation and space around it, and collapsing spaces; where the "
        "answer is token ids, as many tokens are generated as it has",
        "Yang et al. 2025 (arXiv:2502.11177); exact match of SQuAD (arXiv:1606.05250)",
    ),
    _share(
        "token_accuracy",
        "Σ tokens that are the argmax / Σ tokens, over request and rephrase answers",
        "EasyEdit (arXiv:2308.07269), `rewrite_acc`",
    ),
    _share(
        "prefers_new",
        "mean over edits of the share of request and rephrase probes with log P(new) > log P(old), each "
        "summed over the answer's tokens, where an old target is known",
        "Meng et al. 2022 (arXiv:2202.05262), efficacy and paraphrase score",
    ),
    _loss(
        "drawdown",
        "mean over edits of the share of locality probes answered exactly by the base less that by the edited model",
        f"{_MEND}, section 2 (drawdown)",
    ),
    _loss(
        "drawdown_relation",
        "drawdown on other subjects of the same relation",
        f"{_MEND}; scope: this project",
    ),
    _loss("drawdown_subject", "drawdown on other relations of the same subject", f"{_MEND}; scope: this project"),
    _loss("drawdown_distant", "drawdown on facts far from the edit", f"{_MEND}; scope: this project"),
    _at_once(
        "drawdown",
        "drawdown of each edit's own locality probes when it has just been made, against the base, before any edit",
        better="lower",
    ),
    _loss(
        "drawdown_fixed",
        "drawdown on the fixed probes of a sequence (at most 200, of its own cases) at its end; the scores have it "
        "after 1, 10, 100, … edits, too",
        f"{_MEND}; at checkpoints: this project",
    ),
    Metric(
        name="drawdown_perplexity",
        formula="exp(Σ nll / Σ tokens) over text probes, edited less base",
        unit="perplexity",
        range=(-math.inf, math.inf),
        better="lower",
        source=f"{_MEND}, section 2 and code",
        parts=("text_nll_edited", "text_nll_base"),
        aggregate=exp_ratio_difference,
    ),
    Metric(
        name="perplexity",
        formula="exp(Σ nll / Σ tokens) of the edited model over text probes; in a sequence over 50 passages at most",
        unit="perplexity",
        range=(1.0, math.inf),
        better="lower",
        source=f"{_MEND}, code",
        parts=("text_nll_edited",),
        aggregate=exp_ratio,
    ),
    Metric(
        name="perplexity_ratio",
        formula="perplexity of the edited model by that of the model as loaded, over the same text probes",
        unit="ratio",
        range=(0.0, math.inf),
        better="lower",
        source="Yang et al. 2024 (arXiv:2402.09656), perplexity as a sign of collapse",
        parts=("text_nll_edited", "text_nll_original"),
        aggregate=exp_ratio_quotient,
    ),
    _share(
        "collapsed",
        f"share of sequences in which perplexity was above {COLLAPSE:g} times the original's at a checkpoint",
        "Yang et al. 2024 (arXiv:2402.09656); threshold: this project",
        better="lower",
    ),
    Metric(
        name="edits_until_collapse",
        formula=f"mean over collapsed sequences of the edits after which perplexity was first above {COLLAPSE:g} times "
        "the original's; known as finely as checkpoints are close: 1, 10, 100, … and each k-th",
        unit="edits",
        range=(1.0, math.inf),
        better="higher",
        source="this project",
        parts=("edits_until_collapse",),
    ),
    Metric(
        name="weight_change",
        formula="‖ΔW‖ / ‖W‖ over all matrices together that a sequence changed, Frobenius, at its end",
        unit="ratio",
        range=(0.0, math.inf),
        better="none",
        source="Gupta et al. 2025 (arXiv:2502.01636), growth of the norm",
        parts=("weight_change",),
    ),
    _loss(
        "base_drawdown",
        "drawdown of the base against the model as loaded: what fitting did to the model before any edit",
        f"{_MEND}, code, `acc/original`",
    ),
    Metric(
        name="locality_kl",
        formula="mean over edits of the mean KL(base || edited) over answer positions of locality probes",
        unit="nats",
        range=(0.0, math.inf),
        better="lower",
        source=f"{_MEND}, section 3 (locality loss)",
        parts=("locality_kl",),
    ),
    _share(
        "locality_accuracy",
        "mean over edits of the share of locality probes answered exactly by the edited model",
        f"{_MEND}, code, `acc/post`",
    ),
    _share(
        "portability",
        f"mean over edits of the share of portability probes where {_EXACT}",
        "Yao et al. 2023 (arXiv:2305.13172)",
    ),
    _cost(
        "edit_seconds",
        "median over edits of the time of one edit made alone; in batch mode that edit installs a whole group",
        "seconds",
        median,
    ),
    Metric(
        name="edit_seconds_p95",
        formula="95th percentile over the same edits of the same times, a latency that one edit in twenty exceeds",
        unit="seconds",
        range=(0.0, math.inf),
        better="lower",
        source="this project (docs/metrics.md)",
        parts=("edit_seconds",),
        aggregate=percentile_95,
    ),
    _cost("edit_seconds_amortised", "mean time a request when many edits are made together", "seconds"),
    _cost("fit_seconds", "time of all that was fitted or collected before any edit; none where nothing was", "seconds"),
    _cost("peak_memory_bytes", "largest memory of any phase above what was in use when it began", "bytes"),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})
