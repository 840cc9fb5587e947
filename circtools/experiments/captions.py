"""The built-in sample: German-English picture captions, made by a small grammar.

It has what makes the pair hard: the verb's place (second, also after a place; last in a
subordinate clause; split in two), cases and genders with their endings, and compounds.
"""

import random
from collections.abc import Callable
from typing import Literal, NamedTuple

Case = Literal["nom", "acc", "dat"]
Gender = Literal["m", "f", "n"]
Pair = tuple[str, str]  # German, English

ARTICLE = {"nom": {"m": "ein", "f": "eine", "n": "ein"},
           "acc": {"m": "einen", "f": "eine", "n": "ein"},
           "dat": {"m": "einem", "f": "einer", "n": "einem"}}
ENDING = {"nom": {"m": "er", "f": "e", "n": "es"}, "acc": {"m": "en", "f": "e", "n": "es"},
          "dat": {"m": "en", "f": "en", "n": "en"}}
RELATIVE = {"m": "der", "f": "die", "n": "das"}
NUMBERS = [("Zwei", "Two"), ("Drei", "Three"), ("Vier", "Four"), ("Fünf", "Five")]


class Noun(NamedTuple):
    """A noun; ``oblique`` is its accusative and dative where they differ from the nominative."""

    german: str
    gender: Gender
    english: str
    plural: str = ""
    english_plural: str = ""
    oblique: str = ""


PEOPLE = [
    Noun("Mann", "m", "man", "Männer", "men"),
    Noun("Frau", "f", "woman", "Frauen", "women"),
    Noun("Junge", "m", "boy", "Jungen", "boys", "Jungen"),
    Noun("Mädchen", "n", "girl", "Mädchen", "girls"),
    Noun("Kind", "n", "child", "Kinder", "children"),
    Noun("Straßenmusiker", "m", "street musician", "Straßenmusiker", "street musicians"),
    Noun("Bauarbeiter", "m", "construction worker", "Bauarbeiter", "construction workers"),
    Noun("Fußballspieler", "m", "football player", "Fußballspieler", "football players"),
    Noun("Skateboardfahrerin", "f", "skateboarder", "Skateboardfahrerinnen", "skateboarders"),
    Noun("Tänzerin", "f", "dancer", "Tänzerinnen", "dancers"),
    Noun("Radfahrer", "m", "cyclist", "Radfahrer", "cyclists"),
    Noun("Großvater", "m", "grandfather", "Großväter", "grandfathers"),
]
ANIMALS = [Noun("Hund", "m", "dog", "Hunde", "dogs"), Noun("Katze", "f", "cat", "Katzen", "cats"),
           Noun("Pferd", "n", "horse", "Pferde", "horses")]
WORN = [Noun("Hut", "m", "hat"), Noun("Schutzhelm", "m", "hard hat"), Noun("Hemd", "n", "shirt"),
        Noun("Badeanzug", "m", "swimsuit"), Noun("Jacke", "f", "jacket"),
        Noun("Regenmantel", "m", "raincoat"), Noun("Kleid", "n", "dress")]
HELD = [Noun("Regenschirm", "m", "umbrella"), Noun("Rucksack", "m", "backpack"),
        Noun("Kamera", "f", "camera"), Noun("Handtasche", "f", "handbag"),
        Noun("Fahne", "f", "flag"), Noun("Luftballon", "m", "balloon")]
THROWN = [Noun("Ball", "m", "ball"), Noun("Stock", "m", "stick"), Noun("Schneeball", "m",
                                                                     "snowball")]
READ = [Noun("Buch", "n", "book"), Noun("Zeitung", "f", "newspaper"),
        Noun("Landkarte", "f", "map")]
EATEN = [Noun("Apfel", "m", "apple"), Noun("Brötchen", "n", "bread roll"),
         Noun("Orange", "f", "orange")]

OF_PEOPLE = [("jung", "young"), ("alt", "old"), ("klein", "small"), ("müd", "tired"),
             ("fröhlich", "cheerful"), ("blond", "blond")]
