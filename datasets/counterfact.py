"""CounterFact: a case asks to complete a sentence about a subject by a false object.

It reads ROME's nested file, which has two paraphrases and ten neighbourhood prompts a case, and EasyEdit's flat files,
which have one of each. A neighbourhood prompt asks for the same object of another subject, and must keep it.

Source: Meng et al. 2022 (arXiv:2202.05262), kmeng01/rome. Differs from it in: attribute prompts and generation prompts
are not asked; reported are accuracy and, as there, P(new) > P(old).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from bench.datasets._counterfact_rows import counterfact_row
from bench.datasets._row_cases import row_case
from bench.datasets._rows import Rows, digest_of
from bench.datasets._source import find_file
from bench.editing.config import config
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase
from bench.errors import ConfigError
from bench.models.kind import ModelKind

__all__ = ["Counterfact", "CounterfactConfig"]


@config
class CounterfactConfig:
    """Which files are read, and how many of their prompts are asked."""

    path: str = ""  # file with the cases to test on; the only one unless fit_path is given
    fit_path: str = ""  # file with the cases to fit on, like counterfact-train.json beside counterfact-edit.json
    rephrases: int = 2  # at most; ROME's file has two, EasyEdit's have one
    locality_probes: int = 10  # at most; ROME's file has ten, EasyEdit's have one
    seed: int = 0  # of the order of cases and rephrases; it does not change the splits


class Counterfact(Dataset[CounterfactConfig]):
    """Sentences about subjects, to be completed by an object that is false."""

    name = "counterfact"
    version = 1
    source = "arXiv:2202.05262 (kmeng01/rome), flat form of zjunlp/EasyEdit"
    kinds = ("causal", "seq2seq")
    Config = CounterfactConfig
    task = "completion of facts"
    licence = "MIT (kmeng01/rome; flat form: zjunlp/EasyEdit, MIT)"
    citation = "Meng et al. 2022 (NeurIPS)"
    size = "21,919 (ROME); 10,000 train and 10,000 edit (EasyEdit)"

    def __init__(self, config: CounterfactConfig, kind: ModelKind) -> None:
        """Read and check the files; raises DataError if one is wrong and ConfigError if a field is."""
        super().__init__(config, kind)
        if config.locality_probes < 0 or config.rephrases < 0:
            raise ConfigError("counterfact.locality_probes and counterfact.rephrases are numbers of probes, 0 or more.")
        path = find_file(config.path, field="counterfact.path", sample="counterfact_rome.json")
        fit_path = find_file(config.fit_path, field="counterfact.fit_path", sample="") if config.fit_path else None
        self._rows = Rows(path, fit_path, partial(counterfact_row, name=self.name), seed=config.seed)

    def cases(self, split: Split) -> Iterator[EditCase]:
        """Yield the cases of a split in an order that never changes."""
        for row in self._rows.of(split):
            asked = row.asked[: self.config.locality_probes]
            yield row_case(row, asked, rephrases=self.config.rephrases, seed=self.config.seed)

    def left_out(self) -> Mapping[str, int]:
        return self._rows.left_out()

    def digest(self) -> str:
        """Give a SHA-256 over the files, the version, the kind and the config but for the paths."""
        return digest_of(self, self._rows.digest)
