"""KnowledgeEditor: a recurrent network reads the edit and masks the gradient, matrix by matrix.

A bidirectional LSTM reads "prediction >> target || prompt". From its state, each matrix gets a rank-one mask A, a
rank-one offset B and a gate g, and changes by σ(g) · (∇W ⊙ A + B). With ∇W = Σ δ uᵀ and A = r cᵀ this is
Σ (δ ⊙ r)(u ⊙ c)ᵀ plus one more rank, so the change stays two factors.

Source: De Cao et al. 2021 (arXiv:2104.08164), as run by Mitchell et al. 2022 (arXiv:2110.11309), whose shared
objective is used here. Differs from the latter in: smaller sizes by default (the preset `paper` has theirs).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence

from bench.editing.config import config
from bench.editing.edit import Edit, LowRank, State, WeightEdit
from bench.editing.editor import ALL_KINDS
from bench.editing.fit import PAPER_FIT, FitConfig
from bench.editing.gradients import TokenFactors, edit_gradients
from bench.editing.learned import LearnedEditor
from bench.editing.objective import FitBatch, FitLoss, edit_objective
from bench.editing.request import EditRequest, Text
from bench.models.architecture import Matrix
from bench.models.generation import generate
from bench.models.language_model import LanguageModel


@config
class KnowledgeEditorConfig(FitConfig):
    """The values of the MEND paper are the preset `paper`."""

    layers: str = "default"  # matrices to edit
    lstm: int = 256  # hidden size a direction; MEND's run: 512
    condition: int = 256  # width of the condition; MEND's run: 768
    head: int = 128  # hidden size of each matrix's head; KE: 128, MEND's run: 512
    max_scale: float = 1.0  # bound of the gate; KE, `max_scale`
    max_tokens: int = 32  # the condition's text is cut there, as in MEND's run
    lr: float = 1e-3  # Adam; paper: 1e-5
    steps: int = 200  # see FitConfig


class ConditionEncoder(nn.Module):
    """Reads token ids and gives a condition vector.

    Args:
        vocabulary, width: shape of the embedding table.
        config: of the editor.
    """

    def __init__(self, vocabulary: int, width: int, config: KnowledgeEditorConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, config.lstm, batch_first=True, bidirectional=True)
        self.project = nn.Linear(2 * config.lstm, config.condition)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Encode (B, T) ids with (B,) lengths into (B, condition)."""
        packed = pack_padded_sequence(self.embedding(ids), lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (last, _) = self.lstm(packed)
        condition: Tensor = self.project(last.transpose(0, 1).flatten(1)).tanh()
        return condition


class Head(nn.Module):
    """Gives the mask, offset and gate of one matrix stored as (rows, columns)."""

    def __init__(self, rows: int, columns: int, config: KnowledgeEditorConfig) -> None:
        super().__init__()
        self.sizes = [columns, rows, columns, rows, 1]
        self.first = weight_norm(nn.Linear(config.condition, config.head))
        self.second = weight_norm(nn.Linear(config.head, sum(self.sizes)))

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        """Map (B, condition) to columns of the mask, rows of it, the same of the offset, and the gate (B, 1)."""
        return split_head(self.second(self.first(condition).tanh()), self.sizes)


def split_head(raw: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Cut a head's output into mask columns and rows, offset columns and rows, and gate; rows by softmax.

    Source: eric-mitchell/mend, `efk_hypernetwork.py`, the order of its `conditioner` output.
    """
    mask_columns, mask_rows, offset_columns, offset_rows, gate = raw.split(list(sizes), dim=-1)
    return mask_columns, mask_rows.softmax(-1), offset_columns, offset_rows.softmax(-1), gate.sigmoid()


class KnowledgeEditor(LearnedEditor[KnowledgeEditorConfig]):
    """A hypernetwork conditioned on the text of the edit."""

    name = "ke"
    version = 1
    source = "arXiv:2104.08164"
    kinds = ALL_KINDS
    max_batch = 1
    Config = KnowledgeEditorConfig
    presets = {"paper": {**PAPER_FIT, "lstm": 512, "condition": 768, "head": 512, "lr": 1e-5}}

    def __init__(self, lm: LanguageModel, config: KnowledgeEditorConfig, state: State) -> None:
        super().__init__(lm, config, state)
        self.matrices = lm.matrices(config.layers)
        self.networks = _networks(lm, self.matrices, config)
        self.networks.load_state_dict(dict(state.tensors))
        self.networks.to(lm.device)

    @classmethod
    def initial_state(cls, lm: LanguageModel, config: KnowledgeEditorConfig, generator: torch.Generator) -> State:
        networks = _networks(lm, lm.matrices(config.layers), config, seed=generator.initial_seed())
        tensors = {name: value.detach().clone() for name, value in networks.state_dict().items()}
        return State(tensors={**tensors, "encoder.embedding.weight": lm.input_embeddings.detach().float().clone()})

    def outer_parameters(self) -> list[dict[str, Any]]:
        return [{"params": list(self.networks.parameters()), "lr": self.config.lr}]

    def loss(self, batch: FitBatch, *, is_training: bool) -> FitLoss:
        return edit_objective(self.lm, self._edits(batch.groups), batch, c_edit=self.config.c_edit)

    def state(self) -> State:
        return State(tensors={name: value.detach().clone() for name, value in self.networks.state_dict().items()})

    def edit(self, requests: Sequence[EditRequest], *, memory: State | None, generator: torch.Generator) -> Edit:
        return self.edit_each([requests], generators=[generator])[0]

    def edit_each(
        self, groups: Sequence[Sequence[EditRequest]], *, generators: Sequence[torch.Generator]
    ) -> list[Edit]:
        with torch.no_grad():
            return self._edits(groups)

    def _edits(self, groups: Sequence[Sequence[EditRequest]]) -> list[Edit]:
        factors = edit_gradients(self.lm, groups, self.matrices)
        condition = self.networks["encoder"](*self._condition([group[0] for group in groups]))
        changes: list[dict[str, LowRank]] = [{} for _ in groups]
        for index, matrix in enumerate(self.matrices):
            parts = self.networks[str(index)](condition)
            for change, low_rank in zip(changes, self._masked(matrix, factors[matrix.name], parts), strict=True):
                change[matrix.name] = low_rank
        return [WeightEdit(changes=change) for change in changes]

    def _masked(self, matrix: Matrix, factors: TokenFactors, parts: tuple[Tensor, ...]) -> list[LowRank]:
        mask_columns, mask_rows, offset_columns, offset_rows, gate = parts
        if matrix.is_transposed:  # stored (in, out): rows go with the inputs
            of_inputs, of_outputs, add_in, add_out = mask_rows, mask_columns, offset_rows, offset_columns
        else:
            of_inputs, of_outputs, add_in, add_out = mask_columns, mask_rows, offset_columns, offset_rows
        scale = self.config.max_scale * gate
        low_rank = []
        for b, (u, delta) in enumerate(zip(factors.split(factors.inputs), factors.split(factors.grads), strict=True)):
            left = torch.cat([u * of_inputs[b], add_in[b : b + 1]]) * scale[b]
            right = torch.cat([delta * of_outputs[b], add_out[b : b + 1]])
            low_rank.append(LowRank(left.T, right))
        return low_rank

    def _condition(self, requests: Sequence[EditRequest]) -> tuple[Tensor, Tensor]:
        """Give the ids (B, T) of "prediction >> target || prompt" and their lengths (B,)."""
        unknown = [r for r in requests if r.old_target is None]
        outputs = generate(self.lm, [r.prompt for r in unknown])
        said = {r.id: output for r, output in zip(unknown, outputs, strict=True)}
        texts = [
            f"{self._text(said.get(r.id, r.old_target))} >> {self._text(r.target)} || {self._text(r.prompt)}"
            for r in requests
        ]
        rows = [self.lm.tokenizer(text)["input_ids"][: self.config.max_tokens] for text in texts]
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.zeros((len(rows), int(lengths.max())), dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
        return ids.to(self.lm.device), lengths

    def _text(self, text: Text | None) -> str:
        return text if isinstance(text, str) else str(self.lm.tokenizer.decode(list(text or ())))


def _networks(
    lm: LanguageModel, matrices: Sequence[Matrix], config: KnowledgeEditorConfig, *, seed: int = 0
) -> nn.ModuleDict:
    vocabulary, width = lm.input_embeddings.shape
    # torch's modules draw their initial values from the global generator; it is put back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = nn.ModuleDict({"encoder": ConditionEncoder(vocabulary, width, config)})
        for index, matrix in enumerate(matrices):
            stored = (matrix.in_features, matrix.out_features)
            rows, columns = stored if matrix.is_transposed else stored[::-1]
            networks[str(index)] = Head(rows, columns, config)
    return networks