OF_ANIMALS = [("groß", "big"), ("klein", "small"), ("braun", "brown"), ("schwarz", "black")]
COLOURS = [("rot", "red"), ("blau", "blue"), ("grün", "green"), ("gelb", "yellow"),
           ("schwarz", "black"), ("weiß", "white"), ("orangefarben", "orange")]
PLACES = [
    ("auf der Straße", "on the street"), ("im Park", "in the park"), ("am Strand", "on the beach"),
    ("auf dem Spielplatz", "on the playground"), ("im Schnee", "in the snow"),
    ("vor einem Haus", "in front of a house"), ("neben einem Lastwagen", "next to a truck"),
    ("an der Bushaltestelle", "at the bus stop"), ("auf der Wiese", "in the meadow"),
    ("unter einem Baum", "under a tree"), ("an einem See", "by a lake"),
    ("auf dem Marktplatz", "on the market square"), ("vor einem Kaufhaus", "outside a store"),
    ("auf der Treppe", "on the stairs"),
]


class Verb(NamedTuple):
    """A verb; ``particle`` is the part that goes to the end of a main clause."""

    singular: str
    plural: str
    english: str  # its form in -ing
    particle: str = ""
    reflexive: bool = False
    objects: tuple[Noun, ...] = ()


RESTING = [
    Verb("läuft", "laufen", "running"), Verb("sitzt", "sitzen", "sitting"),
    Verb("steht", "stehen", "standing"), Verb("schläft", "schlafen", "sleeping"),
    Verb("wartet", "warten", "waiting"), Verb("spielt", "spielen", "playing"),
    Verb("springt", "springen", "jumping"),
    Verb("ruht", "ruhen", "resting", particle="aus", reflexive=True),
]
ACTING = [
    Verb("hält", "halten", "holding", objects=(*HELD, *THROWN)),
    Verb("wirft", "werfen", "throwing", objects=tuple(THROWN)),
    Verb("liest", "lesen", "reading", objects=tuple(READ)),
    Verb("isst", "essen", "eating", objects=tuple(EATEN)),
    Verb("hebt", "heben", "picking up", particle="auf", objects=(*HELD, *THROWN)),
    Verb("fotografiert", "fotografieren", "photographing", objects=(*PEOPLE, *ANIMALS)),
]


def phrase(noun: Noun, adjective: Pair | None, case: Case) -> Pair:
    """Return a noun with its indefinite article, and an adjective between them if given."""
    stem = noun.german if case == "nom" else noun.oblique or noun.german
    german = [ARTICLE[case][noun.gender], stem]
    english = [noun.english]
    if adjective:
        german.insert(1, adjective[0] + ENDING[case][noun.gender])
        english.insert(0, adjective[1])
    article = "an" if english[0][0] in "aeiou" else "a"
    return " ".join(german), " ".join([article, *english])


def pairs(n: int, seed: int = 0) -> list[Pair]:
    """Return n distinct (German, English) caption pairs in random order, the same for a seed.

    Raises:
        ValueError: if n is not between 1 and 20,000.
    """
    if not 1 <= n <= 20_000:
        raise ValueError(f"n must be between 1 and 20000, got {n}")
    rng = random.Random(seed)
    found: dict[str, str] = {}  # a German sentence has one English rendering
    while len(found) < n:
        german, english = rng.choice(TEMPLATES)(rng)
        found.setdefault(f"{german[0].upper()}{german[1:]}.", f"{english[0].upper()}{english[1:]}.")
    return list(found.items())


def _subject(rng: random.Random, animals: bool = True) -> tuple[Noun, Pair]:
    noun = rng.choice([*PEOPLE, *PEOPLE, *ANIMALS] if animals else PEOPLE)
    return noun, phrase(noun, _adjective(rng, noun), "nom")


def _adjective(rng: random.Random, noun: Noun) -> Pair | None:
    if rng.random() < 0.4:
        return None
    if noun in PEOPLE:
        grown = not {"Junge", "Mädchen", "Kind"} & {noun.german}
        return rng.choice(OF_PEOPLE if grown else OF_PEOPLE[2:])
    if noun in EATEN:
        return "groß", "big"
    return rng.choice(OF_ANIMALS if noun in ANIMALS else COLOURS)


