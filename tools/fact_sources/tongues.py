"""Languages (pycountry, babel), software languages (pygments) and HTTP (the standard library)."""

from __future__ import annotations

import hashlib
import http
import re
from collections.abc import Iterator

import pycountry
from babel import Locale
from babel.core import get_global
from pygments.lexers import get_all_lexers

__all__ = [
    "file_extensions",
    "http_phrases",
    "language_name",
    "media_types",
    "scripts",
    "three_letter_codes",
    "two_letter_codes",
]

ENGLISH = Locale("en")
NAMES = {"bn": "Bengali", "mi": "Maori", "nb": "Norwegian Bokmal", "vo": "Volapuk", "os": "Ossetian"}
SCRIPTS = {"Bangla": "Bengali", "Odia": "Odia"}
# Written in several scripts, or in a mixture.
SEVERAL_SCRIPTS = set("az bm bs cr ff ha iu ja kk ko ks ku ms mn oj pa pi sa sd sh sr tg tk ug uz zh za".split())
LATIN_KEPT = 45  # two languages in three are written in Latin letters: keep the relation from being that

# Phrases that newer versions of the standard change, and two jokes.
CHANGED_PHRASES = {413, 414, 416, 418, 422, 226}

# Lexers of pygments that are no language by themselves.
NO_LANGUAGE = {
    "Desktop", "Properties", "Text", "Zone", "Coldfusion", "Slurm", "Slash", "Diff", "E-mail", "PkgConfig",
    "Numba_IR", "SmartGameFormat", "Typographic", "World", "Debian", "Erlang", "Dylan", "Literate", "Python",
    "Roboconf", "Embedded", "RConsole", "Rd", "Inform", "PyPy", "Java Server", "Visual", "Tera", "Igor",
    "Scalate", "Gosu", "Blueprint", "WDiff", "TAP", "AMDGPU", "Genshi", "JSGF", "Smarty", "Transact-SQL",
    "Lean4", "Bdd", "Csound", "Protocol", "Web", "WebGPU", "Rocq", "Mask", "Relax-NG",
}  # fmt: skip


def language_name(code: str) -> str:
    """Give the English name of a language by its two-letter code."""
    return NAMES.get(code) or ENGLISH.languages[code]


def _languages() -> Iterator[tuple[str, str, str]]:
    for entry in pycountry.languages:
        code = getattr(entry, "alpha_2", None)
        if code and code in ENGLISH.languages and code != "sh":
            yield language_name(code), code, entry.alpha_3


def two_letter_codes() -> Iterator[tuple[str, str]]:
    """Yield the ISO 639-1 code of each language."""
    return ((name, code) for name, code, _ in _languages())


def three_letter_codes() -> Iterator[tuple[str, str]]:
    """Yield the ISO 639-3 code of each language."""
    return ((name, code) for name, _, code in _languages())


def scripts() -> Iterator[tuple[str, str]]:
    """Yield the script of the languages that have one; of those in Latin letters a sample."""
    likely = get_global("likely_subtags")
    latin = []
    for name, code, _ in _languages():
        tag = likely.get(code)
        if not tag or code in SEVERAL_SCRIPTS:
            continue
        script = ENGLISH.scripts[tag.split("_")[1]]
        if script == "Latin":
            latin.append(name)
        else:
            yield name, SCRIPTS.get(script, script)
    latin.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    yield from ((name, "Latin") for name in latin[:LATIN_KEPT])


def http_phrases() -> Iterator[tuple[str, str]]:
    """Yield the reason phrase of each HTTP status code."""
    return ((str(s.value), s.phrase) for s in http.HTTPStatus if s.value not in CHANGED_PHRASES)


def _lexers() -> Iterator[tuple[str, str, str]]:
    """Yield name, extension and media type of the languages with exactly one extension."""
    for name, _, patterns, media_types in get_all_lexers(plugins=False):
        if len(patterns) != 1 or not re.fullmatch(r"\*\.[a-z0-9]+", patterns[0]):
            continue
        plain = re.fullmatch(r"[A-Z][A-Za-z0-9'-]{2,}( [A-Z][a-z]+)?|C#|Go", name)
        if plain and not {name, name.split()[0]} & NO_LANGUAGE:
            yield name, patterns[0][1:], media_types[0] if len(media_types) == 1 else ""


def file_extensions() -> Iterator[tuple[str, str]]:
    """Yield the file extension of each software language that has one only."""
    return ((name, extension) for name, extension, _ in _lexers())


def media_types() -> Iterator[tuple[str, str]]:
    """Yield the media type of each software language that has one only."""
    return ((name, media_type) for name, _, media_type in _lexers() if media_type)
