"""Where MEND's paper and its reference code disagree, and what each of them says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench.editing.gradients import Reduction
from bench.methods._fidelity import Fidelity

__all__ = ["SWITCHES", "Counter", "EditLrGroup", "Sign", "SingleRow", "StatisticsOrder", "Switches", "VInit"]

Sign = Literal["descent", "ascent"]
EditLrGroup = Literal["own", "main"]
VInit = Literal["xavier", "normal"]
Counter = Literal["int64", "float32"]
StatisticsOrder = Literal["pooled", "one_by_one"]
SingleRow = Literal["passes", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """Where the paper and its code disagree.

    Args:
        sign: the change is subtracted from the weights (`descent`), or added.
        edit_lr_group: α has the learning rate `edit_lr_lr` (`own`); in the code the main optimiser, which has α too,
            clears its gradient before the one meant for it steps, so it learns at `lr` (`main`).
        v_init: the layers' first factor is drawn by Xavier's uniform, or from N(0, 1).
        second_bias: the second layer has a bias.
        reduction: the loss of requests installed together is the sum of their means, so that their change is the sum
            of their changes, or the mean over all label tokens.
        pools_labels: the objective averages over all label tokens of a group's probes, not within each probe first.
        std_floor: least standard deviation, as a fraction of the mean one.
        counter: what counts the rows; float32 ends at 2²⁴.
        keeps_statistics: what is fitted further from a state goes on with its statistics; otherwise it starts new ones,
            as the code does after a reload. A fit that goes on from a checkpoint keeps them in any case.
        statistics_order: all edits of a step are taken in before the first is normalised (`pooled`), or each sees
            only those before it (`one_by_one`).
        single_row: before a second row was seen there is no deviation: rows pass as they are, or are refused.
    """

    sign: Sign
    edit_lr_group: EditLrGroup
    v_init: VInit
    second_bias: bool
    reduction: Reduction
    pools_labels: bool
    std_floor: float
    counter: Counter
    keeps_statistics: bool
    statistics_order: StatisticsOrder
    single_row: SingleRow


SWITCHES: Mapping[Fidelity, Switches] = {
    "paper": Switches(
        sign="descent",
        edit_lr_group="own",
        v_init="xavier",
        second_bias=False,
        reduction="per_edit_mean_sum",
        pools_labels=False,
        std_floor=1e-3,
        counter="int64",
        keeps_statistics=True,
        statistics_order="pooled",
        single_row="passes",
    ),
    "reference": Switches(
        sign="ascent",
        edit_lr_group="main",
        v_init="normal",
        second_bias=True,
        reduction="mean_over_batch",
        pools_labels=True,
        std_floor=0.0,
        counter="float32",
        keeps_statistics=False,
        statistics_order="one_by_one",
        single_row="refused",
    ),
}