def _deed(rng: random.Random, plural: bool = False) -> tuple[str, str, str, str]:
    """Return a deed to a thing or a person: verb, object, particle, and the English of it all."""
    verb = rng.choice(ACTING)
    noun = rng.choice(verb.objects)
    german, english = phrase(noun, _adjective(rng, noun), "acc")
    return (verb.plural if plural else verb.singular, german, verb.particle,
            f"{verb.english} {english}")


def _words(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _doing(rng: random.Random) -> Pair:
    """A man is throwing a ball. The verb stands second, its particle last."""
    _, (german, english) = _subject(rng, animals=False)
    verb, thing, particle, deed = _deed(rng)
    return _words(german, verb, thing, particle), f"{english} is {deed}"


def _being(rng: random.Random) -> Pair:
    """A man with a hat is sitting in the park."""
    noun, (german, english) = _subject(rng)
    if noun in PEOPLE and rng.random() < 0.6:
        thing = rng.choice([*WORN, *HELD])
        with_german, with_english = phrase(thing, _adjective(rng, thing), "dat")
        mit, with_ = ("in", "in") if thing in WORN else ("mit", "with")
        german, english = f"{german} {mit} {with_german}", f"{english} {with_} {with_english}"
    verb, place = rng.choice(RESTING), rng.choice(PLACES)
    itself = "sich" if verb.reflexive else ""
    return (_words(german, verb.singular, itself, place[0], verb.particle),
            f"{english} is {verb.english} {place[1]}")


def _somewhere(rng: random.Random) -> Pair:
    """In the park sits a man: a place comes first and the verb still second."""
    rests = rng.random() < 0.5
    _, (german, english) = _subject(rng, animals=rests)
    place = rng.choice(PLACES)
    if rests:
        verb = rng.choice(RESTING)
        itself = "sich" if verb.reflexive else ""
        return (_words(place[0], verb.singular, itself, german, verb.particle),
                f"{english} is {verb.english} {place[1]}")
    word, thing, particle, deed = _deed(rng)
    return _words(place[0], word, german, thing, particle), f"{english} is {deed} {place[1]}"


def _several(rng: random.Random) -> Pair:
    """Two young men are running in the park."""
    acts, number = rng.random() < 0.5, rng.choice(NUMBERS)
    noun = rng.choice(PEOPLE if acts else [*PEOPLE, *ANIMALS])
    adjective = _adjective(rng, noun)
    stem, english = (f"{adjective[0]}e", adjective[1]) if adjective else ("", "")
    german = _words(number[0], stem, noun.plural)
    english = _words(number[1], english, noun.english_plural)
    if acts:
        verb, thing, particle, deed = _deed(rng, plural=True)
        return _words(german, verb, thing, particle), f"{english} are {deed}"
    verb_, place = rng.choice(RESTING), rng.choice(PLACES)
    itself = "sich" if verb_.reflexive else ""
    return (_words(german, verb_.plural, itself, place[0], verb_.particle),
            f"{english} are {verb_.english} {place[1]}")


def _who(rng: random.Random) -> Pair:
    """A man, who a hat wears, is waiting: in a relative clause the verb comes last."""
    noun = rng.choice(PEOPLE)
    german, english = phrase(noun, _adjective(rng, noun), "nom")
    worn = rng.choice(WORN)
    thing, english_thing = phrase(worn, _adjective(rng, worn), "acc")
    verb, place = rng.choice(RESTING), rng.choice(PLACES)
    itself = "sich" if verb.reflexive else ""
    clause = _words(verb.singular, itself, place[0], verb.particle)
    return (f"{german}, {RELATIVE[noun.gender]} {thing} trägt, {clause}",
            f"{english} who is wearing {english_thing} is {verb.english} {place[1]}")


def _while(rng: random.Random) -> Pair:
    """A dog is sleeping while a man a newspaper reads: last again, and in one word."""
    german, english = _being(rng)
    _, (other, english_other) = _subject(rng, animals=False)
    verb, thing, particle, deed = _deed(rng)
    return (f"{german}, während {other} {thing} {particle}{verb}",
            f"{english} while {english_other} is {deed}")


TEMPLATES: list[Callable[[random.Random], Pair]] = [
    _doing, _being, _somewhere, _several, _who, _while]
