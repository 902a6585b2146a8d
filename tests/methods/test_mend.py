"""What each switch and each ablation of MEND changes, on tiny models."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.editing import gradients
from bench.editing.edit import LowRank, State
from bench.editing.gradients import edit_gradients
from bench.editing.objective import FitBatch
from bench.editing.request import EditRequest, ProbeKind
from bench.errors import EditError
from bench.models.language_model import LanguageModel
from bench.testing import tiny_cases, tiny_model

mend: Any = importlib.import_module("bench.methods.mend")
networks: Any = importlib.import_module("bench.methods._mend_networks")
FIDELITIES = ["paper", "reference"]


def editor(lm: LanguageModel, *, is_trained: bool = False, **changes: Any) -> Any:
    """Make an editor: from the start, or with random networks and with statistics of eight requests."""
    config = mend.MendConfig(**{"rank": 4, **changes})
    state = mend.Mend.initial_state(lm, config, torch.Generator().manual_seed(0))
    made = mend.Mend(lm, config, state)
    if not is_trained:
        return made
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.networks.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    made.loss(batch(lm, 8), is_training=True)
    return made


def requests(lm: LanguageModel, count: int) -> list[EditRequest]:
    return [case.request for case in tiny_cases(lm.kind, count)]


def batch(lm: LanguageModel, count: int, *, size: int = 1, start: int = 0) -> FitBatch:
    """Make a step of groups, each with the request probes and one locality probe of its cases."""
    cases = tiny_cases(lm.kind, count * size, start=start)
    groups = [cases[i : i + size] for i in range(0, len(cases), size)]

    def probes(kind: ProbeKind, most: int) -> Any:
        return tuple(
            (index, probe)
            for index, group in enumerate(groups)
            for case in group
            for probe in [p for p in case.probes if p.kind is kind][:most]
        )

    return FitBatch(
        groups=tuple(tuple(case.request for case in group) for group in groups),
        outer=probes(ProbeKind.REQUEST, 1),
        locality=probes(ProbeKind.LOCALITY, 1),
    )


def edit(made: Any, group: Sequence[EditRequest]) -> Any:
    return made.edit(group, memory=None, generator=torch.Generator())


def dense(change: LowRank) -> Tensor:
    return change.left @ change.right


def autograds(lm: LanguageModel, group: Sequence[EditRequest]) -> dict[str, Tensor]:
    """Give the gradient of each matrix as (in, out), however it is stored."""
    weights = lm.leaves("default")
    found = torch.autograd.grad(lm.loss([(r.prompt, r.target) for r in group], weights), list(weights.values()))
    stored = dict(zip(weights, found, strict=True))
    return {m.name: stored[m.name] if m.is_transposed else stored[m.name].T for m in lm.matrices("default")}


@pytest.mark.parametrize("family", ["gpt2", "gpt_neo"])  # Conv1D and Linear
@pytest.mark.parametrize(("changes", "sign"), [({}, -1), ({"fidelity": "reference"}, 1), ({"sign": "ascent"}, 1)])
def test_from_identity_without_normalisation_an_edit_is_a_gradient_step(
    family: str, changes: dict[str, Any], sign: int
) -> None:
    lm = tiny_model(family)
    group = requests(lm, 1)

    found = edit(editor(lm, no_norm=True, edit_lr=1e-4, **changes), group)

    for name, gradient in autograds(lm, group).items():
        torch.testing.assert_close(dense(found.changes[name]), sign * 1e-4 * gradient, rtol=1e-4, atol=1e-9)


def test_an_edit_has_the_rank_of_its_tokens() -> None:
    lm = tiny_model("gpt2")
    group = requests(lm, 1)
    tokens = len(lm.encoder.encode(group[0].prompt, group[0].target).input_ids)

    changes = edit(editor(lm, is_trained=True), group).changes

    assert all(change.left.shape[1] == change.right.shape[0] <= tokens for change in changes.values())


@pytest.mark.parametrize(
    ("reduction", "is_sum"), [(None, True), ("per_edit_mean_sum", True), ("mean_over_batch", False)]
)
def test_requests_edited_together_add_up_only_if_their_losses_do(reduction: str | None, is_sum: bool) -> None:
    lm = tiny_model("gpt2")
    made = editor(lm, is_trained=True, reduction=reduction)
    group = requests(lm, 2)

    together = edit(made, group).changes
    alone = [edit(made, [request]).changes for request in group]

    gaps = []
    for name, change in together.items():
        total = dense(alone[0][name]) + dense(alone[1][name])
        gaps.append(float((dense(change) - total).norm() / total.norm()))
    assert max(gaps) < 1e-5 if is_sum else min(gaps) > 0.1


@pytest.mark.parametrize(
    ("changes", "rate"),
    [({}, 1e-4), ({"fidelity": "reference"}, 1e-6), ({"fidelity": "reference", "edit_lr_group": "own"}, 1e-4)],
)
def test_two_steps_move_alpha_by_twice_the_rate_of_its_group(changes: dict[str, Any], rate: float) -> None:
    lm = tiny_model("gpt2")
    made = editor(lm, is_trained=True, lr=1e-6, edit_lr=1e-3, edit_lr_lr=1e-4, **changes)
    optimiser = made.optimiser(made.outer_parameters())
    before = made.alpha.detach().clone()

    for _ in range(2):  # on one batch, so that the gradient keeps its sign
        optimiser.zero_grad()
        made.loss(batch(lm, 4), is_training=False).total.backward()
        optimiser.step()

    moved = (made.alpha.detach() - before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 2 * rate), rtol=0.05, atol=0)


def test_step_sizes_are_told_by_matrix() -> None:
    lm = tiny_model("gpt2")

    sizes = editor(lm, edit_lr=0.25).step_sizes()

    assert list(sizes) == [matrix.name for matrix in lm.matrices("default")]
    assert {float(size) for size in sizes.values()} == {0.25}


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_shares_of_micro_batches_add_up_to_the_gradient_of_one_batch(fidelity: str) -> None:
    lm = tiny_model("gpt2")
    made = editor(lm, is_trained=True, fidelity=fidelity)
    parameters = [p for group in made.outer_parameters() for p in group["params"]]

    def gradient(part: FitBatch) -> list[Tensor]:
        return list(torch.autograd.grad(made.loss(part, is_training=False).total, parameters))

    whole = gradient(batch(lm, 4))
    parts = [gradient(batch(lm, 1, start=i)) for i in range(4)]

    for index, expected in enumerate(whole):
        total = torch.stack([part[index] / 4 for part in parts]).sum(0)
        torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_the_first_factor_is_drawn_as_the_paper_says_or_as_the_code_does() -> None:
    lm = tiny_model("gpt2")

    def drawn(**changes: Any) -> Tensor:
        first = next(iter(editor(lm, rank=16, **changes).networks.values()))
        return first.parts["both"].layers[0].v.detach()

    bound = (6 / (16 + 80)) ** 0.5  # Xavier's uniform for (16, 16 + 64)
    assert 0.9 * bound < float(drawn().abs().max()) <= bound
    assert float(drawn(fidelity="reference").std()) == pytest.approx(1, abs=0.1)
    assert float(drawn(fidelity="reference", v_init="xavier").abs().max()) <= bound


def test_without_identity_there_is_no_residual_path_and_both_factors_are_drawn() -> None:
    lm = tiny_model("gpt2")
    network = next(iter(editor(lm, no_id_init=True, rank=16).networks.values()))
    layer = network.parts["both"].layers[0]

    nothing = layer(torch.zeros(1, 80), 0)

    bound = 2**0.5 * (6 / (16 + 80)) ** 0.5
    assert 0.9 * bound < float(layer.u.detach().abs().max()) <= bound
    assert bool((nothing == 0).all())
    assert not torch.equal(layer(torch.ones(1, 80), 0), torch.ones(1, 80))


@pytest.mark.parametrize(("changes", "biases"), [({}, [True, False]), ({"fidelity": "reference"}, [True, True])])
def test_only_the_code_has_a_bias_in_the_second_layer(changes: dict[str, Any], biases: list[bool]) -> None:
    network = next(iter(editor(tiny_model("gpt2"), **changes).networks.values()))

    assert [layer.bias is not None for layer in network.parts["both"].layers] == biases


def test_without_sharing_each_matrix_has_a_network_without_tables() -> None:
    lm = tiny_model("gpt2")

    shared, own = editor(lm).networks, editor(lm, no_sharing=True).networks

    assert len(shared) == 2
    assert [len(network.parts["both"].layers[0].scale) for network in shared.values()] == [3, 3]
    assert len(own) == len(lm.matrices("default")) == 6
    assert all(network.parts["both"].layers[0].scale is None for network in own.values())


@pytest.mark.parametrize(
    ("transform", "parts"),
    [
        ("both", [{"both": 80}, {"both": 80}]),
        ("split", [{"u": 16, "delta": 64}, {"u": 64, "delta": 16}]),
        ("only_u", [{"u": 16}, {"u": 64}]),
        ("only_delta", [{"delta": 64}, {"delta": 16}]),
        ("only_smaller", [{"u": 16}, {"delta": 16}]),
    ],
)
def test_a_transform_has_networks_of_what_it_transforms(transform: str, parts: list[dict[str, int]]) -> None:
    made = editor(tiny_model("gpt2"), transform=transform)  # first 16 → 64, then 64 → 16

    found = [
        {name: pair.layers[0].v.shape[1] for name, pair in network.parts.items()} for network in made.networks.values()
    ]

    assert found == parts


def test_of_a_square_matrix_the_input_counts_as_the_smaller() -> None:
    assert networks._widths("only_smaller", 7, 7) == {"u": 7}


# ---------------------------------------------------------------------------------------- statistics


def statistics(width: int, **changes: Any) -> Any:
    return networks.Statistics(width, mend.resolved(mend.MendConfig(**changes), mend.SWITCHES))


def test_a_row_without_gradient_is_left_out_of_the_counts(golden: dict[str, Tensor]) -> None:
    owner = torch.zeros(1, dtype=torch.long)
    counted = statistics(8, fidelity="reference")

    first = gradients._active(golden["u"][None], golden["delta"][None], owner, 1)
    second = gradients._active(golden["u2"][None], golden["delta2"][None], owner, 1)
    counts = []
    for factors in (first, second):
        counted.update(factors.inputs)
        counts.append(int(counted.count))

    assert len(second.inputs) == 4
    assert counts == [5, 9]


@pytest.mark.parametrize(("fidelity", "expected"), [("paper", 2**24 + 3), ("reference", 2**24)])
def test_a_count_in_float32_ends_where_it_has_no_next_whole_number(fidelity: str, expected: int) -> None:
    counted = statistics(1, fidelity=fidelity, keeps_statistics=True)
    counted.count.fill_(2**24 - 1)

    counted.update(torch.randn(4, 1))

    assert int(counted.count) == expected


@pytest.mark.parametrize(("changes", "is_kept"), [({}, True), ({"fidelity": "reference"}, False)])
def test_the_code_forgets_the_statistics_of_a_state_that_is_fitted_further(
    changes: dict[str, Any], is_kept: bool
) -> None:
    lm = tiny_model("gpt2")
    made = editor(lm, is_trained=True, **changes)
    again = mend.Mend(lm, made.config, made.state())
    new = editor(lm, **changes)

    def count(of: Any) -> int:
        return int(next(iter(of.networks.values())).of_inputs.count)

    before, evaluated = count(made), edit(again, requests(lm, 1))
    again.loss(batch(lm, 1), is_training=True)
    new.loss(batch(lm, 1), is_training=True)

    assert all(map(torch.equal, evaluated.tensors, edit(made, requests(lm, 1)).tensors))
    assert count(again) == count(new) + (before if is_kept else 0)


def test_a_fit_that_goes_on_from_a_checkpoint_keeps_its_statistics_in_any_case() -> None:
    lm = tiny_model("gpt2")
    made = editor(lm, is_trained=True, fidelity="reference")
    again = mend.Mend(lm, made.config, made.state())

    again.resume(State(values=json.loads(json.dumps(dict(made.fit_state().values)))))

    for one in (made, again):
        one.loss(batch(lm, 2, start=8), is_training=True)
    assert all(torch.equal(tensor, made.state().tensors[name]) for name, tensor in again.state().tensors.items())


@pytest.mark.parametrize(("fidelity", "is_one_by_one"), [("paper", False), ("reference", True)])
def test_the_code_takes_in_one_edit_after_the_other(fidelity: str, is_one_by_one: bool) -> None:
    lm = tiny_model("gpt2")
    groups = [[request] for request in requests(lm, 3)]
    together, alone = (editor(lm, fidelity=fidelity, no_norm=False) for _ in range(2))

    found = together._edits(groups, is_training=True)
    expected = [alone._edits([group], is_training=True)[0] for group in groups]

    for one, other in zip(found, expected, strict=True):
        is_same = all(
            torch.allclose(dense(change), dense(other.changes[name]), rtol=1e-4, atol=1e-7)
            for name, change in one.changes.items()
        )
        assert is_same is is_one_by_one
    for one, other in zip(together.networks.values(), alone.networks.values(), strict=True):
        assert int(one.of_inputs.count) == int(other.of_inputs.count) > 0
        torch.testing.assert_close(one.of_inputs.mean, other.of_inputs.mean)
        torch.testing.assert_close(one.of_inputs.squares, other.of_inputs.squares)


@pytest.mark.parametrize(("changes", "largest"), [({}, 1e4), ({"std_floor": 0.1}, 50), ({"std_floor": 0.0}, 1e7)])
def test_a_dead_dimension_is_divided_by_the_floor(changes: dict[str, Any], largest: float) -> None:
    seen = statistics(2, **changes)
    seen.update(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]))

    found = float(seen.normalise(torch.tensor([[0.0, 0.5]]))[0, 1])

    assert largest / 20 < found < largest


def test_a_single_row_passes_or_is_refused() -> None:
    row = torch.tensor([[3.0, 4.0]])
    lenient, strict = statistics(2), statistics(2, fidelity="reference")
    lenient.update(row)

    assert torch.equal(lenient.normalise(row), row)
    with pytest.raises(EditError, match="needs two"):
        strict.update(row)


def test_a_row_that_is_not_finite_does_not_spoil_the_statistics() -> None:
    rows = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    clean, spoilt = statistics(2), statistics(2)
    clean.update(rows)

    spoilt.update(torch.cat([rows, torch.tensor([[float("nan"), 1.0], [1.0, float("inf")]])]))

    assert int(spoilt.count) == 6
    assert torch.equal(spoilt.mean, clean.mean)


def test_without_normalisation_the_factors_go_in_as_they_are() -> None:
    lm = tiny_model("gpt2")
    group = requests(lm, 1)
    made = editor(lm, no_norm=True, edit_lr=1.0, sign="ascent")
    made.loss(batch(lm, 4), is_training=True)

    factors = edit_gradients(lm, [group], made.matrices)
    changes = edit(made, group).changes

    for name, change in changes.items():
        assert torch.equal(change.left.T, factors[name].inputs)
        assert torch.equal(change.right, factors[name].grads)


def test_a_state_holds_what_an_edit_needs() -> None:
    lm = tiny_model("gpt2")
    made = editor(lm, is_trained=True)
    state = made.state()

    again = mend.Mend(lm, made.config, State(tensors=dict(state.tensors)))

    group = requests(lm, 2)
    assert all(map(torch.equal, edit(made, group).tensors, edit(again, group).tensors))
