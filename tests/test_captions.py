"""The grammar of the sample: distinct pairs, agreement, and the phenomena it was written for."""

import re

import pytest

from circtools.experiments.captions import pairs

PAIRS = pairs(6000)
GERMAN = [german for german, _ in PAIRS]
ENGLISH = [english for _, english in PAIRS]


def test_always_the_same_for_a_seed_and_distinct() -> None:
    assert pairs(300) == pairs(300) == PAIRS[:300]
    assert pairs(300, seed=1) != PAIRS[:300]
    assert len(set(GERMAN)) == 6000


def test_a_german_sentence_has_one_english_rendering() -> None:
    seen: dict[str, str] = {}
    for seed in range(3):
        for german, english in pairs(3000, seed):
            assert seen.setdefault(german, english) == english


@pytest.mark.parametrize("n", [0, -1, 20_001])
def test_impossible_numbers_are_named(n: int) -> None:
    with pytest.raises(ValueError, match=f"got {n}"):
        pairs(n)


def test_sentences_begin_and_end_as_sentences_do() -> None:
    for text in GERMAN + ENGLISH:
        assert text[0].isupper() and text.endswith(".") and "  " not in text and " ." not in text


@pytest.mark.parametrize("wrong", [
    r"\bein \w+e\b [A-Z]", r"\beine \w+(er|es)\b [A-Z]", r"\b(mit|in) (ein|einen|eine)\b",
    r"\beinem (?!\w*(Hund|Haus|Kleid|Hemd|Ball))\w+(?<!en) [A-Z]", r"\bin dem\b", r"\ban dem\b",
    r"\beinen Junge\b", r"während .* (auf|aus) \w+\.$"])
def test_no_wrong_german(wrong: str) -> None:
    assert not [text for text in GERMAN if re.search(wrong, text)]


@pytest.mark.parametrize("wrong", [r"\b[Aa] [aeiou]", r"\b[Aa]n [^aeiou]", r"\bmans\b|childs"])
def test_no_wrong_english(wrong: str) -> None:
    assert not [text for text in ENGLISH if re.search(wrong, text)]


@pytest.mark.parametrize(("what", "pattern", "share"), [
    ("a place first, the verb second", r"^(Auf|Im|Am|Vor|Neben|An|Unter) ", 0.1),
    ("a relative clause, its verb last", r", (der|die|das) .* trägt, ", 0.1),
    ("während, its verb last", r", während .* \w+t\.$", 0.1),
    ("a separable verb", r"^[^,]* (auf|aus)\.$", 0.03),
    ("masculine accusative", r"\beinen \w+en [A-Z]", 0.1),
    ("dative after mit", r"\bmit eine[mr] ", 0.05),
    ("plurals", r"^(Zwei|Drei|Vier|Fünf) ", 0.1),
    ("compounds", r"Straßenmusiker|Bauarbeiter|Fußballspieler|Schutzhelm|Lastwagen", 0.3),
])
def test_the_phenomena_occur(what: str, pattern: str, share: float) -> None:
    assert sum(bool(re.search(pattern, text)) for text in GERMAN) >= share * len(GERMAN), what
