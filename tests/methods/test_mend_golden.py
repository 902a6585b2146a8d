"""MEND's network and statistics give the numbers of the reference's own classes, see tools/make_golden.py."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.models.architecture import Matrix

mend: Any = importlib.import_module("bench.methods.mend")
networks: Any = importlib.import_module("bench.methods._mend_networks")

MATRIX = Matrix(name="m.weight", module="m", in_features=8, out_features=6, is_transposed=False, stack=0, block=0)
NETWORKS: dict[str, tuple[dict[str, Any], int | None, int]] = {  # variant of the reference → ours, modes, mode
    "main": ({}, None, 0),
    "shared3_mode1": ({}, 3, 1),
    "nonorm": ({"no_norm": True}, None, 0),
    "split": ({"transform": "split"}, None, 0),
    "one_sided": ({"transform": "only_smaller"}, None, 0),
    "x_only": ({"transform": "only_u"}, None, 0),
    "delta_only": ({"transform": "only_delta"}, None, 0),
    "xavier": ({"no_id_init": True}, None, 0),
    "norm_id0": ({}, None, 0),
    "nonorm_id0": ({"no_norm": True}, None, 0),
}
# Of all switches only the second layer's bias changes these numbers, and that only where it is not 0.
FIDELITIES = [{"fidelity": "reference"}, {"fidelity": "paper", "second_bias": True}]
CASES = [(variant, fidelity) for variant in NETWORKS for fidelity in FIDELITIES]
CASES += [("norm_id0", {"fidelity": "paper"}), ("nonorm_id0", {"fidelity": "paper"})]
PARTS = {"both": "mlp", "u": "mlp1", "delta": "mlp2"}


def network(golden: Mapping[str, Tensor], variant: str, fidelity: Mapping[str, Any] = FIDELITIES[0]) -> Any:
    """Make our network with the weights of a variant of the reference, before any row was seen."""
    changes, modes, _ = NETWORKS[variant]
    config = mend.MendConfig(rank=4, **changes, **fidelity)
    switches = mend.resolved(config, mend.SWITCHES)
    made = networks.GradientNetwork(MATRIX, modes, config, switches, torch.Generator())
    names = {"u": "u", "v": "v", "bias": "bias", "mode_scale.weight": "scale", "mode_shift.weight": "shift"}
    left = {name for name in golden if name.startswith(f"{variant}/w/")}
    with torch.no_grad():
        for part, pair in made.parts.items():
            for index, layer in enumerate(pair.layers):
                for theirs, ours in names.items():
                    key = f"{variant}/w/{PARTS[part]}.layers.{index}.{theirs}"
                    if getattr(layer, ours) is not None:
                        getattr(layer, ours).copy_(golden[key])
                        left.remove(key)
    assert all(bool((golden[key] == 0).all()) for key in left), f"not taken over: {left}"
    return made


def update(made: Any, inputs: Tensor, grads: Tensor, mode: int, *, is_training: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Transform the rows that the reference would keep, and give (ũ, δ̃, δ̃ᵀũ)."""
    keep = (inputs != 0).any(1) & (grads != 0).any(1)
    with torch.no_grad():
        new_inputs, new_grads = made(inputs[keep], grads[keep], mode, is_training=is_training)
    return new_inputs, new_grads, new_grads.T @ new_inputs


def assert_close(found: Tensor, expected: Tensor) -> None:
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=1e-5, atol=1e-5 * scale)


def test_the_factors_give_autograds_gradient(golden: dict[str, Tensor]) -> None:
    gradient = golden["delta"].T @ golden["u"]

    assert_close(gradient, golden["true_grad"])


