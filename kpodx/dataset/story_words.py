"""The words of the embedded stories: people, things, verbs and numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal

GIRLS = (
    "Anna", "Mia", "Lucy", "Nina", "Zoe", "Emma", "Olivia", "Sara", "Maria", "Grace", "Lily", "Ella", "Rosa", "Julia", "Amy",
    "Kate", "Leila", "Fatima", "Priya", "Mei", "Yuki", "Ines", "Carla", "Helen", "Ruth", "Tess", "Ivy", "Alice", "Clara", "Dana",
    "Sofia", "Nora", "Jane", "Eva", "Hana", "Lena", "Bella", "Chloe", "Wendy", "Aisha",
)  # fmt: skip
BOYS = (
    "Tom", "Ben", "Sam", "Omar", "Leo", "Max", "Jack", "Luke", "Adam", "Noah", "Paul", "Carlos", "Diego", "Ivan", "Ali", "Ravi",
    "Kenji", "Hugo", "Oscar", "Peter", "David", "John", "Mark", "Theo", "Felix", "Jonas", "Marco", "Amir", "Kwame", "Victor", "Henry",
    "Eric", "Dan", "Liam", "Owen", "Ryan", "Bruno", "Nick", "George", "Tim",
)  # fmt: skip
FOOD = (
    "apples", "cookies", "eggs", "plums", "candies", "cupcakes", "oranges", "pears", "muffins", "grapes", "carrots", "sandwiches",
    "donuts", "bananas", "peaches", "nuts", "cherries", "lemons", "crackers", "strawberries", "pancakes", "tomatoes", "chocolates",
    "mangoes", "potatoes", "figs", "pies", "rolls", "waffles", "berries",
)  # fmt: skip
OBJECTS = (
    "books", "pens", "shells", "cards", "stamps", "coins", "cups", "pencils", "marbles", "stickers", "balloons", "beads", "buttons",
    "toys", "crayons", "flowers", "tickets", "blocks", "rocks", "shirts", "photos", "socks", "candles", "plates", "keys", "bottles",
    "notebooks", "roses", "ribbons", "puzzles", "comics", "leaves", "chairs", "hats", "bricks", "nails", "magazines", "postcards",
    "tulips", "markers", "erasers", "dolls", "kites", "spoons", "envelopes", "games", "paintings", "seeds", "letters", "cans", "logs",
    "boxes of tea", "toy cars", "baseball cards", "paper clips", "bags of rice", "points", "tokens", "tiles", "scarves",
)  # fmt: skip
ANIMALS = (
    "birds", "ducks", "fish", "sheep", "cows", "rabbits", "frogs", "ants", "cats", "dogs", "horses", "bees", "chickens", "puppies",
    "hamsters", "turtles", "goats", "geese",
)  # fmt: skip
PEOPLE = ("children", "students", "people", "players", "guests", "kids", "passengers", "girls", "boys", "campers")
GOODS = ("rice", "flour", "sand", "corn", "sugar", "salt", "soil", "wheat")
CONTAINERS = (
    "boxes",
    "bags",
    "packs",
    "baskets",
    "jars",
    "shelves",
    "rows",
    "trays",
    "bowls",
    "packets",
    "drawers",
    "cartons",
)
PLACES = (
    "in a box",
    "on a table",
    "in a jar",
    "on a shelf",
    "in a bag",
    "in the kitchen",
    "in the garage",
    "at the shop",
)
OUTSIDE = ("in a park", "on a farm", "in a field", "by a pond", "in the yard", "on a hill")
INSIDE = ("in a room", "at a party", "in a class", "in a park")
COLORS = ("red", "blue", "green", "yellow", "white", "black", "big", "small", "old", "new")
FRIENDS = (
    "a friend", "{owner} brother", "{owner} sister", "{owner} mother", "{owner} cousin", "a neighbor", "{owner} teacher", "{owner} uncle",
    "{owner} best friend", "{owner} dad", "{owner} grandmother", "a classmate",
)  # fmt: skip
NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip

_PAST = {
    "be": "was", "have": "had", "buy": "bought", "find": "found", "get": "got", "win": "won", "make": "made", "give": "gave",
    "lose": "lost", "sell": "sold", "throw": "threw", "break": "broke", "eat": "ate", "lend": "lent", "take": "took", "bring": "brought",
    "split": "split", "keep": "kept", "put": "put", "come": "came", "fly": "flew", "leave": "left", "go": "went", "run": "ran",
    "spend": "spent", "pay": "paid", "swim": "swam", "cut": "cut", "catch": "caught", "read": "read", "draw": "drew", "grow": "grew",
    "need": "needed", "earn": "earned", "send": "sent", "drop": "dropped", "drive": "drove", "ride": "rode", "lay": "laid",
}  # fmt: skip
_THIRD = {"be": "is", "have": "has", "go": "goes", "do": "does"}
_SYLLABLES = tuple(consonant + vowel for consonant in "bdfghjklmnprstvz" for vowel in "aeiou")


@dataclass(frozen=True)
class Person:
    """Who a story is about: the name at the start of a sentence, and what stands for it later.

    `takes_base` says whether present verbs stand without an "s", as after "I", "we" and "they".
    """

    name: str
    pronoun: str
    object: str
    owner: str
    takes_base: bool = False

    @property
    def inside(self) -> str:
        """The name inside a sentence: "my brother", but "Anna"."""
        first, *rest = self.name.split(" ")
        return " ".join([first.lower(), *rest]) if first in ("My", "The", "A", "We") else self.name


SPEAKERS = (Person("I", "I", "me", "my", True), Person("We", "we", "us", "our", True))
ROLES = (
    Person("My brother", "he", "him", "his"), Person("My sister", "she", "her", "her"), Person("Grandma", "she", "her", "her"),
    Person("Dad", "he", "him", "his"), Person("Mom", "she", "her", "her"), Person("The teacher", "she", "her", "her"),
    Person("A farmer", "he", "him", "his"), Person("The baker", "he", "him", "his"), Person("My friend", "he", "him", "his"),
)  # fmt: skip


def draw_name(rng: random.Random, invented_rate: float) -> Person:
    """Return a person with a name from the lists, or with one made of syllables so that no list can be learned by heart."""
    female = rng.random() < 0.5
    name = rng.choice(GIRLS if female else BOYS)
    if rng.random() < invented_rate:
        name = "".join(rng.choices(_SYLLABLES, k=rng.randint(2, 3))).capitalize()
    return Person(name, "she", "her", "her") if female else Person(name, "he", "him", "his")


def draw_thing(rng: random.Random, things: tuple[str, ...], invented_rate: float, *, colors: bool = True) -> str:
    """Return a plural noun from the list, at times with a color, or one made of syllables."""
    if rng.random() < invented_rate:
        return "".join(rng.choices(_SYLLABLES, k=2)) + "s"
    noun = rng.choice(things)
    return f"{rng.choice(COLORS)} {noun}" if colors and rng.random() < 0.1 else noun


def conjugate(verb: str, *, past: bool, takes_base: bool) -> str:
    """Return a verb's form for its subject.

    >>> conjugate("buy", past=False, takes_base=False), conjugate("carry", past=True, takes_base=False)
    ('buys', 'carried')
    >>> conjugate("be", past=True, takes_base=True), conjugate("be", past=False, takes_base=True)
    ('were', 'are')
    """
    if verb == "be" and takes_base:
        return "were" if past else "are"
    if past:
        return _PAST.get(verb) or _regular_past(verb)
    if takes_base:
        return verb
    return _THIRD.get(verb) or _regular_third(verb)


def _regular_past(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    return verb[:-1] + "ied" if verb.endswith("y") and verb[-2] not in "aeiou" else verb + "ed"


def _regular_third(verb: str) -> str:
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "es" if verb.endswith(("s", "sh", "ch", "x")) else verb + "s"


def format_number(value: Decimal) -> str:
    """Return a number as the stories write it: thousands commas, no trailing zeros.

    >>> format_number(Decimal("1200")), format_number(Decimal("2.50"))
    ('1,200', '2.5')
    """
    text = f"{value:,.2f}"
    return text.rstrip("0").rstrip(".")


def with_unit(value: Decimal, unit: str) -> str:
    """Return a quantity as the stories write it: "$2.50" for money, "12 apples" and "3.5 kg" for the rest."""
    if unit == "$":
        return f"${value:,.2f}" if value % 1 else f"${value:,.0f}"
    return f"{format_number(value)} {unit}"
