"""The algorithms as they are written down: one edit at a time, on a copy of the whole model, all logits, no factors.

What the harness is measured against. Networks, statistics and learned step sizes are those of the editor at hand, so
that both give the same edit and the same loss; everything around them is plain.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.editing.editor import Editor
from bench.editing.gradients import TokenFactors
from bench.editing.request import EditRequest, Probe
from bench.models.architecture import Matrix
from bench.models.encoding import Batch
from bench.models.kind import ModelKind
from bench.models.language_model import LanguageModel

__all__ = ["Case", "Plain", "fine_tune", "plain_for"]


class Case(NamedTuple):
    """One edit with a probe that must follow it and one that must not."""

    request: EditRequest
    outer: Probe
    locality: Probe


@dataclass
class Plain:
    """A plain implementation of one editor.

    Args:
        edit: gives the new weights of the edited matrices for one request, dense, by name.
        loss: gives the loss of one case, with its graph.
    """

    edit: Callable[[EditRequest], Mapping[str, Tensor]]
    loss: Callable[[Case], Tensor]

    def step(self, cases: Sequence[Case], optimiser: torch.optim.Optimizer) -> float:
        """Take one step on the mean loss of some cases, added up one case after another."""
        optimiser.zero_grad()
        total = 0.0
        for case in cases:
            loss = self.loss(case) / len(cases)
            loss.backward()
            total += float(loss.detach())
        optimiser.step()
        return total


def plain_for(editor: Editor[Any]) -> Plain:
    """Give the plain implementation of a fitted editor, `mend`, `ke` or `enn`, on the same networks."""
    return {"mend": _mend, "ke": _ke, "enn": _enn}[editor.name](editor)


def fine_tune(editor: Editor[Any], case: Case, steps: int) -> dict[str, Tensor]:
    """Take RMSprop steps on a copy of the model, whatever is answered already, and give the change."""
    lm, config = editor.lm, editor.config
    model = copy.deepcopy(lm.model)
    weights = {m.name: model.get_parameter(m.name).requires_grad_() for m in editor.matrices}
    optimiser = torch.optim.RMSprop(list(weights.values()), lr=config.lr)
    for _ in range(steps):
        loss = _nll(model, lm, case.request.prompt, case.request.target)
        if config.kl:
            with torch.no_grad():
                before = _logits(lm.model, _batch(lm, case.locality))
            after = _logits(model, _batch(lm, case.locality))
            loss = config.c_edit * loss + _kl(lm, before, after, case.locality)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(list(weights.values()), config.clip)
        optimiser.step()
    return {name: (weight - lm.model.get_parameter(name)).detach() for name, weight in weights.items()}


def _batch(lm: LanguageModel, probe: Probe) -> Batch:
    return lm.batch([(probe.prompt, probe.answer)])


def _logits(model: nn.Module, batch: Batch, weights: Mapping[str, Tensor] | None = None) -> Tensor:
    """Give the logits of one text at all positions, (T, V)."""
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "use_cache": False}
    if batch.decoder_input_ids is not None:
        inputs["decoder_input_ids"] = batch.decoder_input_ids
    output = functional_call(model, dict(weights), (), inputs) if weights else model(**inputs)
    return output.logits[0].float()


def _nll(
    model: nn.Module, lm: LanguageModel, prompt: Any, answer: Any, weights: Mapping[str, Tensor] | None = None
) -> Tensor:
    batch = lm.batch([(prompt, answer)])
    return -_logits(model, batch, weights).log_softmax(1)[batch.positions, batch.labels].mean()


def _kl(lm: LanguageModel, before: Tensor, after: Tensor, probe: Probe) -> Tensor:
    """Give the divergence at all positions of a causal model, at those of the answer of another."""
    p, q = before.log_softmax(1), after.log_softmax(1)
    gap = (p.exp() * (p - q)).sum(1)
    return gap.mean() if lm.kind is ModelKind.CAUSAL else gap[_batch(lm, probe).positions].mean()


def _objective(editor: Editor[Any], case: Case, weights: Mapping[str, Tensor], before: Tensor) -> Tensor:
    lm = editor.lm
    edit = _nll(lm.model, lm, case.outer.prompt, case.outer.answer, weights)
    after = _logits(lm.model, _batch(lm, case.locality), weights)
    return editor.config.c_edit * edit + _kl(lm, before, after, case.locality)


def _unedited(lm: LanguageModel, case: Case) -> Tensor:
    with torch.no_grad():
        return _logits(lm.model, _batch(lm, case.locality))


def _full_gradient(
    lm: LanguageModel, matrices: Sequence[Matrix], request: EditRequest
) -> tuple[nn.Module, dict[str, TokenFactors]]:
    """Copy the model, and differentiate the request's loss by all of its weights, keeping each matrix's factors."""
    model = copy.deepcopy(lm.model).requires_grad_()
    inputs: dict[str, Tensor] = {}
    grads: dict[str, Tensor] = {}
    handles = []
    for matrix in matrices:

        def keep(_: nn.Module, arguments: tuple[Tensor, ...], output: Tensor, name: str = matrix.name) -> None:
            inputs[name] = arguments[0].detach()
            output.register_hook(lambda grad: grads.__setitem__(name, grad))

        handles.append(model.get_submodule(matrix.module).register_forward_hook(keep))
    _nll(model, lm, request.prompt, request.target).backward()
    for handle in handles:
        handle.remove()
    factors = {}
    for name, u in inputs.items():
        flat_u, flat_delta = u.flatten(0, -2), grads[name].flatten(0, -2)
        keep_rows = (flat_u != 0).any(1) & (flat_delta != 0).any(1)
        factors[name] = TokenFactors(
            inputs=flat_u[keep_rows], grads=flat_delta[keep_rows], counts=(int(keep_rows.sum()),)
        )
    return model, factors


def _mend(editor: Any) -> Plain:
    lm = editor.lm

    def edit(request: EditRequest, *, is_training: bool = False) -> dict[str, Tensor]:
        _, factors = _full_gradient(lm, editor.matrices, request)
        weights = {}
        for index, matrix in enumerate(editor.matrices):
            network, mode = editor._network(index)
            found = factors[matrix.name]
            u, delta = network(found.inputs, found.grads, mode, is_training=is_training)
            update = u.T @ delta  # (in, out)
            step = -editor.alpha[index] * (update if matrix.is_transposed else update.T)
            weights[matrix.name] = lm.model.get_parameter(matrix.name) + step
        return weights

    def loss(case: Case) -> Tensor:
        return _objective(editor, case, edit(case.request, is_training=True), _unedited(lm, case))

    return Plain(torch.no_grad()(_with_grad(edit)), loss)


def _with_grad(edit: Callable[..., Any]) -> Callable[..., Any]:
    """Let an edit take its own gradient where the caller wants none."""

    def call(request: EditRequest) -> Any:
        with torch.enable_grad():
            return {name: weight.detach() for name, weight in edit(request).items()}

    return call


def _ke(editor: Any) -> Plain:
    lm = editor.lm

    def edit(request: EditRequest) -> dict[str, Tensor]:
        model, _ = _full_gradient(lm, [], request)
        condition = editor.networks["encoder"](*editor._condition([request]))
        weights = {}
        for index, matrix in enumerate(editor.matrices):
            head = editor.networks[str(index)](condition)
            mask = head.mask_rows.T @ head.mask_columns
            offset = head.offset_rows.T @ head.offset_columns
            grad = model.get_parameter(matrix.name).grad
            assert grad is not None
            step = editor.config.max_scale * head.gate * (grad * mask + offset)
            weights[matrix.name] = lm.model.get_parameter(matrix.name) + step
        return weights

    def loss(case: Case) -> Tensor:
        return _objective(editor, case, edit(case.request), _unedited(lm, case))

    return Plain(_with_grad(edit), loss)


def _enn(editor: Any) -> Plain:
    lm = editor.lm

    def inner(weights: Mapping[str, Tensor], request: EditRequest, *, second_order: bool) -> dict[str, Tensor]:
        named = {m.name: weights[m.name] for m in editor.matrices}
        # the fused kernels of attention have no second derivative
        with sdpa_kernel(SDPBackend.MATH) if second_order else nullcontext():
            loss = _nll(lm.model, lm, request.prompt, request.target, weights)
        grads = torch.autograd.grad(loss, list(named.values()), create_graph=second_order)
        steps = zip(named.items(), editor.alpha, grads, strict=True)
        return {**weights, **{name: weight - alpha * grad for (name, weight), alpha, grad in steps}}

    def loss(case: Case) -> Tensor:
        weights = editor.weights
        current = _logits(lm.model, _batch(lm, case.locality), weights)
        batch = _batch(lm, case.locality)
        base = -current.log_softmax(1)[batch.positions, batch.labels].mean()
        edited = inner(weights, case.request, second_order=not editor.config.first_order)
        return _objective(editor, case, edited, current.detach()) + editor.config.c_base * base

    def edit(request: EditRequest) -> dict[str, Tensor]:
        model = copy.deepcopy(lm.model).requires_grad_()
        edited = inner(dict(model.named_parameters()), request, second_order=False)
        return {m.name: edited[m.name] for m in editor.matrices}

    return Plain(_with_grad(edit), loss)