def test_the_first_numbers_are_those_of_the_specification(golden: dict[str, Tensor]) -> None:
    made = network(golden, "main")

    _, _, change = update(made, golden["u"], golden["delta"], 0, is_training=True)

    torch.testing.assert_close(change[0, :3], torch.tensor([0.89394, -5.78169, 2.16518]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("variant", "fidelity"), CASES)
def test_a_training_call_gives_the_references_factors(
    golden: dict[str, Tensor], variant: str, fidelity: dict[str, Any]
) -> None:
    made = network(golden, variant, fidelity)

    inputs, grads, change = update(made, golden["u"], golden["delta"], NETWORKS[variant][2], is_training=True)

    assert_close(inputs, golden[f"{variant}/train/u_tilde"])
    assert_close(grads, golden[f"{variant}/train/delta_tilde"])
    assert_close(change, golden[f"{variant}/train/update_out_in"])
    assert_close(change.T, golden[f"{variant}/train/update_in_out"])


@pytest.mark.parametrize(("variant", "fidelity"), CASES)
def test_a_later_call_gives_the_references_update(
    golden: dict[str, Tensor], variant: str, fidelity: dict[str, Any]
) -> None:
    made, mode = network(golden, variant, fidelity), NETWORKS[variant][2]
    update(made, golden["u"], golden["delta"], mode, is_training=True)

    _, _, evaluated = update(made, golden["u2"], golden["delta2"], mode, is_training=False)
    _, _, trained = update(made, golden["u2"], golden["delta2"], mode, is_training=True)

    assert_close(evaluated, golden[f"{variant}/eval2/update_out_in"])
    assert_close(trained, golden[f"{variant}/train2/update_out_in"])


@pytest.mark.parametrize(("variant", "fidelity"), [case for case in CASES if "nonorm" not in case[0]])
def test_the_statistics_are_the_references(golden: dict[str, Tensor], variant: str, fidelity: dict[str, Any]) -> None:
    made = network(golden, variant, fidelity)

    for inputs, grads, stats in [("u", "delta", "stats"), ("u2", "delta2", "stats2")]:
        update(made, golden[inputs], golden[grads], NETWORKS[variant][2], is_training=True)

        for ours, theirs in [(made.of_inputs, "u"), (made.of_grads, "v")]:
            assert int(ours.count) == int(golden[f"{variant}/{stats}/k"])
            assert_close(ours.mean, golden[f"{variant}/{stats}/{theirs}_mean"])
            assert_close((ours.squares / (ours.count - 1)).sqrt(), golden[f"{variant}/{stats}/{theirs}_std"])


def test_streamed_statistics_equal_those_of_all_rows(golden: dict[str, Tensor]) -> None:
    statistics = network(golden, "main").of_inputs
    second = golden["u2"][(golden["delta2"] != 0).any(1)]
    rows = torch.cat([golden["u"], second]).double()

    statistics.update(golden["u"])
    statistics.update(second)

    assert_close(statistics.mean, rows.mean(0))
    assert_close(statistics.normalise(rows.float()), (rows - rows.mean(0)) / (rows.std(0) + 1e-7))


def test_an_evaluation_never_changes_the_statistics(golden: dict[str, Tensor]) -> None:
    made = network(golden, "main")
    update(made, golden["u"], golden["delta"], 0, is_training=True)
    before = {name: value.clone() for name, value in made.state_dict().items()}

    update(made, golden["u2"], golden["delta2"], 0, is_training=False)

    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_gradients_of_the_update_are_the_references(golden: dict[str, Tensor]) -> None:
    made = network(golden, "main")

    inputs, grads = made(golden["u"], golden["delta"], 0, is_training=True)
    scalar = (golden["grad/C"] * (grads.T @ inputs)).sum()
    scalar.backward()

    assert_close(scalar.detach(), golden["grad/scalar"])
    for index, layer in enumerate(made.parts["both"].layers):
        for name in ("u", "v", "bias"):
            assert_close(getattr(layer, name).grad, golden[f"grad/mlp.layers.{index}.{name}"])


@pytest.mark.parametrize("fidelity", ["paper", "reference"])
def test_from_identity_only_u_and_after_the_first_call_the_bias_get_a_gradient(
    golden: dict[str, Tensor], fidelity: str
) -> None:
    made = network(golden, "norm_id0", {"fidelity": fidelity})

    def gradients(rows: str, *, is_training: bool) -> dict[str, float]:
        made.zero_grad()
        keep = (golden[rows.replace("u", "delta")] != 0).any(1)
        inputs, grads = made(golden[rows][keep], golden[rows.replace("u", "delta")][keep], 0, is_training=is_training)
        (golden["grad/C"] * (grads.T @ inputs)).sum().backward()
        return {
            f"{name}{index}": float(value.grad.abs().max())
            for index, layer in enumerate(made.parts["both"].layers)
            for name, value in layer.named_parameters()
            if value.grad is not None
        }

    first, second = gradients("u", is_training=True), gradients("u2", is_training=False)

    for found in (first, second):
        assert found["v0"] == found["v1"] == 0
        assert min(found["u0"], found["u1"]) > 1
    # Freshly normalised rows sum to nought, and so does the gradient of what is added to each of them.
    assert first["bias0"] < 1e-5 * first["u0"]
    assert second["bias0"] > 0.1


def test_from_identity_without_normalisation_the_update_is_the_gradient(golden: dict[str, Tensor]) -> None:
    config = mend.MendConfig(rank=4, no_norm=True)
    switches = mend.resolved(config, mend.SWITCHES)
    made = networks.GradientNetwork(MATRIX, 1, config, switches, torch.Generator().manual_seed(0))

    _, _, change = update(made, golden["u"], golden["delta"], 0, is_training=True)

    assert_close(change, golden["true_grad"])


@pytest.mark.parametrize(
    ("shapes", "changes", "expected"),
    [
        ([(768, 3072), (3072, 768)] * 3, {}, 59_089_926),  # distilGPT-2
        ([(768, 3072), (3072, 768)] * 4, {}, 59_120_648),  # BART-base
        ([(768, 3072), (3072, 768)] * 3, {"no_sharing": True}, 176_993_286),
    ],
)
def test_the_paper_sizes_have_the_references_parameter_counts(
    shapes: list[tuple[int, int]], changes: dict[str, Any], expected: int
) -> None:
    config = mend.MendConfig(rank=1920, fidelity="reference", **changes)
    with torch.device("meta"):
        made = mend._networks([_matrix(*shape) for shape in shapes], config, torch.Generator())

    found = sum(p.numel() for p in made.parameters()) + len(shapes)

    assert found == expected


def _matrix(n_in: int, n_out: int) -> Matrix:
    return Matrix(name="m", module="m", in_features=n_in, out_features=n_out, is_transposed=False, stack=0, block=0)
