"""A data set of its own made from CounterFact's flat files, with prompts rebuilt from templates.

The flat files have one paraphrase and one neighbourhood prompt a case. Where the words of a prompt name one relation,
paraphrases here are the other templates of that relation with the same subject, and neighbourhood prompts the same
template with other subjects of the split that have the same object. Cases whose prompt could ask several things ("{} is
in") are left out. Its numbers are not CounterFact's and must not be called so.

Source: this project; facts and templates of Meng et al. 2022 (arXiv:2202.05262) and Elazar et al. 2021 (ParaRel).
"""

from __future__ import annotations

import heapq
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from bench.datasets._counterfact_rows import counterfact_row
from bench.datasets._entries import Entry
from bench.datasets._fact_table import rank
from bench.datasets._row_cases import row_case
from bench.datasets._rows import Asked, LeftOut, Row, Rows, digest_of
from bench.datasets._source import file_digest, find_file
from bench.editing.config import config
from bench.editing.dataset import Dataset, Split
from bench.editing.request import EditCase
from bench.errors import ConfigError
from bench.models.kind import ModelKind

__all__ = ["CounterfactRebuilt", "CounterfactRebuiltConfig"]

_RELATIONS = Path(__file__).resolve().parent / "counterfact_rebuilt_data" / "relations.toml"
_MOST_NEIGHBOURS = 64  # subjects of a relation and object that are held for drawing


@config
class CounterfactRebuiltConfig:
    """Which files are read, and how many prompts are rebuilt."""

    path: str = ""  # flat file with the cases to test on; the only one unless fit_path is given
    fit_path: str = ""  # flat file with the cases to fit on
    rephrases: int = 2  # as in CounterFact; fewer where a relation has two templates
    locality_probes: int = 10  # as in CounterFact; fewer where few subjects of the split have the object
    seed: int = 0  # of all that is drawn; it does not change the splits


class CounterfactRebuilt(Dataset[CounterfactRebuiltConfig]):
    """Sentences whose words name one relation, with paraphrases and neighbours made from templates."""

    name = "counterfact_rebuilt"
    version = 1
    source = "this project, from the flat files of zjunlp/EasyEdit"
    kinds = ("causal", "seq2seq")
    Config = CounterfactRebuiltConfig
    task = "completion of facts"
    licence = "MIT (kmeng01/rome; flat form: zjunlp/EasyEdit, MIT)"
    citation = (
        "Meng et al. 2022 (NeurIPS) for facts and templates; this project for the cases, which are not CounterFact"
    )
    size = "about 12,400 of the 20,000 flat cases"

    def __init__(self, config: CounterfactRebuiltConfig, kind: ModelKind) -> None:
        """Read and check the files; raises DataError if one is wrong and ConfigError if a field is."""
        super().__init__(config, kind)
        if config.locality_probes < 0 or config.rephrases < 0:
            raise ConfigError(
                f"{self.name}.locality_probes and {self.name}.rephrases are numbers of probes, 0 or more."
            )
        path = find_file(config.path, field=f"{self.name}.path", sample="counterfact_flat.json")
        fit_path = find_file(config.fit_path, field=f"{self.name}.fit_path", sample="") if config.fit_path else None
        self._templates = _templates()
        self._relation_of = {text: name for name, texts in self._templates.items() for text in texts}
        self._rows = Rows(path, fit_path, self._read, seed=config.seed)
        self._neighbours = cache(self._find_neighbours)

    def cases(self, split: Split) -> Iterator[EditCase]:
        """Yield the cases of a split in an order that never changes."""
        subjects = self._neighbours(split)
        for row in self._rows.of(split):
            asked = self._asked(row, subjects[self._key(row)])
            yield row_case(row, asked, rephrases=self.config.rephrases, seed=self.config.seed)

    def left_out(self) -> Mapping[str, int]:
        return self._rows.left_out()

    def digest(self) -> str:
        """Give a SHA-256 over the files, the templates, the version, the kind and the config but for the paths."""
        return digest_of(self, self._rows.digest, file_digest(_RELATIONS))

    def _read(self, entry: Entry) -> Row | LeftOut:
        row = counterfact_row(entry, name=self.name)
        if isinstance(row, LeftOut):
            return row
        relation = self._relation_of.get(str(row.relation))
        if relation is None:
            return LeftOut("the template of the prompt does not name one relation")
        others = [text for text in self._templates[relation] if text != row.relation]
        return replace(row, rephrases=tuple(text.replace("{}", str(row.subject)) for text in others), asked=())

    def _find_neighbours(self, split: Split) -> Mapping[tuple[str, str], Sequence[str]]:
        """Give some subjects of each relation and object of a split."""
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for row in self._rows.of(split):
            of_key = found[self._key(row)]
            of_key.add(str(row.subject))
            if len(of_key) > 2 * _MOST_NEIGHBOURS:
                found[self._key(row)] = set(self._drawn(of_key))
        return {key: self._drawn(subjects) for key, subjects in found.items()}

    def _drawn(self, subjects: set[str]) -> list[str]:
        return heapq.nsmallest(_MOST_NEIGHBOURS, subjects, key=lambda name: rank("neighbour", self.config.seed, name))

    def _asked(self, row: Row, subjects: Sequence[str]) -> Iterator[Asked]:
        others = [name for name in subjects if name != row.subject]
        start = rank("locality", row.id)
        for step in range(min(self.config.locality_probes, len(others))):
            name = others[(start + step) % len(others)]
            yield Asked(str(row.relation).replace("{}", name), str(row.gold), "relation")

    def _key(self, row: Row) -> tuple[str, str]:
        return self._relation_of[str(row.relation)], str(row.gold)


@cache
def _templates() -> Mapping[str, tuple[str, ...]]:
    relations = tomllib.loads(_RELATIONS.read_text(encoding="utf-8"))
    return {name: tuple(entry["templates"]) for name, entry in relations.items()}
