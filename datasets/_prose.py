"""Short passages of everyday English from a probabilistic grammar: running text for perplexity.

A passage follows one person, sometimes with a second one, through a place and a part of a day:
four to six sentences of 50 to 90 words in which names and pronouns agree, an event has a cause,
and time goes on. It tells nothing that the table of facts holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from bench.datasets import _prose_words as words

__all__ = ["passages"]

FEWEST_WORDS, MOST_WORDS = 50, 90
SLOT = re.compile(r"\{(\w+)\}")


class Person(NamedTuple):
    """A name and the pronouns that go with it."""

    name: str
    he: str
    him: str
    his: str
    himself: str


class Scene:
    """What stays the same through a passage: the people, the place, the animal, the weather."""

    def __init__(self, random: Random) -> None:
        """Draw the cast and the setting."""
        self._random = random
        self.person = self._cast()
        other = self._cast()
        while other.name == self.person.name:
            other = self._cast()
        place = self.pick(words.PLACES)
        weather = self.pick(words.WEATHERS)
        self.fixed = {
            "name": self.person.name,
            "he": self.person.he,
            "him": self.person.him,
            "his": self.person.his,
            "himself": self.person.himself,
            "other": other.name,
            "ohe": other.he,
            "ohis": other.his,
            "place": place.name,
            "at_place": place.at,
            "doing": self.pick(place.doings),
            "weather": weather.state,
            "weather_noun": weather.noun,
            "animal": self.pick(words.ANIMALS),
            "relative": self.pick(words.RELATIVES),
            "job": self.pick(words.JOBS),
        }
        first = self.pick(place.things)
        second = self.pick([thing for thing in place.things if thing != first])
        self.fixed |= {"a_thing": first, "the_thing": _definite(first)}
        self.fixed |= {"a_tool": second, "the_tool": _definite(second)}

    def pick(self, options: Sequence[words.Option]) -> words.Option:
        """Draw one option; only Random.random is used, whose stream no Python version changes."""
        return options[int(self._random.random() * len(options))]

    def write(self, template: str) -> str:
        """Fill the slots of a template: those of the scene, and lists of words by their name."""

        def fill(match: re.Match[str]) -> str:
            slot = match.group(1)
            if slot in self.fixed:
                return self.fixed[slot]
            return self.write(self.pick(words.LISTS[slot]))

        return SLOT.sub(fill, template)

    def _cast(self) -> Person:
        if self._random.random() < 0.5:
            return Person(self.pick(words.WOMEN), "she", "her", "her", "herself")
        return Person(self.pick(words.MEN), "he", "him", "his", "himself")


def passages(seed: int, count: int) -> list[str]:
    """Write different passages; the same seed gives the same ones, and a longer list begins with them."""
    random = Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        text = _passage(random)
        if FEWEST_WORDS <= len(text.split()) <= MOST_WORDS:
            found[text] = None
    return list(found)


def _passage(random: Random) -> str:
    """Write one passage: a beginning, two to four middle sentences in order of time, an end."""
    scene = Scene(random)
    plan = scene.pick(words.PLANS)
    sentences: list[str] = []
    used: set[str] = set()
    before = ""
    for part in plan:
        template = scene.pick([t for t in words.SENTENCES[part] if t not in used])
        used.add(template)
        if before in ("other", "animal"):
            # The pronoun would point to the wrong one.
            template = template.replace("{he}", "{name}", 1)
        text = scene.write(template)
        sentences.append(text[0].upper() + text[1:] if text[0] != '"' else text[0] + text[1].upper() + text[2:])
        before = part
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", " ".join(sentences))


def _definite(thing: str) -> str:
    """Name a thing that was mentioned before."""
    return re.sub(r"^(a|an|some|two) ", "the ", thing)
