"""The words and sentence patterns of the passages in _prose.

A slot in braces is filled by the scene (name, he, his, place ...) or by a list of LISTS; what is
drawn may hold slots again. Verbs are in the past tense, so that "he" and "they" take the same form.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

__all__ = [
    "ANIMALS",
    "JOBS",
    "LISTS",
    "MEN",
    "PLACES",
    "PLANS",
    "RELATIVES",
    "SENTENCES",
    "WEATHERS",
    "WOMEN",
    "Option",
]

Option = TypeVar("Option")


class Place(NamedTuple):
    """Where a passage plays: its name, where one is, what lies there, what one does there."""

    name: str
    at: str
    things: tuple[str, ...]
    doings: tuple[str, ...]


class Weather(NamedTuple):
    """A clause about the sky, and the noun that may be a cause later on."""

    state: str
    noun: str


WOMEN = (
    "Anna", "Clara", "Emma", "Grace", "Hannah", "Ida", "Julia", "Laura", "Lucy", "Maria", "Nora", "Olga",
    "Rosa", "Ruth", "Sarah", "Sofie", "Tessa", "Vera", "Wanda", "Zoe", "Ella", "Irene", "Helen", "Kate",
)  # fmt: skip
MEN = (
    "Adam", "Ben", "Carl", "David", "Edgar", "Felix", "George", "Henry", "Ivan", "Jack", "Karim", "Leon",
    "Martin", "Noah", "Oscar", "Peter", "Robert", "Samuel", "Thomas", "Victor", "Walter", "Paul", "Simon", "Tom",
)  # fmt: skip

PLACES = (
    Place("the kitchen", "in the kitchen",
          ("a heavy pan", "the old kettle", "a bowl of flour", "a jar of honey", "the bread knife", "a basket of eggs"),
          ("baking bread", "peeling apples", "washing the dishes", "cooking a soup", "making jam")),
    Place("the garden", "in the garden",
          ("a rusty spade", "the watering can", "a sack of earth", "a clay pot", "a rake", "a bucket of leaves"),
          ("pulling weeds", "planting tulips", "picking beans", "cutting the hedge", "digging a small pond")),
    Place("the market", "at the market",
          ("a bag of onions", "a box of pears", "a smoked fish", "a loaf of dark bread", "a bunch of herbs",
           "a woollen scarf"),
          ("buying vegetables", "selling cheese", "looking for a present", "comparing prices", "tasting olives")),
    Place("the library", "in the library",
          ("a thick novel", "a torn map", "an old newspaper", "a book of poems", "a green notebook", "a desk lamp"),
          ("reading about ships", "returning some books", "studying for a test", "sorting the shelves",
           "writing a long letter")),
    Place("the workshop", "in the workshop",
          ("a box of nails", "the small hammer", "a broken chair", "a pot of glue", "a pine board", "the hand saw"),
          ("mending a chair", "building a shelf", "sharpening tools", "painting a door", "repairing a clock")),
    Place("the station", "at the station",
          ("a brown suitcase", "a train ticket", "a paper cup of coffee", "a folded timetable", "an umbrella",
           "a heavy backpack"),
          ("waiting for a train", "meeting a friend", "asking about a delay", "carrying bags to the platform",
           "watching the passengers")),
    Place("the beach", "on the beach",
          ("a striped towel", "a bucket of shells", "a kite", "a straw hat", "a bottle of water",
           "a piece of driftwood"),
          ("collecting shells", "flying a kite", "swimming near the shore", "building a wall of sand",
           "walking along the water")),
    Place("the office", "at the office",
          ("a pile of letters", "the stapler", "a blue folder", "a cup of cold tea", "a long report",
           "a desk calendar"),
          ("writing a report", "answering letters", "preparing a meeting", "checking the bills",
           "looking for a missing file")),
    Place("the farm", "on the farm",
          ("a sack of grain", "the milk can", "a short ladder", "a milking stool", "a coil of rope", "a pitchfork"),
          ("feeding the hens", "stacking hay", "mending a fence", "loading the cart", "cleaning the barn")),
    Place("the park", "in the park",
          ("a paper boat", "a red ball", "a bag of nuts", "a bicycle pump", "a camera", "a picnic blanket"),
          ("feeding the ducks", "sketching the trees", "playing chess", "running around the lake",
           "teaching a child to ride")),
    Place("the school", "at the school",
          ("a box of chalk", "a stack of papers", "a globe", "the music book", "a lost glove", "a paper crown"),
          ("teaching a song", "helping with homework", "painting the stage", "preparing a play",
           "marking tests")),
    Place("the harbour", "at the harbour",
          ("a fishing net", "a lantern", "a barrel of salt", "an oar", "a wet rope", "a crate of crabs"),
          ("mending nets", "painting a boat", "unloading crates", "counting the gulls", "talking to the sailors")),
    Place("the bakery", "at the bakery",
          ("a tray of rolls", "an apple cake", "a sack of flour", "a paper bag", "a rolling pin", "a tin of biscuits"),
          ("kneading dough", "decorating a cake", "serving customers", "sweeping the floor", "trying a new recipe")),
    Place("the attic", "in the attic",
          ("a dusty trunk", "a box of letters", "an old violin", "a cracked mirror", "a wool blanket",
           "a bundle of photographs"),
          ("sorting old clothes", "searching for a photograph", "mending the roof", "unpacking boxes",
           "looking through old letters")),
)  # fmt: skip

WEATHERS = (
    Weather("it was raining softly", "rain"),
    Weather("a cold wind blew from the hills", "wind"),
    Weather("the sun was already warm", "heat"),
    Weather("thick fog lay over the street", "fog"),
    Weather("fresh snow covered the roofs", "snow"),
    Weather("dark clouds were gathering", "storm"),
    Weather("the air smelled of wet leaves", "damp air"),
    Weather("the sky was clear and pale", "bright light"),
    Weather("it had been dry for weeks", "dry air"),
    Weather("frost shone on the windows", "frost"),
)

ANIMALS = (
    "the grey cat", "a small brown dog", "a young goat", "a blackbird", "the neighbour's puppy", "a thin stray cat",
    "a pair of sparrows", "an old donkey", "a curious hen", "a squirrel", "the white rabbit", "a noisy goose",
)  # fmt: skip

RELATIVES = (
    "brother", "sister", "mother", "father", "aunt", "uncle", "cousin", "grandmother", "grandfather", "neighbour",
    "son", "daughter", "teacher", "landlady",
)  # fmt: skip

JOBS = (
    "nurse", "carpenter", "driver", "teacher", "cook", "gardener", "tailor", "clerk", "student", "painter", "farmer",
    "postman", "baker", "musician", "plumber", "writer",
)  # fmt: skip

LISTS: dict[str, tuple[str, ...]] = {
    "time": (
        "early in the morning", "before breakfast", "one afternoon in {month}", "on {day} evening", "on {day}",
        "at about {hour} o'clock", "just after lunch", "on the first day of the holidays", "on a quiet {day}",
        "shortly before dinner", "one morning in {month}", "on the last {day} of {month}", "at the end of a long week",
        "two days after the party", "in the middle of {month}", "during the lunch break",
    ),
    "month": ("January", "March", "April", "May", "June", "July", "August", "September", "October", "November"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "hour": ("six", "seven", "eight", "nine", "ten", "eleven", "three", "four", "five"),
    "later": (
        "after a while", "a little later", "half an hour later", "then", "soon afterwards", "before long",
        "when the clock struck {hour}", "a few minutes later", "suddenly", "at some point", "towards {hour} o'clock",
    ),
    "mood": (
        "tired", "cheerful", "nervous", "hungry", "curious", "calm", "proud", "sleepy", "worried", "happy", "impatient",
        "lonely", "excited", "busy", "thoughtful",
    ),
    "moved": (
        "tired because {he} had slept badly", "sleepy because the {weather_noun} had kept {him} awake",
        "excited because {his} {relative} was coming to visit", "nervous because {other} was late",
        "in a hurry because the shops would soon be closed", "hungry because {he} had forgotten breakfast",
        "cheerful because the week was nearly over", "worried because {a_tool} was missing",
        "proud because the work was going so well", "lonely because {other} had moved away in {month}",
        "glad about the {weather_noun}, which kept other people away", "angry with {himself} for coming so late",
    ),
    "manner": (
        "slowly", "carefully", "without a word", "in a hurry", "with a smile", "quietly", "at once", "with both hands",
        "for a long time", "very gently", "with some effort",
    ),
    "carefully": ("slowly", "carefully", "with both hands", "very gently", "with some effort", "all the way"),
    "colour": ("blue", "green", "yellow", "red", "grey", "brown", "white", "dark"),
    "garment": ("coat", "jacket", "scarf", "shirt", "hat", "apron", "cap", "pullover", "raincoat", "cardigan"),
    "meal": (
        "a bowl of soup", "bread and cheese", "a plate of noodles", "some cold chicken", "a pot of beans",
        "a slice of cake", "two boiled eggs", "an omelette", "a few pancakes", "baked potatoes", "a green salad",
        "fish with lemon", "toast with jam",
    ),
    "vehicle": ("bus", "tram", "train", "ferry", "night bus", "boat"),
    "reason": (
        "since there was nobody else to do it", "because {he} had promised it to {other}",
        "because {he} wanted to be finished before dark", "since it was {other}'s birthday",
        "because the week had been full of work", "as {he} had nothing better to do",
        "because {his} {relative} had asked for it", "as the next day would be too late",
        "because {he} liked to be alone", "since the doctor had told {him} to move more",
    ),
    "trouble": (
        "so {he} had to start again", "so the work took twice as long", "so {he} asked {other} for help",
        "so {he} sat down for a moment", "and {he} almost gave up", "so {he} did only the most important things",
        "and {his} hands were soon sore", "so {he} was late for everything that day",
    ),
    "effect": (
        "and {he} laughed until {his} sides hurt", "and {he} had to begin again", "and everybody looked up",
        "so {he} went to see what was the matter", "and for a moment {he} forgot what {he} was doing",
        "so {he} took a short break", "and that changed {his} plans", "but {he} pretended not to notice",
        "and a few people began to clap", "so {he} put everything aside", "but nothing was broken",
    ),
    "topic": (
        "the price of bread", "a trip to the mountains", "a film about bees", "the new neighbours", "old songs",
        "the long winter", "a lost key", "plans for the summer", "a strange dream", "the football match",
        "the wedding of a friend", "a leaking roof", "the noise in the street", "a letter from abroad",
        "the school concert", "a bad tooth", "the best way to cook rice", "a quarrel between two friends",
    ),
    "speech": (
        "we should do this more often", "there is still enough time", "you have not changed at all",
        "the door was open when I came", "nobody will believe this", "I have never seen such a mess",
        "it will be better tomorrow", "please keep it for me", "I was just thinking of you",
        "this is heavier than it looks", "we can share the rest", "you should have called me first",
        "my feet are cold", "I think we are lost", "that was not my idea",
    ),
    "small_event": (
        "the light went out", "somebody called {his} name", "a glass fell to the ground", "a telephone rang",
        "a child began to cry", "a door slammed shut", "a bell rang twice", "{he} heard a loud crack",
        "a stranger asked for the way", "{animal} ran past", "the music in the distance stopped",
        "a smell of smoke filled the air", "an old friend waved from afar", "the first drops of rain fell",
        "two men started to argue",
    ),
    "find": (
        "a small coin", "a ring", "a note in faded ink", "a pair of glasses", "a tiny key", "a photograph",
        "a ticket from years ago", "a pressed flower", "a shopping list", "a toy soldier", "a button of glass",
    ),
    "quality": ("useful", "lighter than it looked", "too small", "as good as new",
                "almost perfect", "a little damp", "older than {himself}", "exactly right",
                "quite pretty", "badly made"),
    "sound": ("a few voices", "somebody singing", "a clock ticking", "a train far away", "children playing",
              "the bells", "a dog barking", "the leaves moving", "water running"),
    "smell": ("coffee", "soap", "old wood", "wet wool", "oranges", "smoke", "dust", "paint", "rain"),
}  # fmt: skip

SENTENCES: dict[str, tuple[str, ...]] = {
    "start": (
        "{time}, {name} was {at_place}, {doing}, and {weather}.",
        "{name}, a {mood} {job}, came to {place} {time} and looked for {a_thing}.",
        "{weather} when {name} came to {place} {time}.",
        "{time}, {name} put on a {colour} {garment} and went to {place}, where {he} met {other}.",
        "{name} had planned to spend the day {doing}, {reason}.",
        "There was nobody {at_place} {time} except {name}, who was {doing}.",
        "{time}, {weather}, and {name} felt {mood}.",
        "{name} worked as a {job}, but {time} {he} was {at_place}, {doing}.",
        "For years {name} had dreamt of {doing}, and {time} {he} finally began.",
        "Nobody expected {name} to spend {his} free day {at_place}, but {he} came {time}.",
    ),
    "cause": (
        "{he} was {moved}.",
        "{he} carried {a_thing} {carefully}, {reason}.",
        "{he} did not stay {at_place} for long, {reason}.",
        "the {weather_noun} made everything harder, {trouble}.",
        "{the_thing} was heavier than {he} had thought, {trouble}.",
        "{reason}, {he} had brought {a_thing} and {a_tool}.",
        "{he} had put on a {colour} {garment}, for {weather}.",
        "there was much to do, and {he} began {manner}, {reason}.",
        "{he} had no idea where {the_tool} was and meant to ask {other}.",
    ),
    "event": (
        "{later}, {small_event}, {effect}.",
        "{later}, {he} put {the_thing} aside, and under it lay {find}.",
        "{he} had just reached for {the_thing} when {small_event}.",
        "while {he} was {doing}, {small_event}, {effect}.",
        "{later}, {he} noticed that {the_tool} was gone.",
        "{later}, {he} found {find}, which had once belonged to {his} {relative}.",
        "nothing happened until {hour} o'clock, when {small_event}.",
        "{later}, {he} dropped {the_thing}, {effect}.",
        "{later}, {he} stumbled over {the_tool}, {effect}.",
    ),
    "animal": (
        "from a corner, {animal} watched {him} and did not move.",
        "{later}, {animal} came closer and sniffed at {the_thing}.",
        "{he} gave {animal} some crumbs, and that was the end of the quiet.",
        "not far away, {animal} was looking for a dry place to sleep.",
        "{animal} had followed {him} all the way, and {he} did not mind.",
        "{he} tried to chase {animal} away, but it came back every time.",
    ),
    "other": (
        "{later}, {other} came by with {a_tool} and talked about {topic}.",
        "{other}, who lived next door, brought {meal} and asked about {topic}.",
        '"{speech}," said {other}, and {name} nodded {manner}.',
        "{other} wanted to help, but {ohe} had left {ohis} {garment} at home and was too cold.",
        "{later}, {he} met {other}, and the two of them spoke about {topic}.",
        '"{speech}," {he} said to {other}, who was holding {the_tool}.',
        "{other} had not come to {place} for months, but now {ohe} sat down and told {him} about {topic}.",
        "{he} showed {the_thing} to {other}, who thought that it was {quality}.",
    ),
    "detail": (
        "{his} {relative} had painted {the_tool} {colour}, which made {him} smile.",
        "everything {at_place} smelled of {smell}, and {he} liked that.",
        "{his} {relative} had always said that {the_thing} was {quality}.",
        "in one hand {he} held {a_thing}, in the other {a_tool}.",
        "from there {he} could hear {sound} and, sometimes, {sound}.",
        "the {colour} {garment} {he} wore was {quality}.",
        "{he} thought of {topic} and went on with {his} work {manner}.",
    ),
    "end": (
        "in the evening {he} ate {meal} and went to bed, {mood} but content.",
        "when {he} got home, {his} {relative} was waiting with {meal}.",
        "before {he} left, {he} thanked {other} and promised to come back on {day}.",
        "at the end of the day {the_thing} was {quality}, and {name} was {mood}.",
        "on the way back {he} thought about {topic} and missed the {vehicle}.",
        "{name} told {his} {relative} about it later, and they both laughed.",
        "that night {he} wrote a few lines about {topic} and slept until {hour}.",
        "since that day, {name} has never gone to {place} without {a_tool}.",
        "{he} packed up {manner} and took the last {vehicle} home.",
        "it was dark when {he} finally took {the_thing} home.",
    ),
}

# The order of the sentences; a passage has one beginning and one end, and time goes on between them.
PLANS = (
    ("start", "cause", "event", "end"),
    ("start", "cause", "event", "other", "end"),
    ("start", "cause", "other", "event", "end"),
    ("start", "detail", "event", "other", "end"),
    ("start", "detail", "cause", "animal", "end"),
    ("start", "cause", "animal", "event", "end"),
    ("start", "animal", "event", "other", "end"),
    ("start", "cause", "detail", "event", "other", "end"),
    ("start", "detail", "other", "animal", "event", "end"),
    ("start", "other", "cause", "event", "animal", "end"),
    ("start", "cause", "event", "event", "end"),
    ("start", "other", "detail", "event", "end"),
)
