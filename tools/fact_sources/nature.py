"""Chemical elements (mendeleev) and stars (ephem)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import ephem
import ephem.stars
import mendeleev

__all__ = [
    "constellations",
    "discoverers",
    "discovery_countries",
    "discovery_years",
    "groups",
    "numbers",
    "series",
    "symbols",
]

LAST_SETTLED = 103  # from rutherfordium on, year and finder were disputed between laboratories

# Group and family are disputed for these.
UNSETTLED_PLACE = {"lanthanum", "actinium", "lutetium", "lawrencium", "polonium", "astatine"}
# Discovery entries of mendeleev that its own sources contradict (a year of 1925 for neodymium, of
# 1735 for platinum) or that other sources give to somebody else.
UNSETTLED_DISCOVERY = {"neodymium", "platinum", "holmium", "thulium", "livermorium", "flerovium", "moscovium"}

PEOPLE = {
    "A. Crawford": "Adair Crawford",
    "Antoine J. Balard": "Antoine Balard",
    "Axel Cronstedt": "Axel Cronstedt",
    "C.F. Aver von Welsbach": "Carl Auer von Welsbach",
    "Charles Hatchet": "Charles Hatchett",
    "Franz Müller von Reichenstein": "Franz Muller von Reichenstein",
    "Fredrich Ernst Dorn": "Friedrich Ernst Dorn",
    "Fredrich Stromeyer": "Friedrich Stromeyer",
    "George Brandt": "Georg Brandt",
    "Hans Christian Oersted": "Hans Christian Oersted",
    "Jöns Berzelius": "Jons Jacob Berzelius",
    "Marguerite Derey": "Marguerite Perey",
    "Nils Sefström": "Nils Sefstrom",
    "Paul Émile Lecoq de Boisbaudran": "Lecoq de Boisbaudran",
    "Eugène Demarçay": "Eugene Demarcay",
    "André Debierne": "Andre Debierne",
    "Sir Humphrey Davy": "Humphry Davy",
    "Sir William Crookes": "William Crookes",
    "Smithson Tenant": "Smithson Tennant",
}
COUNTRIES = {"United States": "the United States"}
FAMILIES = {"Poor metals": "post-transition metals"}

# Misspelt or second names of a star that has another entry.
OTHER_NAMES = {
    "Adara", "Agena", "Albereo", "Alcaid", "Sirrah", "Etamin", "Formalhaut", "Gienah Corvi", "Gienah",
    "Rigil Kentaurus",
}  # fmt: skip


@cache
def _elements() -> tuple[tuple[str, Any], ...]:
    return tuple((element.name.lower(), element) for element in mendeleev.get_all_elements())


def symbols() -> Iterator[tuple[str, str]]:
    """Yield the symbol of each element."""
    return ((name, element.symbol) for name, element in _elements())


def numbers() -> Iterator[tuple[str, str]]:
    """Yield the atomic number of each element."""
    return ((name, str(element.atomic_number)) for name, element in _elements())


def groups() -> Iterator[tuple[str, str]]:
    """Yield the group, 1 to 18, of the elements that have one."""
    for name, element in _elements():
        if element.group_id is not None and name not in UNSETTLED_PLACE:
            yield name, str(element.group_id)


def series() -> Iterator[tuple[str, str]]:
    """Yield the family of the elements, in the plural."""
    for name, element in _elements():
        if name not in UNSETTLED_PLACE:
            yield name, FAMILIES.get(element.series, element.series.lower())


def discovery_years() -> Iterator[tuple[str, str]]:
    """Yield the year in which an element was discovered."""
    for name, element in _elements():
        settled = element.atomic_number <= LAST_SETTLED and name not in UNSETTLED_DISCOVERY
        if element.discovery_year and settled:
            yield name, str(element.discovery_year)


def discovery_countries() -> Iterator[tuple[str, str]]:
    """Yield the country of discovery where there is one."""
    for name, element in _elements():
        place = element.discovery_location
        if place and "/" not in place and name not in UNSETTLED_DISCOVERY:
            yield name, COUNTRIES.get(place, place)


def discoverers() -> Iterator[tuple[str, str]]:
    """Yield the discoverer where it is one person."""
    for name, element in _elements():
        person = element.discoverers or ""
        several = re.search(r",|;|/|&| and |et al|Known|Institute|Laboratory|RIKEN|Centre", person)
        if person and not several and name not in UNSETTLED_DISCOVERY:
            yield name, PEOPLE.get(person, person)


def constellations() -> Iterator[tuple[str, str]]:
    """Yield the constellation of each named star."""
    for name, star in ephem.stars.stars.items():
        if name in OTHER_NAMES:
            continue
        star.compute("2000")
        yield name, ephem.constellation(star)[1].removesuffix(" Caput")
